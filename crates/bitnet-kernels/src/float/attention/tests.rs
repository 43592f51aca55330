//! Values against the formulas in f64, gradients against differences of them.

use super::*;

const SHAPE: Heads = Heads {
    batch: 2,
    time: 70,
    heads: 4,
    kv_heads: 2,
    width: 6,
};

fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

struct Inputs {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

fn inputs(shape: Heads) -> Inputs {
    let rows = shape.batch * shape.time;
    let angle = |i: usize| {
        let (t, j) = (i / shape.width, i % (shape.width / 2));
        t as f32 * 0.3f32.powi(j as i32)
    };
    let table = 0..shape.time * shape.width;
    Inputs {
        q: noise(rows * shape.heads * shape.width, 1),
        k: noise(rows * shape.kv_heads * shape.width, 2),
        v: noise(rows * shape.kv_heads * shape.width, 3),
        cos: table.clone().map(|i| angle(i).cos()).collect(),
        sin: table.map(|i| angle(i).sin()).collect(),
    }
}

/// The formulas in f64, one query at a time.
fn reference(shape: Heads, x: &Inputs, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f64> {
    let d = shape.width;
    let rotated = |x_row: &[f32], t: usize| -> Vec<f64> {
        (0..d)
            .map(|j| {
                let other = if j < d / 2 {
                    -f64::from(x_row[j + d / 2])
                } else {
                    f64::from(x_row[j - d / 2])
                };
                f64::from(x_row[j]) * f64::from(x.cos[t * d + j])
                    + other * f64::from(x.sin[t * d + j])
            })
            .collect()
    };
    let mut y = vec![0f64; q.len()];
    for b in 0..shape.batch {
        for h in 0..shape.heads {
            let g = h / (shape.heads / shape.kv_heads);
            let row = |x: &[f32], t: usize, head: usize, heads: usize| -> Vec<f32> {
                x[((b * shape.time + t) * heads + head) * d..][..d].to_vec()
            };
            for t in 0..shape.time {
                let qr = rotated(&row(q, t, h, shape.heads), t);
                let scores: Vec<f64> = (0..=t)
                    .map(|s| {
                        let kr = rotated(&row(k, s, g, shape.kv_heads), s);
                        qr.iter().zip(&kr).map(|(a, b)| a * b).sum::<f64>() / (d as f64).sqrt()
                    })
                    .collect();
                let total: f64 = scores.iter().map(|s| s.exp()).sum();
                for (s, score) in scores.iter().enumerate() {
                    let vr = row(v, s, g, shape.kv_heads);
                    let at = ((b * shape.time + t) * shape.heads + h) * d;
                    for j in 0..d {
                        y[at + j] += score.exp() / total * f64::from(vr[j]);
                    }
                }
            }
        }
    }
    y
}

fn attended(shape: Heads, x: &Inputs) -> (Vec<f32>, Vec<f32>) {
    attention(shape, &x.q, &x.k, &x.v, &x.cos, &x.sin)
}

#[test]
fn forward_is_the_formula() {
    let x = inputs(SHAPE);
    let (y, _) = attended(SHAPE, &x);
    for (y, exact) in y.iter().zip(reference(SHAPE, &x, &x.q, &x.k, &x.v)) {
        assert!((f64::from(*y) - exact).abs() < 2e-6, "{y} {exact}");
    }
}

#[test]
fn gradients_are_differences() {
    let x = inputs(SHAPE);
    let (_, log_sums) = attended(SHAPE, &x);
    let grad = noise(x.q.len(), 9);
    let grads = attention_backward(SHAPE, &grad, (&x.q, &x.k, &x.v), &x.cos, &x.sin, &log_sums);
    let loss = |q: &[f32], k: &[f32], v: &[f32]| -> f64 {
        reference(SHAPE, &x, q, k, v)
            .iter()
            .zip(&grad)
            .map(|(y, g)| y * f64::from(*g))
            .sum()
    };
    let step = 1e-2f32;
    for (which, grad) in [&grads.0, &grads.1, &grads.2].into_iter().enumerate() {
        for index in [0, 7, 130, grad.len() / 2 + 1, grad.len() - 1] {
            let moved = |by: f32| {
                let mut parts = [x.q.clone(), x.k.clone(), x.v.clone()];
                parts[which][index] += by;
                let exact = f64::from(parts[which][index]);
                (loss(&parts[0], &parts[1], &parts[2]), exact)
            };
            let ((up, high), (down, low)) = (moved(step), moved(-step));
            let slope = (up - down) / (high - low);
            let error = (f64::from(grad[index]) - slope).abs();
            assert!(
                error < 2e-4 * slope.abs().max(0.1),
                "{which} {index}: {} {slope}",
                grad[index]
            );
        }
    }
}

#[test]
fn threads_change_nothing() {
    let x = inputs(SHAPE);
    let run = |threads: usize| crate::skipped::on_threads(threads, || attended(SHAPE, &x));
    assert_eq!(run(1), run(3));
}

#[test]
fn no_positions() {
    let shape = Heads { time: 0, ..SHAPE };
    let (y, _) = attended(shape, &inputs(shape));
    assert!(y.is_empty());
}
