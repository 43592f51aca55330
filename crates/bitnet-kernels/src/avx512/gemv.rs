//! One row of `x`: the weights stream past once, so every instruction counts against the memory's 64 bytes.
//!
//! # No shifts
//!
//! The quad `i` of a line of words is `(word >> 2i) & 3`. Masked in place it is the code times `4^i`, which `vpdpbusd`
//! takes as well: unsigned bytes of at most 192. Each quad then has its own accumulator, and the four are shifted right
//! once a group; a shift is exact, for accumulator `i` only ever holds multiples of `4^i`. That leaves 4 `vpandd` and 4
//! `vpdpbusd` for 256 weights, and four independent accumulators, which is as many as the 4 cycles of `vpdpbusd` ask for.
//!
//! # Base three
//!
//! A byte of `base_three` becomes a word's byte by a table of 256 entries: two `vpermi2b` (128 entries each, by the low
//! seven bits) and a blend by the top bit. The first digit comes from averages: `avg(b, avg(b, 0))` is about
//! `3b/4`, whose top two bits are the digit, again used in place (times 64). Together 16 instructions for 320 weights.
//!
//! # Why int32 does not overflow
//!
//! A quad adds at most `4 · 192 · 128 < 2^17` a line to a lane, two of them (base three's digits 3 and 4 share a scale)
//! `< 2^18`: [`SEGMENT`]` = 2^12` lines stay under `2^30`. Longer rows are summed in segments.

use std::arch::x86_64::*;

use crate::{
    base_three::{BLOCK_LINES, Blocks, QUADS},
    layout::Line,
    panel::Lanes,
};

/// Lines between two foldings of the scaled accumulators.
const SEGMENT: usize = 1 << 12;

/// `Σ stored · x` of each group of `words` lines with one row of codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn two_bit(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
    assert_eq!(lines.len(), words * sums.len());
    assert_eq!(x.len(), 16 * words);
    let masks = quad_masks();
    for (group, sums) in sums.iter_mut().enumerate() {
        let lines = &lines[group * words..][..words];
        let mut total = _mm512_setzero_si512();
        for (lines, x) in lines.chunks(SEGMENT).zip(x.chunks(16 * SEGMENT)) {
            let mut acc = [_mm512_setzero_si512(); 4];
            for (line, x) in lines.iter().zip(x.as_chunks::<16>().0) {
                add_quads(&mut acc, load(line), masks, x);
            }
            total = _mm512_add_epi32(total, fold(acc));
        }
        store(total, sums);
    }
}

/// As [`two_bit`], for groups in base three.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn base_three(lines: &[Line], blocks: Blocks, x: &[i8], sums: &mut [Lanes]) {
    let per_group = blocks.lines();
    assert_eq!(lines.len(), per_group * sums.len());
    assert_eq!(x.len(), 16 * blocks.words());
    let (masks, table) = (quad_masks(), Table::load());
    const BLOCK_X: usize = 16 * (BLOCK_LINES + 1);
    for (group, sums) in sums.iter_mut().enumerate() {
        let lines = &lines[group * per_group..][..per_group];
        let mut total = _mm512_setzero_si512();
        for (lines, x) in lines
            .chunks(SEGMENT)
            .zip(x.chunks(SEGMENT / BLOCK_LINES * BLOCK_X))
        {
            let mut acc = [_mm512_setzero_si512(); 4];
            let mut first = _mm512_setzero_si512();
            let (blocks, rest) = lines.as_chunks::<BLOCK_LINES>();
            let (x_blocks, x_rest) = x.as_chunks::<BLOCK_X>();
            for (lines, x) in blocks.iter().zip(x_blocks) {
                let (x, last) = (x.as_chunks::<16>().0, &x[16 * BLOCK_LINES..]);
                for b in 0..BLOCK_LINES {
                    let bytes = load(&lines[b]);
                    add_quads(&mut acc, table.quads(bytes), masks, &x[b]);
                    first = dot(first, first_digits(bytes, masks), last, b);
                }
            }
            if !rest.is_empty() {
                let (x, last) = x_rest.split_at(16 * rest.len());
                for (b, (line, x)) in rest.iter().zip(x.as_chunks::<16>().0).enumerate() {
                    let bytes = load(line);
                    add_quads(&mut acc, table.quads(bytes), masks, x);
                    first = dot(first, first_digits(bytes, masks), last, b);
                }
            }
            acc[3] = _mm512_add_epi32(acc[3], first);
            total = _mm512_add_epi32(total, fold(acc));
        }
        store(total, sums);
    }
}

/// The lines of a group in base three to words.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn decode(lines: &[Line], words: &mut [Line]) {
    let (masks, table) = (quad_masks(), Table::load());
    for (lines, words) in lines
        .chunks(BLOCK_LINES)
        .zip(words.chunks_mut(BLOCK_LINES + 1))
    {
        let mut last = _mm512_setzero_si512();
        for line in lines {
            // The digits come at bits 7:6 of their bytes; three more lines move the first one's to bits 1:0.
            last = _mm512_or_si512(
                _mm512_srli_epi32::<2>(last),
                first_digits(load(line), masks),
            );
        }
        let unused = 2 * (BLOCK_LINES - lines.len()) as u32;
        last = _mm512_srl_epi32(last, _mm_cvtsi32_si128(unused as i32));
        for (line, word) in lines.iter().zip(&mut *words) {
            store_line(table.quads(load(line)), word);
        }
        store_line(last, &mut words[lines.len()]);
    }
}

/// The masks of quads 0 to 3 in place.
#[inline]
#[target_feature(enable = "avx512f")]
fn quad_masks() -> [__m512i; 4] {
    [
        _mm512_set1_epi8(0x03),
        _mm512_set1_epi8(0x0c),
        _mm512_set1_epi8(0x30),
        _mm512_set1_epi8(0xc0u8 as i8),
    ]
}

/// Adds the four quads of a line of words, times `4^i`, to their accumulators.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_quads(acc: &mut [__m512i; 4], words: __m512i, masks: [__m512i; 4], x: &[i8; 16]) {
    for i in 0..4 {
        acc[i] = dot(acc[i], _mm512_and_si512(words, masks[i]), x, i);
    }
}

/// `acc + codes · x[4i..4i+4]` in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot(acc: __m512i, codes: __m512i, x: &[i8], quad: usize) -> __m512i {
    let x = &x[4 * quad..][..4];
    // SAFETY: x is 4 bytes.
    let x = unsafe { x.as_ptr().cast::<i32>().read_unaligned() };
    _mm512_dpbusd_epi32(acc, codes, _mm512_set1_epi32(x))
}

/// The sum of accumulators scaled by `4^i`.
#[inline]
#[target_feature(enable = "avx512f")]
fn fold(acc: [__m512i; 4]) -> __m512i {
    _mm512_add_epi32(
        _mm512_add_epi32(acc[0], _mm512_srai_epi32::<2>(acc[1])),
        _mm512_add_epi32(
            _mm512_srai_epi32::<4>(acc[2]),
            _mm512_srai_epi32::<6>(acc[3]),
        ),
    )
}

/// The first digit of each byte, times 64.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn first_digits(bytes: __m512i, masks: [__m512i; 4]) -> __m512i {
    let half = _mm512_avg_epu8(bytes, _mm512_setzero_si512());
    _mm512_and_si512(_mm512_avg_epu8(bytes, half), masks[3])
}

/// `QUADS` in four registers.
#[derive(Clone, Copy)]
struct Table([__m512i; 4]);

impl Table {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load() -> Table {
        let mut parts = [_mm512_setzero_si512(); 4];
        for (part, table) in parts.iter_mut().zip(QUADS.as_chunks::<64>().0) {
            // SAFETY: a part of the table is 64 bytes.
            *part = unsafe { _mm512_loadu_si512(table.as_ptr().cast()) };
        }
        Table(parts)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    fn quads(self, bytes: __m512i) -> __m512i {
        let [a, b, c, d] = self.0;
        let low = _mm512_permutex2var_epi8(a, bytes, b);
        let high = _mm512_permutex2var_epi8(c, bytes, d);
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high)
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(line: &Line) -> __m512i {
    // SAFETY: a line is 64 bytes, aligned to 64.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_line(words: __m512i, line: &mut Line) {
    // SAFETY: a line is 64 bytes, aligned to 64.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), words) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(sums: __m512i, out: &mut Lanes) {
    // SAFETY: `Lanes` is 64 bytes, aligned to 64.
    unsafe { _mm512_store_si512(out.0.as_mut_ptr().cast(), sums) }
}
