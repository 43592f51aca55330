//! A packed matrix that someone else owns: the borrowed form of the layout that `packed` describes.

use crate::Error;

/// Words of one packed row: `ceil(cols / 16)`.
pub const fn words_per_row(cols: usize) -> usize {
    cols.div_ceil(16)
}

/// A borrowed packed matrix, which the products read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackedView<'a> {
    /// `rows · words_per_row(cols)` words.
    pub words: &'a [u32],
    /// One scale, or one for each row.
    pub scales: &'a [f32],
    /// Output features, N.
    pub rows: usize,
    /// Input features, K.
    pub cols: usize,
}

impl<'a> PackedView<'a> {
    /// Borrows a matrix whose lengths fit; O(1). The codes are not read: see [`PackedView::check_codes`].
    ///
    /// # Errors
    ///
    /// If a length disagrees with the shape.
    pub fn new(
        words: &'a [u32],
        scales: &'a [f32],
        rows: usize,
        cols: usize,
    ) -> Result<Self, Error> {
        let expected = word_count(rows, cols)?;
        if words.len() != expected {
            return Err(Error::Length {
                name: "words",
                expected,
                found: words.len(),
            });
        }
        if scales.len() != 1 && scales.len() != rows {
            return Err(Error::ScaleCount {
                rows,
                found: scales.len(),
            });
        }
        Ok(Self {
            words,
            scales,
            rows,
            cols,
        })
    }

    /// The packed words of a row.
    #[inline]
    pub fn row_words(&self, row: usize) -> &'a [u32] {
        let len = words_per_row(self.cols);
        &self.words[row * len..][..len]
    }

    /// The code of one weight, `stored - 1`.
    ///
    /// # Panics
    ///
    /// If `row` or `col` lies outside the matrix.
    pub fn code(&self, row: usize, col: usize) -> i8 {
        assert!(
            row < self.rows && col < self.cols,
            "({row}, {col}) in a {} x {} matrix",
            self.rows,
            self.cols
        );
        ((self.row_words(row)[col / 16] >> (2 * (col % 16))) & 3) as i8 - 1
    }

    /// Reads every word: no element may be `0b11`, and padding must be weight 0.
    ///
    /// # Errors
    ///
    /// [`Error::IllegalCode`] or [`Error::Padding`], with the place.
    pub fn check_codes(&self) -> Result<(), Error> {
        for row in 0..self.rows {
            for (index, &word) in self.row_words(row).iter().enumerate() {
                let used = (self.cols - 16 * index).min(16);
                let padding = if used == 16 {
                    0
                } else {
                    u32::MAX << (2 * used)
                };
                let illegal = word & (word >> 1) & 0x5555_5555 & !padding;
                if illegal != 0 {
                    return Err(Error::IllegalCode {
                        row,
                        col: 16 * index + illegal.trailing_zeros() as usize / 2,
                    });
                }
                let wrong = (word ^ 0x5555_5555) & padding;
                if wrong != 0 {
                    let element = wrong.trailing_zeros() / 2;
                    let bits = (word >> (2 * element)) & 3;
                    return Err(Error::Padding {
                        row,
                        col: 16 * index + element as usize,
                        bits,
                    });
                }
            }
        }
        Ok(())
    }

    /// Every scale must be positive and finite.
    ///
    /// # Errors
    ///
    /// [`Error::Scale`], with the first offending value.
    pub fn check_scales(&self) -> Result<(), Error> {
        match self
            .scales
            .iter()
            .enumerate()
            .find(|(_, s)| !(s.is_finite() && **s > 0.0))
        {
            Some((index, &value)) => Err(Error::Scale { index, value }),
            None => Ok(()),
        }
    }

    /// Public fields can hold anything: the products check them again.
    pub(crate) fn assert_lengths(&self) {
        if let Err(error) = PackedView::new(self.words, self.scales, self.rows, self.cols) {
            panic!("{error}");
        }
    }
}

/// Words of the matrix, unless they cannot be counted.
pub(crate) fn word_count(rows: usize, cols: usize) -> Result<usize, Error> {
    rows.checked_mul(words_per_row(cols))
        .ok_or(Error::TooLarge { rows, cols })
}
