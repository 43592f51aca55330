//! A dense weight matrix in the layout of `dense`, in one of four formats.

use std::{convert::Infallible, ops::Range};

use rayon::prelude::*;

use super::{DenseFormat, DenseRows, FloatFormat, FloatOutput, GROUP, Int8Output, Line, Operands};
use crate::{Error, Kernel, isa::Loops, quantize_activations, system::pages::Lines};

/// The widest int8 product: a sum of `4 · 255 · 127` for each 4 columns stays below 2^31.
pub const MAX_INT8_COLS: usize = 1 << 16;

/// `W[rows, cols]`, rows padded to whole groups.
#[derive(Clone, Debug)]
pub struct DenseMatrix {
    kernel: Kernel,
    format: DenseFormat,
    rows: usize,
    cols: usize,
    lines: Lines,
    /// The multiplier of each row's codes; empty for floats.
    scales: Vec<f32>,
}

impl DenseMatrix {
    /// Takes `w[rows, cols]`, row-major.
    ///
    /// ```
    /// use bitnet_kernels::{DenseFormat, DenseMatrix, DenseRows, Kernel};
    /// let w = DenseMatrix::new(&[1.0, 2.0, 3.0, 4.0], 2, 2, DenseFormat::F32, Kernel::detect());
    /// let (mut x, mut y) = (DenseRows::default(), [0.0; 2]);
    /// x.set(w.format(), &[10.0, 1.0], 2);
    /// w.product(&x, 0..1, 0..w.groups(), &mut y, 2);
    /// assert_eq!(y, [12.0, 34.0]);
    /// ```
    ///
    /// # Panics
    ///
    /// If the length disagrees with the shape, `cols` is 0, or an int8 matrix is wider than [`MAX_INT8_COLS`].
    pub fn new(w: &[f32], rows: usize, cols: usize, format: DenseFormat, kernel: Kernel) -> Self {
        assert_eq!(
            Some(w.len()),
            rows.checked_mul(cols),
            "w is not {rows} x {cols}"
        );
        Self::from_rows(rows, cols, format, kernel, |row, out| {
            out.copy_from_slice(&w[row * cols..][..cols]);
        })
    }

    /// Takes one row at a time, as [`try_from_rows`](Self::try_from_rows), from what cannot fail.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn from_rows(
        rows: usize,
        cols: usize,
        format: DenseFormat,
        kernel: Kernel,
        fill: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Self {
        let matrix = Self::try_from_rows(rows, cols, format, kernel, |row, values| {
            fill(row, values);
            Ok::<(), Infallible>(())
        });
        match matrix {
            Ok(matrix) => matrix,
            Err(never) => match never {},
        }
    }

    /// Takes one row at a time, on rayon's threads, so that the whole need never exist as f32: `fill(row, values)` writes
    /// `cols` values.
    ///
    /// # Errors
    ///
    /// One of those that `fill` returned.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub fn try_from_rows<E: Send>(
        rows: usize,
        cols: usize,
        format: DenseFormat,
        kernel: Kernel,
        fill: impl Fn(usize, &mut [f32]) -> Result<(), E> + Sync,
    ) -> Result<Self, E> {
        assert!(cols > 0, "a matrix without columns");
        assert!(
            format != DenseFormat::Int8 || cols <= MAX_INT8_COLS,
            "{cols} columns: int8 sums are proven for at most {MAX_INT8_COLS}"
        );
        let depth = format.lines(cols);
        let count = rows.div_ceil(GROUP).checked_mul(depth);
        let count = count.unwrap_or_else(|| panic!("a {rows} x {cols} matrix is too large"));
        let mut lines = Lines::filled(Line::ZERO, count);
        let mut scales = vec![0.0; rows];
        let groups = lines.par_chunks_exact_mut(depth).enumerate();
        let groups = groups.zip(scales.par_chunks_mut(GROUP));
        groups.try_for_each_init(
            || (vec![0.0; cols], vec![0; cols]),
            |(values, codes), ((group, lines), scales)| {
                for (lane, scale) in scales.iter_mut().enumerate() {
                    fill(GROUP * group + lane, values)?;
                    match format {
                        DenseFormat::F32 => write(FloatFormat::F32, lines, lane, values),
                        DenseFormat::Bf16 => write(FloatFormat::Bf16, lines, lane, values),
                        DenseFormat::F16 => {
                            for (k, value) in values.iter().enumerate() {
                                lines[k / 2].set_f16(lane, k % 2, *value);
                            }
                        }
                        DenseFormat::Int8 => {
                            quantize_activations(values, cols, codes, std::slice::from_mut(scale));
                            for (k, code) in codes.iter().enumerate() {
                                lines[k / 4].set_i8(lane, k % 4, *code);
                            }
                        }
                    }
                }
                Ok(())
            },
        )?;
        if format != DenseFormat::Int8 {
            scales = Vec::new();
        }
        Ok(Self {
            kernel,
            format,
            rows,
            cols,
            lines,
            scales,
        })
    }

    /// The same matrix for another kernel: the layout suits all of them.
    ///
    /// # Errors
    ///
    /// If the processor lacks it.
    pub fn with_kernel(mut self, kernel: Kernel) -> Result<Self, Error> {
        self.kernel = kernel.require()?;
        Ok(self)
    }

    /// Writes row `row` as floats: the embedding of a token.
    ///
    /// # Panics
    ///
    /// If the row lies outside the matrix or `out` is not `cols` values.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(
            row < self.rows,
            "row {row} of a matrix of {} rows",
            self.rows
        );
        assert_eq!(out.len(), self.cols, "a row has {} values", self.cols);
        let depth = self.format.lines(self.cols);
        let (group, lane) = (&self.lines[row / GROUP * depth..][..depth], row % GROUP);
        for (k, out) in out.iter_mut().enumerate() {
            *out = match self.format {
                DenseFormat::F32 => f32::from_bits(group[k].0[lane]),
                DenseFormat::Bf16 => group[k / 2].bf16(lane, k % 2),
                DenseFormat::F16 => group[k / 2].f16(lane, k % 2),
                DenseFormat::Int8 => f32::from(group[k / 4].i8(lane, k % 4)) / self.scales[row],
            };
        }
    }

    /// `out[i, n - n0] = Σ_k x[i, k] · W[n, k]` for the rows `i` of `x_rows` and the rows `n` of `groups`,
    /// `n0 = 16 · groups.start`, on the calling thread.
    ///
    /// # Shapes
    ///
    /// `out` `[x_rows, out_stride]`; a row has `16 · groups.len()` outputs, fewer if the last group is not full.
    ///
    /// # Panics
    ///
    /// If `x` was set for another format or width, a range lies outside, or `out` is too short.
    pub fn product(
        &self,
        x: &DenseRows,
        x_rows: Range<usize>,
        groups: Range<usize>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        self.product_at(self.kernel.loops(), x, x_rows, groups, out, out_stride);
    }

    fn product_at(
        &self,
        loops: Loops,
        x: &DenseRows,
        x_rows: Range<usize>,
        groups: Range<usize>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        assert_eq!(
            (x.format, x.cols),
            (self.format, self.cols),
            "x is of another format or width"
        );
        assert!(
            x_rows.start <= x_rows.end && x_rows.end <= x.rows && groups.end <= self.groups(),
            "rows {x_rows:?} of {}, groups {groups:?} of {}",
            x.rows,
            self.groups()
        );
        if x_rows.is_empty() || groups.is_empty() {
            return;
        }
        let n0 = GROUP * groups.start;
        let width = (GROUP * groups.end).min(self.rows) - n0;
        let (depth, format) = (x.lanes, self.format);
        if format == DenseFormat::Int8 {
            return self.product_int8(loops, x, x_rows, groups, width, out, out_stride);
        }
        let stride = depth * format.per_lane();
        let operands = Operands {
            lines: &self.lines,
            depth,
            stride: depth,
            step: 1,
            x: &x.floats[x_rows.start * stride..],
            x_stride: stride,
            rows: x_rows.len(),
            ahead: 0,
        };
        let out = FloatOutput {
            out,
            stride: out_stride,
            width,
            first_group: groups.start,
        };
        match format {
            DenseFormat::Bf16 => loops.dense_bf16(operands, groups, out),
            DenseFormat::F16 => loops.dense_f16(operands, groups, out),
            _ => loops.dense_f32(operands, groups, out),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn product_int8(
        &self,
        loops: Loops,
        x: &DenseRows,
        x_rows: Range<usize>,
        groups: Range<usize>,
        width: usize,
        out: &mut [f32],
        out_stride: usize,
    ) {
        let operands = Operands {
            lines: &self.lines,
            depth: x.lanes,
            stride: x.lanes,
            step: 1,
            x: &x.codes[x_rows.start * x.lanes..],
            x_stride: x.lanes,
            rows: x_rows.len(),
            ahead: 0,
        };
        let to = FloatOutput {
            out,
            stride: out_stride,
            width,
            first_group: groups.start,
        };
        let out = Int8Output {
            to,
            w_scales: &self.scales,
            x_scales: &x.scales[x_rows.clone()],
            factors: false,
            x_sums: &x.sums[x_rows],
            excess: 0,
        };
        loops.dense_int8(operands, groups, out);
    }

    /// Element format.
    pub fn format(&self) -> DenseFormat {
        self.format
    }

    /// Output features, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features, K.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Groups of 16 rows.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP)
    }

    /// The stored weights of some groups.
    ///
    /// # Panics
    ///
    /// If there are fewer groups.
    pub fn stored(&self, groups: Range<usize>) -> &[Line] {
        let depth = self.format.lines(self.cols);
        &self.lines[groups.start * depth..groups.end * depth]
    }

    /// Bytes of lines and scales.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.lines[..]) + size_of_val(&self.scales[..])
    }
}

fn write(format: FloatFormat, group: &mut [Line], lane: usize, values: &[f32]) {
    for (k, value) in values.iter().enumerate() {
        format.set(group, lane, k, *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in [-1, 1) without a pattern that a wrong index would keep.
    fn values(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    const SHAPES: [(usize, usize, usize); 6] = [
        (1, 1, 1),
        (1, 16, 64),
        (2, 35, 7),
        (3, 100, 130),
        (13, 67, 33),
        (29, 161, 50),
    ];

    #[test]
    fn every_kernel_and_every_split_gives_the_same_bits_within_the_bound() {
        for (m, n, k) in SHAPES {
            let (x, w) = (values(m * k, 1), values(n * k, 2));
            for format in DenseFormat::ALL {
                let matrix = DenseMatrix::new(&w, n, k, format, Kernel::SCALAR);
                let mut stored = vec![0.0; k];
                let mut rows = DenseRows::default();
                rows.set(format, &x, k);
                let whole = |kernel: Kernel| {
                    let mut y = vec![9.0; m * n];
                    matrix.product_at(kernel.loops(), &rows, 0..m, 0..matrix.groups(), &mut y, n);
                    y
                };
                let y = whole(Kernel::SCALAR);
                for j in 0..n {
                    matrix.row(j, &mut stored);
                    for i in 0..m {
                        let x_row = &x[i * k..][..k];
                        let x_row: Vec<f32> = match format {
                            DenseFormat::Int8 => rows.codes[i * rows.lanes..][..rows.lanes]
                                .as_flattened()[..k]
                                .iter()
                                .map(|code| f32::from(*code) / rows.scales[i])
                                .collect(),
                            _ => x_row.to_vec(),
                        };
                        let terms = x_row.iter().zip(&stored);
                        let terms: Vec<f64> =
                            terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).collect();
                        let exact: f64 = terms.iter().sum();
                        let size: f64 = terms.iter().map(|t| t.abs()).sum();
                        // K roundings of the sum; for int8 two of each factor and three of the result.
                        let bound = (k + 8) as f64 * 0.5f64.powi(24) * size;
                        let error = (f64::from(y[i * n + j]) - exact).abs();
                        assert!(
                            error <= bound,
                            "{format} {m}x{n}x{k}: {error:e} > {bound:e}"
                        );
                    }
                }
                for kernel in Kernel::available() {
                    assert_eq!(whole(kernel), y, "{kernel} {format} {m}x{n}x{k}");
                    let mut parts = vec![9.0; m * n];
                    for i in 0..m {
                        for group in 0..matrix.groups() {
                            let out = &mut parts[i * n + GROUP * group..(i + 1) * n];
                            matrix.product_at(
                                kernel.loops(),
                                &rows,
                                i..i + 1,
                                group..group + 1,
                                out,
                                n,
                            );
                        }
                    }
                    assert_eq!(parts, y, "{kernel} {format} {m}x{n}x{k} in parts");
                }
            }
        }
    }

    #[test]
    fn extreme_int8_codes_are_exact() {
        let k = 4099;
        let w: Vec<f32> = [1.0, -1.0].repeat(k)[..2 * k].to_vec();
        for x in [vec![1.0; k], vec![-1.0; k], values(k, 3)] {
            let matrix = DenseMatrix::new(&w, 2, k, DenseFormat::Int8, Kernel::SCALAR);
            let mut rows = DenseRows::default();
            rows.set(DenseFormat::Int8, &x, k);
            let mut y = [0.0; 2];
            matrix.product_at(Kernel::SCALAR.loops(), &rows, 0..1, 0..1, &mut y, 2);
            let codes = &rows.codes.as_flattened()[..k];
            let exact: i32 = codes
                .iter()
                .zip(&w)
                .map(|(c, w)| i32::from(*c) * (127.0 * w) as i32)
                .sum();
            assert_eq!(y[0], exact as f32 / 127.0 / rows.scales[0]);
            for kernel in Kernel::available() {
                let mut other = [0.0; 2];
                matrix.product_at(kernel.loops(), &rows, 0..1, 0..1, &mut other, 2);
                assert_eq!(other, y, "{kernel}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a size that memory has")]
    fn sizes_past_the_addresses_are_refused() {
        let rows = 1 << (usize::BITS - 2);
        DenseMatrix::from_rows(rows, 1, DenseFormat::F32, Kernel::SCALAR, |_, _| {});
    }

    #[test]
    fn a_row_that_cannot_be_read_is_the_error() {
        for format in DenseFormat::ALL {
            let read = |row, out: &mut [f32]| {
                out.fill(1.0);
                if row == 37 { Err(row) } else { Ok(()) }
            };
            let of = |rows| DenseMatrix::try_from_rows(rows, 5, format, Kernel::SCALAR, read);
            assert_eq!(of(40).unwrap_err(), 37);
            assert_eq!(of(37).unwrap().rows(), 37);
        }
    }

    #[test]
    fn rows_come_back_within_the_format() {
        let w = values(20 * 33, 5);
        for (format, bound) in [
            (DenseFormat::F32, 0.0),
            (DenseFormat::Bf16, 0.5f32.powi(9)),
            (DenseFormat::F16, 0.5f32.powi(12)),
            (DenseFormat::Int8, 0.51 / 127.0),
        ] {
            let matrix = DenseMatrix::new(&w, 20, 33, format, Kernel::SCALAR);
            let mut row = vec![0.0; 33];
            for j in 0..20 {
                matrix.row(j, &mut row);
                for (a, b) in row.iter().zip(&w[j * 33..]) {
                    assert!((a - b).abs() <= bound, "{format}: {a} {b}");
                }
            }
        }
    }
}
