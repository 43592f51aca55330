//! When threads pay, and rows shared out among them.
//!
//! Handing work to rayon from outside its pool and waiting costs 5 to 20 µs. Work is therefore shared only when one
//! thread would need several times that, so that a second thread never makes a small shape slower:
//!
//! - products: a thread does at least 20 multiply-adds per ns, so 2^21 of them take 50 to 100 µs;
//! - elementwise passes: about 1 to 2 elements per ns from memory, so 2^18 of them take 130 to 260 µs.
//!
//! Every row (or tile) is computed by the same code on the same data whatever the thread, so results are identical.

use rayon::prelude::*;

/// Multiply-adds below which a product stays on the calling thread.
pub(crate) const MIN_MACS: usize = 1 << 21;

/// Elements below which an elementwise pass stays on the calling thread.
pub(crate) const MIN_ELEMENTS: usize = 1 << 18;

/// Elements that one task takes at least: an eighth of the threshold still costs over 10 µs, far over the ≈ 0.2 µs
/// of a rayon task.
pub(crate) const TASK_ELEMENTS: usize = MIN_ELEMENTS / 8;

/// Whether `work` should be shared out.
pub(crate) fn worth_threads(work: usize, min: usize) -> bool {
    work >= min && rayon::current_num_threads() > 1
}

/// Calls `f(row, a_row, b_row)` for each row of `a[rows, a_cols]` and `b[rows, b_cols]`, in parallel if large.
pub(crate) fn for_each_row<A: Sync, B: Send>(
    a: &[A],
    a_cols: usize,
    b: &mut [B],
    b_cols: usize,
    f: impl Fn(usize, &[A], &mut [B]) + Sync,
) {
    if a_cols == 0 || b_cols == 0 {
        return;
    }
    let work = a.len().max(b.len());
    let group = (TASK_ELEMENTS / a_cols.max(b_cols)).max(1);
    let run = |index: usize, a: &[A], b: &mut [B]| {
        for (i, (a_row, b_row)) in a
            .chunks_exact(a_cols)
            .zip(b.chunks_exact_mut(b_cols))
            .enumerate()
        {
            f(index * group + i, a_row, b_row);
        }
    };
    if worth_threads(work, MIN_ELEMENTS) {
        a.par_chunks(group * a_cols)
            .zip(b.par_chunks_mut(group * b_cols))
            .enumerate()
            .for_each(|(index, (a, b))| run(index, a, b));
    } else {
        a.chunks(group * a_cols)
            .zip(b.chunks_mut(group * b_cols))
            .enumerate()
            .for_each(|(index, (a, b))| run(index, a, b));
    }
}
