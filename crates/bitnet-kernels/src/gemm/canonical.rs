//! The product `y = x_q · w_qᵀ`: exact integer sums and the float epilogue.
//!
//! `x_q[m, k]` int8, `w[n, k]` packed, `y[m, n] = Σ_k x_q · w_q`, then `y as f32 / s_w / s_x` in this order.
//!
//! # Why int32 is enough
//!
//! A partial sum is at most `Σ stored · |x| ≤ 3 · 128 · K` in size (3 allows even for illegal codes), and the
//! correction `Σ x` at most `128 · K`. With `K ≤ 2^20 = `[`MAX_COLS`] every intermediate stays within
//! `4 · 128 · 2^20 = 2^29 < 2^31`. Legal results are at most `2^27`; they convert to f32 exactly while
//! `K ≤ 2^17 = 131072` (|sum| ≤ 2^24), and are rounded to nearest above that.

//! # The words
//!
//! Training changes its weights every step, so nothing is prepacked; but standing words side by side costs one pass over
//! them, and `M` rows of `x` read them `M` times. Words and codes are therefore brought into the layout of
//! [`Layout::TwoBit`] first, and the output is cut in blocks of [`BLOCK_ROWS`] × 16 · [`BLOCK_GROUPS`] that threads take one
//! by one. Unlike prepacked weights these are not checked: the illegal code `0b11` multiplies as 2 in dot products, and as
//! anything elsewhere.

use std::{cell::Cell, mem::MaybeUninit};

use rayon::prelude::*;

use super::{
    QuantizedRows,
    blocking::{self, Epilogue, Excess, Groups, Output, Piece, Sums, write_sums},
    layout::interleave,
};
use crate::{
    Granularity, Kernel, Layout, PackedView, Strategy,
    format::{GROUP_ROWS, Line, words_per_row},
    system::{
        fresh::{Slots, written},
        parallel::{MIN_MACS, worth_threads},
        shared_out::{Rectangle, SharedOut},
    },
};

/// The widest product: see "Why int32 is enough".
pub const MAX_COLS: usize = 1 << 20;

/// Rows of a block: a multiple of what the kernels take at a time (10 and 4).
const BLOCK_ROWS: usize = 60;

/// Groups of a block: 256 columns, so that copying the block's rows of `x` is a small part of multiplying them.
const BLOCK_GROUPS: usize = 16;

/// Both where an instruction set arranges many rows in its own way, which takes longer and pays by multiplying faster.
const LARGE_BLOCK: (usize, usize) = (256, 32);

/// Bytes of scratch a thread keeps between calls; a larger one (a long prompt) is freed.
const KEEP_SCRATCH: usize = 8 << 20;

/// What a call needs besides its arguments; kept by the calling thread, so that a step of training allocates nothing.
#[derive(Default)]
struct Scratch {
    lines: Vec<Line>,
    x: QuantizedRows,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The exact sums `out[i, j] = Σ_k xq[i, k] · w[j, k]`, for `xq[m, k]` and `w[n, k]`.
///
/// ```
/// use bitnet_kernels::{Granularity, Kernel, PackedTernary, Strategy, matmul_i32};
/// let w = PackedTernary::from_codes(&[1, -1, 0, 1, 1, 1], 2, 3, vec![1.0], Granularity::Tensor)?;
/// let mut out = [0; 2];
/// matmul_i32(&[10, 20, -128], 1, w.view(), Kernel::detect(), Strategy::Dot, &mut out);
/// assert_eq!(out, [-10, -98]);
/// # Ok::<(), bitnet_kernels::Error>(())
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape, if `w.cols > MAX_COLS`, or if the processor lacks `kernel` or it the strategy.
pub fn matmul_i32(
    xq: &[i8],
    m: usize,
    w: PackedView<'_>,
    kernel: Kernel,
    strategy: Strategy,
    out: &mut [i32],
) {
    let write = |piece: Piece<'_>, out: Rectangle<'_, i32>| {
        write_sums(piece.sums, piece.excess, out);
    };
    each_piece(kernel, strategy, xq, m, w, out, write);
}

/// BitLinear of activations that are quantised already, codes `xq[m, k]` and a scale for each row:
/// `y[m, n] = (x_q · w_qᵀ) / s_w / s_x`.
///
/// Runs on the fastest kernel of this processor by the [strategy of training](Strategy::of_training), and on rayon's threads
/// if the product is large.
///
/// # Panics
///
/// If a length disagrees with the shape, if `w.cols > MAX_COLS`, or if groups of weights have scales of their own: those
/// multiply [prepacked](crate::PrepackedTernary).
pub fn linear_quantized(xq: &[i8], x_scales: &[f32], w: PackedView<'_>) -> Vec<f32> {
    let (m, kernel) = (x_scales.len(), Kernel::detect());
    let len = m
        .checked_mul(w.rows)
        .expect("an output that fits in memory");
    if w.cols == 0 {
        return vec![0.0; len];
    }
    assert!(
        !matches!(w.granularity, Granularity::Group(_)),
        "weights with {} scales multiply prepacked",
        w.granularity
    );
    let epilogue = Epilogue::new(kernel.loops(), w.scales);
    let write = |piece: Piece<'_>, mut out: Rectangle<'_, MaybeUninit<f32>>| {
        out.clear();
        // SAFETY: cleared just now.
        let out = unsafe { out.written() };
        let sx = &x_scales[piece.rows];
        epilogue.write(piece.columns, piece.sums, piece.excess, sx, out);
    };
    let all = |[y]: [&mut Slots; 1]| {
        each_piece(kernel, Strategy::of_training(), xq, m, w, y, write);
    };
    // SAFETY: `each_piece` hands over every element, and `write` clears it.
    let [y] = unsafe { written([len], all) };
    y
}

/// Calls `write(sums, out[rows, columns])` until all of `out[m, n]` is written.
fn each_piece<T: Send>(
    kernel: Kernel,
    strategy: Strategy,
    xq: &[i8],
    m: usize,
    w: PackedView<'_>,
    out: &mut [T],
    write: impl Fn(Piece<'_>, Rectangle<'_, T>) + Sync,
) {
    let (k, n) = (w.cols, w.rows);
    w.assert_lengths();
    assert_eq!(Some(xq.len()), m.checked_mul(k), "xq is not {m} x {k}");
    assert!(
        k <= MAX_COLS,
        "{k} columns: int32 sums are proven for at most {MAX_COLS}"
    );
    if let Err(error) = strategy.require(kernel) {
        panic!("{error}");
    }
    let out = SharedOut::new(out, m, n);
    // A nested call on the same thread (rayon may steal one) finds no scratch and makes its own.
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let (per_group, groups) = (words_per_row(k), n.div_ceil(GROUP_ROWS));
    scratch.lines.resize(groups * per_group, Line::ZERO_WEIGHTS);
    let threads = worth_threads(m.saturating_mul(n).saturating_mul(k), MIN_MACS);
    let fill = |(group, lines): (usize, &mut [Line])| interleave(w, group, lines);
    if threads {
        scratch.x.share_codes(kernel, Layout::TwoBit, xq, m);
        let lines = scratch.lines.par_chunks_exact_mut(per_group);
        lines.enumerate().with_min_len(4).for_each(fill);
    } else {
        scratch.x.arrange_codes(kernel, Layout::TwoBit, xq, m);
        let lines = scratch.lines.chunks_exact_mut(per_group.max(1));
        lines.enumerate().for_each(fill);
    }
    let (lines, x) = (&scratch.lines, &scratch.x);
    let (block_rows, block_groups) = match kernel.loops().isa().many_rows {
        Some(many) if m >= many.min_rows => LARGE_BLOCK,
        _ => (BLOCK_ROWS, BLOCK_GROUPS),
    };
    let columns = groups.div_ceil(block_groups);
    let run = |index: usize| {
        let (row, group) = (index / columns * block_rows, index % columns * block_groups);
        let rows = row..(row + block_rows).min(m);
        let groups = group..(group + block_groups).min(groups);
        let mut block = Block {
            out: &out,
            row,
            column: GROUP_ROWS * group,
            columns: n,
            excess: Excess::of(strategy, x, rows.clone()),
            write: &write,
        };
        let w = Groups {
            layout: Layout::TwoBit,
            cols: k,
            count: groups.len(),
            lines: &lines[groups.start * per_group..groups.end * per_group],
        };
        blocking::product(kernel.loops(), strategy, w, x.block(rows), &mut block);
    };
    let blocks = m.div_ceil(block_rows) * columns;
    if threads {
        (0..blocks).into_par_iter().for_each(run);
    } else {
        (0..blocks).for_each(run);
    }
    if size_of_val(&scratch.lines[..]) + scratch.x.capacity() <= KEEP_SCRATCH {
        SCRATCH.set(Some(scratch));
    }
}

/// A block of the output.
struct Block<'a, T, W> {
    out: &'a SharedOut<'a, T>,
    row: usize,
    column: usize,
    columns: usize,
    excess: Excess<'a>,
    write: &'a W,
}

impl<T, W: Fn(Piece<'_>, Rectangle<'_, T>)> Output for Block<'_, T, W> {
    #[inline]
    fn write(&mut self, row: usize, column: usize, sums: Sums<'_>) {
        let first = self.column + column;
        let columns = first..(first + sums.width()).min(self.columns);
        let sums = sums.narrowed(columns.len());
        let rows = self.row + row..self.row + row + sums.rows();
        // SAFETY: blocks are disjoint, and a block writes its pieces one after the other, alone.
        let out = unsafe { self.out.rectangle(rows.clone(), columns.clone()) };
        let piece = Piece {
            rows,
            columns,
            excess: self.excess.of_rows(row..row + sums.rows()),
            sums,
        };
        (self.write)(piece, out);
    }

    #[inline]
    fn expect(&self, row: usize, column: usize) {
        self.out.expect(self.row + row, self.column + column);
    }
}
