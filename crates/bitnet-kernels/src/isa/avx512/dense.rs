//! AVX-512 F, BW and VNNI: a line is one register.
//!
//! A multiply-add takes 4 cycles (5 for `vpdpbusd`) and one or two start each cycle, so a tile needs 4 to 10 accumulators
//! to keep them busy. 12 rows by 2 groups use 24 of the 32 registers, with 2 loads of lines and 12 broadcasts for 24
//! multiply-adds: below the 2 loads a cycle that the processor sustains. Lines of 16-bit floats are two steps, of which the
//! compiler keeps all operands at hand: 8 rows, or it spills.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes. The weights become unsigned by flipping their sign bit, which adds
//! 128; [`int8`] subtracts `128 · Σx` at the end. The sums stay below `4 · 255 · 127 · K/4 < 2^31` for `K ≤ 2^16`.

use std::{arch::x86_64::*, ops::Range};

use crate::dense::{Int8Output, Line, Operands, product, softmax_row};

#[inline]
#[target_feature(enable = "avx512f")]
fn zero() -> __m512 {
    _mm512_setzero_ps()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(line: &Line) -> __m512i {
    // SAFETY: a line is 64 aligned bytes.
    unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f32(line: &Line) -> [__m512; 1] {
    [_mm512_castsi512_ps(load(line))]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_bf16(line: &Line) -> [__m512; 2] {
    let pairs = load(line);
    let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
    [
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)),
        _mm512_castsi512_ps(_mm512_and_si512(pairs, upper)),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_f16(line: &Line) -> [__m512; 2] {
    let [even, odd] = line.0.as_chunks::<8>().0 else {
        unreachable!("a line is 16 words")
    };
    // SAFETY: half a line is 32 aligned bytes.
    unsafe {
        [
            _mm512_cvtph_ps(_mm256_load_si256(even.as_ptr().cast())),
            _mm512_cvtph_ps(_mm256_load_si256(odd.as_ptr().cast())),
        ]
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_codes(line: &Line) -> [__m512; 4] {
    let fours = load(line);
    let upper = |fours| _mm512_cvtepi32_ps(_mm512_srai_epi32::<24>(fours));
    [
        upper(_mm512_slli_epi32::<24>(fours)),
        upper(_mm512_slli_epi32::<16>(fours)),
        upper(_mm512_slli_epi32::<8>(fours)),
        upper(fours),
    ]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn fma(sum: __m512, w: __m512, x: f32) -> __m512 {
    _mm512_fmadd_ps(w, _mm512_set1_ps(x), sum)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(sum: __m512) -> [f32; 16] {
    let mut out = [0.0; 16];
    // SAFETY: `out` is 64 bytes.
    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
    out
}

#[inline]
#[target_feature(enable = "avx512f")]
fn zero_i32() -> __m512i {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_unsigned(line: &Line) -> [__m512i; 1] {
    [_mm512_xor_si512(
        load(line),
        _mm512_set1_epi8(i8::MIN), // the sign bits
    )]
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot(sum: __m512i, w: __m512i, x: [i8; 4]) -> __m512i {
    let x = _mm512_set1_epi32(i32::from_ne_bytes([
        x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8,
    ]));
    _mm512_dpbusd_epi32(sum, w, x)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store_i32(sum: __m512i) -> [i32; 16] {
    let mut out = [0; 16];
    // SAFETY: `out` is 64 bytes.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
    out
}

product! {
    #[target_feature(enable = "avx512f")]
    f32(f32) -> f32 => FloatOutput, steps 1, rows [12, 4, 2, 1], wide 2, narrow 4, zero, load_f32, fma, store
}
product! {
    #[target_feature(enable = "avx512f")]
    bf16(f32) -> f32 => FloatOutput, steps 2, rows [8, 4, 2, 1], wide 2, narrow 4, zero, load_bf16, fma, store
}
product! {
    #[target_feature(enable = "avx512f")]
    f16(f32) -> f32 => FloatOutput, steps 2, rows [8, 4, 2, 1], wide 2, narrow 4, zero, load_f16, fma, store
}
product! {
    #[target_feature(enable = "avx512f")]
    codes(f32) -> f32 => FloatOutput, steps 4, rows [12, 4, 2, 1], wide 1, narrow 4, zero, load_codes, fma, store
}
product! {
    #[target_feature(enable = "avx512f,avx512vnni")]
    biased([i8; 4]) -> i32 => Int8Output, steps 1, rows [12, 4, 2, 1], wide 2, narrow 4, zero_i32, load_unsigned, dot, store_i32
}

/// `Σ x · w`, from `Σ x · (w + 128)` and the sum of each row of `x`.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(crate) fn int8(operands: Operands<'_, [i8; 4]>, groups: Range<usize>, mut out: Int8Output<'_>) {
    out.excess = 128;
    biased(operands, groups, out);
}

/// [`softmax_row`] with 512-bit registers.
#[target_feature(enable = "avx512f")]
pub(crate) fn softmax(scores: &mut [f32]) -> f32 {
    softmax_row(scores)
}
