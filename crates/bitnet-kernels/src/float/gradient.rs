//! The backward products of a BitLinear layer, from what its forward pass kept: packed weights and int8 codes.
//!
//! ```text
//! ∂x = ∂y · ŵ      ŵ = q / s_w        ∂w = ∂yᵀ · x̂      x̂ = q / s_x
//! ```
//!
//! A code is exact in bf16 whatever the scale, so on tiles the codes are multiplied as they are, ∂y in pieces
//! ([`pieces` ](super::pieces)), and the scales never enter the sum where there is one for the whole; where the sum
//! runs over rows with scales of their own, they are multiplied into ∂y first. Without tiles, with groups of weights
//! that have a scale each, or where a side of the product is too short for tiles, both operands are floats and the
//! product one of f32.

use super::{Matrix, matmul};
use crate::{PackedView, codes_i8_to_f32_div, unpack_scaled_f32};

/// `∂x[m, k] = Σ_n ∂y[m, n] · ŵ[n, k]`.
///
/// # Panics
/// If `grad` is not whole rows of `w.rows`, or `w` is longer than its shape.
pub fn input_gradient(grad: &[f32], w: PackedView<'_>) -> Vec<f32> {
    let (n, k) = (w.rows, w.cols);
    let m = grad.len().checked_div(n).unwrap_or(0);
    assert_eq!(grad.len(), m * n, "the gradient is not rows of {n}");
    #[cfg(target_arch = "x86_64")]
    if let Some(grad_x) = tiles::input_gradient(grad, m, w) {
        return grad_x;
    }
    let mut w_hat = vec![0.0; n * k];
    unpack_scaled_f32(w, &mut w_hat);
    matmul(Matrix::new(grad, m, n), Matrix::new(&w_hat, n, k))
}

/// `∂w[n, k] = Σ_m ∂y[m, n] · x̂[m, k]`, for codes `[m, k]` and a scale for each of their rows.
///
/// # Panics
/// If `grad` is not `[m, n]` or the codes are not `[m, cols]`, for `m` scales.
pub fn weight_gradient(
    grad: &[f32],
    n: usize,
    codes: &[i8],
    scales: &[f32],
    cols: usize,
) -> Vec<f32> {
    let m = scales.len();
    assert_eq!(grad.len(), m * n, "the gradient is not {m} x {n}");
    assert_eq!(
        codes.len(),
        m * cols,
        "the codes are not {m} rows of {cols}"
    );
    #[cfg(target_arch = "x86_64")]
    if let Some(grad_w) = tiles::weight_gradient(grad, n, codes, scales, cols) {
        return grad_w;
    }
    let mut x_hat = vec![0.0; m * cols];
    codes_i8_to_f32_div(codes, cols, scales, &mut x_hat);
    matmul(Matrix::new(grad, m, n).t(), Matrix::new(&x_hat, m, cols))
}

#[cfg(target_arch = "x86_64")]
mod tiles {
    use super::super::{
        GradientPieces, Numerics,
        pieces::{Along, Floats, Int8Codes, Passes, TernaryCodes, Tiled, product, worth_tiles},
    };
    use crate::{Granularity, PackedView};

    fn passes() -> Passes {
        match Numerics::current().gradient_pieces {
            GradientPieces::One => Passes::One,
            GradientPieces::Two => Passes::Two,
            GradientPieces::Three => Passes::Three,
        }
    }

    pub(super) fn input_gradient(grad: &[f32], m: usize, w: PackedView<'_>) -> Option<Vec<f32>> {
        let tiled = worth_tiles(m, w.rows, w.cols).then(Tiled::get)?.ok()?;
        let passes = passes();
        let inverse: Vec<f32> = w.scales.iter().map(|s| 1.0 / s).collect();
        let (scale, scales) = match w.granularity {
            Granularity::Tensor => (inverse[0], None),
            Granularity::Row => (1.0, Some(&*inverse)),
            Granularity::Group(_) => return None,
        };
        let a = Floats {
            data: grad,
            outer: m,
            depth: w.rows,
            along: Along::Depth,
            stride: w.rows,
            scales,
            pieces: passes.pieces().0,
        };
        let b = TernaryCodes {
            words: w.words,
            outer: w.cols,
            depth: w.rows,
        };
        Some(product(tiled, passes, &a, &b, scale))
    }

    pub(super) fn weight_gradient(
        grad: &[f32],
        n: usize,
        codes: &[i8],
        scales: &[f32],
        cols: usize,
    ) -> Option<Vec<f32>> {
        let m = scales.len();
        let tiled = worth_tiles(n, m, cols).then(Tiled::get)?.ok()?;
        let passes = passes();
        let inverse: Vec<f32> = scales.iter().map(|s| 1.0 / s).collect();
        let a = Floats {
            data: grad,
            outer: n,
            depth: m,
            along: Along::Outer,
            stride: n,
            scales: Some(&inverse),
            pieces: passes.pieces().0,
        };
        let b = Int8Codes {
            codes,
            outer: cols,
            depth: m,
        };
        Some(product(tiled, passes, &a, &b, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Granularity, WeightQuantizer, quantize_activations, quantize_weights};

    /// Both gradients of odd shapes against f64, with one weight scale and with one a row.
    #[test]
    fn agree_with_sums_in_f64() {
        let value = |i: usize| ((i * 7919 % 1009) as f32 / 504.0 - 1.0) * 0.3;
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (70, 33, 45), (130, 64, 96)] {
            for granularity in [
                Granularity::Tensor,
                Granularity::Row,
                Granularity::Group(16),
            ] {
                let w: Vec<f32> = (0..n * k).map(value).collect();
                let x: Vec<f32> = (0..m * k).map(|i| value(i + 11)).collect();
                let grad: Vec<f32> = (0..m * n).map(|i| value(i + 5)).collect();
                let (words, scales) =
                    quantize_weights(&w, n, k, WeightQuantizer::AbsMean, granularity);
                let (mut codes, mut x_scales) = (vec![0; m * k], vec![0.0; m]);
                quantize_activations(&x, k, &mut codes, &mut x_scales);
                let view = PackedView::new(&words, &scales, granularity, n, k).expect("a matrix");
                let grad_x = input_gradient(&grad, view);
                let grad_w = weight_gradient(&grad, n, &codes, &x_scales, k);
                let code = |j: usize, at: usize| {
                    f64::from(words[j * k.div_ceil(16) + at / 16] >> (2 * (at % 16)) & 3) - 1.0
                };
                let scale =
                    |j: usize, at: usize| f64::from(view.row_scales(j)[at / granularity.group(k)]);
                // K roundings of sums in f32 at most, and those of the operands.
                let bound = |depth: usize, size: f64| (depth as f64 + 4.0) * size * 0.5f64.powi(24);
                let check = |found: f32, depth: usize, term: &dyn Fn(usize) -> f64| {
                    let sum: f64 = (0..depth).map(term).sum();
                    let size: f64 = (0..depth).map(|i| term(i).abs()).sum();
                    let error = (f64::from(found) - sum).abs();
                    assert!(
                        error <= bound(depth, size),
                        "{m} x {n} x {k}: {found} {sum}"
                    );
                };
                for (at, found) in grad_x.iter().enumerate() {
                    let (i, l) = (at / k, at % k);
                    check(*found, n, &|j| {
                        f64::from(grad[i * n + j]) * code(j, l) / scale(j, l)
                    });
                }
                for (at, found) in grad_w.iter().enumerate() {
                    let (j, l) = (at / k, at % k);
                    let x_hat = |i: usize| f64::from(codes[i * k + l]) / f64::from(x_scales[i]);
                    check(*found, m, &|i| f64::from(grad[i * n + j]) * x_hat(i));
                }
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        let view = PackedView::new(&[], &[1.0], Granularity::Tensor, 0, 16).expect("no rows");
        assert!(input_gradient(&[], view).is_empty());
        assert_eq!(weight_gradient(&[], 2, &[], &[], 3), [0.0; 6]);
    }
}
