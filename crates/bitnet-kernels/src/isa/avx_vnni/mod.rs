//! The AVX-VNNI kernel: the prepacked products of `avx2` with 256-bit `vpdpbusd`.
//!
//! Every function here needs AVX2 and AVX-VNNI. A lane adds at most `4 · 3 · 128` a quad in int32, so the bounds are those
//! of any order of summation (`product`), and widening has nothing left to do but to hand the sums over.

pub(crate) mod blocks;

use std::arch::x86_64::*;

use super::{DenseLoops, Isa, PanelLoops, avx2, avx2::panel_functions, scalar};
use crate::Layout;

const NEEDS: &str = "AVX-VNNI";

pub(crate) static ISA: Isa = Isa {
    needs: NEEDS,
    detect: || require!(is_x86_feature_detected, NEEDS, "avx2", "fma", "f16c", "avxvnni"),
    layout: Layout::TwoBit,
    rows: avx2::ROWS,
    panels: PanelLoops {
        two_bit,
        base_three,
        decode,
        gemm,
        signed: scalar::signed,
        rows_at_a_time: ROWS,
    },
    few_rows: None,
    many_rows: None,
    lookup: None,
    scaled: None,
    dense: DenseLoops {
        blocks: blocks::blocks,
        ..avx2::DENSE
    },
    peak: Some(dots),
};

peak!(dots, "avx2,avxvnni", _mm256_setzero_si256(), _mm256_dpbusd_avx_epi32, 32);

// 64 words: the sums go to memory seldom.
panel_functions!("avx2,avxvnni", 64, 6, 4, dot, widen);

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

/// AVX-512 VNNI with VL has the same instruction in another encoding, on more machines: the shared code with a dot
/// product in int32, against `scalar`.
#[cfg(test)]
mod tests {
    mod evex {
        use std::arch::x86_64::*;

        use crate::isa::avx2::panel_functions;

        panel_functions!("avx2,avx512vnni,avx512vl", 64, 6, 4, dot, widen);

        #[inline]
        #[target_feature(enable = "avx2,avx512vnni,avx512vl")]
        fn dot(acc: __m256i, codes: __m256i, x: __m256i) -> __m256i {
            _mm256_dpbusd_epi32(acc, codes, x)
        }

        #[inline]
        fn widen(acc: __m256i) -> __m256i {
            acc
        }
    }

    use crate::{
        Kernel,
        format::{GROUP_ROWS, Line},
        gemm::{
            base_three::Blocks,
            blocking::{Lanes, Sixteen},
        },
        skipped::skipped,
    };

    #[test]
    fn agrees_with_scalar() {
        if "avx512-vnni".parse::<Kernel>().is_err() {
            skipped("AVX-VNNI in the encoding of AVX-512: no AVX-512 VNNI here");
            return;
        }
        let scalar = Kernel::SCALAR.loops();
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        // Any word may stand here, codes 3 included; a byte of base three is below 243 · 256 / 243.
        let mut line = |top| {
            Line(
                [(); GROUP_ROWS]
                    .map(|()| u32::from_le_bytes([(); 4].map(|()| (random() % top) as u8))),
            )
        };
        for cols in [16, 80, 400, 1300, 5210] {
            let blocks = Blocks::of(cols);
            let words: Vec<Line> = (0..2 * blocks.words()).map(|_| line(256)).collect();
            let lines: Vec<Line> = (0..2 * blocks.lines()).map(|_| line(255)).collect();
            let (a, b) = words.split_at(blocks.words());
            let x: Vec<Sixteen> = (0..evex::ROWS * blocks.words())
                .map(|i| [(i * 37) as i8; 16])
                .collect();
            let row = &x.as_flattened()[..16 * blocks.words()];
            for rows in [1, 2, 3, 4, 5, 6, 7, 22, evex::ROWS] {
                let mut fast = [[Lanes::ZERO; 2]; evex::ROWS];
                let x = &x[..rows * blocks.words()];
                // SAFETY: `avx512-vnni` includes AVX-512 VNNI and VL, and is available.
                unsafe { evex::gemm([a, b], rows, x, &mut fast) };
                for (row, fast) in fast[..rows].iter().enumerate() {
                    let x: Vec<Sixteen> = x.iter().skip(row).step_by(rows).copied().collect();
                    let mut slow = [[Lanes::ZERO; 2]; 1];
                    scalar.gemm([a, b], 1, &x, &mut slow);
                    assert_eq!(
                        fast.map(|s| s.0),
                        slow[0].map(|s| s.0),
                        "row {row} of {rows}"
                    );
                }
            }
            let (mut fast, mut slow) = ([Lanes::ZERO; 2], [Lanes::ZERO; 2]);
            // SAFETY: as above.
            unsafe { evex::two_bit(&words, blocks.words(), row, &mut fast) };
            scalar.two_bit(&words, blocks.words(), row, &mut slow);
            assert_eq!(fast.map(|s| s.0), slow.map(|s| s.0));
            // SAFETY: as above.
            unsafe { evex::base_three(&lines, blocks, row, &mut fast) };
            scalar.base_three(&lines, blocks, row, &mut slow);
            assert_eq!(fast.map(|s| s.0), slow.map(|s| s.0));
        }
    }
}
