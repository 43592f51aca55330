//! Many rows of `x`: codes are decoded once and meet up to [`ROWS`] rows while they are in registers.
//!
//! `vpdpbusd` on 512 bits starts once a cycle and its result is ready 4 cycles later, so at least 4 sums must be under
//! way. A block of 2 groups × 10 rows has 20 accumulators and leaves 12 of the 32 registers: two lines of words, two of
//! codes, the mask, and broadcast activations that are under way. (With 12 rows the compiler spills.) A decoded quad costs
//! 2 instructions for 10 `vpdpbusd`, and a broadcast (from the level-one cache) serves 2 of them.

use std::arch::x86_64::*;

use super::gemv::{broadcast, load, store};
use crate::{
    format::Line,
    gemm::blocking::{Lanes, Sixteen},
};

/// Rows of `x` at most in one call of [`gemm`].
pub(crate) const ROWS: usize = 10;

/// `sums[r][g] = Σ stored · x` of one or two groups of words with up to [`ROWS`] rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn gemm(groups: [&[Line]; 2], rows: usize, x: &[Sixteen], sums: &mut [[Lanes; 2]]) {
    macro_rules! by_rows {
        ($($r:literal)*) => {
            match rows {
                $($r => block::<$r>(groups, x, sums.first_chunk_mut().expect("a row of sums for each of x")),)*
                rows => unreachable!("{rows} rows in a block"),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn block<const R: usize>([a, b]: [&[Line]; 2], x: &[Sixteen], sums: &mut [[Lanes; 2]; R]) {
    let mut acc = [[_mm512_setzero_si512(); 2]; R];
    add_words(&mut acc, a, b, x.as_chunks::<R>().0);
    for r in 0..R {
        store(acc[r][0], &mut sums[r][0]);
        store(acc[r][1], &mut sums[r][1]);
    }
}

/// Adds the products of two groups of words with `R` rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(super) fn add_words<const R: usize>(
    acc: &mut [[__m512i; 2]; R],
    a: &[Line],
    b: &[Line],
    x: &[[Sixteen; R]],
) {
    assert!(a.len() == b.len() && a.len() == x.len());
    let mask = _mm512_set1_epi8(3);
    for ((a, b), x) in a.iter().zip(b).zip(x) {
        let (mut wa, mut wb) = (load(a), load(b));
        for quad in 0..4 {
            let (ca, cb) = (_mm512_and_si512(wa, mask), _mm512_and_si512(wb, mask));
            for r in 0..R {
                let x = broadcast(&x[r], quad);
                acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], ca, x);
                acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], cb, x);
            }
            (wa, wb) = (_mm512_srli_epi32::<2>(wa), _mm512_srli_epi32::<2>(wb));
        }
    }
}
