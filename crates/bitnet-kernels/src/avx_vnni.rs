//! The AVX-VNNI kernel: the prepared products of `avx2` with 256-bit `vpdpbusd`.
//!
//! Every function here needs AVX2 and AVX-VNNI. A lane adds at most `4 · 3 · 128` a quad in int32, so the bounds are those
//! of any order of summation (`product`), and widening has nothing left to do but to hand the sums over.

use std::arch::x86_64::*;

use crate::avx2::panel_functions;

// 64 words: the sums go to memory seldom.
panel_functions!("avx2,avxvnni", 64, dot, widen);

/// Adds `Σ codes · x` of four neighbours in int32.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dot(acc: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    _mm256_dpbusd_avx_epi32(acc, codes, x)
}

/// The sums are int32 already.
#[inline]
fn widen(acc: __m256i) -> __m256i {
    acc
}
