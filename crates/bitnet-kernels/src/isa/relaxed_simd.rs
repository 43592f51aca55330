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
//! Codes of 8 bits are no such operand and are multiplied as in `simd128`.
//!
//! `f32x4.relaxed_madd` is the processor's fused multiply-add, or a product and a sum where it has none: an engine does one
//! or the other, always. Which one is asked once; where it does not fuse, this kernel does not run, for float sums are
//! defined as fused.

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
    needs: "relaxed SIMD with fused multiply-adds",
    detect: || match fuses() {
        true => Ok(()),
        false => Err("the engine does not fuse multiply-adds".into()),
    },
    layout: Layout::TwoBit,
    rows: simd128::ROWS,
    panels: panels::loops::<Bytes>(),
    few_rows: None,
    many_rows: None,
    lookup: None,
    scaled: None,
    dense: DenseLoops {
        dense_f32: dense::f32,
        dense_bf16: dense::bf16,
        dense_f16: dense::f16,
        dense_codes: dense::codes,
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

/// Whether `relaxed_madd` rounds once. (1 + 2^-23)² - 1 - 2^-22 is 2^-46, and 0 with two roundings.
fn fuses() -> bool {
    let x = f32x4_splat(std::hint::black_box(1.0 + f32::EPSILON));
    let sum = f32x4_splat(std::hint::black_box(-1.0 - 2.0 * f32::EPSILON));
    f32x4_extract_lane::<0>(f32x4_relaxed_madd(x, x, sum)) == f32::EPSILON * f32::EPSILON
}

/// Sixteen floats.
type Floats = [v128; 4];

#[inline(always)]
fn zero() -> Floats {
    [f32x4_splat(0.0); 4]
}

/// `fma(w, x, sum)`.
#[inline(always)]
fn fma(mut sum: Floats, w: Floats, x: f32) -> Floats {
    for (sum, w) in sum.iter_mut().zip(w) {
        *sum = f32x4_relaxed_madd(w, f32x4_splat(x), *sum);
    }
    sum
}

#[inline(always)]
fn store(sum: Floats) -> [f32; 16] {
    let mut out = [0.0; 16];
    for (out, sum) in out.as_chunks_mut::<4>().0.iter_mut().zip(sum) {
        // SAFETY: `out` is 16 bytes.
        unsafe { v128_store(out.as_mut_ptr().cast(), sum) };
    }
    out
}

/// Products with a matrix of floats.
mod dense {
    use std::arch::wasm32::*;

    use super::{Floats, fma, load, simd128::floats::of_f16, store, zero};
    use crate::dense::{Line, product};

    #[inline(always)]
    fn load_f32(line: &Line) -> [Floats; 1] {
        [load(line)]
    }

    #[inline(always)]
    fn load_bf16(line: &Line) -> [Floats; 2] {
        let lanes = load(line);
        [
            lanes.map(|lane| i32x4_shl(lane, 16)),
            lanes.map(|lane| v128_and(lane, u32x4_splat(0xffff_0000))),
        ]
    }

    #[inline(always)]
    fn load_f16(line: &Line) -> [Floats; 2] {
        let [a, b, c, d] = load(line);
        [of_f16([a, b]), of_f16([c, d])]
    }

    #[inline(always)]
    fn load_codes(line: &Line) -> [Floats; 4] {
        let lanes = load(line);
        let upper = |shift: u32| lanes.map(|lane| f32x4_convert_i32x4(i32x4_shr(i32x4_shl(lane, shift), 24)));
        [upper(24), upper(16), upper(8), upper(0)]
    }

    product! { f32(f32) -> f32 => FloatOutput, steps 1, rows [2, 1], wide 1, narrow 2, zero, load_f32, fma, store }
    product! { bf16(f32) -> f32 => FloatOutput, steps 2, rows [2, 1], wide 1, narrow 2, zero, load_bf16, fma, store }
    product! { f16(f32) -> f32 => FloatOutput, steps 2, rows [2, 1], wide 1, narrow 2, zero, load_f16, fma, store }
    product! { codes(f32) -> f32 => FloatOutput, steps 4, rows [2, 1], wide 1, narrow 1, zero, load_codes, fma, store }
}

/// The operations that `block_product` asks for: `simd128`'s for codes of 8 bits.
mod ops {
    use std::arch::wasm32::*;

    use super::{Floats, dot, load};
    pub(super) use super::{store, zero};
    pub(super) use crate::isa::simd128::ops::{
        Ints, begin4, begin8, bytes, dot8, end4, scales, scales_f32,
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

    #[inline(always)]
    pub(super) fn add(mut acc: Floats, sum: Ints, w_scale: Floats, x_scale: f32) -> Floats {
        for quarter in 0..4 {
            let scale = f32x4_mul(w_scale[quarter], f32x4_splat(x_scale));
            let sum = f32x4_convert_i32x4(sum[quarter]);
            acc[quarter] = f32x4_relaxed_madd(sum, scale, acc[quarter]);
        }
        acc
    }

    #[inline(always)]
    pub(super) fn add_min(acc: Floats, minimum: Floats, x_sum: f32) -> Floats {
        super::fma(acc, minimum, x_sum)
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
