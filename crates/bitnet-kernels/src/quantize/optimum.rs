//! Scales of least squared error: the α that minimises `Σ (w − α·q)²` over ternary codes `q`, or what it is for normally
//! distributed weights.
//!
//! For given codes the best α is the mean magnitude of the weights that are ±1; for a given α the best code is ±1 from α/2
//! on, which is what rounding `w / α` does. So one number, α, fixes both scale and threshold.
//!
//! Sources: QuEST (arXiv 2502.05003) for the normal distribution, ternary weight networks (arXiv 1605.04711) for the
//! objective.

use crate::WeightQuantizer;

/// Lanes of the sum of squares: two 256-bit accumulators.
const LANES: usize = 8;

/// `1.224 · √mean w²` in f64; lane `j` adds the squares `j, j + 8, …`, then lanes are added in order. 0 for an empty group.
pub(super) fn normal(w: &[f32]) -> f32 {
    let mut lanes = [0.0f64; LANES];
    let (whole, rest) = w.as_chunks::<LANES>();
    let mut add = |values: &[f32]| {
        for (lane, w) in lanes.iter_mut().zip(values) {
            *lane += f64::from(*w) * f64::from(*w);
        }
    };
    whole.iter().for_each(|values| add(values));
    add(rest);
    let mean = lanes.iter().sum::<f64>() / w.len().max(1) as f64;
    (WeightQuantizer::RMS_OPTIMUM * mean.sqrt()) as f32
}

/// The α of least `Σ (w − α·q)²`. With the `k` largest magnitudes as ±1 and their sum `S`, the error is `Σ w² − S² / k` and
/// α is `S / k`; the best `k` is found by going through all, and of equal ones it is the smallest. 0 for an empty group, NaN
/// if there is a NaN.
pub(super) fn exact(w: &[f32]) -> f32 {
    // Bit patterns without the sign are ordered as the numbers are, NaN last.
    let mut bits: Vec<u32> = w.iter().map(|v| v.abs().to_bits()).collect();
    bits.sort_unstable();
    if bits
        .last()
        .is_some_and(|last| f32::from_bits(*last).is_nan())
    {
        return f32::NAN;
    }
    let (mut alpha, mut gain, mut sum) = (0.0f64, 0.0f64, 0.0f64);
    for (bits, k) in bits.iter().rev().zip(1usize..) {
        sum += f64::from(f32::from_bits(*bits));
        let mean = sum / k as f64;
        if sum * mean > gain {
            (alpha, gain) = (mean, sum * mean);
        }
    }
    alpha as f32
}
