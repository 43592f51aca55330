//! A few rows of `x` against groups in base three, decoded in registers.
//!
//! A decoded word is used by a few rows alone, so that writing it down and reading it back would cost as much as the rows
//! do. Decoding takes other units than `vpdpbusd` and waits for nothing but the stored line: in one loop with 8 rows it
//! runs beside the products (5 ms of 31 in a step of 8 texts of the 0.7 B shape on Zen 4). As in `gemv`, two groups share
//! the broadcasts of `x`, and each load asks for the line that the next pair will read in its place.

use std::arch::x86_64::*;

use super::gemv::{Table, broadcast, fetch_ahead, first_digits, load, quad_masks, store};
use crate::{
    format::Line,
    gemm::base_three::{BLOCK_LINES, BLOCK_WORDS},
    gemm::blocking::{Lanes, Sixteen},
};

/// Rows at most: 2 × 8 accumulators leave 16 registers for the table, two lines, their words and codes.
pub(crate) const ROWS: usize = 8;

/// [`FewRows`](crate::isa::FewRows).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn base_three(groups: [&[Line]; 2], rows: usize, x: &[Sixteen], sums: &mut [[Lanes; 2]]) {
    macro_rules! by_rows {
        ($($r:literal)*) => {
            match rows {
                $($r => pair::<$r>(groups, x, sums.first_chunk_mut().expect("a row of sums for each of x")),)*
                rows => unreachable!("{rows} rows in a block"),
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn pair<const R: usize>(groups: [&[Line]; 2], x: &[Sixteen], sums: &mut [[Lanes; 2]; R]) {
    let lines = groups[0].len();
    let x = x.as_chunks::<R>().0;
    assert_eq!(groups[1].len(), lines);
    assert_eq!(x.len(), lines + lines.div_ceil(BLOCK_LINES));
    let (masks, table) = (quad_masks(), Table::load());
    let mut acc = [[_mm512_setzero_si512(); 2]; R];
    let [a, b] = groups.map(|lines| lines.chunks(BLOCK_LINES));
    for ((a, b), x) in a.zip(b).zip(x.chunks(BLOCK_WORDS)) {
        let mut last = [_mm512_setzero_si512(); 2];
        for ((a, b), x) in a.iter().zip(b).zip(x) {
            let mut words = [_mm512_setzero_si512(); 2];
            for (g, line) in [a, b].into_iter().enumerate() {
                fetch_ahead(line, 2 * lines);
                let bytes = load(line);
                // The digits come at bits 7:6 of their bytes; three more lines move the first one's to bits 1:0.
                last[g] = _mm512_or_si512(
                    _mm512_srli_epi32::<2>(last[g]),
                    first_digits(bytes, masks),
                );
                words[g] = table.quads(bytes);
            }
            add_word(&mut acc, words, masks[0], x);
        }
        let unused = _mm_cvtsi32_si128(2 * (BLOCK_LINES - a.len()) as i32);
        for last in &mut last {
            *last = _mm512_srl_epi32(*last, unused);
        }
        add_word(&mut acc, last, masks[0], &x[a.len()]);
    }
    for r in 0..R {
        for g in 0..2 {
            store(acc[r][g], &mut sums[r][g]);
        }
    }
}

/// Adds the products of two words with their activations of each row.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_word<const R: usize>(
    acc: &mut [[__m512i; 2]; R],
    mut words: [__m512i; 2],
    mask: __m512i,
    x: &[Sixteen; R],
) {
    for quad in 0..4 {
        let codes = [
            _mm512_and_si512(words[0], mask),
            _mm512_and_si512(words[1], mask),
        ];
        for r in 0..R {
            let x = broadcast(&x[r], quad);
            acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], codes[0], x);
            acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], codes[1], x);
        }
        for word in &mut words {
            *word = _mm512_srli_epi32::<2>(*word);
        }
    }
}
