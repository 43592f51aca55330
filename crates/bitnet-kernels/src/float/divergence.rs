//! How far a row's distribution is from another one's: `T² · KL(softmax(z / T) ‖ softmax(x / T))`, in nats.

use rayon::prelude::*;

use super::{exp::exp, multiversion};
use crate::system::parallel::{MIN_ELEMENTS, worth_threads};

/// Rows of one task.
const GROUP: usize = 4;

/// A row of each of both.
type Rows<'a> = (&'a [f32], &'a [f32]);

/// Writes the distances `[m]` of logits `x[m, v]` from `z[m, v]`, softened by a temperature, and for each row both
/// logarithms `ln Σ e^(x / T)` and `ln Σ e^(z / T)`, `[m, 2]`, which the backward pass needs.
///
/// # Panics
/// If a length disagrees.
pub fn divergence(
    x: &[f32],
    z: &[f32],
    temperature: f32,
    distances: &mut [f32],
    log_normalizers: &mut [[f32; 2]],
) {
    let classes = check(x, z, log_normalizers);
    assert_eq!(distances.len(), log_normalizers.len());
    let row = |(((x, z), distance), norms): ((Rows<'_>, &mut f32), &mut [f32; 2])| {
        let mut found = [0.0; 3];
        compare(x, z, 1.0 / temperature, &mut found);
        *distance = temperature * temperature * found[0];
        *norms = [found[1], found[2]];
    };
    if worth_threads(x.len(), MIN_ELEMENTS / 8) {
        x.par_chunks(classes)
            .zip(z.par_chunks(classes))
            .zip(distances)
            .zip(log_normalizers)
            .with_min_len(GROUP)
            .for_each(row);
    } else {
        x.chunks_exact(classes)
            .zip(z.chunks_exact(classes))
            .zip(distances)
            .zip(log_normalizers)
            .for_each(row);
    }
}

/// Writes `∂x = T · (softmax(x / T) − softmax(z / T)) · ∂distance`, `[m, v]`.
///
/// # Panics
/// As [`divergence`].
pub fn divergence_backward(
    grad: &[f32],
    (x, z): (&[f32], &[f32]),
    temperature: f32,
    log_normalizers: &[[f32; 2]],
    grad_x: &mut [f32],
) {
    let classes = check(x, z, log_normalizers);
    assert!(grad.len() == log_normalizers.len() && grad_x.len() == x.len());
    let row = |(i, out): (usize, &mut [f32])| {
        let (x, z) = (&x[i * classes..][..classes], &z[i * classes..][..classes]);
        let scale = temperature * grad[i];
        difference(x, z, 1.0 / temperature, log_normalizers[i], scale, out);
    };
    if worth_threads(x.len(), MIN_ELEMENTS / 8) {
        let rows = grad_x.par_chunks_mut(classes).with_min_len(GROUP);
        rows.enumerate().for_each(row);
    } else {
        grad_x.chunks_exact_mut(classes).enumerate().for_each(row);
    }
}

/// The number of classes.
fn check(x: &[f32], z: &[f32], norms: &[[f32; 2]]) -> usize {
    let classes = x.len() / norms.len().max(1);
    assert!(
        x.len() == z.len() && x.len() == classes * norms.len(),
        "both logits and the rows differ in length"
    );
    classes.max(1)
}

/// The largest value; a NaN is skipped, and makes the sums NaN.
#[inline(always)]
fn highest(x: &[f32]) -> f32 {
    let mut highest = f32::NEG_INFINITY;
    for x in x {
        highest = if *x > highest { *x } else { highest };
    }
    highest
}

multiversion! {
    /// The divergence, and both normalisers. `KL = Σ p · (z − x) / T + ln Σ e^(x / T) − ln Σ e^(z / T)`, all of them less
    /// their highest.
    fn compare(x: &[f32], z: &[f32], inverse: f32, out: &mut [f32; 3]) {
        const LANES: usize = super::LANES;
        let (high_x, high_z) = (highest(x), highest(z));
        let (mut sums_x, mut sums_z, mut means) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let mut one = |x: f32, z: f32, lane: usize| {
            let (x, z) = ((x - high_x) * inverse, (z - high_z) * inverse);
            let p = exp(z);
            sums_x[lane] += exp(x);
            sums_z[lane] += p;
            means[lane] += p * (z - x);
        };
        let ((x_blocks, x_tail), (z_blocks, z_tail)) =
            (x.as_chunks::<LANES>(), z.as_chunks::<LANES>());
        for (x, z) in x_blocks.iter().zip(z_blocks) {
            for lane in 0..LANES {
                one(x[lane], z[lane], lane);
            }
        }
        for (lane, (x, z)) in x_tail.iter().zip(z_tail).enumerate() {
            one(*x, *z, lane);
        }
        let sum = |lanes: [f32; LANES]| lanes.iter().fold(0.0, |sum, lane| sum + lane);
        let (sum_x, sum_z) = (sum(sums_x), sum(sums_z));
        let (log_x, log_z) = (sum_x.ln(), sum_z.ln());
        *out = [
            sum(means) / sum_z + (log_x - log_z),
            high_x * inverse + log_x,
            high_z * inverse + log_z,
        ];
    }
}

multiversion! {
    fn difference(x: &[f32], z: &[f32], inverse: f32, norms: [f32; 2], scale: f32, out: &mut [f32]) {
        for ((x, z), out) in x.iter().zip(z).zip(out) {
            *out = (exp(*x * inverse - norms[0]) - exp(*z * inverse - norms[1])) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition in f64: the distance and its gradient.
    fn expected(x: &[f32], z: &[f32], t: f64) -> (f64, Vec<f64>) {
        let softmax = |row: &[f32]| {
            let high = row.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            let exps: Vec<f64> = row
                .iter()
                .map(|v| (f64::from(v - high) / t).exp())
                .collect();
            let sum: f64 = exps.iter().sum();
            exps.into_iter().map(|e| e / sum).collect::<Vec<f64>>()
        };
        let (p, q) = (softmax(z), softmax(x));
        let pairs = || p.iter().zip(&q);
        let distance = pairs()
            .filter(|(p, _)| **p > 0.0)
            .map(|(p, q)| p * (p / q).ln())
            .sum::<f64>();
        (
            t * t * distance,
            pairs().map(|(p, q)| t * (q - p)).collect(),
        )
    }

    fn noise(count: usize, seed: usize, range: f32) -> Vec<f32> {
        let value = |i: usize| ((i * 31 + seed * 7919) % 193) as f32 / 193.0 - 0.5;
        (0..count).map(|i| value(i) * range).collect()
    }

    #[test]
    fn distance_and_gradient_are_the_definition() {
        // A class alone, fewer than a block, blocks and a rest; far apart and near; both sides of a temperature of 1.
        for (rows, classes, range) in [(1, 1, 4.0), (3, 5, 8.0), (2, 16, 1.0), (7, 131, 30.0)] {
            for temperature in [0.5, 1.0, 2.0] {
                let (x, z) = (
                    noise(rows * classes, 1, range),
                    noise(rows * classes, 2, range),
                );
                let (mut found, mut norms) = (vec![0.0; rows], vec![[0.0; 2]; rows]);
                divergence(&x, &z, temperature, &mut found, &mut norms);
                let grad: Vec<f32> = (0..rows).map(|row| 1.0 - row as f32).collect();
                let mut out = vec![f32::NAN; x.len()];
                divergence_backward(&grad, (&x, &z), temperature, &norms, &mut out);
                for row in 0..rows {
                    let at = row * classes..(row + 1) * classes;
                    let t = f64::from(temperature);
                    let (distance, gradient) = expected(&x[at.clone()], &z[at.clone()], t);
                    // Sums of terms up to the range over the temperature, times T².
                    let bound = 1e-6 * (1.0 + t * f64::from(range)) * 8.0;
                    let error = (f64::from(found[row]) - distance).abs();
                    assert!(
                        error < bound,
                        "{} for {distance}, {classes} {t}",
                        found[row]
                    );
                    for (found, expected) in out[at].iter().zip(gradient) {
                        let expected = expected * f64::from(grad[row]);
                        assert!(
                            (f64::from(*found) - expected).abs() < 4e-5,
                            "{found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn equal_rows_are_at_zero_and_nan_shows_in_its_own() {
        let x = noise(60, 3, 20.0);
        let mut z = x.clone();
        let (mut found, mut norms, mut out) = ([1.0; 3], [[0.0; 2]; 3], vec![1.0; 60]);
        divergence(&x, &z, 1.5, &mut found, &mut norms);
        divergence_backward(&[1.0; 3], (&x, &z), 1.5, &norms, &mut out);
        assert_eq!(found, [0.0; 3]);
        assert!(out.iter().all(|grad| *grad == 0.0));
        z[25] = f32::NAN;
        divergence(&x, &z, 1.5, &mut found, &mut norms);
        assert!(
            found[0] == 0.0 && found[1].is_nan() && found[2] == 0.0,
            "{found:?}"
        );
    }

    #[test]
    fn threads_change_nothing() {
        let (rows, classes) = (150, 653);
        let (x, z) = (noise(rows * classes, 4, 9.0), noise(rows * classes, 5, 9.0));
        let run = |threads: usize| {
            crate::skipped::on_threads(threads, || {
                let (mut found, mut norms) = (vec![0.0; rows], vec![[0.0; 2]; rows]);
                let mut out = vec![0.0; x.len()];
                divergence(&x, &z, 2.0, &mut found, &mut norms);
                divergence_backward(&found, (&x, &z), 2.0, &norms, &mut out);
                (found, out)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
