//! Causal attention of a block of queries to one head's keys and values in bf16, on tiles, with a running softmax.
//!
//! ```text
//! s[r, p] = q[r]·k[p]           e[r, p] = exp(s[r, p] − max of r)           y[r] = Σ_p e[r, p]·v[p] / Σ_p e[r, p]
//! ```
//!
//! Keys and values are exact operands as they lie in the cache: 16 positions side by side are a tile of B of the first
//! product, 32 positions of 16 columns one of the second. Queries and `e` are taken in two pieces of bf16 ([`Passes::Two`]).
//!
//! Positions pass in blocks of [`POSITIONS`], counted from the first position of the text. What a block does to a row
//! depends on the row and on the block alone: scores, the new maximum, `y` and the sum scaled by `exp(old maximum −
//! new)`, the block's part added. A position that a row does not see counts as `e = 0`, which changes nothing. So a
//! query's result does not depend on which others are computed with it, how a prompt is cut, or the number of threads.
//!
//! # Error
//!
//! Against exact arithmetic on the same keys and values, with `u = 2⁻²⁴` and `d` the width of the head: two pieces leave
//! `2⁻¹⁶` of a factor out, and a sum over d rounds `d/16 + 18` times, so
//!
//! ```text
//! |δs| ≤ (2⁻¹⁶ + (d/16 + 18) u) · Σ|q·k| =: ε          |δe/e| ≤ exp(2ε) − 1 + 9u
//! |δy| ≤ (2·(exp(2ε) − 1) + 2⁻¹⁶ + 2·(n/16 + 40) u) · max|v|        n: positions that the row sees
//! ```
//!
//! `2⁻¹⁶` is a 128th of the error that rounding keys and values to bf16 has made already.

mod softmax;

use softmax::Rows;
pub(crate) use softmax::Softmax;

use super::{Block, ISA, Pair, Passes, SIDE, Start, Strided, Unit};
use crate::{FloatFormat, Kernel, KeysValues, system::shared_out::fetch};

/// Query rows at a time.
pub(crate) const ROWS: usize = SIDE;

/// Positions at a time: scores and pieces of 32 rows take 32 KiB.
const POSITIONS: usize = 128;

/// 32-position blocks of one block.
const BLOCKS: usize = POSITIONS / SIDE;

/// Rows up to which a block takes longer to read than to multiply: it is asked for while the one before is worked on.
const FEW_ROWS: usize = 4;

/// Asks for the keys and values of `count` positions from `first` on, which is a multiple of [`POSITIONS`].
fn fetch_next(head: KeysValues<'_>, first: usize, count: usize) {
    let KeysValues {
        keys,
        values,
        width,
        ..
    } = head;
    for group in first / 16..(first + count).div_ceil(16) {
        for pair in 0..width / 2 {
            fetch(&raw const keys.lines[group * keys.stride + pair * keys.step]);
        }
    }
    for pair in first / 2..(first + count) / 2 {
        for group in 0..width / 16 {
            fetch(&raw const values.lines[pair * values.step + group * values.stride]);
        }
    }
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Attention {
    /// Two pieces of each step of the queries.
    queries: Vec<Pair>,
    scores: Vec<Block<f32>>,
    /// Two pieces of each step of `e`.
    weights: Vec<Pair>,
    /// `Σ e·v`, 32 columns each.
    sums: Vec<Block<f32>>,
}

/// Whether `kernel` attends to such keys and values here: it is `amx`, they are bf16, and a head is whole steps of k wide.
pub(crate) fn takes(kernel: Kernel, head: &KeysValues<'_>) -> bool {
    let bf16 = [head.keys, head.values].map(|panels| panels.format == FloatFormat::Bf16);
    std::ptr::eq(kernel.loops().isa(), &ISA) && bf16 == [true; 2] && whole_steps(head.width)
}

fn whole_steps(width: usize) -> bool {
    width > 0 && width.is_multiple_of(SIDE)
}

impl Attention {
    /// The results of up to [`ROWS`] rows of `queries[rows, width]`, scaled already, in `out[rows, width]`. Row `r` sees
    /// the first `visible(r)` positions, at least one. `keys` and `values` are bf16 and reach to the next multiple of 32
    /// positions; what lies past the last one that is seen must be finite in the values.
    ///
    /// # Panics
    ///
    /// If `width` is no whole number of steps, or a slice is too short.
    pub(crate) fn attend(
        &mut self,
        unit: &impl Unit,
        softmax: Softmax,
        head: KeysValues<'_>,
        queries: &[f32],
        visible: impl Fn(usize) -> usize,
        out: &mut [f32],
    ) {
        let KeysValues {
            keys,
            values,
            width,
            ..
        } = head;
        assert!(
            whole_steps(width) && out.len().is_multiple_of(width),
            "rows of {width}"
        );
        let rows = out.len() / width;
        assert!(rows <= ROWS && queries.len() >= out.len(), "{rows} rows");
        let steps = width / SIDE;
        self.queries.resize(2 * steps, Pair::ZERO);
        self.sums.resize(steps, Block::zero());
        self.scores.resize(BLOCKS, Block::zero());
        self.weights.resize(2 * BLOCKS, Pair::ZERO);
        for (row, q) in queries.chunks_exact(width).take(rows).enumerate() {
            softmax.queries(q, row, &mut self.queries);
        }
        let mut state = Rows::EMPTY;
        let longest = (0..rows).map(&visible).max().unwrap_or(0);
        for first in (0..longest).step_by(POSITIONS) {
            let blocks = (longest - first).min(POSITIONS).div_ceil(SIDE);
            if rows <= FEW_ROWS {
                let next = (longest - first).saturating_sub(POSITIONS).min(POSITIONS);
                fetch_next(head, first + POSITIONS, next);
            }
            for (block, scores) in self.scores[..blocks].iter_mut().enumerate() {
                let keys = Strided {
                    lines: &keys.lines[(first + SIDE * block) / 16 * keys.stride..],
                    row: keys.step,
                    tile: keys.stride,
                    step: 16 * keys.step,
                };
                unit.bf16_strided(Passes::Two, &self.queries, keys, Start::Zero, scores);
            }
            let weights = &mut self.weights[..2 * blocks];
            let mut seen = [0; ROWS];
            for (row, seen) in seen[..rows].iter_mut().enumerate() {
                *seen = visible(row).saturating_sub(first).min(SIDE * blocks);
            }
            softmax.weigh(&self.scores[..blocks], &seen[..rows], &mut state, weights);
            if first > 0 {
                softmax.rescale(&state, &mut self.sums);
            }
            for (column, sums) in self.sums.iter_mut().enumerate() {
                let values = Strided {
                    lines: &values.lines[first / 2 * values.step + 2 * column * values.stride..],
                    row: values.step,
                    tile: values.stride,
                    step: 16 * values.step,
                };
                let start = if first == 0 { Start::Zero } else { Start::Add };
                unit.bf16_strided(Passes::Two, weights, values, start, sums);
            }
        }
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            let total = state.total(row);
            for (out, sums) in out.chunks_exact_mut(SIDE).zip(&self.sums) {
                for (out, sum) in out.iter_mut().zip(&sums.0[row]) {
                    *out = sum / total;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
