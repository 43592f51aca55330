//! Canonical words against many rows of `x`: interleaved on the fly, then multiplied like prepared weights.
//!
//! Training changes its weights every step, so nothing is prepared; but interleaving costs one pass over the words, and
//! `M` rows of `x` read them `M` times. From [`MIN_ROWS`] rows on, words and codes are therefore brought into the layout of
//! `TwoBit` first, and the output is cut in blocks of [`BLOCK_ROWS`] × 16 · [`BLOCK_GROUPS`] that threads take one by one.
//! Unlike prepared weights these are not checked: the illegal code `0b11` multiplies as 2, on every kernel. Tables have no
//! entry for it, so [`Kernel::Avx512Lookup`] multiplies here as [`Kernel::Avx512Vnni`] does.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    Kernel, Layout, PackedView, QuantizedRows,
    format::words_per_row,
    format::{GROUP_ROWS, Line},
    gemm::blocking::{self, Groups, Output},
    gemm::layout::interleave,
    system::parallel::{MIN_MACS, worth_threads},
    system::shared_out::SharedOut,
};

/// Rows of `x` from which interleaving pays: with 3 the row-major product is as fast, with 4 it is slower by half at
/// K = 512 on AVX-512, by a tenth on AVX2.
pub(crate) const MIN_ROWS: usize = 4;

/// Rows of a block: a multiple of what the kernels take at a time (10 and 4).
const BLOCK_ROWS: usize = 60;

/// Groups of a block: 256 columns, so that copying the block's rows of `x` is a small part of multiplying them.
const BLOCK_GROUPS: usize = 16;

/// Bytes of scratch that are kept between calls.
const KEEP_SCRATCH: usize = 8 << 20;

/// The interleaved words and codes of a product.
#[derive(Default)]
pub(crate) struct Interleaved {
    lines: Vec<Line>,
    x: QuantizedRows,
}

impl Interleaved {
    /// Calls `write(i, n range, sums, out[i, n range])` until all of `out[m, n]` is written.
    ///
    /// The lengths are the caller's to check.
    pub(crate) fn product<T: Send>(
        &mut self,
        kernel: Kernel,
        xq: &[i8],
        m: usize,
        w: PackedView<'_>,
        out: &mut [T],
        write: impl Fn(usize, Range<usize>, &[i32], &mut [T]) + Sync,
    ) {
        let kernel = match kernel {
            Kernel::Avx512Lookup => Kernel::Avx512Vnni,
            other => other,
        };
        let (n, per_group) = (w.rows, words_per_row(w.cols));
        let groups = n.div_ceil(GROUP_ROWS);
        self.lines.resize(groups * per_group, Line::ZERO_WEIGHTS);
        let threads = worth_threads(m.saturating_mul(n).saturating_mul(w.cols), MIN_MACS);
        let fill = |(group, lines): (usize, &mut [Line])| interleave(w, group, lines);
        if threads {
            self.x.share_codes(kernel, Layout::TwoBit, xq, m);
            let lines = self.lines.par_chunks_exact_mut(per_group);
            lines.enumerate().with_min_len(4).for_each(fill);
        } else {
            self.x.arrange_codes(kernel, Layout::TwoBit, xq, m);
            self.lines
                .chunks_exact_mut(per_group)
                .enumerate()
                .for_each(fill);
        }
        let (lines, x, out) = (&self.lines, &self.x, SharedOut::new(out, m, n));
        let columns = groups.div_ceil(BLOCK_GROUPS);
        let run = |index: usize| {
            let (row, group) = (index / columns * BLOCK_ROWS, index % columns * BLOCK_GROUPS);
            let rows = row..(row + BLOCK_ROWS).min(m);
            let groups = group..(group + BLOCK_GROUPS).min(groups);
            let mut block = Block {
                out: &out,
                row,
                column: GROUP_ROWS * group,
                columns: n,
                sums_x: &x.sums()[rows.clone()],
                write: &write,
            };
            let w = Groups {
                layout: Layout::TwoBit,
                cols: w.cols,
                count: groups.len(),
                lines: &lines[groups.start * per_group..groups.end * per_group],
            };
            blocking::product(kernel, w, x.block(rows), &mut block);
        };
        let blocks = m.div_ceil(BLOCK_ROWS) * columns;
        if threads {
            (0..blocks).into_par_iter().for_each(run);
        } else {
            (0..blocks).for_each(run);
        }
    }

    /// Frees what a large product left.
    pub(crate) fn shrink(&mut self) {
        if self.lines.capacity() * size_of::<Line>() + self.x.capacity() > KEEP_SCRATCH {
            *self = Self::default();
        }
    }
}

/// A block of the output.
struct Block<'a, T, W> {
    out: &'a SharedOut<'a, T>,
    row: usize,
    column: usize,
    columns: usize,
    sums_x: &'a [i32],
    write: &'a W,
}

impl<T, W: Fn(usize, Range<usize>, &[i32], &mut [T])> Output for Block<'_, T, W> {
    #[inline]
    fn write(&mut self, row: usize, column: usize, sums: &mut [i32]) {
        let first = self.column + column;
        let span = first..(first + sums.len()).min(self.columns);
        let sums = &mut sums[..span.len()];
        let sum_x = self.sums_x[row];
        sums.iter_mut().for_each(|sum| *sum -= sum_x);
        let row = self.row + row;
        // SAFETY: blocks are disjoint, and a block writes each of its pieces once, alone.
        let out = unsafe { self.out.segment(row, span.clone()) };
        (self.write)(row, span, sums, out);
    }

    #[inline]
    fn expect(&self, row: usize, column: usize) {
        self.out.expect(self.row + row, self.column + column);
    }
}
