//! Activations: absmean int4, one scale a row (token).
//!
//! ```text
//! s = √7 / max(mean|x|, 1e-5)          q = clamp(round_ties_even(x · s), -8, 7)          x̂ = q / s
//! ```
//!
//! Source: BitNet a4.8, arXiv 2411.04965. The codes are bytes, as those of int8, and go through the same products.

use crate::EPS;

/// Partial sums of a mean: one for each lane of a vector register, so that the order is fixed and still fast.
const LANES: usize = 16;

/// Quantises `x[rows, cols]` to `codes[rows, cols]` and `scales[rows]`, on the calling thread. The codes of a row are 0
/// where it holds a NaN or an infinity, or its mean overflows.
///
/// ```
/// let (mut codes, mut scales) = ([0; 4], [0.0; 1]);
/// bitnet_kernels::quantize_activations_int4(&[1.0, -1.0, 9.0, 1.0], 4, &mut codes, &mut scales);
/// assert_eq!((codes, scales), ([1, -1, 7, 1], [1.0 / 3.0 * 7f32.sqrt()])); // a mean of 3; 7.9 is the largest, 7
/// ```
///
/// # Panics
///
/// If `x.len()`, `codes.len()` and `scales.len() * cols` differ.
pub fn quantize_activations_int4(x: &[f32], cols: usize, codes: &mut [i8], scales: &mut [f32]) {
    assert!(x.len() == codes.len() && x.len() == scales.len() * cols);
    let rows = x.chunks_exact(cols.max(1));
    scales.fill(7f32.sqrt() / EPS);
    for ((x, codes), scale) in rows.zip(codes.chunks_exact_mut(cols.max(1))).zip(scales) {
        *scale = 1.0 / mean_abs(x).max(EPS) * 7f32.sqrt();
        if !x.iter().all(|x| x.is_finite()) {
            *scale = f32::NAN;
        }
        for (code, x) in codes.iter_mut().zip(x) {
            // A NaN, of a scale that is none or of an overflow times 0, is 0: `as` says so.
            *code = (x * *scale).round_ties_even().clamp(-8.0, 7.0) as i8;
        }
    }
}

fn mean_abs(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let blocks = x.chunks_exact(LANES);
    for (lane, x) in lanes.iter_mut().zip(blocks.remainder()) {
        *lane = x.abs();
    }
    for block in blocks {
        lanes
            .iter_mut()
            .zip(block)
            .for_each(|(lane, x)| *lane += x.abs());
    }
    lanes.iter().sum::<f32>() / x.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantized(x: &[f32]) -> (Vec<i8>, f32) {
        let (mut codes, mut scale) = (vec![5; x.len()], [0.0]);
        quantize_activations_int4(x, x.len(), &mut codes, &mut scale);
        (codes, scale[0])
    }

    #[test]
    fn rows_are_the_formula_in_f64() {
        for cols in [1, 15, 16, 17, 100, 1000] {
            let x: Vec<f32> = (0..cols)
                .map(|i| ((i * 37 + 11) % 101) as f32 / 10.0 - 5.0)
                .collect();
            let mean = x.iter().map(|x| f64::from(x.abs())).sum::<f64>() / cols as f64;
            let expected = 7f64.sqrt() / mean.max(1e-5);
            let (codes, scale) = quantized(&x);
            // At most 63 additions one after the other, a division, a reciprocal and a product.
            assert!((f64::from(scale) / expected - 1.0).abs() < 66.0 * 2f64.powi(-24));
            for (x, code) in x.iter().zip(codes) {
                let exact = f64::from(x * scale).clamp(-8.0, 7.0);
                assert!((exact - f64::from(code)).abs() <= 0.5, "{x} {code}");
            }
        }
    }

    #[test]
    fn codes_are_clamped() {
        // Twice the mean: 2 · √7.
        let (codes, _) = quantized(&[-1e9, 1e9, 0.0, 0.0]);
        assert_eq!(codes, [-5, 5, 0, 0]);
        let mut x = [0.0; 64];
        (x[0], x[1]) = (1e9, -1e9);
        assert_eq!(quantized(&x).0[..3], [7, -8, 0]);
        assert_eq!(quantized(&[0.0; 3]), (vec![0; 3], 1.0 / EPS * 7f32.sqrt()));
    }

    #[test]
    fn rows_that_are_not_finite_are_zero() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (codes, scale) = quantized(&[1.0, bad, -2.0]);
            assert_eq!(codes, [0; 3]);
            assert!(scale.is_nan());
        }
        // The sum overflows, no value does.
        assert_eq!(quantized(&[f32::MAX; 3]).0, [0; 3]);
    }
}
