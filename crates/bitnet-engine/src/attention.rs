//! Attention of queries to the keys and values of one head.
//!
//! ```text
//! y[r] = Σ_p e[r, p] · v[p] / Σ_p e[r, p]      e[r, p] = exp(q[r]·k[p] / √d − max),  p = 0 ..= position of r
//! ```
//!
//! Both products have one order of operations, from position 0 up, and a hidden position adds `0 · v`, which changes
//! nothing: a query's result does not depend on which others are computed with it.

use bitnet_kernels::{GROUP, Kernel, softmax};

use crate::session::HeadCache;

/// Query rows at a time: two tiles of the float kernels. The scores of a block at 4,096 positions take 400 KiB.
pub(crate) const ROWS: usize = 24;

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct AttentionScratch {
    /// `[rows, width]`: turned and scaled queries, whoever fills them.
    pub queries: Vec<f32>,
    scores: Vec<f32>,
    out: Vec<f32>,
}

/// The results for `scratch.queries`, `[rows, columns(width)]` with `stride` between rows; query `r` sees the first
/// `visible(r)` positions, at least one.
pub(crate) fn attend<'a>(
    kernel: Kernel,
    head: &HeadCache,
    rows: usize,
    visible: impl Fn(usize) -> usize,
    scratch: &'a mut AttentionScratch,
) -> (&'a [f32], usize) {
    let width = head.width();
    let longest = (0..rows).map(&visible).max().unwrap_or(0);
    let (groups, columns) = (longest.div_ceil(GROUP), width.div_ceil(GROUP));
    let (stride, out_stride) = (GROUP * groups, GROUP * columns);
    let AttentionScratch {
        queries,
        scores,
        out,
    } = scratch;
    resize(scores, rows * stride);
    resize(out, rows * out_stride);
    head.keys()
        .product(kernel, queries, width, rows, 0..groups, scores, stride);
    let mut sums = [0.0; ROWS];
    for (r, sum) in sums[..rows].iter_mut().enumerate() {
        let (seen, hidden) = scores[r * stride..][..stride].split_at_mut(visible(r));
        *sum = softmax(kernel, seen);
        hidden.fill(0.0);
    }
    head.values(longest)
        .product(kernel, scores, stride, rows, 0..columns, out, out_stride);
    for (row, sum) in out.chunks_exact_mut(out_stride).zip(&sums[..rows]) {
        row.iter_mut().for_each(|y| *y /= sum);
    }
    (&out[..rows * out_stride], out_stride)
}

/// Makes room; what is read is written first.
pub(crate) fn resize(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
