//! The running softmax with AVX-512 F, BW and BF16.

use std::arch::x86_64::*;

use super::{Block, Pair, Rows, SIDE, UPPER, exponential::*, portable};

/// `2^x`; NaN stays NaN.
#[inline]
#[target_feature(enable = "avx512f")]
fn exp2(x: __m512) -> __m512 {
    let set = |value| _mm512_set1_ps(value);
    // The second operand is the result if one is NaN.
    let x = _mm512_max_ps(set(LEAST), x);
    let shifted = _mm512_add_ps(x, set(ROUND));
    let f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, set(ROUND)));
    let mut p = set(POLYNOMIAL[0]);
    for c in &POLYNOMIAL[1..] {
        p = _mm512_fmadd_ps(p, f, set(*c));
    }
    let power = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
    let power = _mm512_castsi512_ps(power);
    _mm512_fmadd_ps(_mm512_mul_ps(p, f), power, power)
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn queries(values: &[f32], row: usize, out: &mut [Pair]) {
    let steps = values.as_chunks::<SIDE>().0.iter();
    let log2_e = _mm512_set1_ps(std::f32::consts::LOG2_E);
    for (values, out) in steps.zip(out.as_chunks_mut::<2>().0) {
        // SAFETY: 32 floats.
        let values = unsafe {
            [
                _mm512_loadu_ps(values.as_ptr()),
                _mm512_loadu_ps(values.as_ptr().add(16)),
            ]
        };
        let [a, b] = values;
        split(
            [_mm512_mul_ps(a, log2_e), _mm512_mul_ps(b, log2_e)],
            row,
            out,
        );
    }
}

/// 32 values as row `row` of each piece.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn split([a, b]: [__m512; 2], row: usize, out: &mut [Pair; 2]) {
    let bits = [_mm512_castps_si512(a), _mm512_castps_si512(b)];
    let mask = _mm512_set1_epi32(UPPER as i32);
    let upper = |bits| _mm512_castsi512_ps(_mm512_and_si512(bits, mask));
    let rest = [
        _mm512_sub_ps(a, upper(bits[0])),
        _mm512_sub_ps(b, upper(bits[1])),
    ];
    let first = _mm512_permutex2var_epi16(bits[0], upper_halves(), bits[1]);
    // SAFETY: both types are any 64 bytes.
    let rest: __m512i = unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(rest[1], rest[0])) };
    for (Pair(tiles), line) in out.iter_mut().zip([first, rest]) {
        let to = tiles[row / 16].0[row % 16].as_mut_ptr();
        // SAFETY: a line of a tile is 64 bytes, aligned to 64.
        unsafe { _mm512_store_si512(to.cast(), line) };
    }
}

/// The odd 16-bit elements of two registers, one after the other.
#[inline]
#[target_feature(enable = "avx512f")]
fn upper_halves() -> __m512i {
    const ORDER: [u16; 32] = {
        let mut order = [0; 32];
        let mut i = 0;
        while i < 32 {
            order[i] = 2 * i as u16 + 1;
            i += 1;
        }
        order
    };
    // SAFETY: an array of 64 bytes.
    unsafe { _mm512_loadu_si512(ORDER.as_ptr().cast()) }
}

/// The lanes of 16 positions from `at` on of which `seen` are seen.
#[inline]
fn lanes(seen: usize, at: usize) -> __mmask16 {
    match seen.saturating_sub(at) {
        16.. => !0,
        count => (1 << count) - 1,
    }
}

/// Half a row of a block.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(block: &Block<f32>, row: usize, half: usize) -> __m512 {
    // SAFETY: a row of a block is 32 floats, aligned to 64 bytes.
    unsafe { _mm512_load_ps(block.0[row].as_ptr().add(16 * half)) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn weigh(scores: &[Block<f32>], seen: &[usize], rows: &mut Rows, out: &mut [Pair]) {
    // All tops first: a row's is ready only after a chain of some 60 cycles, which rows do not wait for one by one then.
    let mut tops = [f32::NEG_INFINITY; SIDE];
    for (row, (seen, top)) in seen.iter().zip(&mut tops).enumerate() {
        let mut largest = _mm512_set1_ps(rows.tops[row]);
        for (i, block) in scores.iter().enumerate() {
            for half in 0..2 {
                // The second operand is the result if the first is NaN.
                let (seen, s) = (lanes(*seen, SIDE * i + 16 * half), load(block, row, half));
                largest = _mm512_mask_max_ps(largest, seen, s, largest);
            }
        }
        *top = _mm512_reduce_max_ps(largest);
    }
    for half in 0..2 {
        // SAFETY: 32 floats in each array.
        unsafe {
            let before = _mm512_loadu_ps(rows.tops.as_ptr().add(16 * half));
            let top = _mm512_loadu_ps(tops.as_ptr().add(16 * half));
            let factor = exp2(_mm512_sub_ps(before, top));
            _mm512_storeu_ps(rows.factors.as_mut_ptr().add(16 * half), factor);
        }
    }
    for (row, seen) in seen.iter().enumerate() {
        let top = _mm512_set1_ps(tops[row]);
        let mut sums = _mm512_setzero_ps();
        for ((i, block), out) in scores.iter().enumerate().zip(out.as_chunks_mut::<2>().0) {
            let half = |half| exp2(_mm512_sub_ps(load(block, row, half), top));
            let mut e = [half(0), half(1)];
            if *seen < SIDE * (i + 1) {
                let (a, b) = (lanes(*seen, SIDE * i), lanes(*seen, SIDE * i + 16));
                e = [_mm512_maskz_mov_ps(a, e[0]), _mm512_maskz_mov_ps(b, e[1])];
            }
            sums = _mm512_add_ps(_mm512_add_ps(sums, e[0]), e[1]);
            split(e, row, out);
        }
        let state = &mut rows.sums[row];
        // SAFETY: 16 floats.
        unsafe {
            let old = _mm512_loadu_ps(state.as_ptr());
            let new = _mm512_fmadd_ps(old, _mm512_set1_ps(rows.factors[row]), sums);
            _mm512_storeu_ps(state.as_mut_ptr(), new);
        }
    }
    rows.tops[..seen.len()].copy_from_slice(&tops[..seen.len()]);
}

#[target_feature(enable = "avx512f")]
pub(super) fn rescale(factors: &[f32; SIDE], sums: &mut [Block<f32>]) {
    portable::rescale(factors, sums);
}
