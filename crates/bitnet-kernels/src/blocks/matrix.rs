//! A float matrix in blocks of codes, in the layout of [`BlockFormat`].

use std::ops::Range;

use half::f16;
use rayon::prelude::*;

use super::{BLOCK, BlockFormat, BlockOperands, BlockRows, QUADS};
use crate::{Error, GROUP, Kernel, Line, dense::FloatOutput, isa::Loops, system::pages::Lines};

/// `W[rows, cols]`, rows padded to whole groups.
#[derive(Clone, Debug)]
pub struct BlockMatrix {
    kernel: Kernel,
    format: BlockFormat,
    rows: usize,
    cols: usize,
    lines: Lines,
}

/// One row on its way into a [`BlockMatrix`], to be written whole.
#[derive(Debug)]
pub struct BlockRow<'a> {
    /// A code for each weight, within [`BlockFormat::codes`].
    pub codes: &'a mut [i8],
    /// d of each block ([`BlockFormat::per_scale`] weights).
    pub scales: &'a mut [f32],
    /// m of each block; empty for formats that have none.
    pub minimums: &'a mut [f32],
}

impl BlockMatrix {
    /// Takes one row at a time, on rayon's threads, so that the whole need never exist in another form: `fill(row, to)`
    /// writes the codes and scales of a row.
    ///
    /// ```
    /// use bitnet_kernels::{BlockFormat, BlockMatrix, BlockRows, Kernel};
    /// let w = BlockMatrix::from_rows(2, 32, BlockFormat::Int4, Kernel::detect(), |row, to| {
    ///     to.codes.fill(3);
    ///     to.scales[0] = [0.5, -1.0][row];
    /// })?;
    /// let (mut x, mut y) = (BlockRows::default(), [0.0; 2]);
    /// x.set(w.kernel(), &[127.0; 32], 32);
    /// w.product(&x, 0..1, 0..w.groups(), &mut y, 2);
    /// assert_eq!(y, [32.0 * 127.0 * 1.5, -32.0 * 127.0 * 3.0]);
    /// # Ok::<(), bitnet_kernels::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If `cols` is no positive multiple of [`BLOCK`], the matrix is larger than any memory, the processor lacks `kernel`,
    /// a code is outside the format's, or a scale or a minimum is not finite, or no 16-bit float where it is held as one.
    pub fn from_rows(
        rows: usize,
        cols: usize,
        format: BlockFormat,
        kernel: Kernel,
        fill: impl Fn(usize, BlockRow<'_>) + Sync,
    ) -> Result<Self, Error> {
        let kernel = kernel.require()?;
        if cols == 0 || !cols.is_multiple_of(BLOCK) {
            return Err(Error::BlockCols { cols });
        }
        let depth = format.lines(cols / BLOCK);
        let count = rows.div_ceil(GROUP).checked_mul(depth);
        let count = count.filter(|count| *count <= isize::MAX as usize / 2 / size_of::<Line>());
        let mut lines = Lines::filled(Line::ZERO, count.ok_or(Error::TooLarge { rows, cols })?);
        let scales = cols / format.per_scale();
        let minimums = if format.has_minimums() { scales } else { 0 };
        let groups = lines.par_chunks_exact_mut(depth).enumerate();
        groups.try_for_each_init(
            || (vec![0; cols], vec![0.0; scales], vec![0.0; minimums]),
            |(codes, scales, minimums), (group, lines)| {
                for row in GROUP * group..rows.min(GROUP * (group + 1)) {
                    let to = BlockRow {
                        codes,
                        scales,
                        minimums,
                    };
                    fill(row, to);
                    check(format, row, codes, scales, minimums)?;
                    write(format, lines, row % GROUP, codes, scales, minimums);
                }
                Ok::<(), Error>(())
            },
        )?;
        Ok(Self {
            kernel,
            format,
            rows,
            cols,
            lines,
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

    /// Writes row `row` as floats, `d · q` or `d · q + m` with a rounding each: the embedding of a token.
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
        let (format, lane) = (self.format, row % GROUP);
        let depth = format.lines(self.cols / BLOCK);
        let lines = &self.lines[row / GROUP * depth..][..depth];
        for (block, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
            let (scales, codes) = format.place(block);
            match format {
                BlockFormat::Int8 => {
                    let d = lines[scales].f16(lane, block % 2);
                    let quads = out.as_chunks_mut::<4>().0.iter_mut();
                    for (line, out) in lines[codes..].iter().zip(quads) {
                        *out = line.0[lane].to_le_bytes().map(|q| d * f32::from(q as i8));
                    }
                }
                BlockFormat::Int4 | BlockFormat::Int4Min => {
                    let min = format.has_minimums();
                    let d = lines[scales].f16(lane, if min { 0 } else { block % 2 });
                    let m = if min { lines[scales].f16(lane, 1) } else { 0.0 };
                    let value = |q: u8| match min {
                        true => d * f32::from(q) + m,
                        false => d * f32::from(q as i8 - 8),
                    };
                    let eights = out.as_chunks_mut::<8>().0.iter_mut();
                    for (line, out) in lines[codes..].iter().zip(eights) {
                        for (j, byte) in line.0[lane].to_le_bytes().into_iter().enumerate() {
                            (out[j], out[4 + j]) = (value(byte & 15), value(byte >> 4));
                        }
                    }
                }
                BlockFormat::Int8Halves => {
                    for (half, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
                        let at = scales + (QUADS / 2 + 1) * half;
                        let d = f32::from_bits(lines[at].0[lane]);
                        let quads = out.as_chunks_mut::<4>().0.iter_mut();
                        for (line, out) in lines[at + 1..].iter().zip(quads) {
                            *out = line.0[lane].to_le_bytes().map(|q| d * f32::from(q as i8));
                        }
                    }
                }
            }
        }
    }

    /// `out[i, n - n0] = Σ_k x[i, k] · W[n, k]` for the rows `i` of `x_rows` and the rows `n` of `groups`,
    /// `n0 = 16 · groups.start`, on the calling thread, in the order of operations that the module states.
    ///
    /// # Shapes
    ///
    /// `out` `[x_rows, out_stride]`; a row has `16 · groups.len()` outputs, fewer if the last group is not full.
    ///
    /// # Panics
    ///
    /// If `x` was set for another width, a range lies outside, or `out` is too short.
    pub fn product(
        &self,
        x: &BlockRows,
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
        x: &BlockRows,
        x_rows: Range<usize>,
        groups: Range<usize>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        assert_eq!(x.cols, self.cols, "x is of another width");
        assert!(
            x_rows.start <= x_rows.end && x_rows.end <= x.rows && groups.end <= self.groups(),
            "rows {x_rows:?} of {}, groups {groups:?} of {}",
            x.rows,
            self.groups()
        );
        if x_rows.is_empty() || groups.is_empty() {
            return;
        }
        let blocks = self.cols / BLOCK;
        let n0 = GROUP * groups.start;
        let out = FloatOutput {
            out,
            stride: out_stride,
            width: (GROUP * groups.end).min(self.rows) - n0,
            first_group: groups.start,
        };
        let operands = BlockOperands {
            lines: &self.lines,
            depth: self.format.lines(blocks),
            blocks,
            x: &x.blocks[blocks * x_rows.start..],
            rows: x_rows.len(),
        };
        loops.blocks(self.format, operands, groups, out);
    }

    /// How the weights are stored.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// The kernel that multiplies.
    pub fn kernel(&self) -> Kernel {
        self.kernel
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
        let depth = self.format.lines(self.cols / BLOCK);
        &self.lines[groups.start * depth..groups.end * depth]
    }

    /// Bytes of codes and scales: what a product reads.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.lines[..])
    }
}

/// Refuses what the format cannot hold exactly.
fn check(
    format: BlockFormat,
    row: usize,
    codes: &[i8],
    scales: &[f32],
    minimums: &[f32],
) -> Result<(), Error> {
    let (lowest, highest) = format.codes();
    let outside = |code: &i8| !(lowest..=highest).contains(code);
    if let Some(col) = codes.iter().position(outside) {
        return Err(Error::BlockCode {
            row,
            col,
            value: codes[col],
            format,
        });
    }
    let held = |value: &f32| match format {
        BlockFormat::Int8Halves => value.is_finite(),
        _ => value.is_finite() && f16::from_f32(*value).to_f32() == *value,
    };
    match scales.iter().chain(minimums).find(|value| !held(value)) {
        Some(value) => Err(Error::BlockScale {
            row,
            value: *value,
            format,
        }),
        None => Ok(()),
    }
}

/// Writes one lane of a group.
fn write(
    format: BlockFormat,
    lines: &mut [Line],
    lane: usize,
    codes: &[i8],
    scales: &[f32],
    minimums: &[f32],
) {
    let quad = |quad: &[i8; 4]| u32::from_le_bytes(quad.map(|code| code as u8));
    for (block, codes) in codes.as_chunks::<BLOCK>().0.iter().enumerate() {
        let (at, first) = format.place(block);
        let quads = codes.as_chunks::<4>().0;
        match format {
            BlockFormat::Int8 => {
                lines[at].set_f16(lane, block % 2, scales[block]);
                for (line, codes) in lines[first..].iter_mut().zip(quads) {
                    line.0[lane] = quad(codes);
                }
            }
            BlockFormat::Int4 | BlockFormat::Int4Min => {
                let offset = if format.has_minimums() {
                    lines[at].set_f16(lane, 0, scales[block]);
                    lines[at].set_f16(lane, 1, minimums[block]);
                    0
                } else {
                    lines[at].set_f16(lane, block % 2, scales[block]);
                    8
                };
                let stored = |codes: &[i8; 4]| quad(&codes.map(|code| code + offset));
                for (line, [low, high]) in lines[first..].iter_mut().zip(quads.as_chunks().0) {
                    line.0[lane] = stored(low) | stored(high) << 4;
                }
            }
            BlockFormat::Int8Halves => {
                for (half, quads) in quads.chunks_exact(QUADS / 2).enumerate() {
                    let at = at + (QUADS / 2 + 1) * half;
                    lines[at].0[lane] = scales[2 * block + half].to_bits();
                    for (line, codes) in lines[at + 1..].iter_mut().zip(quads) {
                        line.0[lane] = quad(codes);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
