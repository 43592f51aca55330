//! Causal self-attention with rotary embedding and grouped queries, forward and backward, without materialised scores.
//!
//! ```text
//! q', k' = rotate(q), rotate(k)      P = softmax(causal(q'·k'ᵀ / √d))      y = P·v
//! ```
//!
//! Tensors are `[batch, time, heads, width]` as the projections leave them: heads are read through strides and nothing is
//! transposed in memory. One task computes one sequence and one key/value head with all query heads that share it,
//! [`BLOCK`] queries at a time against the keys up to their own, so half of the square above the diagonal is never
//! computed. The forward pass keeps one number per query, `ln Σ eˢ`; the backward pass computes `P` again from it
//! (FlashAttention-2, arXiv 2307.08691, Algorithm 2):
//!
//! ```text
//! ∂v = Pᵀ·∂y      ∂P = ∂y·vᵀ      ∂S = P ∘ (∂P − Σ P∘∂P)      ∂q' = ∂S·k' / √d      ∂k' = ∂Sᵀ·q' / √d
//! ```

use rayon::prelude::*;

use super::{
    exp::exp,
    matmul::{Matrix, product_into},
    multiversion,
    rotary::rotate,
};

/// Queries of one block: with a head of 64 and 1,024 keys, scores and both operands are some 600 KiB, which a
/// level-two cache holds.
const BLOCK: usize = 64;

/// The shape of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Sequences.
    pub batch: usize,
    /// Positions of a sequence.
    pub time: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; they divide the query heads.
    pub kv_heads: usize,
    /// Width of a head, even.
    pub width: usize,
}

/// Writes `y` and `ln Σ eˢ` of every query, `[batch, time, heads]`.
///
/// `q`, `y` `[batch, time, heads, width]`; `k`, `v` `[batch, time, kv_heads, width]`; `cos`, `sin` `[time, width]`.
///
/// # Panics
/// If a length disagrees with the shape.
#[allow(clippy::too_many_arguments)]
pub fn attention(
    shape: Heads,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    cos: &[f32],
    sin: &[f32],
    y: &mut [f32],
    log_sums: &mut [f32],
) {
    shape.check(q.len(), k.len(), v.len(), cos, sin);
    assert!(y.len() == q.len() && log_sums.len() * shape.width == q.len());
    let (y, log_sums) = (Shared::new(y), Shared::new(log_sums));
    shape.for_each_task(|scratch, batch, group| {
        let Heads { time, width, .. } = shape;
        let kv = shape.rows(k.len(), batch, group, shape.kv_heads);
        scratch
            .k
            .rotate_from(shape, &k[kv.clone()], shape.kv_heads, cos, sin, 1.0);
        for head in shape.queries_of(group) {
            let rows = shape.rows(q.len(), batch, head, shape.heads);
            scratch.q.rotate_from(
                shape,
                &q[rows.clone()],
                shape.heads,
                cos,
                sin,
                shape.scale(),
            );
            for first in (0..time).step_by(BLOCK) {
                let (count, keys) = (BLOCK.min(time - first), time.min(first + BLOCK));
                let scores = scratch
                    .scores
                    .product(scratch.q.block(first, count), scratch.k.block(0, keys).t());
                for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                    let at = (batch * time + first + i) * shape.heads + head;
                    // SAFETY: (batch, query, head) belongs to this task alone.
                    let log_sum = unsafe { &mut *log_sums.at(at) };
                    softmax(row, first + i + 1, log_sum);
                }
                let v = Matrix::strided(&v[kv.clone()], keys, width, shape.kv_heads * width);
                let p = Matrix::new(scores, count, keys);
                let at = rows.start + first * shape.heads * width;
                // SAFETY: the rows of this block and head of `y`, which belong to this task alone.
                unsafe { product_into(y.at(at), shape.heads * width, false, 1.0, p, v) };
            }
        }
    });
}

/// Writes the gradients of `q`, `k` and `v` from that of `y`.
///
/// # Panics
/// If a length disagrees with the shape.
#[allow(clippy::too_many_arguments)]
pub fn attention_backward(
    shape: Heads,
    grad: &[f32],
    (q, k, v): (&[f32], &[f32], &[f32]),
    cos: &[f32],
    sin: &[f32],
    log_sums: &[f32],
    (grad_q, grad_k, grad_v): (&mut [f32], &mut [f32], &mut [f32]),
) {
    shape.check(q.len(), k.len(), v.len(), cos, sin);
    assert!(grad.len() == q.len() && log_sums.len() * shape.width == q.len());
    assert!(grad_q.len() == q.len() && grad_k.len() == k.len() && grad_v.len() == v.len());
    let (grad_q, grad_k, grad_v) = (
        Shared::new(grad_q),
        Shared::new(grad_k),
        Shared::new(grad_v),
    );
    shape.for_each_task(|scratch, batch, group| {
        let Heads { time, width, .. } = shape;
        let (q_stride, kv_stride) = (shape.heads * width, shape.kv_heads * width);
        let kv = shape.rows(k.len(), batch, group, shape.kv_heads);
        scratch
            .k
            .rotate_from(shape, &k[kv.clone()], shape.kv_heads, cos, sin, 1.0);
        scratch.grad_k.clear(time, width);
        scratch.grad_v.clear(time, width);
        for head in shape.queries_of(group) {
            let rows = shape.rows(q.len(), batch, head, shape.heads);
            scratch.q.rotate_from(
                shape,
                &q[rows.clone()],
                shape.heads,
                cos,
                sin,
                shape.scale(),
            );
            for first in (0..time).step_by(BLOCK) {
                let (count, keys) = (BLOCK.min(time - first), time.min(first + BLOCK));
                let q = scratch.q.block(first, count);
                let k = scratch.k.block(0, keys);
                let v = Matrix::strided(&v[kv.clone()], keys, width, kv_stride);
                let dy = Matrix::strided(
                    &grad[rows.start + first * q_stride..],
                    count,
                    width,
                    q_stride,
                );
                let p = scratch.scores.product(q, k.t());
                let ds = scratch.slopes.product(dy, v.t());
                for (i, (p, ds)) in p
                    .chunks_exact_mut(keys)
                    .zip(ds.chunks_exact_mut(keys))
                    .enumerate()
                {
                    let at = (batch * time + first + i) * shape.heads + head;
                    softmax_backward(p, ds, first + i + 1, log_sums[at]);
                }
                let (p, ds) = (Matrix::new(p, count, keys), Matrix::new(ds, count, keys));
                scratch.grad_v.add_product(1.0, p.t(), dy);
                // `q` holds the scale already.
                scratch.grad_k.add_product(1.0, ds.t(), q);
                scratch.grad_q.clear(count, width);
                scratch.grad_q.add_product(shape.scale(), ds, k);
                for (i, row) in scratch.grad_q.data.chunks_exact(width).enumerate() {
                    let at = rows.start + (first + i) * q_stride;
                    // SAFETY: (batch, query, head) of `grad_q` belongs to this task alone.
                    let out = unsafe { grad_q.slice(at, width) };
                    let table = (first + i) * width..(first + i + 1) * width;
                    rotate(row, &cos[table.clone()], &sin[table], -1.0, out);
                }
            }
        }
        for t in 0..time {
            let (at, table) = (kv.start + t * kv_stride, t * width..(t + 1) * width);
            // SAFETY: (batch, position, group) of `grad_k` and `grad_v` belongs to this task alone.
            let (grad_k, grad_v) = unsafe { (grad_k.slice(at, width), grad_v.slice(at, width)) };
            rotate(
                &scratch.grad_k.data[table.clone()],
                &cos[table.clone()],
                &sin[table.clone()],
                -1.0,
                grad_k,
            );
            grad_v.copy_from_slice(&scratch.grad_v.data[table]);
        }
    });
}

impl Heads {
    fn check(&self, q: usize, k: usize, v: usize, cos: &[f32], sin: &[f32]) {
        assert!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            "{} query heads for {} key/value heads",
            self.heads,
            self.kv_heads
        );
        assert!(
            self.width.is_multiple_of(2),
            "a head of odd width cannot be rotated"
        );
        let positions = self.batch * self.time;
        assert_eq!(q, positions * self.heads * self.width, "length of q");
        assert_eq!(k, positions * self.kv_heads * self.width, "length of k");
        assert_eq!(v, k, "length of v");
        assert_eq!(cos.len(), self.time * self.width, "length of cos");
        assert_eq!(sin.len(), cos.len(), "length of sin");
    }

    /// `1 / √d`.
    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    /// The query heads that share a key/value head.
    fn queries_of(&self, group: usize) -> std::ops::Range<usize> {
        let share = self.heads / self.kv_heads;
        group * share..(group + 1) * share
    }

    /// From the first element of a head in a sequence to the end of that sequence, in a tensor of `len` elements.
    fn rows(&self, len: usize, batch: usize, head: usize, heads: usize) -> std::ops::Range<usize> {
        let sequence = self.time * heads * self.width;
        debug_assert!((batch + 1) * sequence <= len);
        batch * sequence + head * self.width..(batch + 1) * sequence
    }

    /// Calls `f(scratch, batch, group)` for every sequence and key/value head, on all threads.
    fn for_each_task(&self, f: impl Fn(&mut Scratch, usize, usize) + Sync) {
        if self.time == 0 || self.width == 0 {
            return;
        }
        let tasks = self.batch * self.kv_heads;
        let run = |scratch: &mut Scratch, task: usize| {
            f(scratch, task / self.kv_heads, task % self.kv_heads);
        };
        if tasks > 1 && rayon::current_num_threads() > 1 {
            (0..tasks)
                .into_par_iter()
                .for_each_init(Scratch::default, run);
        } else {
            let mut scratch = Scratch::default();
            (0..tasks).for_each(|task| run(&mut scratch, task));
        }
    }
}

/// What a thread reuses from task to task.
#[derive(Default)]
struct Scratch {
    q: Rows,
    k: Rows,
    scores: Rows,
    slopes: Rows,
    grad_q: Rows,
    grad_k: Rows,
    grad_v: Rows,
}

/// A row-major matrix that is made anew in the same memory.
#[derive(Default)]
struct Rows {
    data: Vec<f32>,
    cols: usize,
}

impl Rows {
    /// All positions of one head, rotated and scaled.
    fn rotate_from(
        &mut self,
        shape: Heads,
        x: &[f32],
        heads: usize,
        cos: &[f32],
        sin: &[f32],
        scale: f32,
    ) {
        let width = shape.width;
        self.cols = width;
        self.data.resize(shape.time * width, 0.0);
        for (t, out) in self.data.chunks_exact_mut(width).enumerate() {
            let table = t * width..(t + 1) * width;
            let x = &x[t * heads * width..][..width];
            rotate(x, &cos[table.clone()], &sin[table], 1.0, out);
            if scale != 1.0 {
                out.iter_mut().for_each(|value| *value *= scale);
            }
        }
    }

    fn clear(&mut self, rows: usize, cols: usize) {
        self.cols = cols;
        self.data.clear();
        self.data.resize(rows * cols, 0.0);
    }

    /// `rows` rows from `first` on.
    fn block(&self, first: usize, rows: usize) -> Matrix<'_> {
        let span = first * self.cols..(first + rows) * self.cols;
        Matrix::new(&self.data[span], rows, self.cols)
    }

    /// Becomes `a · b`.
    fn product(&mut self, a: Matrix<'_>, b: Matrix<'_>) -> &mut [f32] {
        let (rows, cols) = (a.rows(), b.cols());
        self.cols = cols;
        self.data.resize(rows * cols, 0.0);
        // SAFETY: `data` is rows x cols.
        unsafe { product_into(self.data.as_mut_ptr(), cols, false, 1.0, a, b) };
        &mut self.data
    }

    /// Adds `scale · a · b` to its first rows.
    fn add_product(&mut self, scale: f32, a: Matrix<'_>, b: Matrix<'_>) {
        assert!(a.rows() * b.cols() <= self.data.len() && b.cols() == self.cols);
        // SAFETY: the rows of `a · b` are the first of `data`, by the line above.
        unsafe { product_into(self.data.as_mut_ptr(), self.cols, true, scale, a, b) };
    }
}

/// An output that tasks write in pieces which no slice type can split.
struct Shared<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: the pointer is used only through `at` and `slice`, whose callers promise disjoint pieces.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(out: &mut [T]) -> Self {
        Self {
            start: out.as_mut_ptr(),
            len: out.len(),
        }
    }

    /// The address of an element.
    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.len);
        // SAFETY: within the slice it was made from.
        unsafe { self.start.add(index) }
    }

    /// # Safety
    /// No two live pieces may overlap.
    #[allow(clippy::mut_from_ref)]
    unsafe fn slice(&self, index: usize, len: usize) -> &mut [T] {
        assert!(index + len <= self.len);
        // SAFETY: within the slice it was made from; the caller keeps it alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index), len) }
    }
}

multiversion! {
    /// `softmax` of the first `visible` scores; the rest become 0.
    fn softmax(scores: &mut [f32], visible: usize, log_sum: &mut f32) {
        let (scores, hidden) = scores.split_at_mut(visible);
        hidden.fill(0.0);
        let mut highest = f32::NEG_INFINITY;
        for score in scores.iter() {
            // A NaN is skipped here and makes the sum NaN below.
            highest = if *score > highest { *score } else { highest };
        }
        let mut lanes = [0f32; super::LANES];
        let (blocks, tail) = scores.as_chunks_mut::<{ super::LANES }>();
        for block in blocks {
            for (lane, score) in lanes.iter_mut().zip(block) {
                *score = exp(*score - highest);
                *lane += *score;
            }
        }
        let mut sum = 0.0;
        for lane in lanes {
            sum += lane;
        }
        for score in tail {
            *score = exp(*score - highest);
            sum += *score;
        }
        let share = 1.0 / sum;
        for score in scores.iter_mut() {
            *score *= share;
        }
        *log_sum = highest + sum.ln();
    }
}

multiversion! {
    /// Scores to probabilities, and `∂P` to `∂S`.
    fn softmax_backward(scores: &mut [f32], slopes: &mut [f32], visible: usize, log_sum: f32) {
        let (p, hidden) = scores.split_at_mut(visible);
        hidden.fill(0.0);
        let (ds, hidden) = slopes.split_at_mut(visible);
        hidden.fill(0.0);
        for p in p.iter_mut() {
            *p = exp(*p - log_sum);
        }
        let pull = super::dot(p, ds);
        for (ds, p) in ds.iter_mut().zip(p) {
            *ds = *p * (*ds - pull);
        }
    }
}

#[cfg(test)]
mod tests {
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

    fn forward(shape: Heads, x: &Inputs) -> (Vec<f32>, Vec<f32>) {
        let mut y = vec![0.0; x.q.len()];
        let mut log_sums = vec![0.0; x.q.len() / shape.width];
        attention(
            shape,
            &x.q,
            &x.k,
            &x.v,
            &x.cos,
            &x.sin,
            &mut y,
            &mut log_sums,
        );
        (y, log_sums)
    }

    #[test]
    fn forward_is_the_formula() {
        let x = inputs(SHAPE);
        let (y, _) = forward(SHAPE, &x);
        for (y, exact) in y.iter().zip(reference(SHAPE, &x, &x.q, &x.k, &x.v)) {
            assert!((f64::from(*y) - exact).abs() < 2e-6, "{y} {exact}");
        }
    }

    #[test]
    fn gradients_are_differences() {
        let x = inputs(SHAPE);
        let (_, log_sums) = forward(SHAPE, &x);
        let grad = noise(x.q.len(), 9);
        let mut grads = (
            vec![0.0; x.q.len()],
            vec![0.0; x.k.len()],
            vec![0.0; x.v.len()],
        );
        attention_backward(
            SHAPE,
            &grad,
            (&x.q, &x.k, &x.v),
            &x.cos,
            &x.sin,
            &log_sums,
            (&mut grads.0, &mut grads.1, &mut grads.2),
        );
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
        let run = |threads: usize| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("threads")
                .install(|| forward(SHAPE, &x))
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn no_positions() {
        let shape = Heads { time: 0, ..SHAPE };
        let (y, _) = forward(shape, &inputs(shape));
        assert!(y.is_empty());
    }
}
