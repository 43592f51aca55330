//! A ternary matrix as a file holds it: codes in the packed words of this workspace, and the file's own scales.
//!
//! Files multiply by their scales or divide by them; `PackedTernary` always divides. A tensor keeps its file's numbers
//! and says which they are, so that going from one multiplying file to another changes no bit, and
//! [`TernaryTensor::into_packed`] inverts only where it must.

use bitnet_kernels::{Granularity, PackedTernary, words_per_row};

/// What a scale does to a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleDirection {
    /// The weight is `code · scale`: the scale is near `mean|w|`.
    Multiply,
    /// The weight is `code / scale`: the scale is near `1 / mean|w|`.
    Divide,
}

/// Which weights share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleGroups {
    /// All of the matrix.
    Tensor,
    /// Each row its own.
    Row,
    /// Each so many columns of a row their own.
    Columns(usize),
}

/// Codes -1, 0, 1 of a matrix `[rows, cols]` with their scales.
#[derive(Clone, Debug, PartialEq)]
pub struct TernaryTensor {
    rows: usize,
    cols: usize,
    words: Vec<u32>,
    scales: Vec<f32>,
    groups: ScaleGroups,
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
        groups: ScaleGroups,
        direction: ScaleDirection,
    ) -> Self {
        let words = vec![0x5555_5555; rows * words_per_row(cols)];
        let mut tensor = Self {
            rows,
            cols,
            words,
            scales: Vec::new(),
            groups,
            direction,
        };
        tensor.scales = vec![1.0; tensor.scale_count()];
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
        groups: ScaleGroups,
        direction: ScaleDirection,
    ) -> Result<Self, TernaryError> {
        assert_eq!(codes.len(), rows * cols, "codes are not {rows} x {cols}");
        let mut tensor = Self::new(rows, cols, groups, direction);
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
        debug_assert!(col.is_multiple_of(16));
        let first = row * words_per_row(self.cols) + col / 16;
        let words = &mut self.words[first..];
        for (index, (stored, word)) in stored.chunks(16).zip(words).enumerate() {
            if let Some(at) = stored.iter().position(|code| *code > 2) {
                let found = i32::from(stored[at].wrapping_sub(1) as i8);
                let col = col + 16 * index + at;
                return Err(TernaryError::NotTernary { row, col, found });
            }
            // The padding of a short row stays weight 0.
            let padding = 0x5555_5555_u32.checked_shl(2 * stored.len() as u32);
            let codes = stored.iter().rev();
            *word = codes.fold(0, |word, code| word << 2 | u32::from(*code)) | padding.unwrap_or(0);
        }
        Ok(())
    }

    /// Sets all scales, after the codes.
    pub(crate) fn set_scales(&mut self, scales: Vec<f32>) -> Result<(), TernaryError> {
        let expected = self.scale_count();
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
        let words = words_per_row(self.cols);
        let (rows, cols) = match self.groups {
            ScaleGroups::Tensor => (0..self.rows, 0..self.cols),
            ScaleGroups::Row => (index..index + 1, 0..self.cols),
            ScaleGroups::Columns(n) => {
                let per_row = self.cols.div_ceil(n);
                let (row, first) = (index / per_row, index % per_row * n);
                (row..row + 1, first..self.cols.min(first + n))
            }
        };
        for row in rows {
            for col in cols.clone() {
                let word = &mut self.words[row * words + col / 16];
                let bit = 2 * (col % 16);
                let stored = *word >> bit & 3;
                let new = if negate { 2 - stored } else { 1 };
                *word = *word & !(3 << bit) | new << bit;
            }
        }
    }

    fn scale_count(&self) -> usize {
        match self.groups {
            ScaleGroups::Tensor => 1,
            ScaleGroups::Row => self.rows,
            ScaleGroups::Columns(n) => self.rows * self.cols.div_ceil(n),
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
    pub fn groups(&self) -> ScaleGroups {
        self.groups
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
        let word = self.words[row * words_per_row(self.cols) + col / 16];
        (word >> (2 * (col % 16)) & 3) as i8 - 1
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
                let used = (self.cols - 16 * index).min(16);
                let mask = u32::MAX >> (32 - 2 * used);
                let (ones, twos) = (word & 0x5555_5555 & mask, word >> 1 & 0x5555_5555 & mask);
                let (ones, twos) = (ones.count_ones() as u64, twos.count_ones() as u64);
                counts[0] += used as u64 - ones - twos;
                counts[1] += ones;
                counts[2] += twos;
            }
        }
        counts
    }

    /// The scale of one weight's group as a number that multiplies its code.
    pub fn multiplier(&self, row: usize, col: usize) -> f32 {
        let index = match self.groups {
            ScaleGroups::Tensor => 0,
            ScaleGroups::Row => row,
            ScaleGroups::Columns(n) => row * self.cols.div_ceil(n) + col / n,
        };
        match self.direction {
            ScaleDirection::Multiply => self.scales[index],
            ScaleDirection::Divide => 1.0 / self.scales[index],
        }
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

    /// The matrix as the kernels hold it, whose scales divide. A scale 0 becomes 1: its codes are 0.
    ///
    /// # Errors
    ///
    /// If a scale has no finite inverse, or the kernels do not have these groups.
    pub fn into_packed(self) -> Result<PackedTernary, TernaryError> {
        let mut scales = self.scales;
        if self.direction == ScaleDirection::Multiply {
            for scale in &mut scales {
                *scale = if *scale == 0.0 { 1.0 } else { 1.0 / *scale };
            }
        }
        let granularity = match self.groups {
            ScaleGroups::Tensor => Granularity::Tensor,
            ScaleGroups::Row => Granularity::Row,
            ScaleGroups::Columns(size) => Granularity::Group(size),
        };
        let (words, rows, cols) = (self.words, self.rows, self.cols);
        Ok(PackedTernary::from_words(
            words,
            scales,
            granularity,
            rows,
            cols,
        )?)
    }
}
