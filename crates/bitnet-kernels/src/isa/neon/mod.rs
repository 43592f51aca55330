//! The NEON kernel: prepacked products with `sdot`, 4 output rows a register, four registers a line.
//!
//! Every function here needs NEON and `dotprod`. `sdot` multiplies signed bytes, which codes of 0 to 3 are too, and takes
//! the four activations of a quad straight from a lane of the register that holds sixteen: no broadcast is needed. It is
//! written in assembly because its intrinsic is not stable in the oldest Rust that this crate supports.
//!
//! A block of 16 rows of `w` and 4 of `x` has 16 accumulators, more than the 4 cycles of two `sdot` a cycle ask for; words,
//! codes, mask and activations take 13 of the other 16 registers. Base three is decoded as in `avx2`.

mod blocks;

use std::arch::{aarch64::*, asm};

use super::{DenseLoops, Isa, PanelLoops, scalar};
use crate::{
    Layout,
    format::Line,
    gemm::base_three::{BLOCK_LINES, Blocks},
    gemm::blocking::{Lanes, Sixteen},
};

const NEEDS: &str = "NEON with dotprod";

pub(crate) static ISA: Isa = Isa {
    needs: NEEDS,
    detect: || require!(is_aarch64_feature_detected, NEEDS, "neon", "dotprod"),
    layout: Layout::TwoBit,
    // NEON is part of the baseline, for which plain loops are compiled anyway.
    rows: scalar::ROWS,
    panels: PANELS,
    few_rows: None,
    many_rows: None,
    lookup: None,
    scaled: None,
    dense: DENSE,
    peak: Some(dots),
};

/// Prepacked products.
pub(crate) const PANELS: PanelLoops = PanelLoops {
    two_bit,
    base_three,
    decode,
    gemm,
    signed: scalar::signed,
    rows_at_a_time: ROWS,
};

/// Dense products, of which those in blocks are NEON's own.
pub(crate) const DENSE: DenseLoops = DenseLoops {
    blocks: blocks::blocks,
    ..scalar::DENSE
};

/// Rows of `x` at most in one call of [`gemm`].
const ROWS: usize = 4;

/// Blocks of base three that a product of one row decodes at a time: 5 KiB of words.
const BLOCKS: usize = 16;

/// [`PanelLoops::two_bit`].
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn two_bit(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
    let x = x.as_chunks::<16>().0;
    for (lines, sums) in lines.chunks_exact(words).zip(sums) {
        *sums = Lanes::ZERO;
        add_block::<1>(lines, x, std::array::from_mut(sums));
    }
}

/// As [`two_bit`], for groups in base three.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn base_three(lines: &[Line], blocks: Blocks, x: &[i8], sums: &mut [Lanes]) {
    let per_group = blocks.lines();
    assert_eq!(lines.len(), per_group * sums.len());
    let x = x.as_chunks::<16>().0;
    let mut words = [Line::ZERO_WEIGHTS; BLOCKS * (BLOCK_LINES + 1)];
    for (group, sums) in sums.iter_mut().enumerate() {
        *sums = Lanes::ZERO;
        let lines = &lines[group * per_group..][..per_group];
        let parts = lines.chunks(BLOCKS * BLOCK_LINES);
        for (lines, x) in parts.zip(x.chunks(BLOCKS * (BLOCK_LINES + 1))) {
            let words = &mut words[..x.len()];
            decode(lines, words);
            add_block::<1>(words, x, std::array::from_mut(sums));
        }
    }
}

/// `sums[r][g] = Σ stored · x` of two groups of words with `rows` rows, sixteen codes of each in turn.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn gemm(groups: [&[Line]; 2], rows: usize, x: &[Sixteen], sums: &mut [[Lanes; 2]]) {
    for (g, words) in groups.into_iter().enumerate() {
        let mut block = [Lanes::ZERO; ROWS];
        match rows {
            1 => add_block::<1>(words, x, block.first_chunk_mut().expect("4 rows")),
            2 => add_block::<2>(words, x, block.first_chunk_mut().expect("4 rows")),
            3 => add_block::<3>(words, x, block.first_chunk_mut().expect("4 rows")),
            4 => add_block::<4>(words, x, &mut block),
            rows => unreachable!("{rows} rows in a block"),
        }
        for (sums, block) in sums.iter_mut().zip(&block[..rows]) {
            sums[g] = *block;
        }
    }
}

/// Adds the products of a group of words with `R` rows of `x`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_block<const R: usize>(words: &[Line], x: &[Sixteen], sums: &mut [Lanes; R]) {
    let x = x.as_chunks::<R>().0;
    assert_eq!(words.len(), x.len());
    let mut acc = [[vdupq_n_s32(0); 4]; R];
    for (line, x) in words.iter().zip(x) {
        let words = load(line);
        let mut rows = [vdupq_n_s8(0); R];
        for (row, x) in rows.iter_mut().zip(x) {
            // SAFETY: x is 16 bytes.
            *row = unsafe { vld1q_s8(x.as_ptr()) };
        }
        add_quad::<R, 0>(&mut acc, words, rows);
        add_quad::<R, 1>(&mut acc, shift::<2>(words), rows);
        add_quad::<R, 2>(&mut acc, shift::<4>(words), rows);
        add_quad::<R, 3>(&mut acc, shift::<6>(words), rows);
    }
    for (sums, acc) in sums.iter_mut().zip(acc) {
        for (quarter, acc) in sums.0.as_chunks_mut::<4>().0.iter_mut().zip(acc) {
            // SAFETY: a quarter is 4 int32: 16 bytes.
            unsafe {
                let total = vaddq_s32(vld1q_s32(quarter.as_ptr()), acc);
                vst1q_s32(quarter.as_mut_ptr(), total);
            }
        }
    }
}

/// Moves a quad to bits 1:0.
#[inline]
#[target_feature(enable = "neon")]
fn shift<const BITS: i32>(mut words: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
    for words in &mut words {
        *words = vshrq_n_u8::<BITS>(*words);
    }
    words
}

/// Adds the products of the quad that stands at bits 1:0 of each byte.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_quad<const R: usize, const QUAD: i32>(
    acc: &mut [[int32x4_t; 4]; R],
    words: [uint8x16_t; 4],
    x: [int8x16_t; R],
) {
    let mask = vdupq_n_u8(3);
    for (quarter, words) in words.into_iter().enumerate() {
        let codes = vreinterpretq_s8_u8(vandq_u8(words, mask));
        for r in 0..R {
            acc[r][quarter] = sdot::<QUAD>(acc[r][quarter], codes, x[r]);
        }
    }
}

/// Adds to each lane the four codes of the lane times the four bytes of lane `QUAD` of `x`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const QUAD: i32>(acc: int32x4_t, codes: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sum = acc;
    // SAFETY: one instruction on registers, of the feature that this function enables; QUAD is 0 to 3.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {codes:v}.16b, {x:v}.4b[{quad}]",
            sum = inout(vreg) sum,
            codes = in(vreg) codes,
            x = in(vreg) x,
            quad = const QUAD,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// The lines of a group in base three to words.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn decode(lines: &[Line], words: &mut [Line]) {
    let (two, top) = (vdupq_n_u8(2), vdupq_n_u8(0xc0));
    let blocks = lines.chunks(BLOCK_LINES);
    for (lines, words) in blocks.zip(words.chunks_mut(BLOCK_LINES + 1)) {
        let mut last = [vdupq_n_u8(0); 4];
        for (line, word) in lines.iter().zip(&mut *words) {
            let mut quads = [vdupq_n_u8(0); 4];
            for (quarter, mut byte) in load(line).into_iter().enumerate() {
                let first = vandq_u8(first_digits(byte), top);
                last[quarter] = vorrq_u8(vshrq_n_u8::<2>(last[quarter]), first);
                for _ in 0..4 {
                    // Every digit enters at bits 7:6 and moves down as the next ones come.
                    byte = vaddq_u8(vaddq_u8(vaddq_u8(byte, byte), byte), two);
                    let digit = vandq_u8(first_digits(byte), top);
                    quads[quarter] = vorrq_u8(vshrq_n_u8::<2>(quads[quarter]), digit);
                }
            }
            store(quads, word);
        }
        for _ in lines.len()..BLOCK_LINES {
            for last in &mut last {
                *last = vshrq_n_u8::<2>(*last);
            }
        }
        store(last, &mut words[lines.len()]);
    }
}

/// The digit in front of each byte, at bits 7:6.
#[inline]
#[target_feature(enable = "neon")]
fn first_digits(bytes: uint8x16_t) -> uint8x16_t {
    vrhaddq_u8(bytes, vrhaddq_u8(bytes, vdupq_n_u8(0)))
}

#[inline]
#[target_feature(enable = "neon")]
pub(crate) fn load(line: &Line) -> [uint8x16_t; 4] {
    let line = line.0.as_ptr().cast::<u8>();
    // SAFETY: a line is 64 bytes.
    unsafe {
        [
            vld1q_u8(line),
            vld1q_u8(line.add(16)),
            vld1q_u8(line.add(32)),
            vld1q_u8(line.add(48)),
        ]
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(words: [uint8x16_t; 4], line: &mut Line) {
    let line = line.0.as_mut_ptr().cast::<u8>();
    for (quarter, words) in words.into_iter().enumerate() {
        // SAFETY: a line is 64 bytes, four times 16.
        unsafe { vst1q_u8(line.add(16 * quarter), words) };
    }
}

/// Runs `rounds` rounds of 16 independent `sdot` and returns the multiply-adds of one round.
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn dots(rounds: usize) -> usize {
    let mut sums = [vdupq_n_s32(0); 16];
    let codes = std::hint::black_box(vdupq_n_s8(0));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = sdot::<0>(*sum, codes, codes);
        }
    }
    std::hint::black_box(sums);
    16 * 16
}
