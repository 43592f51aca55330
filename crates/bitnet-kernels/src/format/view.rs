//! A packed matrix that someone else owns: the borrowed form of the layout that `packed` describes.

use super::{TernaryWord, words_per_row};
use crate::{Error, Granularity};

/// A borrowed packed matrix, which the products read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackedView<'a> {
    /// `rows · words_per_row(cols)` words.
    pub words: &'a [u32],
    /// One scale, one for each row, or `[rows, groups]`.
    pub scales: &'a [f32],
    /// Which weights share a scale.
    pub granularity: Granularity,
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
    /// If a length disagrees with the shape, or groups are not of whole words.
    pub fn new(
        words: &'a [u32],
        scales: &'a [f32],
        granularity: Granularity,
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
        granularity.check()?;
        let expected = granularity.scales(rows, cols);
        if scales.len() != expected {
            return Err(Error::ScaleCount {
                granularity,
                rows,
                cols,
                expected,
                found: scales.len(),
            });
        }
        Ok(Self {
            words,
            scales,
            granularity,
            rows,
            cols,
        })
    }

    /// The scales of a row: one, or one for each of its groups.
    #[inline]
    pub fn row_scales(&self, row: usize) -> &'a [f32] {
        row_scales(self.scales, self.granularity, self.cols, row)
    }

    /// The packed words of a row.
    #[inline]
    pub fn row_words(&self, row: usize) -> &'a [u32] {
        let len = words_per_row(self.cols);
        &self.words[row * len..][..len]
    }

    /// One row as a matrix of its own.
    ///
    /// # Panics
    ///
    /// If `row` lies outside the matrix.
    pub fn row(&self, row: usize) -> PackedView<'a> {
        PackedView {
            words: self.row_words(row),
            scales: self.row_scales(row),
            granularity: self.granularity,
            rows: 1,
            cols: self.cols,
        }
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
        let word = self.row_words(row)[col / TernaryWord::WEIGHTS];
        TernaryWord(word).code(col % TernaryWord::WEIGHTS)
    }

    /// Reads every word: no element may be `0b11`, and padding must be weight 0.
    ///
    /// # Errors
    ///
    /// [`Error::IllegalCode`] or [`Error::Padding`], with the place.
    pub fn check_codes(&self) -> Result<(), Error> {
        for row in 0..self.rows {
            for (index, &word) in self.row_words(row).iter().enumerate() {
                let first = TernaryWord::WEIGHTS * index;
                let (word, used) = (TernaryWord(word), self.cols - first);
                if let Some(k) = word.illegal(used) {
                    let col = first + k;
                    return Err(Error::IllegalCode { row, col });
                }
                if let Some(k) = word.unpadded(used) {
                    let (col, bits) = (first + k, word.stored(k));
                    return Err(Error::Padding { row, col, bits });
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
        if let Err(error) = PackedView::new(
            self.words,
            self.scales,
            self.granularity,
            self.rows,
            self.cols,
        ) {
            panic!("{error}");
        }
    }
}

/// Words of the matrix, unless they cannot be counted.
pub(crate) fn word_count(rows: usize, cols: usize) -> Result<usize, Error> {
    rows.checked_mul(words_per_row(cols))
        .ok_or(Error::TooLarge { rows, cols })
}

/// The scales of a row of `cols` weights: one, or one for each of its groups.
#[inline]
pub(crate) fn row_scales(
    scales: &[f32],
    granularity: Granularity,
    cols: usize,
    row: usize,
) -> &[f32] {
    match granularity {
        Granularity::Tensor => scales,
        Granularity::Row => &scales[row..=row],
        Granularity::Group(_) => {
            let groups = granularity.groups(cols);
            &scales[groups * row..][..groups]
        }
    }
}
