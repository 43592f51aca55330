//! The running softmax of a block of rows and positions, and floats as two pieces of bf16.
//!
//! Scores are in units of `ln 2`, so that `e = 2^s`. Written twice: in plain Rust, and with AVX-512, which does the same
//! operations on the same lanes.

use super::{Block, Pair, SIDE};

mod avx512;
mod portable;

/// Lanes of a register, and partial sums of a row.
const LANES: usize = 16;

/// What the rows know of the positions before a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// The largest score of each; `-∞` before the first.
    tops: [f32; SIDE],
    /// `Σ 2^(s − top)` of each row, every 16th position.
    sums: [[f32; LANES]; SIDE],
    /// What the last block has multiplied the sums of each row by, because its top had grown.
    factors: [f32; SIDE],
}

impl Rows {
    /// No position yet.
    pub(super) const EMPTY: Rows = Rows {
        tops: [f32::NEG_INFINITY; SIDE],
        sums: [[0.0; LANES]; SIDE],
        factors: [1.0; SIDE],
    };

    /// The sum of a row.
    pub(super) fn total(&self, row: usize) -> f32 {
        let mut sums = self.sums[row];
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                sums[i] += sums[i + half];
            }
            half /= 2;
        }
        sums[0]
    }
}

/// With which instructions. They give the same bits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Softmax {
    /// Plain Rust.
    Portable,
    /// AVX-512 F, BW and BF16.
    Avx512(Avx512),
}

/// The proof that the processor has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Softmax {
    /// The fastest one that this processor has.
    pub(crate) fn detect() -> Softmax {
        use std::is_x86_feature_detected as has;
        match has!("avx512f") && has!("avx512bw") && has!("avx512bf16") {
            true => Softmax::Avx512(Avx512(())),
            false => Softmax::Portable,
        }
    }

    /// Row `row` of a panel of two pieces: `values / ln 2`, whole steps of 32.
    pub(super) fn queries(self, values: &[f32], row: usize, out: &mut [Pair]) {
        match self {
            Softmax::Portable => portable::queries(values, row, out),
            // SAFETY: `Avx512` proves that the processor has the instructions.
            Softmax::Avx512(_) => unsafe { avx512::queries(values, row, out) },
        }
    }

    /// The block's `2^(s − top)` as a panel of two pieces; row `r` sees its first `seen[r]` positions, others get 0. Rows
    /// past `seen` keep what they have.
    pub(super) fn weigh(
        self,
        scores: &[Block<f32>],
        seen: &[usize],
        rows: &mut Rows,
        out: &mut [Pair],
    ) {
        match self {
            Softmax::Portable => portable::weigh(scores, seen, rows, out),
            // SAFETY: as above.
            Softmax::Avx512(_) => unsafe { avx512::weigh(scores, seen, rows, out) },
        }
    }

    /// Multiplies the rows of `sums` by the factors of the last block.
    pub(super) fn rescale(self, rows: &Rows, sums: &mut [Block<f32>]) {
        match self {
            Softmax::Portable => portable::rescale(&rows.factors, sums),
            // SAFETY: as above.
            Softmax::Avx512(_) => unsafe { avx512::rescale(&rows.factors, sums) },
        }
    }
}

/// `2^x` for `x ≤ 0`: `x = n + f`, `2^f = 1 + f·P(f)`. P is the minimax polynomial of degree 4 for `|f| ≤ ½`: the
/// relative error is `8 u`, u = 2⁻²⁴.
mod exponential {
    /// Adding it rounds to an integer and leaves that, plus the bias of exponents, in the low bits.
    pub(super) const ROUND: f32 = 12_582_912.0 + 127.0;
    /// Below, the result is that of this: `2⁻¹²⁶`.
    pub(super) const LEAST: f32 = -126.0;
    /// P, the highest power first.
    pub(super) const POLYNOMIAL: [f32; 5] = [
        1.112_551e-3,
        9.666_283e-3,
        5.557_400_4e-2,
        2.402_235_1e-1,
        6.931_428_3e-1,
    ];
}

/// The upper half of a float, as a float.
const UPPER: u32 = 0xffff_0000;
