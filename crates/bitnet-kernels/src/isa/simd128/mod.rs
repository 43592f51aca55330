//! WebAssembly's SIMD128: 4 output rows a register, four registers a line.
//!
//! WebAssembly has nothing to ask at run time: a module that holds an instruction its engine lacks is refused whole. So
//! this kernel exists where the build has `-C target-feature=+simd128`, and whoever runs it has what it needs; a page that
//! is to run everywhere asks (`WebAssembly.validate`) before it chooses a build. The functions need no attribute of their
//! own for the same reason.
//!
//! | file | concept |
//! |---|---|
//! | `panels` | loops over prepacked weights, for any way to multiply; products of pairs in int16; base three |
//! | `floats` | fused multiply-adds, which WebAssembly lacks, exactly |
//! | `dense`, `blocks` | products with float weights |

mod blocks;
mod dense;
pub(crate) mod floats;
pub(crate) mod panels;

use std::arch::wasm32::*;

pub(crate) use blocks::{blocks, ops};

use super::{DenseLoops, Isa, RowLoops, scalar};
use crate::{Layout, format::Line, gemm::blocking::Sixteen};

pub(crate) static ISA: Isa = Isa {
    needs: "SIMD128, without which this module would not have been loaded",
    detect: || Ok(()),
    layout: Layout::TwoBit,
    rows: ROWS,
    panels: panels::loops::<panels::Pairs>(),
    few_rows: None,
    many_rows: None,
    lookup: None,
    scaled: None,
    dense: DENSE,
    peak: Some(dots),
};

/// The loops over rows: what a compiler does not find by itself.
pub(crate) const ROWS: RowLoops = RowLoops {
    quantize_row,
    transpose_row,
    ..scalar::ROWS
};

/// Products with float weights.
pub(crate) const DENSE: DenseLoops = DenseLoops {
    dense_f32: dense::f32,
    dense_bf16: dense::bf16,
    dense_f16: dense::f16,
    dense_codes: dense::codes,
    dense_int8: dense::int8,
    blocks,
    ..scalar::DENSE
};

/// `clamp(round(x · s), -128, 127)` of a finite row.
fn quantize_row(x: &[f32], scale: f32, codes: &mut [i8]) {
    let s = f32x4_splat(scale);
    let (blocks, tail) = x.as_chunks::<16>();
    let (out, out_tail) = codes.as_chunks_mut::<16>();
    for (block, out) in blocks.iter().zip(out) {
        let mut ints = [i32x4_splat(0); 4];
        for (i, ints) in ints.iter_mut().enumerate() {
            // SAFETY: block has 16 floats and i < 4.
            let x = unsafe { v128_load(block.as_ptr().add(4 * i).cast()) };
            // Half to even, as `round_ties_even`.
            *ints = i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(x, s)));
        }
        let halves = [
            i16x8_narrow_i32x4(ints[0], ints[1]),
            i16x8_narrow_i32x4(ints[2], ints[3]),
        ];
        // SAFETY: out has 16 bytes.
        unsafe { v128_store(out.as_mut_ptr().cast(), i8x16_narrow_i16x8(halves[0], halves[1])) };
    }
    scalar::quantize_row(tail, scale, out_tail);
}

/// Writes a row of codes as the 4 × 4 transpositions of its sixteens, zero past its end, and returns its sum.
fn transpose_row(codes: &[i8], out: &mut [i8]) -> i32 {
    let (blocks, tail) = codes.as_chunks::<16>();
    let (full, rest) = out.split_at_mut(16 * blocks.len());
    for (block, out) in blocks.iter().zip(full.as_chunks_mut::<16>().0) {
        let x = sixteen(block);
        let x = i8x16_shuffle::<0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15>(x, x);
        // SAFETY: out has 16 bytes.
        unsafe { v128_store(out.as_mut_ptr().cast(), x) };
    }
    scalar::transpose_row(tail, rest);
    scalar::sum(codes)
}

/// A register of codes.
#[inline(always)]
pub(crate) fn sixteen(codes: &Sixteen) -> v128 {
    // SAFETY: 16 bytes.
    unsafe { v128_load(codes.as_ptr().cast()) }
}

/// A line: 4 rows a register.
#[inline(always)]
pub(crate) fn load(line: &Line) -> [v128; 4] {
    let line = line.0.as_ptr().cast::<v128>();
    // SAFETY: a line is 64 bytes.
    unsafe {
        [
            v128_load(line),
            v128_load(line.add(1)),
            v128_load(line.add(2)),
            v128_load(line.add(3)),
        ]
    }
}

#[inline(always)]
pub(crate) fn store(words: [v128; 4], line: &mut Line) {
    let line = line.0.as_mut_ptr().cast::<v128>();
    for (quarter, words) in words.into_iter().enumerate() {
        // SAFETY: a line is 64 bytes, four times 16.
        unsafe { v128_store(line.add(quarter), words) };
    }
}

/// Runs `rounds` rounds of 12 independent products of pairs and returns the multiply-adds of one round.
fn dots(rounds: usize) -> usize {
    let mut sums = [i32x4_splat(0); 12];
    let codes = std::hint::black_box(i32x4_splat(0));
    for _ in 0..rounds {
        for sum in &mut sums {
            // The sum takes part in the product, or the compiler would multiply once for the whole loop.
            *sum = i32x4_add(codes, i32x4_dot_i16x8(*sum, codes));
        }
    }
    std::hint::black_box(sums);
    12 * 8
}
