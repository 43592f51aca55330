//! Softmax without its division: the weights of attention.

use crate::{
    Kernel,
    float::{exp::exp, highest},
};

/// Independent partial sums, combined in a fixed tree.
const LANES: usize = 16;

/// Replaces scores by `e^(s - max)` and returns their sum, which the caller divides by once per output.
///
/// The order of the sum depends on the length alone. A NaN makes the sum NaN.
///
/// ```
/// let mut s = [0.0, 2f32.ln(), f32::NEG_INFINITY];
/// let sum = bitnet_kernels::softmax(bitnet_kernels::Kernel::detect(), &mut s);
/// assert!((s[0] / sum - 1.0 / 3.0).abs() < 1e-6 && s[2] / sum < 1e-30);
/// ```
///
/// # Panics
///
/// If the processor lacks `kernel`.
pub fn softmax(kernel: Kernel, scores: &mut [f32]) -> f32 {
    kernel.loops().softmax(scores)
}

/// The portable form, which `isa` compiles again with wider registers.
#[inline(always)]
pub(crate) fn softmax_row(scores: &mut [f32]) -> f32 {
    let max = highest(scores);
    let mut sums = [0f32; LANES];
    let (blocks, tail) = scores.as_chunks_mut::<LANES>();
    for block in blocks {
        for (sum, s) in sums.iter_mut().zip(block) {
            *s = exp(*s - max);
            *sum += *s;
        }
    }
    for (sum, s) in sums.iter_mut().zip(tail) {
        *s = exp(*s - max);
        *sum += *s;
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formula_and_on_every_kernel() {
        for len in [1, 5, 16, 17, 47, 300] {
            let scores: Vec<f32> = (0..len).map(|i| (i * 37 % 101) as f32 / 9.0).collect();
            let mut weights = scores.clone();
            let sum = softmax(Kernel::SCALAR, &mut weights);
            let max = scores.iter().copied().fold(f32::MIN, f32::max);
            let exact: Vec<f64> = scores.iter().map(|s| f64::from(s - max).exp()).collect();
            let total: f64 = exact.iter().sum();
            // 2 ulp of each exponential, and a sum of len / 16 + 4 roundings.
            let bound = (len / 16 + 8) as f64 * 0.5f64.powi(23);
            assert!((f64::from(sum) / total - 1.0).abs() < bound);
            for (w, e) in weights.iter().zip(&exact) {
                assert!((f64::from(*w) / e - 1.0).abs() < bound);
            }
            for kernel in Kernel::available() {
                let mut other = scores.clone();
                assert_eq!(softmax(kernel, &mut other), sum, "{kernel}");
                assert_eq!(other, weights, "{kernel}");
            }
        }
    }

    #[test]
    fn nan_shows() {
        assert!(softmax(Kernel::SCALAR, &mut [0.0, f32::NAN]).is_nan());
    }
}
