//! The packed ternary matrix: the one storage format of this workspace.
//!
//! `w[rows, cols]` is row-major, and each row starts on a fresh [`TernaryWord`], of which it has `⌈cols / 16⌉`. On disk
//! words are little-endian, so byte `b` of a row holds the elements `4b .. 4b+4` from its low bits up. Nothing here
//! depends on the processor.
//!
//! One f32 scale `s` stands for the tensor, one for each row, or one for each group of a row's weights:
//! [`Granularity`]. It is the multiplier that made the codes, `w_q = round(w · s)`, so a weight is `w_q / s` (Hugging
//! Face's `bitlinear`; its `autobitlinear` stores the inverse).

use super::{PackedView, TernaryWord, word_count, words_per_row};
use crate::{Error, Granularity, WeightQuantizer, quantize_weights};

/// A packed matrix that owns its words, checked when made.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedTernary {
    words: Vec<u32>,
    scales: Vec<f32>,
    granularity: Granularity,
    rows: usize,
    cols: usize,
}

impl PackedTernary {
    /// Takes words as stored, e.g. from a file.
    ///
    /// # Errors
    ///
    /// If a length disagrees with the shape, a scale is not positive and finite, an element is `0b11`, or padding is
    /// not weight 0.
    pub fn from_words(
        words: Vec<u32>,
        scales: Vec<f32>,
        granularity: Granularity,
        rows: usize,
        cols: usize,
    ) -> Result<Self, Error> {
        let view = PackedView::new(&words, &scales, granularity, rows, cols)?;
        view.check_scales()?;
        view.check_codes()?;
        Ok(Self {
            words,
            scales,
            granularity,
            rows,
            cols,
        })
    }

    /// Packs codes -1, 0, 1 that exist already.
    ///
    /// ```
    /// use bitnet_kernels::{Error, Granularity, PackedTernary};
    /// let w = PackedTernary::from_codes(&[-1, 0, 1], 1, 3, vec![2.0], Granularity::Tensor)?;
    /// assert_eq!(w.words(), [0x5555_5540 | 0b10_01_00]);
    /// let refused = PackedTernary::from_codes(&[2], 1, 1, vec![2.0], Granularity::Tensor);
    /// assert_eq!(refused, Err(Error::NotTernary { row: 0, col: 0, value: 2 }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a length disagrees with the shape, a scale is not positive and finite, or a code is not ternary.
    pub fn from_codes(
        codes: &[i8],
        rows: usize,
        cols: usize,
        scales: Vec<f32>,
        granularity: Granularity,
    ) -> Result<Self, Error> {
        check_length("codes", rows, cols, codes.len())?;
        if let Some((index, &value)) = codes
            .iter()
            .enumerate()
            .find(|(_, code)| !(-1..=1).contains(*code))
        {
            return Err(Error::NotTernary {
                row: index / cols,
                col: index % cols,
                value,
            });
        }
        let mut words = vec![TernaryWord::ZERO.0; word_count(rows, cols)?];
        let of_rows = words.chunks_exact_mut(words_per_row(cols).max(1));
        for (words, codes) in of_rows.zip(codes.chunks_exact(cols.max(1))) {
            for (word, codes) in words.iter_mut().zip(codes.chunks(TernaryWord::WEIGHTS)) {
                *word = TernaryWord::pack(codes.iter().copied()).0;
            }
        }
        Self::from_words(words, scales, granularity, rows, cols)
    }

    /// Quantises and packs latent weights `w[rows, cols]`.
    ///
    /// # Errors
    ///
    /// If `w` has another length, if it holds values that are not finite (their scale is refused), or if groups are not of
    /// whole words.
    pub fn from_latent(
        w: &[f32],
        rows: usize,
        cols: usize,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> Result<Self, Error> {
        check_length("w", rows, cols, w.len())?;
        word_count(rows, cols)?;
        granularity.check()?;
        let (words, scales) = quantize_weights(w, rows, cols, quantizer, granularity);
        let packed = Self {
            words,
            scales,
            granularity,
            rows,
            cols,
        };
        packed.view().check_scales()?;
        Ok(packed)
    }

    /// The form that the products read.
    pub fn view(&self) -> PackedView<'_> {
        PackedView {
            words: &self.words,
            scales: &self.scales,
            granularity: self.granularity,
            rows: self.rows,
            cols: self.cols,
        }
    }

    /// The code -1, 0 or 1 of one weight.
    ///
    /// # Panics
    ///
    /// If `row` or `col` lies outside the matrix.
    pub fn code(&self, row: usize, col: usize) -> i8 {
        self.view().code(row, col)
    }

    /// The packed words, row after row.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The scales: one, one for each row, or `[rows, groups]`.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Which weights share a scale.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// Output features, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features, K.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of words and scales.
    pub fn bytes(&self) -> usize {
        4 * (self.words.len() + self.scales.len())
    }
}

fn check_length(name: &'static str, rows: usize, cols: usize, found: usize) -> Result<(), Error> {
    let expected = rows
        .checked_mul(cols)
        .ok_or(Error::TooLarge { rows, cols })?;
    if expected == found {
        Ok(())
    } else {
        Err(Error::Length {
            name,
            expected,
            found,
        })
    }
}
