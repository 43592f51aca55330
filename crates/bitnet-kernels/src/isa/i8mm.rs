//! NEON with `i8mm`: many rows by `smmla`, everything else by NEON's loops.
//!
//! `smmla` adds the products of two rows of 8 bytes with two others: 32 multiply-adds where `sdot` has 16, in the same slot.
//! Its operands are pairs of rows, so what a dot product takes as it is stored is arranged first: weights once for a block
//! of rows of `x`, a pair of output rows by 8 codes a register; rows of `x` once a block, in pairs likewise.
//!
//! ```text
//! C[2, 2] i32 += A[2, 8] i8 · B[2, 8]ᵀ i8
//! ```
//!
//! A tile of 8 output rows and 8 rows of `x` has 16 accumulators, and the loop over steps of 8 codes is 22 instructions for
//! 512 multiply-adds, where that of `sdot` with its unpacking is 94 for 1,024. No processor was measured.

use std::{
    arch::{aarch64::*, asm},
    cell::Cell,
};

use super::{Isa, ManyRows, neon, scalar};
use crate::{
    Layout,
    format::{GROUP_ROWS, Line},
    gemm::{
        activations::Rows,
        blocking::{Groups, Output, Sixteen, Sums},
    },
};

const NEEDS: &str = "NEON with dotprod and i8mm";

pub(crate) static ISA: Isa = Isa {
    needs: NEEDS,
    detect: || require!(is_aarch64_feature_detected, NEEDS, "neon", "dotprod", "i8mm"),
    layout: Layout::TwoBit,
    rows: scalar::ROWS,
    panels: neon::PANELS,
    few_rows: None,
    many_rows: Some(ManyRows {
        min_rows: ROWS,
        product,
    }),
    lookup: None,
    scaled: None,
    dense: neon::DENSE,
    peak: Some(multiply_and_add),
};

/// Rows of `x` of a tile, and from which whole tiles are multiplied.
const ROWS: usize = 8;

/// Pairs of rows on each side of a tile.
const PAIRS: usize = ROWS / 2;

/// Steps of 8 codes in a word.
const STEPS: usize = 2;

/// Bytes of a block of rows of `x`: half of a level-two cache of 512 KiB.
const BLOCK_BYTES: usize = 256 << 10;

/// What a product needs besides its arguments.
#[derive(Default)]
struct Scratch {
    /// The block of `x`, tile after tile: of each step the pairs of the tile.
    x: Vec<[Sixteen; PAIRS]>,
    /// A group: its upper 8 rows, then its lower ones, of each step the pairs.
    weights: Vec<[Sixteen; PAIRS]>,
    /// A group decoded from base three.
    words: Vec<Line>,
}

thread_local! {
    /// Kept from call to call.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Gives `out` the sums `Σ stored · x` for each of the groups and every row of `x`.
#[target_feature(enable = "neon,dotprod,i8mm")]
fn product(w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let mut scratch = SCRATCH.take();
    let Scratch {
        x: tiles,
        weights,
        words,
    } = &mut scratch;
    let (per_group, per_row) = (w.layout.lines(w.cols), w.layout.words(w.cols));
    let steps = STEPS * per_row;
    let at_a_time = ROWS * (BLOCK_BYTES / (ROWS * x.row_bytes()).max(1)).max(1);
    for first in (0..x.len()).step_by(at_a_time) {
        let count = at_a_time.min(x.len() - first);
        tiles.clear();
        for row in (first..first + count).step_by(ROWS) {
            arrange_rows(x, row..(row + ROWS).min(x.len()), steps, tiles);
        }
        for group in 0..w.count {
            let stored = &w.lines[group * per_group..][..per_group];
            let lines = match w.layout {
                Layout::TwoBit => stored,
                Layout::BaseThree => {
                    words.resize(per_row, Line::ZERO_WEIGHTS);
                    neon::decode(stored, words);
                    &words[..]
                }
            };
            weights.resize(2 * steps, [[0; 16]; PAIRS]);
            let (upper, lower) = weights.split_at_mut(steps);
            arrange_group(lines, upper, lower);
            for (tile, x) in tiles.chunks_exact(steps.max(1)).enumerate() {
                let row = first + ROWS * tile;
                let rows = ROWS.min(first + count - row);
                let mut sums = [[0; GROUP_ROWS]; ROWS];
                multiply(upper, x, &mut sums, 0);
                multiply(lower, x, &mut sums, ROWS);
                let sums = Sums::new(sums.as_flattened(), GROUP_ROWS, rows, GROUP_ROWS);
                out.write(row, GROUP_ROWS * group, sums);
            }
        }
    }
    SCRATCH.set(scratch);
}

/// Appends a tile of rows of `x`; rows that there are not are zeros.
fn arrange_rows(
    x: Rows<'_>,
    rows: std::ops::Range<usize>,
    steps: usize,
    tiles: &mut Vec<[Sixteen; PAIRS]>,
) {
    let start = tiles.len();
    tiles.resize(start + steps, [[0; 16]; PAIRS]);
    for (r, row) in rows.enumerate() {
        let eights = x.row(row).as_chunks::<8>().0;
        for (tile, codes) in tiles[start..].iter_mut().zip(eights) {
            tile[r / 2][8 * (r % 2)..][..8].copy_from_slice(codes);
        }
    }
}

/// Words of 16 rows to pairs of rows by 8 codes.
#[target_feature(enable = "neon")]
fn arrange_group(words: &[Line], upper: &mut [[Sixteen; PAIRS]], lower: &mut [[Sixteen; PAIRS]]) {
    let mask = vdupq_n_u8(3);
    let (upper, lower) = (upper.as_chunks_mut().0, lower.as_chunks_mut().0);
    for ((line, upper), lower) in words.iter().zip(upper).zip(lower) {
        let halves: [&mut [[Sixteen; PAIRS]; STEPS]; 2] = [upper, lower];
        let quarters = neon::load(line).into_iter();
        for (quarter, words) in quarters.enumerate() {
            let quads = [
                vandq_u8(words, mask),
                vandq_u8(vshrq_n_u8::<2>(words), mask),
                vandq_u8(vshrq_n_u8::<4>(words), mask),
                vshrq_n_u8::<6>(words),
            ];
            let quads = [
                vreinterpretq_u32_u8(quads[0]),
                vreinterpretq_u32_u8(quads[1]),
                vreinterpretq_u32_u8(quads[2]),
                vreinterpretq_u32_u8(quads[3]),
            ];
            for step in 0..STEPS {
                let (even, odd) = (quads[2 * step], quads[2 * step + 1]);
                let pairs = &mut halves[quarter / 2][step][2 * (quarter % 2)..][..2];
                // SAFETY: a pair is 16 bytes.
                unsafe {
                    vst1q_u32(pairs[0].as_mut_ptr().cast(), vzip1q_u32(even, odd));
                    vst1q_u32(pairs[1].as_mut_ptr().cast(), vzip2q_u32(even, odd));
                }
            }
        }
    }
}

/// The sums of a tile, to the columns from `column` on of each row of `x`.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn multiply(
    weights: &[[Sixteen; PAIRS]],
    x: &[[Sixteen; PAIRS]],
    sums: &mut [[i32; GROUP_ROWS]; ROWS],
    column: usize,
) {
    let mut acc = [[vdupq_n_s32(0); PAIRS]; PAIRS];
    for (weights, x) in weights.iter().zip(x) {
        let (mut w, mut b) = ([vdupq_n_s8(0); PAIRS], [vdupq_n_s8(0); PAIRS]);
        for pair in 0..PAIRS {
            // SAFETY: a pair is 16 bytes.
            unsafe {
                w[pair] = vld1q_s8(weights[pair].as_ptr());
                b[pair] = vld1q_s8(x[pair].as_ptr());
            }
        }
        for i in 0..PAIRS {
            for j in 0..PAIRS {
                acc[i][j] = smmla(acc[i][j], w[i], b[j]);
            }
        }
    }
    for j in 0..PAIRS {
        for i in (0..PAIRS).step_by(2) {
            // An accumulator is [w0·x0, w0·x1, w1·x0, w1·x1].
            let (a, b) = (acc[i][j], acc[i + 1][j]);
            let columns = column + 2 * i..column + 2 * i + 4;
            let (even, odd) = (vuzp1q_s32(a, b), vuzp2q_s32(a, b));
            // SAFETY: four columns are 16 bytes.
            unsafe {
                vst1q_s32(sums[2 * j][columns.clone()].as_mut_ptr(), even);
                vst1q_s32(sums[2 * j + 1][columns].as_mut_ptr(), odd);
            }
        }
    }
}

/// Adds the products of two rows of 8 bytes with two others.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(acc: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    let mut sum = acc;
    // SAFETY: one instruction on registers, of the feature that this function enables.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {w:v}.16b, {x:v}.16b",
            sum = inout(vreg) sum,
            w = in(vreg) w,
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Runs `rounds` rounds of 16 independent `smmla` and returns the multiply-adds of one round.
#[target_feature(enable = "neon,i8mm")]
fn multiply_and_add(rounds: usize) -> usize {
    let mut sums = [vdupq_n_s32(0); 16];
    let codes = std::hint::black_box(vdupq_n_s8(0));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = smmla(*sum, codes, codes);
        }
    }
    std::hint::black_box(sums);
    16 * 32
}
