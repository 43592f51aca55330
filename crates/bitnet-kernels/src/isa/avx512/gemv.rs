//! One row of `x`: the weights stream past once, so every instruction counts against the memory's 64 bytes.
//!
//! # No shifts
//!
//! The quad `i` of a line of words is `(word >> 2i) & 3`. Masked in place it is the code times `4^i`, which `vpdpbusd`
//! takes as well: unsigned bytes of at most 192. Each quad then has its own accumulator, and the four are shifted right
//! once a group; a shift is exact, for accumulator `i` only ever holds multiples of `4^i`. That leaves 4 `vpandd` and 4
//! `vpdpbusd` for 256 weights, and four independent accumulators, as many as the 4 cycles of `vpdpbusd` ask for. Groups
//! follow each other in memory, so this is one stream, which the processor's own prefetcher feeds best: two groups side
//! by side would share the broadcasts of `x` and run a third faster in the cache, but a fifth slower from memory,
//! whatever is fetched ahead.
//!
//! # Base three
//!
//! A byte of `base_three` becomes a word's byte by a table of 256 entries: two `vpermi2b` (128 entries each, by the low
//! seven bits) and a blend by the top bit. The first digit comes from averages: `avg(b, avg(b, 0))` is about
//! `3b/4`, whose top two bits are the digit, again used in place (times 64). Together 16 instructions for 320 weights,
//! which is about as slow as one thread's share of the memory: here two groups do run side by side, and each load asks
//! for the line that the next pair will read in its place, for two streams of a few pages are too short for the
//! prefetcher. It asks for the level-two cache, because a pair (16 to 45 KiB) does not fit in level one.
//!
//! # Why int32 does not overflow
//!
//! A quad adds at most `4 · 192 · 128 < 2^17` a line to a lane, two of them (base three's digits 3 and 4 share a scale)
//! `< 2^18`: [`SEGMENT`]` = 2^12` lines stay under `2^30`. Longer rows are summed in segments.

use std::arch::x86_64::*;

use crate::{
    format::Line,
    gemm::base_three::{BLOCK_LINES, Blocks, QUADS},
    gemm::blocking::{Lanes, Sixteen},
};

/// Lines between two foldings of the scaled accumulators.
pub(super) const SEGMENT: usize = 1 << 12;

/// [`PanelLoops::two_bit`](crate::isa::PanelLoops).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn two_bit(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
    assert_eq!(x.len(), 16 * words);
    let (x, masks) = (x.as_chunks::<16>().0, quad_masks());
    for (lines, sums) in lines.chunks_exact(words).zip(sums) {
        let mut total = _mm512_setzero_si512();
        for (lines, x) in lines.chunks(SEGMENT).zip(x.chunks(SEGMENT)) {
            let mut acc = [[_mm512_setzero_si512(); 4]];
            for (line, x) in lines.iter().zip(x) {
                add_quads(&mut acc, [load(line)], masks, x);
            }
            total = _mm512_add_epi32(total, fold(acc[0]));
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
    let (pairs, rest) = sums.as_chunks_mut::<2>();
    for (pair, sums) in pairs.iter_mut().enumerate() {
        let (a, b) = lines[2 * pair * per_group..][..2 * per_group].split_at(per_group);
        base_three_groups([a, b], x, sums);
    }
    if let [sums] = rest {
        let last = &lines[lines.len() - per_group..];
        base_three_groups([last], x, std::array::from_mut(sums));
    }
}

/// [`base_three`] of `G` groups that share the broadcasts of `x`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn base_three_groups<const G: usize>(groups: [&[Line]; G], x: &[i8], sums: &mut [Lanes; G]) {
    const SEGMENT_BLOCKS: usize = SEGMENT / BLOCK_LINES;
    let (masks, table) = (quad_masks(), Table::load());
    let x = x.as_chunks::<16>().0;
    let lines = groups[0].len();
    let mut total = [_mm512_setzero_si512(); G];
    let mut acc = [[_mm512_setzero_si512(); 4]; G];
    for start in (0..lines).step_by(BLOCK_LINES) {
        let block = start / BLOCK_LINES;
        let count = BLOCK_LINES.min(lines - start);
        let (x, last) = x[block * (BLOCK_LINES + 1)..][..count + 1].split_at(count);
        let mut segment = groups;
        for group in &mut segment {
            *group = &group[start..start + count];
        }
        for (b, x) in x.iter().enumerate() {
            let (mut words, mut first) = ([_mm512_setzero_si512(); G], [_mm512_setzero_si512(); G]);
            for g in 0..G {
                let line = &segment[g][b];
                fetch_ahead(line, G * lines);
                let bytes = load(line);
                (words[g], first[g]) = (table.quads(bytes), first_digits(bytes, masks));
            }
            add_quads(&mut acc, words, masks, x);
            let x = broadcast(&last[0], b);
            for g in 0..G {
                acc[g][3] = _mm512_dpbusd_epi32(acc[g][3], first[g], x);
            }
        }
        if (block + 1).is_multiple_of(SEGMENT_BLOCKS) || start + count == lines {
            for g in 0..G {
                total[g] = _mm512_add_epi32(total[g], fold(acc[g]));
                acc[g] = [_mm512_setzero_si512(); 4];
            }
        }
    }
    for g in 0..G {
        store(total[g], &mut sums[g]);
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

/// Brings what the next pair of groups will read to the level-two cache: `lines` further on in memory, or nothing.
#[inline]
pub(super) fn fetch_ahead(line: &Line, lines: usize) {
    let ahead: *const Line = std::ptr::from_ref(line).wrapping_add(lines);
    // SAFETY: SSE, which every x86-64 has; a prefetch reads nothing and may be given any address.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(ahead.cast()) };
}

/// The masks of quads 0 to 3 in place.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn quad_masks() -> [__m512i; 4] {
    [
        _mm512_set1_epi8(0x03),
        _mm512_set1_epi8(0x0c),
        _mm512_set1_epi8(0x30),
        _mm512_set1_epi8(0xc0u8 as i8),
    ]
}

/// Adds the four quads of `G` lines of words, times `4^i`, to their accumulators.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn add_quads<const G: usize>(
    acc: &mut [[__m512i; 4]; G],
    words: [__m512i; G],
    masks: [__m512i; 4],
    x: &Sixteen,
) {
    for i in 0..4 {
        let x = broadcast(x, i);
        for g in 0..G {
            acc[g][i] = _mm512_dpbusd_epi32(acc[g][i], _mm512_and_si512(words[g], masks[i]), x);
        }
    }
}

/// Four activations in every lane.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn broadcast(x: &Sixteen, quad: usize) -> __m512i {
    let x = &x[4 * quad..][..4];
    // SAFETY: x is 4 bytes.
    _mm512_set1_epi32(unsafe { x.as_ptr().cast::<i32>().read_unaligned() })
}

/// The sum of accumulators scaled by `4^i`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn fold(acc: [__m512i; 4]) -> __m512i {
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
pub(super) fn first_digits(bytes: __m512i, masks: [__m512i; 4]) -> __m512i {
    let half = _mm512_avg_epu8(bytes, _mm512_setzero_si512());
    _mm512_and_si512(_mm512_avg_epu8(bytes, half), masks[3])
}

/// `QUADS` in four registers.
#[derive(Clone, Copy)]
pub(super) struct Table([__m512i; 4]);

impl Table {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load() -> Table {
        let mut parts = [_mm512_setzero_si512(); 4];
        for (part, table) in parts.iter_mut().zip(QUADS.as_chunks::<64>().0) {
            // SAFETY: a part of the table is 64 bytes.
            *part = unsafe { _mm512_loadu_si512(table.as_ptr().cast()) };
        }
        Table(parts)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub(super) fn quads(self, bytes: __m512i) -> __m512i {
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
