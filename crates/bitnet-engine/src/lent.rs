//! Slices that the threads of a round write in parts.

use std::{marker::PhantomData, ops::Range};

/// A slice lent to several threads, each of which takes its own part.
pub(crate) struct Lent<'a, T> {
    start: *mut T,
    len: usize,
    lent: PhantomData<&'a mut [T]>,
}

// SAFETY: elements are reached only through `part` and `one`, whose callers promise that no two threads hold the same ones,
// and through `shared`, which asks for more of T.
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

    /// # Safety
    ///
    /// As [`Lent::part`].
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn one(&self, index: usize) -> &mut T {
        assert!(index < self.len);
        // SAFETY: within the slice, by the line above, which `'a` keeps borrowed; the caller keeps it alone.
        unsafe { &mut *self.start.add(index) }
    }

    /// # Safety
    ///
    /// Nobody may write it meanwhile.
    pub(crate) unsafe fn shared(&self, index: usize) -> &T
    where
        T: Sync,
    {
        assert!(index < self.len);
        // SAFETY: within the slice, by the line above, which `'a` keeps borrowed; the caller sees that it is only read.
        unsafe { &*self.start.add(index) }
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
