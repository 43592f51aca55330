//! A step of Muon (K. Jordan and others, <https://kellerjordan.github.io/posts/muon/>, 2024) for one matrix.
//!
//! ```text
//! v ← μ v + g        u = g + μ v        w ← w (1 − lr · wd) − lr · 0.2 √max(rows, cols) · NS₅(u)
//! ```
//!
//! `NS₅` are five steps of Newton and Schulz towards the nearest orthogonal matrix, which Burn has; its size is that of
//! AdamW's steps by "Muon is Scalable for LLM Training" (arXiv 2502.16982, equation 4). The momentum is kept here and not in
//! Burn's optimiser, whose state a checkpoint cannot check.

use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdjustLrFn, MuonConfig, Optimizer as _};
use burn::tensor::Tensor;

/// Decay of the momentum.
const MOMENTUM: f64 = 0.95;

/// The matrix and its momentum after a step. All on a plain device.
pub(crate) fn step<const D: usize>(
    (learning_rate, weight_decay): (f64, f64),
    value: Tensor<D>,
    grad: Tensor<D>,
    velocity: Tensor<D>,
) -> (Tensor<D>, Tensor<D>) {
    let velocity = velocity.mul_scalar(MOMENTUM) + grad.clone();
    let ahead = grad + velocity.clone().mul_scalar(MOMENTUM);
    let none = MomentumConfig {
        momentum: 0.0,
        dampening: 0.0,
        nesterov: false,
    };
    let muon = MuonConfig::new()
        .with_momentum(none)
        .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
        .build();
    let decayed = value.mul_scalar(1.0 - learning_rate * weight_decay);
    let (value, _) = muon.step(learning_rate, decayed, ahead, None);
    (value, velocity)
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn floats(tensor: Tensor<2>) -> Vec<f64> {
        tensor.into_data().iter::<f64>().collect()
    }

    /// Five steps of the quintic on a number, which is what happens to each singular value.
    fn quintic(mut s: f64) -> f64 {
        for _ in 0..5 {
            s = 3.4445 * s - 4.775 * s.powi(3) + 2.0315 * s.powi(5);
        }
        s
    }

    /// Of a diagonal matrix the singular values are the diagonal, so that a step can be computed by hand; twice, for the
    /// momentum and the look ahead.
    #[test]
    fn two_steps_by_hand() {
        let device = Device::flex();
        let (rate, decay) = (0.1, 0.5);
        let mut value = [1.0f64, -2.0];
        let mut velocity = [0.0f64; 2];
        let mut w = Tensor::<2>::from_floats([[1.0f32, 0.0, 0.0], [0.0, -2.0, 0.0]], &device);
        let mut v = w.zeros_like();
        for grad in [[3.0f64, 4.0], [-1.0, 2.0]] {
            let g = [[grad[0] as f32, 0.0, 0.0], [0.0, grad[1] as f32, 0.0]];
            (w, v) = step((rate, decay), w, Tensor::from_floats(g, &device), v);
            let mut ahead = [0.0; 2];
            for i in 0..2 {
                velocity[i] = 0.95 * velocity[i] + grad[i];
                ahead[i] = grad[i] + 0.95 * velocity[i];
            }
            let norm = (ahead[0] * ahead[0] + ahead[1] * ahead[1]).sqrt();
            for i in 0..2 {
                let update = 0.2 * 3f64.sqrt() * quintic(ahead[i] / norm);
                value[i] = value[i] * (1.0 - rate * decay) - rate * update;
            }
            let found = floats(w.clone());
            for (at, expected) in [(0, value[0]), (4, value[1]), (1, 0.0), (5, 0.0)] {
                assert!(
                    (found[at] - expected).abs() < 1e-5,
                    "{found:?} for {value:?}"
                );
            }
            let found = floats(v.clone());
            assert!((found[0] - velocity[0]).abs() < 1e-5 && (found[4] - velocity[1]).abs() < 1e-5);
        }
    }

    #[test]
    fn steps_are_nearly_orthogonal_and_a_gradient_of_nothing_moves_nothing() {
        let device = Device::flex();
        let (rows, cols) = (5, 3);
        let grad: Vec<f32> = (0..rows * cols)
            .map(|i| ((i * 7) % 11) as f32 - 4.0)
            .collect();
        let grad = Tensor::<1>::from_floats(grad.as_slice(), &device).reshape([rows, cols]);
        let zeros = grad.zeros_like();
        let (moved, _) = step((1.0, 0.0), zeros.clone(), grad, zeros.clone());
        let unit = moved / (0.2 * 5f64.sqrt());
        let gram = floats(unit.clone().transpose().matmul(unit));
        for (i, value) in gram.into_iter().enumerate() {
            // The coefficients leave singular values between 0.7 and 1.2.
            let expected = if i % (cols + 1) == 0 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 0.5, "{i}: {value}");
        }
        let (still, velocity) = step((1.0, 0.0), zeros.clone(), zeros.clone(), zeros);
        assert!(
            floats(still)
                .into_iter()
                .chain(floats(velocity))
                .all(|v| v == 0.0)
        );
    }
}
