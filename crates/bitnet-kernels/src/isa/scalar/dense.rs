//! Plain Rust, for any processor.
//!
//! `f32::mul_add` is defined to round once. Without the instruction it is a library call, so on x86-64 the same source is
//! compiled for FMA as well.

use std::ops::Range;

use crate::dense::{FloatOutput, Line, Operands, product};

type Lanes = [f32; 16];

#[inline(always)]
fn zero() -> Lanes {
    [0.0; 16]
}

#[inline(always)]
fn load_f32(line: &Line) -> [Lanes; 1] {
    [line.0.map(f32::from_bits)]
}

#[inline(always)]
fn load_bf16(line: &Line) -> [Lanes; 2] {
    [
        line.0.map(|lane| f32::from_bits(lane << 16)),
        line.0.map(|lane| f32::from_bits(lane & 0xffff_0000)),
    ]
}

#[inline(always)]
fn load_f16(line: &Line) -> [Lanes; 2] {
    [0, 1].map(|half| std::array::from_fn(|lane| line.f16(lane, half)))
}

#[inline(always)]
fn load_codes(line: &Line) -> [Lanes; 4] {
    std::array::from_fn(|index| std::array::from_fn(|lane| f32::from(line.i8(lane, index))))
}

#[inline(always)]
fn fma(mut sum: Lanes, w: Lanes, x: f32) -> Lanes {
    for (sum, w) in sum.iter_mut().zip(w) {
        *sum = w.mul_add(x, *sum);
    }
    sum
}

#[inline(always)]
fn store(sum: Lanes) -> Lanes {
    sum
}

#[inline(always)]
fn zero_i32() -> [i32; 16] {
    [0; 16]
}

#[inline(always)]
fn load_i8(line: &Line) -> [[u32; 16]; 1] {
    [line.0]
}

#[inline(always)]
fn dot(mut sum: [i32; 16], w: [u32; 16], x: [i8; 4]) -> [i32; 16] {
    for (sum, w) in sum.iter_mut().zip(w) {
        for (w, x) in w.to_le_bytes().into_iter().zip(x) {
            *sum += i32::from(w as i8) * i32::from(x);
        }
    }
    sum
}

#[inline(always)]
fn store_i32(sum: [i32; 16]) -> [i32; 16] {
    sum
}

product! { plain_f32(f32) -> f32 => FloatOutput, steps 1, rows [1], wide 1, narrow 1, zero, load_f32, fma, store }
product! { plain_bf16(f32) -> f32 => FloatOutput, steps 2, rows [1], wide 1, narrow 1, zero, load_bf16, fma, store }
product! { plain_f16(f32) -> f32 => FloatOutput, steps 2, rows [1], wide 1, narrow 1, zero, load_f16, fma, store }
product! { plain_codes(f32) -> f32 => FloatOutput, steps 4, rows [1], wide 1, narrow 1, zero, load_codes, fma, store }
product! { int8([i8; 4]) -> i32 => Int8Output, steps 1, rows [1], wide 1, narrow 1, zero_i32, load_i8, dot, store_i32 }

/// The float products with the processor's fused multiply-add.
#[cfg(target_arch = "x86_64")]
mod fused {
    use super::{fma, load_bf16, load_codes, load_f16, load_f32, product, store, zero};

    product! {
        #[target_feature(enable = "fma")]
        f32(f32) -> f32 => FloatOutput, steps 1, rows [1], wide 1, narrow 1, zero, load_f32, fma, store
    }
    product! {
        #[target_feature(enable = "fma")]
        bf16(f32) -> f32 => FloatOutput, steps 2, rows [1], wide 1, narrow 1, zero, load_bf16, fma, store
    }
    product! {
        #[target_feature(enable = "fma")]
        f16(f32) -> f32 => FloatOutput, steps 2, rows [1], wide 1, narrow 1, zero, load_f16, fma, store
    }
    product! {
        #[target_feature(enable = "fma")]
        codes(f32) -> f32 => FloatOutput, steps 4, rows [1], wide 1, narrow 1, zero, load_codes, fma, store
    }
}

/// Products with a matrix of f32, by the processor's fused multiply-add where it has one.
pub(crate) fn f32(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("fma") {
        // SAFETY: just detected.
        return unsafe { fused::f32(operands, groups, out) };
    }
    plain_f32(operands, groups, out);
}

/// As [`f32`], of bfloat16.
pub(crate) fn bf16(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("fma") {
        // SAFETY: just detected.
        return unsafe { fused::bf16(operands, groups, out) };
    }
    plain_bf16(operands, groups, out);
}

/// As [`f32`], of f16.
pub(crate) fn f16(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("fma") {
        // SAFETY: just detected.
        return unsafe { fused::f16(operands, groups, out) };
    }
    plain_f16(operands, groups, out);
}

/// As [`f32`], of int8 codes.
pub(crate) fn codes(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("fma") {
        // SAFETY: just detected.
        return unsafe { fused::codes(operands, groups, out) };
    }
    plain_codes(operands, groups, out);
}
