//! Groups of weights that have scales of their own: sums stay in registers until they are floats.
//!
//! A segment of 128 columns is 8 lines, 32 `vpdpbusd` for each row of `x` and 16 output rows. Its sums start at `-Σ x`, are
//! converted once, multiplied by their scales and added: with one row the floats are one register, with several they lie in
//! the nearest cache, a load and a store for 32 `vpdpbusd`.

use std::arch::x86_64::*;

use super::{
    gemm::add_words,
    gemv::{SEGMENT, add_quads, fold, load, quad_masks},
};
use crate::{
    format::Line,
    gemm::{
        blocking::Sixteen,
        scaled::{Floats, Segments},
    },
};

/// [`ScaledLoops::one_row`](crate::isa::ScaledLoops).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn one_row(
    w: Segments,
    lines: &[Line],
    x: &[Sixteen],
    excess: &[i32],
    out: &mut [Floats],
) {
    assert_eq!(lines.len(), w.lines() * out.len());
    match (w.each, w.words % w.each) {
        (2, 0) => equal_segments::<2>(w, lines, x, excess, out),
        (4, 0) => equal_segments::<4>(w, lines, x, excess, out),
        (8, 0) => equal_segments::<8>(w, lines, x, excess, out),
        (16, 0) => equal_segments::<16>(w, lines, x, excess, out),
        (_, _) => any_segments(w, lines, x, excess, out),
    }
}

/// [`one_row`] where all segments have `EACH` words: their loop is unrolled, and nothing is counted within a segment.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn equal_segments<const EACH: usize>(
    w: Segments,
    lines: &[Line],
    x: &[Sixteen],
    excess: &[i32],
    out: &mut [Floats],
) {
    let (x, masks) = (x.as_chunks::<EACH>().0, quad_masks());
    for (mut lines, out) in lines.chunks_exact(w.lines()).zip(out) {
        let (mut y, mut scales) = (_mm512_setzero_ps(), &Line::ZERO);
        for (segment, (x, excess)) in x.iter().zip(excess).enumerate() {
            let s = if w.half { segment % 2 } else { 0 };
            if s == 0 {
                (scales, lines) = lines.split_first().expect("a line of scales");
            }
            let (codes, rest) = lines.split_first_chunk::<EACH>().expect("lines of codes");
            lines = rest;
            let mut acc = [[_mm512_setzero_si512(); 4]];
            acc[0][0] = _mm512_set1_epi32(-excess);
            for i in 0..EACH {
                add_quads(&mut acc, [load(&codes[i])], masks, &x[i]);
            }
            y = add_scaled(y, fold(acc[0]), worth(w, scales, s));
        }
        store(y, out);
    }
}

/// [`one_row`] of segments of any lengths.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn any_segments(
    w: Segments,
    lines: &[Line],
    x: &[Sixteen],
    excess: &[i32],
    out: &mut [Floats],
) {
    let (each, per_line, masks) = (w.each, w.per_line(), quad_masks());
    for (lines, out) in lines.chunks_exact(w.lines()).zip(out) {
        let mut y = _mm512_setzero_ps();
        let lines = lines.chunks(1 + per_line * each);
        let x = x.chunks(per_line * each);
        for ((lines, x), excess) in lines.zip(x).zip(excess.chunks(per_line)) {
            let (scales, lines) = lines.split_first().expect("a line of scales");
            let segments = lines.chunks(each).zip(x.chunks(each)).zip(excess);
            for (s, ((lines, x), excess)) in segments.enumerate() {
                let mut total = _mm512_set1_epi32(-excess);
                for (lines, x) in lines.chunks(SEGMENT).zip(x.chunks(SEGMENT)) {
                    let mut acc = [[_mm512_setzero_si512(); 4]];
                    for (line, x) in lines.iter().zip(x) {
                        add_quads(&mut acc, [load(line)], masks, x);
                    }
                    total = _mm512_add_epi32(total, fold(acc[0]));
                }
                y = add_scaled(y, total, worth(w, scales, s));
            }
        }
        store(y, out);
    }
}

/// [`ScaledLoops::rows`](crate::isa::ScaledLoops).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn rows(
    w: Segments,
    groups: [&[Line]; 2],
    x: &[Sixteen],
    excess: &[i32],
    out: &mut [[Floats; 2]],
) {
    macro_rules! by_rows {
        ($($r:literal)*) => {
            match out.len() {
                $($r => block::<$r>(w, groups, x, excess, out.first_chunk_mut().expect("a row of sums for each of x")),)*
                rows => unreachable!("{rows} rows in a block"),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn block<const R: usize>(
    w: Segments,
    [a, b]: [&[Line]; 2],
    x: &[Sixteen],
    excess: &[i32],
    out: &mut [[Floats; 2]; R],
) {
    let (each, per_line) = (w.each, w.per_line());
    let (x, excess) = (x.as_chunks::<R>().0, excess.as_chunks::<R>().0);
    assert!(a.len() == w.lines() && b.len() == w.lines() && x.len() == w.words);
    *out = [[Floats::ZERO; 2]; R];
    let [a, b] = [a, b].map(|lines| lines.chunks(1 + per_line * each));
    let x = x.chunks(per_line * each);
    for (((a, b), x), excess) in a.zip(b).zip(x).zip(excess.chunks(per_line)) {
        let (scales_a, a) = a.split_first().expect("a line of scales");
        let (scales_b, b) = b.split_first().expect("a line of scales");
        let segments = a.chunks(each).zip(b.chunks(each)).zip(x.chunks(each));
        for (s, (((a, b), x), excess)) in segments.zip(excess).enumerate() {
            let mut acc = excess.map(|excess| [_mm512_set1_epi32(-excess); 2]);
            add_words(&mut acc, a, b, x);
            let worth = [worth(w, scales_a, s), worth(w, scales_b, s)];
            for (out, acc) in out.iter_mut().zip(acc) {
                for ((out, acc), worth) in out.iter_mut().zip(acc).zip(worth) {
                    // SAFETY: `Floats` is 64 bytes, aligned to 64.
                    let y = unsafe { _mm512_load_ps(out.0.as_ptr()) };
                    store(add_scaled(y, acc, worth), out);
                }
            }
        }
    }
}

/// What the codes of the segment `s` of those that share a line of scales are worth.
#[inline]
#[target_feature(enable = "avx512f")]
fn worth(w: Segments, scales: &Line, s: usize) -> __m512 {
    if w.half {
        let halves = &scales.0[8 * s..][..8];
        // SAFETY: halves are 32 bytes.
        _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(halves.as_ptr().cast()) })
    } else {
        _mm512_castsi512_ps(load(scales))
    }
}

/// `y + sums as f32 · d`, rounded twice.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_scaled(y: __m512, sums: __m512i, worth: __m512) -> __m512 {
    _mm512_add_ps(y, _mm512_mul_ps(_mm512_cvtepi32_ps(sums), worth))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(y: __m512, out: &mut Floats) {
    // SAFETY: `Floats` is 64 bytes, aligned to 64.
    unsafe { _mm512_store_ps(out.0.as_mut_ptr(), y) }
}
