//! Cross-entropy of logits against target classes, in nats: `−ln softmax(x)[target]` per row.

use rayon::prelude::*;

use super::{exp::exp, multiversion};
use crate::system::parallel::{MIN_ELEMENTS, worth_threads};

/// Rows of one task.
const GROUP: usize = 16;

/// Writes the losses `[m]` and the logarithms of the rows' normalisers `ln Σ e^x` `[m]`, which the backward pass needs,
/// for logits `x[m, v]`.
///
/// # Panics
/// If a length disagrees, or a target is not below `v`.
pub fn cross_entropy(
    logits: &[f32],
    targets: &[usize],
    losses: &mut [f32],
    log_normalizers: &mut [f32],
) {
    let classes = check(logits, targets);
    assert!(losses.len() == targets.len() && log_normalizers.len() == targets.len());
    let run = |logits: &[f32], targets: &[usize], losses: &mut [f32], norms: &mut [f32]| {
        for (((x, target), loss), norm) in logits
            .chunks_exact(classes)
            .zip(targets)
            .zip(losses)
            .zip(norms)
        {
            *norm = log_sum_exp(x);
            *loss = *norm - x[*target];
        }
    };
    if worth_threads(logits.len(), MIN_ELEMENTS / 8) {
        logits
            .par_chunks(GROUP * classes)
            .zip(targets.par_chunks(GROUP))
            .zip(losses.par_chunks_mut(GROUP))
            .zip(log_normalizers.par_chunks_mut(GROUP))
            .for_each(|(((x, t), l), n)| run(x, t, l, n));
    } else {
        run(logits, targets, losses, log_normalizers);
    }
}

/// Writes `∂x = (softmax(x) − onehot(target)) · ∂loss`, `[m, v]`.
///
/// # Panics
/// As [`cross_entropy`].
pub fn cross_entropy_backward(
    grad: &[f32],
    logits: &[f32],
    targets: &[usize],
    log_normalizers: &[f32],
    grad_logits: &mut [f32],
) {
    let classes = check(logits, targets);
    assert!(grad.len() == targets.len() && log_normalizers.len() == targets.len());
    assert_eq!(grad_logits.len(), logits.len());
    let row = |(i, out): (usize, &mut [f32])| {
        let x = &logits[i * classes..][..classes];
        probabilities(x, log_normalizers[i], grad[i], out);
        out[targets[i]] -= grad[i];
    };
    if worth_threads(logits.len(), MIN_ELEMENTS / 8) {
        grad_logits
            .par_chunks_mut(classes)
            .with_min_len(GROUP)
            .enumerate()
            .for_each(row);
    } else {
        grad_logits
            .chunks_exact_mut(classes)
            .enumerate()
            .for_each(row);
    }
}

/// The number of classes.
fn check(logits: &[f32], targets: &[usize]) -> usize {
    let classes = logits.len() / targets.len().max(1);
    assert_eq!(
        logits.len(),
        classes * targets.len(),
        "logits and targets differ in rows"
    );
    if let Some(target) = targets.iter().find(|target| **target >= classes) {
        panic!("target {target} of {classes} classes");
    }
    classes.max(1)
}

/// `ln Σ e^x`, in an order that depends on the length alone. A NaN makes it NaN.
///
/// ```
/// assert!((bitnet_kernels::float::log_sum_exp(&[0.0, 3f32.ln()]) - 4f32.ln()).abs() < 1e-6);
/// ```
pub fn log_sum_exp(x: &[f32]) -> f32 {
    let mut sum = 0.0;
    log_sum_exp_into(x, &mut sum);
    sum
}

multiversion! {
    fn log_sum_exp_into(x: &[f32], out: &mut f32) {
        let highest = super::highest(x);
        let mut lanes = [0f32; super::LANES];
        let (blocks, tail) = x.as_chunks::<{ super::LANES }>();
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += exp(*x - highest);
            }
        }
        let mut sum = 0.0;
        for lane in lanes {
            sum += lane;
        }
        for x in tail {
            sum += exp(*x - highest);
        }
        *out = highest + sum.ln();
    }
}

multiversion! {
    fn probabilities(x: &[f32], log_normalizer: f32, scale: f32, out: &mut [f32]) {
        for (x, out) in x.iter().zip(out) {
            *out = exp(*x - log_normalizer) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_and_gradient_by_hand() {
        let logits = [1.0f32, 2.0, 0.5, -30.0, 30.0, 0.0];
        let (mut losses, mut norms, mut grad) = ([0.0; 2], [0.0; 2], [0.0; 6]);
        cross_entropy(&logits, &[1, 0], &mut losses, &mut norms);
        let sum: f64 = [1.0f64, 2.0, 0.5].iter().map(|x| x.exp()).sum();
        assert!((f64::from(losses[0]) - (sum.ln() - 2.0)).abs() < 1e-6);
        assert!((losses[1] - 60.0).abs() < 1e-4);
        cross_entropy_backward(&[1.0, 0.5], &logits, &[1, 0], &norms, &mut grad);
        let expected = [
            1f64.exp() / sum,
            2f64.exp() / sum - 1.0,
            0.5f64.exp() / sum,
            -0.5,
            0.5,
            0.0,
        ];
        for (grad, expected) in grad.iter().zip(expected) {
            assert!((f64::from(*grad) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn nan_shows_in_its_own_row_alone() {
        let logits = [f32::NAN, 0.0, 0.0, 0.0];
        let (mut losses, mut norms) = ([0.0; 2], [0.0; 2]);
        cross_entropy(&logits, &[1, 0], &mut losses, &mut norms);
        assert!(losses[0].is_nan());
        assert!((losses[1] - 2f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn threads_change_nothing() {
        let (rows, classes) = (700, 65);
        let logits: Vec<f32> = (0..rows * classes)
            .map(|i| ((i * 31) % 97) as f32 * 0.1)
            .collect();
        let targets: Vec<usize> = (0..rows).map(|i| i % classes).collect();
        let run = |threads: usize| {
            crate::skipped::on_threads(threads, || {
                let (mut losses, mut norms) = (vec![0.0; rows], vec![0.0; rows]);
                let mut grad = vec![0.0; logits.len()];
                cross_entropy(&logits, &targets, &mut losses, &mut norms);
                cross_entropy_backward(&losses, &logits, &targets, &norms, &mut grad);
                (losses, grad)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
