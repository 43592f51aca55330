//! Who computes what of an output `[m, n]`.
//!
//! Few rows (decoding, short prompts): each thread takes a range of columns, so that every weight is read by one thread.
//! Many rows: each thread takes a range of rows, from the norm to the last product, so that only attention needs the
//! others. Each output is computed by the same operations either way, so the split shows in the time and not in the
//! numbers.

use std::{marker::PhantomData, ops::Range};

/// Rows for each thread from which rows are split: below, a thread would have too few to use a matrix's decoded weights
/// again and again (the kernels multiply 10 at a time).
const ROWS_PER_THREAD: usize = 8;

/// Rows that a thread takes at a time at most: their activations, codes and outputs stay in its level-two cache.
const BLOCK: usize = 128;

/// Bytes of weights (or keys and values) times rows from which a second thread pays: handing work over and waiting for it
/// takes about half a microsecond, in which one thread gets through as much from its cache.
const WORTHWHILE: usize = 32 << 10;

/// The threads for work on `rows` rows that reads `bytes` for each: one, or all of `threads`.
pub(crate) fn threads_for(rows: usize, bytes: usize, threads: usize) -> usize {
    match rows.saturating_mul(bytes) < WORTHWHILE {
        true => 1,
        false => threads,
    }
}

/// How `m` rows are split among threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    rows: usize,
    threads: usize,
    by_rows: bool,
}

/// One thread's part: some rows, and of each product the range of groups of 16 columns that falls to it.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub rows: Range<usize>,
    part: usize,
    parts: usize,
}

impl Split {
    pub(crate) fn new(rows: usize, threads: usize) -> Split {
        Split {
            rows,
            threads,
            by_rows: rows >= ROWS_PER_THREAD * threads,
        }
    }

    /// As [`Split::new`], by columns whatever the number of rows.
    pub(crate) fn by_columns(rows: usize, threads: usize) -> Split {
        Split {
            rows,
            threads,
            by_rows: false,
        }
    }

    /// Threads that have a part.
    pub(crate) fn threads(self) -> usize {
        self.threads
    }

    /// What falls to a thread, in pieces of a few rows.
    pub(crate) fn shares(self, thread: usize) -> impl Iterator<Item = Share> {
        let (rows, part, parts) = match self.by_rows {
            true => (part_of(self.rows, thread, self.threads), 0, 1),
            false => (0..self.rows, thread, self.threads),
        };
        // Equal blocks: weights are made ready for each, and would be for a few rows at the end as well.
        let blocks = rows.len().div_ceil(BLOCK);
        (0..blocks).map(move |block| {
            let block = part_of(rows.len(), block, blocks);
            Share {
                rows: rows.start + block.start..rows.start + block.end,
                part,
                parts,
            }
        })
    }
}

impl Share {
    /// The share in pieces of at most so many columns of `cols`, for results that wait for others.
    pub(crate) fn pieces(&self, cols: usize, most: usize) -> impl Iterator<Item = Share> + use<> {
        let Share { rows, part, parts } = self.clone();
        let count = cols.div_ceil(parts).div_ceil(most).max(1);
        (0..count).map(move |piece| Share {
            rows: rows.clone(),
            part: part * count + piece,
            parts: parts * count,
        })
    }

    /// The share's groups of a matrix that has `groups`.
    pub(crate) fn groups(&self, groups: usize) -> Range<usize> {
        part_of(groups, self.part, self.parts)
    }
}

/// The part `index` of `len` things in `parts` of nearly equal size.
pub(crate) fn part_of(len: usize, index: usize, parts: usize) -> Range<usize> {
    len * index / parts..len * (index + 1) / parts
}

/// A slice lent to several threads, each of which takes its own part.
pub(crate) struct Lent<'a, T> {
    start: *mut T,
    len: usize,
    lent: PhantomData<&'a mut [T]>,
}

// SAFETY: elements are reached only through `part`, whose callers promise that no two threads hold the same ones.
unsafe impl<T: Send> Sync for Lent<'_, T> {}

impl<'a, T> Lent<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Lent {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            lent: PhantomData,
        }
    }

    /// # Safety
    ///
    /// No other live part may overlap this one.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: within the slice, by the line above, which `'a` keeps borrowed; the caller keeps it alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

/// A lent `[rows, cols]`.
pub(crate) struct Grid<'a> {
    values: Lent<'a, f32>,
    cols: usize,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(values: &'a mut [f32], cols: usize) -> Self {
        debug_assert!(values.len().is_multiple_of(cols));
        Grid {
            values: Lent::new(values),
            cols,
        }
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// `[row, columns]`.
    ///
    /// # Safety
    ///
    /// As [`Lent::part`].
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn segment(&self, row: usize, columns: Range<usize>) -> &mut [f32] {
        assert!(columns.end <= self.cols);
        let first = row * self.cols;
        // SAFETY: passed on.
        unsafe { self.values.part(first + columns.start..first + columns.end) }
    }

    /// Whole rows, or columns of one row.
    ///
    /// # Safety
    ///
    /// As [`Lent::part`].
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn contiguous(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> &mut [f32] {
        if rows.len() == 1 {
            // SAFETY: passed on.
            return unsafe { self.segment(rows.start, columns) };
        }
        assert_eq!(columns, 0..self.cols);
        // SAFETY: passed on.
        unsafe {
            self.values
                .part(rows.start * self.cols..rows.end * self.cols)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_output_once() {
        for (rows, threads) in [(1, 1), (1, 3), (7, 2), (40, 2), (200, 3), (64, 8)] {
            let groups = 11;
            let mut seen = vec![0; rows * groups];
            for thread in 0..threads {
                let shares = Split::new(rows, threads).shares(thread);
                for piece in shares.flat_map(|share| share.pieces(16 * groups, 40)) {
                    for row in piece.rows.clone() {
                        piece
                            .groups(groups)
                            .for_each(|g| seen[row * groups + g] += 1);
                    }
                }
            }
            assert!(
                seen.iter().all(|count| *count == 1),
                "{rows} rows, {threads} threads"
            );
        }
    }
}
