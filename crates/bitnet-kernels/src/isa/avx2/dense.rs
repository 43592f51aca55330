//! AVX2 and FMA: a line is two registers.
//!
//! A tile of 6 rows by 1 group has 12 accumulators; the line and a broadcast take 3 more of the 16 registers.
//!
//! # Int8 without saturation
//!
//! `vpmaddubsw` wants one unsigned operand and saturates at int16. With `|w|` as the unsigned one and the sign of `w` moved
//! to `x` a pair is at most `2 · 128 · 127 = 32512`: a code of a row with its own scale never reaches -128
//! (`quantize::activations`), and `|w| ≤ 128` covers any byte that a matrix could hold.

use std::arch::x86_64::*;

use super::floats::scales;
use crate::dense::{Line, product, softmax_row};

type Lanes = [__m256; 2];
type Sums = [__m256i; 2];

#[inline]
#[target_feature(enable = "avx2")]
fn zero() -> Lanes {
    [_mm256_setzero_ps(); 2]
}

#[inline]
#[target_feature(enable = "avx2")]
fn halves(line: &Line) -> [__m256i; 2] {
    let start = line.0.as_ptr().cast::<__m256i>();
    // SAFETY: a line is 64 aligned bytes.
    unsafe { [_mm256_load_si256(start), _mm256_load_si256(start.add(1))] }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32(line: &Line) -> [Lanes; 1] {
    let [low, high] = halves(line);
    [[_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)]]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_bf16(line: &Line) -> [Lanes; 2] {
    let [low, high] = halves(line);
    let upper = _mm256_set1_epi32(0xffff_0000u32 as i32);
    [
        [
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
        ],
        [
            _mm256_castsi256_ps(_mm256_and_si256(low, upper)),
            _mm256_castsi256_ps(_mm256_and_si256(high, upper)),
        ],
    ]
}

#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_f16(line: &Line) -> [Lanes; 2] {
    [scales(line, 0), scales(line, 1)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_codes(line: &Line) -> [Lanes; 4] {
    let [low, high] = halves(line);
    let upper = |fours| _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>(fours));
    [
        [upper(_mm256_slli_epi32::<24>(low)), upper(_mm256_slli_epi32::<24>(high))],
        [upper(_mm256_slli_epi32::<16>(low)), upper(_mm256_slli_epi32::<16>(high))],
        [upper(_mm256_slli_epi32::<8>(low)), upper(_mm256_slli_epi32::<8>(high))],
        [upper(low), upper(high)],
    ]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn fma(sum: Lanes, w: Lanes, x: f32) -> Lanes {
    let x = _mm256_set1_ps(x);
    [
        _mm256_fmadd_ps(w[0], x, sum[0]),
        _mm256_fmadd_ps(w[1], x, sum[1]),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(sum: Lanes) -> [f32; 16] {
    let mut out = [0.0; 16];
    // SAFETY: `out` is 64 bytes.
    unsafe {
        _mm256_storeu_ps(out.as_mut_ptr(), sum[0]);
        _mm256_storeu_ps(out.as_mut_ptr().add(8), sum[1]);
    }
    out
}

#[inline]
#[target_feature(enable = "avx2")]
fn zero_i32() -> Sums {
    [_mm256_setzero_si256(); 2]
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_i8(line: &Line) -> [Sums; 1] {
    [halves(line)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn dot(sum: Sums, w: Sums, x: [i8; 4]) -> Sums {
    let x = _mm256_set1_epi32(i32::from_ne_bytes([
        x[0] as u8, x[1] as u8, x[2] as u8, x[3] as u8,
    ]));
    let ones = _mm256_set1_epi16(1);
    let one = |sum, w| {
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones))
    };
    [one(sum[0], w[0]), one(sum[1], w[1])]
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_i32(sum: Sums) -> [i32; 16] {
    let mut out = [0; 16];
    // SAFETY: `out` is 64 bytes.
    unsafe {
        _mm256_storeu_si256(out.as_mut_ptr().cast(), sum[0]);
        _mm256_storeu_si256(out.as_mut_ptr().add(8).cast(), sum[1]);
    }
    out
}

product! {
    #[target_feature(enable = "avx2,fma")]
    f32(f32) -> f32 => FloatOutput, steps 1, rows [6, 2, 1], wide 1, narrow 4, zero, load_f32, fma, store
}
product! {
    #[target_feature(enable = "avx2,fma")]
    bf16(f32) -> f32 => FloatOutput, steps 2, rows [4, 2, 1], wide 1, narrow 4, zero, load_bf16, fma, store
}
product! {
    #[target_feature(enable = "avx2,fma,f16c")]
    f16(f32) -> f32 => FloatOutput, steps 2, rows [4, 2, 1], wide 1, narrow 4, zero, load_f16, fma, store
}
product! {
    #[target_feature(enable = "avx2,fma")]
    codes(f32) -> f32 => FloatOutput, steps 4, rows [4, 2, 1], wide 1, narrow 2, zero, load_codes, fma, store
}
product! {
    #[target_feature(enable = "avx2")]
    int8([i8; 4]) -> i32 => Int8Output, steps 1, rows [4, 2, 1], wide 1, narrow 2, zero_i32, load_i8, dot, store_i32
}

/// [`softmax_row`] with 256-bit registers.
#[target_feature(enable = "avx2")]
pub(crate) fn softmax(scores: &mut [f32]) -> f32 {
    softmax_row(scores)
}
