//! An output that threads write in rectangles, which no slice type can split.

use std::{marker::PhantomData, mem::MaybeUninit, ops::Range};

use crate::format::Line;

/// `out[m, n]`, lent to several threads.
pub(crate) struct SharedOut<'a, T> {
    start: *mut T,
    m: usize,
    n: usize,
    lent: PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer is used only through `rectangle`, whose callers promise that none overlap; T moves
// between threads.
unsafe impl<T: Send> Sync for SharedOut<'_, T> {}

impl<'a, T> SharedOut<'a, T> {
    /// Lends `out[m, n]`.
    ///
    /// # Panics
    ///
    /// If `out` has another length.
    pub(crate) fn new(out: &'a mut [T], m: usize, n: usize) -> Self {
        assert_eq!(Some(out.len()), m.checked_mul(n), "out is not {m} x {n}");
        SharedOut {
            start: out.as_mut_ptr(),
            m,
            n,
            lent: PhantomData,
        }
    }

    /// `out[rows, columns]`.
    ///
    /// # Safety
    ///
    /// No two live rectangles may overlap.
    pub(crate) unsafe fn rectangle(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Rectangle<'_, T> {
        assert!(rows.start <= rows.end && rows.end <= self.m);
        assert!(columns.start <= columns.end && columns.end <= self.n);
        // Within the m · n elements at `start`, or at their end if it is empty.
        Rectangle {
            start: self.start.wrapping_add(rows.start * self.n + columns.start),
            rows: rows.len(),
            width: columns.len(),
            stride: self.n,
            lent: PhantomData,
        }
    }

    /// Fetches the lines of 32 columns, which will be written soon.
    #[inline]
    pub(crate) fn expect(&self, i: usize, column: usize) {
        fetch(self.start.wrapping_add(i * self.n + column));
    }
}

/// `[rows, width]` of a matrix, lent for writing.
pub(crate) struct Rectangle<'a, T> {
    start: *mut T,
    rows: usize,
    width: usize,
    stride: usize,
    lent: PhantomData<&'a mut [T]>,
}

impl<'a, T> Rectangle<'a, T> {
    /// The first `width` of each `stride` elements.
    ///
    /// # Panics
    ///
    /// If there are fewer, or rows overlap.
    pub(crate) fn new(out: &'a mut [T], stride: usize, rows: usize, width: usize) -> Self {
        let needed = rows.saturating_sub(1) * stride + width;
        assert!(out.len() >= needed, "out has {} of {needed}", out.len());
        assert!(
            width <= stride || rows <= 1,
            "rows of {width} overlap at {stride}"
        );
        Rectangle {
            start: out.as_mut_ptr(),
            rows,
            width,
            stride,
            lent: PhantomData,
        }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows);
        // SAFETY: `new` and `SharedOut::rectangle` have found `rows` rows of `width` elements at this distance, which do not
        // overlap and are lent to this value alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.width) }
    }
}

impl<'a> Rectangle<'a, MaybeUninit<f32>> {
    /// Writes 0 everywhere.
    pub(crate) fn clear(&mut self) {
        for row in 0..self.rows {
            self.row(row).fill(MaybeUninit::new(0.0));
        }
    }

    /// The same rectangle, as floats.
    ///
    /// # Safety
    ///
    /// Every element must have been written.
    pub(crate) unsafe fn written(self) -> Rectangle<'a, f32> {
        Rectangle {
            start: self.start.cast(),
            rows: self.rows,
            width: self.width,
            stride: self.stride,
            lent: PhantomData,
        }
    }
}

/// Brings lines to the level-two cache.
pub(crate) fn fetch_lines(lines: &[Line]) {
    for line in lines {
        fetch_line(line);
    }
}

/// Brings a line to the level-two cache; any address may be given.
#[inline(always)]
pub(crate) fn fetch_line(line: *const Line) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE, which every x86-64 has; a prefetch reads nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Brings the 128 bytes from `start` on, wherever they lie in their lines, to the nearest cache; any address may be given.
#[inline]
pub(crate) fn fetch<T>(start: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for at in [0, 64, 128] {
            // SAFETY: SSE, which every x86-64 has; a prefetch reads nothing and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.cast::<i8>().wrapping_add(at)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = start;
}
