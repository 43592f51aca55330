//! Products over whole lines: floats by exact fused multiply-adds (`floats`), int8 by pairs in int16.
//!
//! A tile is one row by one group: its 16 sums are 8 registers of doubles, or 4 of int32 beside 8 of widened weights.

use std::arch::wasm32::*;

use super::{
    blocks::ops::{dot8, pairs_of_bytes},
    floats::{self, Wide, of_f16, store, widen, zero},
    load,
};
use crate::dense::{Line, product};

#[inline(always)]
fn load_f32(line: &Line) -> [Wide; 1] {
    [widen(load(line))]
}

#[inline(always)]
fn load_bf16(line: &Line) -> [Wide; 2] {
    let lanes = load(line);
    [
        widen(lanes.map(|lane| i32x4_shl(lane, 16))),
        widen(lanes.map(|lane| v128_and(lane, u32x4_splat(0xffff_0000)))),
    ]
}

#[inline(always)]
fn load_f16(line: &Line) -> [Wide; 2] {
    let [a, b, c, d] = load(line);
    [widen(of_f16([a, b])), widen(of_f16([c, d]))]
}

#[inline(always)]
fn load_codes(line: &Line) -> [Wide; 4] {
    let lanes = load(line);
    let upper = |shift: u32| {
        widen(lanes.map(|lane| f32x4_convert_i32x4(i32x4_shr(i32x4_shl(lane, shift), 24))))
    };
    [upper(24), upper(16), upper(8), upper(0)]
}

#[inline(always)]
fn fma(sum: Wide, w: Wide, x: f32) -> Wide {
    floats::fma(sum, w, [f64x2_splat(f64::from(x)); 8])
}

#[inline(always)]
fn zero_i32() -> [v128; 4] {
    [i32x4_splat(0); 4]
}

#[inline(always)]
fn load_i8(line: &Line) -> [[v128; 8]; 1] {
    [pairs_of_bytes(line)]
}

#[inline(always)]
fn store_i32(sum: [v128; 4]) -> [i32; 16] {
    let mut out = [0; 16];
    for (out, sum) in out.as_chunks_mut::<4>().0.iter_mut().zip(sum) {
        // SAFETY: `out` is 16 bytes.
        unsafe { v128_store(out.as_mut_ptr().cast(), sum) };
    }
    out
}

product! { f32(f32) -> f32 => FloatOutput, steps 1, rows [1], wide 1, narrow 1, zero, load_f32, fma, store }
product! { bf16(f32) -> f32 => FloatOutput, steps 2, rows [1], wide 1, narrow 1, zero, load_bf16, fma, store }
product! { f16(f32) -> f32 => FloatOutput, steps 2, rows [1], wide 1, narrow 1, zero, load_f16, fma, store }
product! { codes(f32) -> f32 => FloatOutput, steps 4, rows [1], wide 1, narrow 1, zero, load_codes, fma, store }
product! {
    int8([i8; 4]) -> i32 => Int8Output, steps 1, rows [2, 1], wide 1, narrow 1, zero_i32, load_i8, dot8, store_i32
}
