//! A ternary matrix as a file holds it: codes in the packed words of this workspace, and the file's own scales.
//!
//! Files multiply by their scales or divide by them; `PackedTernary` always divides. A tensor keeps its file's numbers
//! and says which they are, so that going from one multiplying file to another changes no bit, and
//! [`TernaryTensor::into_packed`] inverts only where it must.

use bitnet_kernels::{Granularity, PackedTernary, TernaryWord, words_per_row};

/// What a scale does to a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleDirection {
    /// The weight is `code · scale`: the scale is near `mean|w|`.
    Multiply,
    /// The weight is `code / scale`: the scale is near `1 / mean|w|`.
    Divide,
}

/// Codes -1, 0, 1 of a matrix `[rows, cols]` with their scales.
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryTensor {
    rows: usize,
    cols: usize,
    words: Vec<u32>,
    scales: Vec<f32>,
    granularity: Granularity,
    direction: ScaleDirection,
}

/// Why codes and scales are not a ternary matrix.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TernaryError {
    /// A stored code is 3, or a value is none of -s, 0, s.
    #[error("row {row}, column {col} holds the code {found}, expected -1, 0 or 1")]
    NotTernary {
        /// Row of the weight.
        row: usize,
        /// Column of the weight.
        col: usize,
        /// The code.
        found: i32,
    },
    /// A scale is NaN or infinite, or divides by zero.
    #[error("scale {index} is {found}, expected a finite number that is not 0")]
    Scale {
        /// Index among the scales.
        index: usize,
        /// The scale.
        found: f32,
    },
    /// There are more or fewer scales than groups.
    #[error("{found} scales, expected {expected} for {rows} rows of {cols} columns")]
    ScaleCount {
        /// Scales of the groups.
        expected: usize,
        /// Scales given.
        found: usize,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// The kernels refuse the matrix.
    #[error(transparent)]
    Kernels(#[from] bitnet_kernels::Error),
}

impl TernaryTensor {
    /// Zeros of a shape, to be filled with [`TernaryTensor::set_codes`]. A negative scale turns its codes over; codes of
    /// a scale 0 become 0 (a file may say so of a group of zeros).
    pub(crate) fn new(
        rows: usize,
        cols: usize,
        granularity: Granularity,
        direction: ScaleDirection,
    ) -> Self {
        let words = vec![TernaryWord::ZERO.0; rows * words_per_row(cols)];
        let mut tensor = Self {
            rows,
            cols,
            words,
            scales: Vec::new(),
            granularity,
            direction,
        };
        tensor.scales = vec![1.0; granularity.scales(rows, cols)];
        tensor
    }

    /// Codes row after row, with their scales.
    ///
    /// # Errors
    ///
    /// If a code is not ternary, or a scale is not finite (or divides by 0).
    ///
    /// # Panics
    ///
    /// If the lengths do not fit the shape and groups.
    pub fn from_codes(
        codes: &[i8],
        (rows, cols): (usize, usize),
        scales: Vec<f32>,
        granularity: Granularity,
        direction: ScaleDirection,
    ) -> Result<Self, TernaryError> {
        assert_eq!(codes.len(), rows * cols, "codes are not {rows} x {cols}");
        let mut tensor = Self::new(rows, cols, granularity, direction);
        let mut stored = vec![0_u8; cols];
        for (row, codes) in codes.chunks_exact(cols.max(1)).enumerate() {
            for (stored, code) in stored.iter_mut().zip(codes) {
                *stored = code.wrapping_add(1) as u8;
            }
            tensor.set_codes(row, 0, &stored)?;
        }
        tensor.set_scales(scales)?;
        Ok(tensor)
    }

    /// Writes stored codes 0, 1, 2 (for -1, 0, 1) from a column on that starts a word; they end a word or the row.
    pub(crate) fn set_codes(
        &mut self,
        row: usize,
        col: usize,
        stored: &[u8],
    ) -> Result<(), TernaryError> {
        debug_assert!(col.is_multiple_of(TernaryWord::WEIGHTS));
        let first = row * words_per_row(self.cols) + col / TernaryWord::WEIGHTS;
        let words = &mut self.words[first..];
        let chunks = stored.chunks(TernaryWord::WEIGHTS);
        for (index, (stored, word)) in chunks.zip(words).enumerate() {
            if let Some(at) = stored.iter().position(|code| *code > 2) {
                let found = i32::from(stored[at].wrapping_sub(1) as i8);
                let col = col + TernaryWord::WEIGHTS * index + at;
                return Err(TernaryError::NotTernary { row, col, found });
            }
            *word = TernaryWord::pack(stored.iter().map(|code| *code as i8 - 1)).0;
        }
        Ok(())
    }

    /// Sets all scales, after the codes.
    pub(crate) fn set_scales(&mut self, scales: Vec<f32>) -> Result<(), TernaryError> {
        let expected = self.granularity.scales(self.rows, self.cols);
        if scales.len() != expected {
            return Err(TernaryError::ScaleCount {
                expected,
                found: scales.len(),
                rows: self.rows,
                cols: self.cols,
            });
        }
        self.scales = scales;
        let divides = self.direction == ScaleDirection::Divide;
        for index in 0..expected {
            let found = self.scales[index];
            if !found.is_finite() || divides && found == 0.0 {
                return Err(TernaryError::Scale { index, found });
            }
            if found <= 0.0 {
                self.rewrite_group(index, found < 0.0);
                self.scales[index] = -found.min(-0.0);
            }
        }
        Ok(())
    }

    /// Negates the codes of a group, or sets them to 0.
    fn rewrite_group(&mut self, index: usize, negate: bool) {
        let (rows, cols) = match self.granularity {
            Granularity::Tensor => (0..self.rows, 0..self.cols),
            Granularity::Row => (index..index + 1, 0..self.cols),
            Granularity::Group(n) => {
                let per_row = self.granularity.groups(self.cols);
                let (row, first) = (index / per_row, index % per_row * n);
                (row..row + 1, first..self.cols.min(first + n))
            }
        };
        let words = words_per_row(self.cols);
        for row in rows {
            for first in cols.clone().step_by(TernaryWord::WEIGHTS) {
                let word = &mut self.words[row * words + first / TernaryWord::WEIGHTS];
                let used = (cols.end - first).min(TernaryWord::WEIGHTS);
                let code = |k| {
                    if negate {
                        -TernaryWord(*word).code(k)
                    } else {
                        0
                    }
                };
                *word = TernaryWord::pack((0..used).map(code)).0;
            }
        }
    }

    /// The matrix whose row `i` is row `rows[i]` of this one; scales go with their rows.
    pub(crate) fn select_rows(self, rows: &[usize]) -> Self {
        let words = words_per_row(self.cols);
        let of = |row: &usize| &self.words[row * words..][..words];
        let scales = match self.granularity {
            Granularity::Tensor => self.scales,
            Granularity::Row | Granularity::Group(_) => {
                let per_row = self.scales.len() / self.rows.max(1);
                let of = |row: &usize| &self.scales[row * per_row..][..per_row];
                rows.iter().flat_map(of).copied().collect()
            }
        };
        Self {
            rows: rows.len(),
            words: rows.iter().flat_map(of).copied().collect(),
            scales,
            ..self
        }
    }

    /// Output features.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The scales as in the file, group after group within a row, row after row; none is negative.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Which weights share a scale.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// What a scale does.
    pub fn direction(&self) -> ScaleDirection {
        self.direction
    }

    /// The code of one weight.
    ///
    /// # Panics
    ///
    /// If `row` or `col` lies outside the matrix.
    pub fn code(&self, row: usize, col: usize) -> i8 {
        assert!(col < self.cols, "column {col} of {}", self.cols);
        let word = self.words[row * words_per_row(self.cols) + col / TernaryWord::WEIGHTS];
        TernaryWord(word).code(col % TernaryWord::WEIGHTS)
    }

    /// The codes, row after row.
    pub fn codes(&self) -> Vec<i8> {
        let at = |row| (0..self.cols).map(move |col| self.code(row, col));
        (0..self.rows).flat_map(at).collect()
    }

    /// How many weights are -1, 0 and 1.
    pub fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for words in self.words.chunks(words_per_row(self.cols).max(1)) {
            for (index, word) in words.iter().enumerate() {
                let used = (self.cols - TernaryWord::WEIGHTS * index).min(TernaryWord::WEIGHTS);
                for k in 0..used {
                    counts[TernaryWord(*word).stored(k) as usize] += 1;
                }
            }
        }
        counts
    }

    /// The scale of one weight's group as a number that multiplies its code.
    pub fn multiplier(&self, row: usize, col: usize) -> f32 {
        let index = match self.granularity {
            Granularity::Tensor => 0,
            Granularity::Row => row,
            Granularity::Group(n) => row * self.granularity.groups(self.cols) + col / n,
        };
        match self.direction {
            ScaleDirection::Multiply => self.scales[index],
            ScaleDirection::Divide => 1.0 / self.scales[index],
        }
    }

    /// The scale as in the file, if all weights have the same.
    pub fn single_scale(&self) -> Option<f32> {
        let (first, rest) = self.scales.split_first()?;
        rest.iter().all(|scale| scale == first).then_some(*first)
    }

    /// The weights, row after row: `code · scale` or `code / scale`, as the file says.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.rows * self.cols);
        for row in 0..self.rows {
            for col in 0..self.cols {
                out.push(f32::from(self.code(row, col)) * self.multiplier(row, col));
            }
        }
        out
    }

    /// The same weights with the fewest scales: one for all if all groups share it, or one a row. Formats in groups hold a
    /// matrix with one scale so, with the scale in every group; those of zeros may have another.
    pub fn coarsened(self) -> Self {
        let Granularity::Group(_) = self.granularity else {
            return self;
        };
        let per_row = self.granularity.groups(self.cols).max(1);
        let shared = |scales: &[f32]| {
            let mut nonzero = scales.iter().filter(|s| **s != 0.0);
            let first = nonzero.next().copied().unwrap_or(0.0);
            nonzero.all(|s| *s == first).then_some(first)
        };
        let (scales, granularity) = if let Some(scale) = shared(&self.scales) {
            (vec![scale], Granularity::Tensor)
        } else {
            let rows: Option<Vec<f32>> = self.scales.chunks(per_row).map(shared).collect();
            match rows {
                Some(scales) => (scales, Granularity::Row),
                None => return self,
            }
        };
        Self {
            scales,
            granularity,
            ..self
        }
    }

    /// The matrix as the kernels hold it, whose scales divide. A scale 0 becomes 1: its codes are 0.
    ///
    /// # Errors
    ///
    /// If a scale has no finite inverse.
    pub fn into_packed(self) -> Result<PackedTernary, TernaryError> {
        let mut scales = self.scales;
        if self.direction == ScaleDirection::Multiply {
            for scale in &mut scales {
                *scale = if *scale == 0.0 { 1.0 } else { 1.0 / *scale };
            }
        }
        let (words, granularity) = (self.words, self.granularity);
        Ok(PackedTernary::from_words(
            words,
            scales,
            granularity,
            self.rows,
            self.cols,
        )?)
    }
}

/// The kernels' matrix, whose scales divide.
impl From<PackedTernary> for TernaryTensor {
    fn from(packed: PackedTernary) -> Self {
        Self {
            rows: packed.rows(),
            cols: packed.cols(),
            words: packed.words().to_vec(),
            scales: packed.scales().to_vec(),
            granularity: packed.granularity(),
            direction: ScaleDirection::Divide,
        }
    }
}
