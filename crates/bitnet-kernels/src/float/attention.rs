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

use crate::system::fresh::{Slots, written};

use super::{
    exp::exp,
    matmul::{Matrix, product_into},
    multiversion,
    rotary::{rotate, rotate_into},
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

/// `y` and `ln Σ eˢ` of every query, `[batch, time, heads]`.
///
/// `q`, `y` `[batch, time, heads, width]`; `k`, `v` `[batch, time, kv_heads, width]`; `cos`, `sin` `[time, width]`.
///
/// # Panics
/// If a length disagrees with the shape.
pub fn attention(
    shape: Heads,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    cos: &[f32],
    sin: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    shape.check(q.len(), k.len(), v.len(), cos, sin);
    let queries = shape.batch * shape.time * shape.heads;
    let write = |[y, log_sums]: [&mut Slots; 2]| forward(shape, (q, k, v), (cos, sin), y, log_sums);
    // SAFETY: the tasks cover every sequence, query and head, and each writes its rows of `y` and its logarithms.
    let [y, log_sums] = unsafe { written([q.len(), queries], write) };
    (y, log_sums)
}

fn forward(
    shape: Heads,
    (q, k, v): (&[f32], &[f32], &[f32]),
    (cos, sin): (&[f32], &[f32]),
    y: &mut Slots,
    log_sums: &mut Slots,
) {
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
                    let log_sum = unsafe { &mut log_sums.slice(at, 1)[0] };
                    let mut sum = 0.0;
                    softmax(row, first + i + 1, &mut sum);
                    log_sum.write(sum);
                }
                let v = Matrix::strided(&v[kv.clone()], keys, width, shape.kv_heads * width);
                let p = Matrix::new(scores, count, keys);
                let at = rows.start + first * shape.heads * width;
                // SAFETY: the rows of this block and head of `y`, which belong to this task alone.
                unsafe { product_into(y.at(at).cast(), shape.heads * width, false, 1.0, p, v) };
            }
        }
    });
}

/// The gradients of `q`, `k` and `v` from that of `y`.
///
/// # Panics
/// If a length disagrees with the shape.
pub fn attention_backward(
    shape: Heads,
    grad: &[f32],
    (q, k, v): (&[f32], &[f32], &[f32]),
    cos: &[f32],
    sin: &[f32],
    log_sums: &[f32],
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    shape.check(q.len(), k.len(), v.len(), cos, sin);
    assert!(grad.len() == q.len() && log_sums.len() * shape.width == q.len());
    let write =
        |grads: [&mut Slots; 3]| backward(shape, grad, (q, k, v), (cos, sin), log_sums, grads);
    // SAFETY: the tasks cover every sequence, position and head of all three, and write the rows of each.
    let [grad_q, grad_k, grad_v] = unsafe { written([q.len(), k.len(), v.len()], write) };
    (grad_q, grad_k, grad_v)
}

fn backward(
    shape: Heads,
    grad: &[f32],
    (q, k, v): (&[f32], &[f32], &[f32]),
    (cos, sin): (&[f32], &[f32]),
    log_sums: &[f32],
    grads: [&mut Slots; 3],
) {
    let [grad_q, grad_k, grad_v] = grads.map(Shared::new);
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
                    rotate_into(row, &cos[table.clone()], &sin[table], -1.0, out);
                }
            }
        }
        for t in 0..time {
            let (at, table) = (kv.start + t * kv_stride, t * width..(t + 1) * width);
            // SAFETY: (batch, position, group) of `grad_k` and `grad_v` belongs to this task alone.
            let (grad_k, grad_v) = unsafe { (grad_k.slice(at, width), grad_v.slice(at, width)) };
            rotate_into(
                &scratch.grad_k.data[table.clone()],
                &cos[table.clone()],
                &sin[table.clone()],
                -1.0,
                grad_k,
            );
            grad_v.write_copy_of_slice(&scratch.grad_v.data[table]);
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
        let highest = super::highest(scores);
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
mod tests;
