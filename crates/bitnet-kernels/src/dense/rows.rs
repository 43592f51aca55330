//! Activations made ready for a [`DenseMatrix`](super::DenseMatrix): padded to whole lines, and quantised for int8.

use super::DenseFormat;
use crate::quantize_activations;

/// Rows of `x` in the form that a format multiplies; the buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct DenseRows {
    pub(super) format: DenseFormat,
    pub(super) cols: usize,
    /// Lanes of a row: `cols` elements rounded up.
    pub(super) lanes: usize,
    pub(super) rows: usize,
    /// `[rows, lanes · per_lane]`, zero past `cols`.
    pub(super) floats: Vec<f32>,
    /// `[rows, lanes]`, zero past `cols`.
    pub(super) codes: Vec<[i8; 4]>,
    pub(super) scales: Vec<f32>,
    pub(super) sums: Vec<i32>,
}

impl DenseRows {
    /// Takes `x[m, cols]` for products with matrices of `format`. Int8 quantises each row by absmax.
    ///
    /// # Panics
    ///
    /// If `cols` is 0 or does not divide the length of `x`.
    pub fn set(&mut self, format: DenseFormat, x: &[f32], cols: usize) {
        assert!(
            cols > 0 && x.len().is_multiple_of(cols),
            "{} values are not rows of {cols}",
            x.len()
        );
        self.format = format;
        self.cols = cols;
        self.rows = x.len() / cols;
        self.lanes = format.lines(cols);
        match format {
            DenseFormat::F32 | DenseFormat::Bf16 | DenseFormat::F16 => {
                let width = self.lanes * format.per_lane();
                self.floats.resize(self.rows * width, 0.0);
                let rows = self.floats.chunks_exact_mut(width);
                for (row, x) in rows.zip(x.chunks_exact(cols)) {
                    row[..cols].copy_from_slice(x);
                    row[cols..].fill(0.0);
                }
            }
            DenseFormat::Int8 => {
                self.codes.resize(self.rows * self.lanes, [0; 4]);
                self.scales.resize(self.rows, 0.0);
                self.sums.resize(self.rows, 0);
                for (row, x) in x.chunks_exact(cols).enumerate() {
                    let codes = self.codes[row * self.lanes..][..self.lanes].as_flattened_mut();
                    let scale = &mut self.scales[row..][..1];
                    quantize_activations(x, cols, &mut codes[..cols], scale);
                    codes[cols..].fill(0);
                    self.sums[row] = codes.iter().map(|code| i32::from(*code)).sum();
                }
            }
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}
