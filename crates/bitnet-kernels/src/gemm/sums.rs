//! Integer sums on their way from a kernel to the output.

use crate::format::GROUP_ROWS;

/// Sums of the 16 rows of a group with one row of `x`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [i32; GROUP_ROWS]);

impl Lanes {
    /// No sum yet.
    pub(crate) const ZERO: Lanes = Lanes([0; GROUP_ROWS]);
}

/// The sums of groups side by side, as one slice.
pub(crate) fn flat(sums: &mut [Lanes]) -> &mut [i32] {
    // SAFETY: `Lanes` is `repr(C)` of 16 int32 in 64 bytes, so n of them are 16n initialised values, borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast(), GROUP_ROWS * sums.len()) }
}

/// Sums of some rows of `x` with whole groups of columns.
#[derive(Clone, Copy)]
pub(crate) struct Sums<'a> {
    /// `[rows, stride]`.
    values: &'a [i32],
    stride: usize,
    rows: usize,
    width: usize,
}

impl<'a> Sums<'a> {
    /// The first `width` of each `stride` values.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    pub(crate) fn new(values: &'a [i32], stride: usize, rows: usize, width: usize) -> Self {
        assert!(
            width <= stride && values.len() >= rows * stride,
            "{rows} x {width}"
        );
        Sums {
            values,
            stride,
            rows,
            width,
        }
    }

    /// Those of one row.
    pub(crate) fn of_row(values: &'a [i32]) -> Self {
        Self::new(values, values.len(), 1, values.len())
    }

    /// Number of rows.
    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    /// Columns.
    pub(crate) fn width(self) -> usize {
        self.width
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn row(self, row: usize) -> &'a [i32] {
        &self.values[row * self.stride..][..self.width]
    }

    /// The first columns.
    pub(crate) fn narrowed(self, width: usize) -> Self {
        Self::new(self.values, self.stride, self.rows, width)
    }
}
