//! AdamW in one pass over parameter, gradient and both moments (arXiv 1711.05101).

use rayon::prelude::*;

use super::multiversion;
use crate::system::parallel::{MIN_ELEMENTS, TASK_ELEMENTS, worth_threads};

/// The numbers of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate.
    pub learning_rate: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Number of this step, from 1: for the bias correction.
    pub time: i32,
}

/// `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`, `p ← p·(1 − lr·wd) − lr · m̂ / (√v̂ + ε)`, in place, with the gradient
/// `g = scale · grad`: clipping by a global norm scales all gradients, and a pass of its own would cost as much as this.
///
/// # Panics
/// If the lengths differ.
pub fn adamw(
    step: AdamWStep,
    p: &mut [f32],
    grad: &[f32],
    scale: f32,
    m: &mut [f32],
    v: &mut [f32],
) {
    assert!(p.len() == grad.len() && m.len() == grad.len() && v.len() == grad.len());
    // Seven streams of memory: a quarter of the elements of a plain pass is worth sharing.
    if worth_threads(p.len(), MIN_ELEMENTS / 4) {
        p.par_chunks_mut(TASK_ELEMENTS)
            .zip(grad.par_chunks(TASK_ELEMENTS))
            .zip(m.par_chunks_mut(TASK_ELEMENTS))
            .zip(v.par_chunks_mut(TASK_ELEMENTS))
            .for_each(|(((p, g), m), v)| update(step, p, g, scale, m, v));
    } else {
        update(step, p, grad, scale, m, v);
    }
}

/// `Σ x²`, in one fixed order whatever the number of threads.
pub fn sum_of_squares(x: &[f32]) -> f32 {
    if worth_threads(x.len(), MIN_ELEMENTS / 4) {
        let sums: Vec<f32> = x.par_chunks(TASK_ELEMENTS).map(block_sum).collect();
        sums.iter().sum()
    } else {
        x.chunks(TASK_ELEMENTS).map(block_sum).sum()
    }
}

fn block_sum(x: &[f32]) -> f32 {
    let mut sum = 0.0;
    square_sum(x, &mut sum);
    sum
}

multiversion! {
    fn square_sum(x: &[f32], out: &mut f32) {
        *out = super::dot(x, x);
    }
}

multiversion! {
    fn update(step: AdamWStep, p: &mut [f32], grad: &[f32], scale: f32, m: &mut [f32], v: &mut [f32]) {
        let AdamWStep { learning_rate, weight_decay, beta1, beta2, epsilon, time } = step;
        let keep = 1.0 - learning_rate * weight_decay;
        let rate = learning_rate / (1.0 - beta1.powi(time));
        let correct = 1.0 / (1.0 - beta2.powi(time));
        for (((p, grad), m), v) in p.iter_mut().zip(grad).zip(m).zip(v) {
            let g = *grad * scale;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *p = *p * keep - rate * *m / ((*v * correct).sqrt() + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let mut step = AdamWStep {
            learning_rate: 0.1,
            weight_decay: 0.5,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 0.0,
            time: 1,
        };
        let (mut p, mut m, mut v) = ([1.0f32], [0.0f32], [0.0f32]);
        adamw(step, &mut p, &[1.0], 2.0, &mut m, &mut v);
        // First step: m̂ = g, √v̂ = |g|, so the step is lr, after the decay of lr · wd.
        assert!((p[0] - (0.95 - 0.1)).abs() < 1e-6);
        step.time = 2;
        adamw(step, &mut p, &[-1.0], 1.0, &mut m, &mut v);
        let m_hat = (0.9 * 0.2 - 0.1) / (1.0 - 0.81);
        let v_hat = (0.99 * 0.04 + 0.01) / (1.0 - 0.9801f64);
        let expected = 0.85 * 0.95 - 0.1 * m_hat / v_hat.sqrt();
        assert!((f64::from(p[0]) - expected).abs() < 1e-6);
    }

    #[test]
    fn squares_add_up() {
        let x: Vec<f32> = (0..100_003).map(|i| (i % 7) as f32 - 3.0).collect();
        let exact: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((f64::from(sum_of_squares(&x)) - exact).abs() < 1e-6 * exact);
        assert_eq!(sum_of_squares(&[]), 0.0);
    }
}
