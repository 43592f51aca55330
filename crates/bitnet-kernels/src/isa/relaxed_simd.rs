//! WebAssembly's relaxed SIMD: products of bytes, for the rest the loops of `simd128`.
//!
//! `i32x4.relaxed_dot_i8x16_i7x16_add_s` multiplies signed bytes by bytes and adds four neighbours to int32: `sdot` on Arm,
//! `vpdpbusd` on x86 that has it, `pmaddubsw` and `pmaddwd` elsewhere. It is *relaxed* because engines may differ where the
//! second operand is no number of 7 bits, in its sign, and where a sum of two products exceeds int16, in saturating. Codes
//! are 0 to 3 (to 15 in blocks) and two products at most `2 · 15 · 128 = 3,840`, so no engine may give anything but the
//! exact sum: the bits are those of every kernel.
//!
//! A quarter of a line is 12 instructions, and its share of the activations' 5: 53 for the 256 weights of a line, 0.21 a
//! weight.
//!
//! Codes of 8 bits are no such operand and are multiplied as in `simd128`; other relaxed instructions (`madd`) are not used,
//! because their results depend on the processor.

use std::arch::wasm32::*;

use super::{
    DenseLoops, Isa,
    simd128::{
        self, load,
        panels::{self, Multiply, lane},
        sixteen,
    },
};
use crate::{
    Layout,
    blocks::block_product,
    format::Line,
    gemm::blocking::{Lanes, Sixteen},
};

pub(crate) static ISA: Isa = Isa {
    needs: "relaxed SIMD, without which this module would not have been loaded",
    detect: || Ok(()),
    layout: Layout::TwoBit,
    rows: simd128::ROWS,
    panels: panels::loops::<Bytes>(),
    many_rows: None,
    lookup: None,
    dense: DenseLoops {
        blocks,
        ..simd128::DENSE
    },
    peak: Some(dots),
};

/// Products of bytes.
struct Bytes;

impl Multiply for Bytes {
    #[inline(always)]
    fn add<const R: usize>(words: &[Line], x: &[[Sixteen; R]], sums: &mut [Lanes; R]) {
        assert_eq!(words.len(), x.len());
        let mut acc = [[i32x4_splat(0); 4]; R];
        for (line, x) in words.iter().zip(x) {
            let words = load(line);
            let x = x.each_ref().map(sixteen);
            add_quad::<R, 0>(&mut acc, words, x);
            add_quad::<R, 1>(&mut acc, words.map(|words| u32x4_shr(words, 2)), x);
            add_quad::<R, 2>(&mut acc, words.map(|words| u32x4_shr(words, 4)), x);
            add_quad::<R, 3>(&mut acc, words.map(|words| u32x4_shr(words, 6)), x);
        }
        for (sums, acc) in sums.iter_mut().zip(acc) {
            panels::add(acc, sums);
        }
    }
}

/// Adds the products of the quad that stands at bits 1:0 of each byte.
#[inline(always)]
fn add_quad<const R: usize, const QUAD: usize>(
    acc: &mut [[v128; 4]; R],
    words: [v128; 4],
    x: [v128; R],
) {
    let codes = words.map(|words| v128_and(words, u8x16_splat(3)));
    for r in 0..R {
        let x = lane::<QUAD>(x[r]);
        for quarter in 0..4 {
            acc[r][quarter] = dot(acc[r][quarter], codes[quarter], x);
        }
    }
}

/// Adds to each lane its four codes times four signed bytes; codes of at most 7 bits.
#[inline(always)]
fn dot(sum: v128, codes: v128, x: v128) -> v128 {
    i32x4_relaxed_dot_i8x16_i7x16_add(x, codes, sum)
}

/// The operations that `block_product` asks for: `simd128`'s but for codes of 4 bits.
mod ops {
    use std::arch::wasm32::*;

    use super::{dot, load};
    pub(super) use crate::isa::simd128::ops::{
        Ints, add, add_min, begin4, begin8, bytes, dot8, end4, scales, scales_f32, store, zero,
    };
    use crate::dense::Line;

    #[inline(always)]
    pub(super) fn nibbles(line: &Line) -> [[v128; 4]; 2] {
        let (lanes, mask) = (load(line), u8x16_splat(15));
        [
            lanes.map(|lane| v128_and(lane, mask)),
            lanes.map(|lane| v128_and(u32x4_shr(lane, 4), mask)),
        ]
    }

    #[inline(always)]
    pub(super) fn dot4(mut sum: Ints, codes: [v128; 4], x: [i8; 4]) -> Ints {
        let x = i32x4_splat(i32::from_le_bytes(x.map(|x| x as u8)));
        for quarter in 0..4 {
            sum[quarter] = dot(sum[quarter], codes[quarter], x);
        }
        sum
    }
}

block_product! { blocks, rows [2, 1], wide 1, narrow 1, self::ops }

/// Runs `rounds` rounds of 12 independent dot products and returns the multiply-adds of one round.
fn dots(rounds: usize) -> usize {
    let mut sums = [i32x4_splat(0); 12];
    let codes = std::hint::black_box(i32x4_splat(0));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = dot(*sum, codes, *sum);
        }
    }
    std::hint::black_box(sums);
    12 * 16
}
