//! RMSNorm: `y = x · r · γ` with `r = 1 / √(mean(x²) + ε)` per row (arXiv 1910.07467).

use rayon::prelude::*;

use super::{dot, multiversion};
use crate::system::fresh::{Slots, floats, slots, written};
use crate::system::parallel::{MIN_ELEMENTS, for_each_row, worth_threads};

/// Rows whose contributions to `∂γ` are summed together; the groups are then added in order.
const GROUP: usize = 64;

/// `y[m, k]` and the inverse root mean squares `r[m]`, which the backward pass needs.
///
/// # Panics
/// If a length disagrees with `x[m, k]`, `k = gamma.len()`.
pub fn rms_norm(x: &[f32], gamma: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let cols = gamma.len();
    let rows = x.len().checked_div(cols).unwrap_or(0);
    assert_eq!(x.len(), rows * cols);
    let mut r = vec![0.0; rows];
    for_each_row(x, cols, &mut r, 1, |_, x, r| forward_scale(x, epsilon, r));
    let write = |[y]: [&mut Slots; 1]| {
        for_each_row(x, cols, y, cols, |row, x, y| {
            forward_row(x, gamma, r[row], y)
        });
    };
    // SAFETY: every row of `y` is written, an element for each of `x`.
    let [y] = unsafe { written([x.len()], write) };
    (y, r)
}

/// One row of [`rms_norm`], the same bits, on the calling thread.
///
/// # Panics
/// If the lengths differ.
pub fn rms_norm_row(x: &[f32], gamma: &[f32], epsilon: f32, y: &mut [f32]) {
    assert!(x.len() == gamma.len() && x.len() == y.len());
    let mut r = [0.0];
    forward_scale(x, epsilon, &mut r);
    // SAFETY: `forward_row` writes floats.
    forward_row(x, gamma, r[0], unsafe { slots(y) });
}

/// `∂x = r·h − x·r³·mean(h·x)`, `h = ∂y·γ`, and `∂γ = Σ_rows ∂y·x·r`.
///
/// # Panics
/// If a length disagrees with `x[m, k]`, `k = gamma.len()`.
pub fn rms_norm_backward(
    grad: &[f32],
    x: &[f32],
    gamma: &[f32],
    inverse_rms: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let cols = gamma.len();
    assert_eq!(x.len(), inverse_rms.len() * cols);
    assert_eq!(grad.len(), x.len());
    let mut grad_gamma = vec![0.0; cols];
    if cols == 0 {
        return (Vec::new(), grad_gamma);
    }
    let group = |index: usize, grad_x: &mut Slots| {
        let first = index * GROUP;
        let mut sum = vec![0f32; cols];
        for (i, grad_x) in grad_x.chunks_exact_mut(cols).enumerate() {
            let row = first + i;
            let span = row * cols..(row + 1) * cols;
            backward_row(
                &grad[span.clone()],
                &x[span],
                gamma,
                inverse_rms[row],
                grad_x,
                &mut sum,
            );
        }
        sum
    };
    let mut sums: Vec<Vec<f32>> = Vec::new();
    let write = |[grad_x]: [&mut Slots; 1]| {
        sums = if worth_threads(x.len(), MIN_ELEMENTS / 4) {
            let groups = grad_x.par_chunks_mut(GROUP * cols).enumerate();
            groups.map(|(index, grad_x)| group(index, grad_x)).collect()
        } else {
            let groups = grad_x.chunks_mut(GROUP * cols).enumerate();
            groups.map(|(index, grad_x)| group(index, grad_x)).collect()
        };
    };
    // SAFETY: `group` writes whole rows, which `x` consists of.
    let [grad_x] = unsafe { written([x.len()], write) };
    for sum in &sums {
        for (total, value) in grad_gamma.iter_mut().zip(sum) {
            *total += value;
        }
    }
    (grad_x, grad_gamma)
}

multiversion! {
    fn forward_scale(x: &[f32], epsilon: f32, r: &mut [f32]) {
        r[0] = 1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt();
    }
}

multiversion! {
    fn forward_row(x: &[f32], gamma: &[f32], r: f32, y: &mut Slots) {
        for ((y, x), gamma) in y.iter_mut().zip(x).zip(gamma) {
            y.write(x * r * gamma);
        }
    }
}

multiversion! {
    fn backward_row(
        grad: &[f32],
        x: &[f32],
        gamma: &[f32],
        r: f32,
        grad_x: &mut Slots,
        grad_gamma: &mut [f32],
    ) {
        assert!(grad.len() == grad_x.len() && gamma.len() == grad_x.len());
        for ((h, grad), gamma) in grad_x.iter_mut().zip(grad).zip(gamma) {
            h.write(grad * gamma);
        }
        // SAFETY: all written, by the lengths.
        let grad_x = unsafe { floats(grad_x) };
        let pull = dot(grad_x, x) / x.len() as f32 * r * r * r;
        for (((dx, dgamma), grad), x) in
            grad_x.iter_mut().zip(grad_gamma.iter_mut()).zip(grad).zip(x)
        {
            *dx = *dx * r - x * pull;
            *dgamma += grad * x * r;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(x: &[f32], gamma: &[f32], weights: &[f32]) -> f64 {
        let (y, _) = rms_norm(x, gamma, 1e-5);
        y.iter().zip(weights).map(|(y, w)| f64::from(y * w)).sum()
    }

    #[test]
    fn one_row_by_hand() {
        let (y, r) = rms_norm(&[3.0, 4.0], &[1.0, 2.0], 0.0);
        // mean(x²) = 12.5
        assert!((r[0] - 1.0 / 12.5f32.sqrt()).abs() < 1e-7);
        assert!((y[1] - 8.0 / 12.5f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (rows, cols) = (70, 19);
        let value = |i: usize| ((i * 37 % 101) as f32 / 50.0 - 1.0) * 1.5;
        let x: Vec<f32> = (0..rows * cols).map(value).collect();
        let gamma: Vec<f32> = (0..cols).map(|i| 1.0 + value(i + 7) / 4.0).collect();
        let weights: Vec<f32> = (0..rows * cols).map(|i| value(i + 13)).collect();
        let (_, r) = rms_norm(&x, &gamma, 1e-5);
        let (dx, dgamma) = rms_norm_backward(&weights, &x, &gamma, &r);
        let step = 1e-2;
        // Central differences: error step² · f''' / 6, far below the bound for values of order 1.
        for i in [0, 18, 19, 700, rows * cols - 1] {
            let moved = |d: f32| {
                let mut x = x.clone();
                x[i] += d;
                loss(&x, &gamma, &weights)
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!(
                (slope - f64::from(dx[i])).abs() < 2e-3,
                "x {i}: {slope} {}",
                dx[i]
            );
        }
        for i in 0..cols {
            let moved = |d: f32| {
                let mut gamma = gamma.clone();
                gamma[i] += d;
                loss(&x, &gamma, &weights)
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            assert!(
                (slope - f64::from(dgamma[i])).abs() < 2e-2,
                "γ {i}: {slope} {}",
                dgamma[i]
            );
        }
    }
}
