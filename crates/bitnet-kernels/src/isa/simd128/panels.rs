//! Prepared products, for any way to multiply a group's words with rows of codes.
//!
//! # Products of pairs
//!
//! SIMD128 multiplies eight int16 and adds neighbours to int32 (`i32x4.dot_i16x8_s`), so codes have to become int16. A row's
//! lane of a line is two int16 of two bytes; a mask leaves the code of a quad in the lower byte, and after one shift of the
//! line likewise in the upper one: bytes 0 and 2 of a lane meet the activations 0 and 2 of the quad, 1 and 3 the others.
//! The mask of quad `q` leaves `4^q · code`, and the activations are multiplied by `4^(3 − q)` beforehand, so that nothing
//! is shifted down and all quads add up in one register, 64 times too large:
//!
//! ```text
//! 64 · Σ code · x = Σ_q (word & 3·4^q) · (4^(3−q) · x)        64 · 128 fits int16
//! ```
//!
//! Every 4,096 words the sums are brought down (`64 · 3 · 128 · 65,536 < 2^31`). That is 26 instructions for a quarter of a
//! line, and 14 for its activations: 118 for the 256 weights of a line, 0.46 a weight.
//!
//! Base three is decoded as in `avx2`.

use std::arch::wasm32::*;

use super::{load, sixteen, store};
use crate::{
    format::Line,
    gemm::{
        base_three::{BLOCK_LINES, Blocks},
        blocking::{Lanes, Sixteen},
    },
    isa::{PanelLoops, scalar},
};

/// A way to multiply words with codes.
pub(crate) trait Multiply {
    /// Adds the products of a group of words with `R` rows of `x`, sixteen codes of each in turn.
    fn add<const R: usize>(words: &[Line], x: &[[Sixteen; R]], sums: &mut [Lanes; R]);
}

/// The loops of a way to multiply.
pub(crate) const fn loops<M: Multiply>() -> PanelLoops {
    PanelLoops {
        two_bit: two_bit::<M>,
        base_three: base_three::<M>,
        decode,
        gemm: gemm::<M>,
        signed: scalar::signed,
        rows_at_a_time: ROWS,
    }
}

/// Rows of `x` at most in one call of [`gemm`].
const ROWS: usize = 4;

/// Blocks of base three that a product of one row decodes at a time: 5 KiB of words.
const BLOCKS: usize = 16;

/// [`PanelLoops::two_bit`].
fn two_bit<M: Multiply>(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
    let x = in_rows::<1>(x.as_chunks::<16>().0);
    for (lines, sums) in lines.chunks_exact(words).zip(sums) {
        *sums = Lanes::ZERO;
        M::add(lines, x, std::array::from_mut(sums));
    }
}

/// As [`two_bit`], for groups in base three.
fn base_three<M: Multiply>(lines: &[Line], blocks: Blocks, x: &[i8], sums: &mut [Lanes]) {
    let per_group = blocks.lines();
    assert_eq!(lines.len(), per_group * sums.len());
    let x = in_rows::<1>(x.as_chunks::<16>().0);
    let mut words = [Line::ZERO_WEIGHTS; BLOCKS * (BLOCK_LINES + 1)];
    for (group, sums) in sums.iter_mut().enumerate() {
        *sums = Lanes::ZERO;
        let lines = &lines[group * per_group..][..per_group];
        let parts = lines.chunks(BLOCKS * BLOCK_LINES);
        for (lines, x) in parts.zip(x.chunks(BLOCKS * (BLOCK_LINES + 1))) {
            let words = &mut words[..x.len()];
            decode(lines, words);
            M::add(words, x, std::array::from_mut(sums));
        }
    }
}

/// `sums[r][g] = Σ stored · x` of two groups of words with `rows` rows, sixteen codes of each in turn.
fn gemm<M: Multiply>(groups: [&[Line]; 2], rows: usize, x: &[Sixteen], sums: &mut [[Lanes; 2]]) {
    for (g, words) in groups.into_iter().enumerate() {
        let mut block = [Lanes::ZERO; ROWS];
        match rows {
            1 => M::add::<1>(words, in_rows(x), block.first_chunk_mut().expect("4 rows")),
            2 => M::add::<2>(words, in_rows(x), block.first_chunk_mut().expect("4 rows")),
            3 => M::add::<3>(words, in_rows(x), block.first_chunk_mut().expect("4 rows")),
            4 => M::add::<4>(words, in_rows(x), &mut block),
            rows => unreachable!("{rows} rows in a block"),
        }
        for (sums, block) in sums.iter_mut().zip(&block[..rows]) {
            sums[g] = *block;
        }
    }
}

/// The codes of all rows for each word.
fn in_rows<const R: usize>(x: &[Sixteen]) -> &[[Sixteen; R]] {
    let (rows, rest) = x.as_chunks::<R>();
    assert!(rest.is_empty(), "whole rows");
    rows
}

/// Products of pairs in int16.
pub(crate) struct Pairs;

/// Words after which the sums are brought down.
const WORDS: usize = 4096;

impl Multiply for Pairs {
    #[inline(always)]
    fn add<const R: usize>(words: &[Line], x: &[[Sixteen; R]], sums: &mut [Lanes; R]) {
        assert_eq!(words.len(), x.len());
        for (words, x) in words.chunks(WORDS).zip(x.chunks(WORDS)) {
            let mut acc = [[i32x4_splat(0); 4]; R];
            for (line, x) in words.iter().zip(x) {
                let words = load(line);
                let (mut even, mut odd) = ([i32x4_splat(0); R], [i32x4_splat(0); R]);
                for r in 0..R {
                    (even[r], odd[r]) = pairs(sixteen(&x[r]));
                }
                let upper = words.map(|words| u16x8_shr(words, 8));
                add_quad::<R, 0>(&mut acc, words, upper, even, odd);
                add_quad::<R, 1>(&mut acc, words, upper, even, odd);
                add_quad::<R, 2>(&mut acc, words, upper, even, odd);
                add_quad::<R, 3>(&mut acc, words, upper, even, odd);
            }
            for (sums, acc) in sums.iter_mut().zip(acc) {
                add(acc.map(|acc| i32x4_shr(acc, 6)), sums);
            }
        }
    }
}

/// Activations in a quad's order as int16: the even ones and the odd ones, two of quad `q` in lane `q`, times `4^(3 − q)`.
#[inline(always)]
fn pairs(x: v128) -> (v128, v128) {
    let scale = i16x8(64, 64, 16, 16, 4, 4, 1, 1);
    let even = i16x8_shr(i16x8_shl(x, 8), 8);
    (i16x8_mul(even, scale), i16x8_mul(i16x8_shr(x, 8), scale))
}

/// Adds the products of quad `QUAD`, whose codes the words hold in their even bytes, and those shifted by a byte.
#[inline(always)]
fn add_quad<const R: usize, const QUAD: usize>(
    acc: &mut [[v128; 4]; R],
    words: [v128; 4],
    upper: [v128; 4],
    even: [v128; R],
    odd: [v128; R],
) {
    let mask = i16x8_splat(3 << (2 * QUAD));
    for r in 0..R {
        let (even, odd) = (lane::<QUAD>(even[r]), lane::<QUAD>(odd[r]));
        for quarter in 0..4 {
            let first = i32x4_dot_i16x8(v128_and(words[quarter], mask), even);
            let second = i32x4_dot_i16x8(v128_and(upper[quarter], mask), odd);
            acc[r][quarter] = i32x4_add(acc[r][quarter], i32x4_add(first, second));
        }
    }
}

/// Lane `LANE` of `x` in every lane.
#[inline(always)]
pub(crate) fn lane<const LANE: usize>(x: v128) -> v128 {
    match LANE {
        0 => i32x4_shuffle::<0, 0, 0, 0>(x, x),
        1 => i32x4_shuffle::<1, 1, 1, 1>(x, x),
        2 => i32x4_shuffle::<2, 2, 2, 2>(x, x),
        _ => i32x4_shuffle::<3, 3, 3, 3>(x, x),
    }
}

/// Adds what has been summed up to a group's sums.
#[inline(always)]
pub(crate) fn add(acc: [v128; 4], sums: &mut Lanes) {
    for (quarter, acc) in sums.0.as_chunks_mut::<4>().0.iter_mut().zip(acc) {
        let quarter = quarter.as_mut_ptr().cast::<v128>();
        // SAFETY: a quarter is 4 int32: 16 bytes.
        unsafe { v128_store(quarter, i32x4_add(v128_load(quarter), acc)) };
    }
}

/// The lines of a group in base three to words.
fn decode(lines: &[Line], words: &mut [Line]) {
    let (two, top) = (u8x16_splat(2), u8x16_splat(0xc0));
    let blocks = lines.chunks(BLOCK_LINES);
    for (lines, words) in blocks.zip(words.chunks_mut(BLOCK_LINES + 1)) {
        let mut last = [u8x16_splat(0); 4];
        for (line, word) in lines.iter().zip(&mut *words) {
            let mut quads = [u8x16_splat(0); 4];
            for (quarter, mut byte) in load(line).into_iter().enumerate() {
                let first = v128_and(first_digits(byte), top);
                last[quarter] = v128_or(u32x4_shr(last[quarter], 2), first);
                for _ in 0..4 {
                    // Every digit enters at bits 7:6 of its byte and moves down as the next ones come.
                    byte = u8x16_add(u8x16_add(u8x16_add(byte, byte), byte), two);
                    let digit = v128_and(first_digits(byte), top);
                    quads[quarter] = v128_or(u32x4_shr(quads[quarter], 2), digit);
                }
            }
            store(quads, word);
        }
        let unused = 2 * (BLOCK_LINES - lines.len()) as u32;
        store(last.map(|last| u32x4_shr(last, unused)), &mut words[lines.len()]);
    }
}

/// The digit in front of each byte, at bits 7:6.
#[inline(always)]
fn first_digits(bytes: v128) -> v128 {
    u8x16_avgr(bytes, u8x16_avgr(bytes, u8x16_splat(0)))
}
