//! Weights repacked for the running kernel, and their product with quantised rows.
//!
//! The disk format never depends on the processor; what a processor wants to read is made from it once, at load
//! ([`PrepackedTernary::new`]), in one of the two layouts of [`Layout`]. The product
//!
//! ```text
//! y[m, n] = (Σ_k x_q[m, k] · w_q[n, k]) as f32 / s_w / s_x[m]
//! ```
//!
//! (with groups of weights that share a scale the sum that [`scaled`](super::scaled) defines) has the integer sums and the
//! float epilogue of [`linear_quantized`](crate::linear_quantized), bit for bit, on every kernel, by every strategy and in
//! both layouts. It runs on the calling thread only: a caller with threads gives each a range of groups of
//! 16 output rows (one row of `x`: each thread streams its own weights) or a range of rows of `x` (many rows: each
//! thread's block of `x` stays in its cache).

use std::ops::Range;

use rayon::prelude::*;

use super::{
    QuantizedRows, base_three,
    blocking::{self, Epilogue, Excess, Groups, Output, Piece, Sums, write_sums},
    layout::interleave,
    scaled::{self, Scaled, Segments},
};
use crate::{
    Error, Granularity, Kernel, Layout, MAX_COLS, PackedView, Strategy,
    format::{GROUP_ROWS, Line},
    quantize::values,
    system::{
        pages::Lines,
        shared_out::{Rectangle, fetch},
    },
};

/// A ternary matrix `w[n, k]` in a run-time layout.
///
/// ```
/// use bitnet_kernels::{Granularity, Kernel, Layout, PackedTernary, PrepackedTernary, QuantizedRows, Strategy};
/// let packed = PackedTernary::from_codes(&[1, -1, 0, 1, 1, 1], 2, 3, vec![2.0], Granularity::Tensor)?;
/// let w = PrepackedTernary::new(packed.view(), Layout::TwoBit, Kernel::detect(), Strategy::Dot)?;
/// let mut x = QuantizedRows::new();
/// x.quantize(w.kernel(), w.layout(), &[127.0, 7.0, -1.0], 3);
/// let mut y = [0.0; 2];
/// w.product(&x, 0..1, 0..w.groups(), &mut y, 2);
/// assert_eq!(y, [60.0, 66.5]);
/// # Ok::<(), bitnet_kernels::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrepackedTernary {
    lines: Lines,
    /// One, or one for each row; none where groups have theirs among the lines.
    scales: Vec<f32>,
    segments: Option<Segments>,
    granularity: Granularity,
    rows: usize,
    cols: usize,
    layout: Layout,
    kernel: Kernel,
    strategy: Strategy,
}

impl PrepackedTernary {
    /// Repacks a matrix, on rayon's threads.
    ///
    /// # Errors
    ///
    /// If the processor lacks `kernel` or the kernel `strategy`, if a length disagrees with the shape, a scale is not
    /// positive and finite, an element is `0b11` or padding is not weight 0, if the matrix has more than [`MAX_COLS`]
    /// columns, or if groups of weights are to be stored in [`Layout::BaseThree`], whose blocks of 80 columns they cut.
    pub fn new(
        w: PackedView<'_>,
        layout: Layout,
        kernel: Kernel,
        strategy: Strategy,
    ) -> Result<Self, Error> {
        let strategy = strategy.require(kernel)?;
        let w = PackedView::new(w.words, w.scales, w.granularity, w.rows, w.cols)?;
        w.check_scales()?;
        w.check_codes()?;
        if layout == Layout::BaseThree && matches!(w.granularity, Granularity::Group(_)) {
            return Err(Error::GroupsLayout {
                granularity: w.granularity,
            });
        }
        if w.cols > MAX_COLS {
            return Err(Error::TooWide { cols: w.cols });
        }
        let segments = match w.granularity {
            Granularity::Group(_) => Some(Segments::of(w)),
            Granularity::Tensor | Granularity::Row => None,
        };
        let per_group = segments.map_or_else(|| layout.lines(w.cols), Segments::lines);
        let count = w.rows.div_ceil(GROUP_ROWS) * per_group;
        let mut lines = Lines::filled(Line::ZERO_WEIGHTS, count);
        if per_group > 0 {
            lines
                .par_chunks_exact_mut(per_group)
                .enumerate()
                .for_each(|(group, lines)| match segments {
                    Some(segments) => segments.fill(w, group, lines),
                    None => fill_group(w, layout, group, lines),
                });
        }
        Ok(Self {
            lines,
            scales: if segments.is_some() {
                Vec::new()
            } else {
                w.scales.to_vec()
            },
            segments,
            granularity: w.granularity,
            rows: w.rows,
            cols: w.cols,
            layout,
            kernel,
            strategy,
        })
    }

    /// Output features, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Input features, K.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Groups of 16 output rows; the last one may be partly padding.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(GROUP_ROWS)
    }

    /// The output rows of some groups.
    ///
    /// # Panics
    ///
    /// If there are fewer groups.
    pub fn group_rows(&self, groups: &Range<usize>) -> Range<usize> {
        assert!(groups.start <= groups.end && groups.end <= self.groups());
        let row = |group: usize| (GROUP_ROWS * group).min(self.rows);
        row(groups.start)..row(groups.end)
    }

    /// How the weights are stored.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The kernel that multiplies.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Which weights share a scale.
    pub fn granularity(&self) -> Granularity {
        self.granularity
    }

    /// By which operations the products add up.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Bytes of weights and scales: what a product reads.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.lines[..]) + size_of_val(&self.scales[..])
    }

    /// The stored weights of some groups, and the scales that groups of weights have.
    ///
    /// # Panics
    ///
    /// If there are fewer groups.
    pub fn stored(&self, groups: Range<usize>) -> &[Line] {
        let lines = || self.layout.lines(self.cols);
        let per_group = self.segments.map_or_else(lines, Segments::lines);
        &self.lines[groups.start * per_group..groups.end * per_group]
    }

    /// Writes a row of weights as floats, those of [`unpack_scaled_f32`](crate::unpack_scaled_f32): a table that is
    /// multiplied with and looked up in is held once.
    ///
    /// # Panics
    ///
    /// If there are fewer rows, or `out` has another length.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        assert_eq!(out.len(), self.cols, "a row has {} columns", self.cols);
        let (group, lane) = (row / GROUP_ROWS, row % GROUP_ROWS);
        let (lines, loops) = (self.stored(group..group + 1), self.kernel.loops());
        if let Some(segments) = self.segments {
            let parts = out.chunks_mut(self.granularity.group(self.cols).max(1));
            for ((words, worth), out) in segments.row(lines, lane).zip(parts) {
                loops.unpack_row(&words, values(worth), out);
            }
            return;
        }
        let scale = self.scales[if self.scales.len() == 1 { 0 } else { row }];
        let values = values(1.0 / scale);
        match self.layout {
            Layout::TwoBit => {
                let words: Vec<u32> = lines.iter().map(|line| line.0[lane]).collect();
                loops.unpack_row(&words, values, out);
            }
            Layout::BaseThree => {
                let mut words = vec![Line::ZERO_WEIGHTS; self.layout.words(self.cols)];
                loops.decode(lines, &mut words);
                for (out, word) in out.chunks_mut(16).zip(words) {
                    for (at, out) in out.iter_mut().enumerate() {
                        // Quad at / 4, byte at % 4: the order of the layout.
                        *out = values[(word.0[lane] >> (8 * (at % 4) + 2 * (at / 4)) & 3) as usize];
                    }
                }
            }
        }
    }

    /// `out[i, j] = (Σ_k x_q · w_q) as f32 / s_w / s_x` for the rows `i` of `x_rows` and the columns `j` of `groups`.
    ///
    /// # Shapes
    ///
    /// `out` holds a row of `group_rows(groups).len()` values for each of `x_rows`, `out_stride` apart; what lies
    /// between them is left alone.
    ///
    /// # Panics
    ///
    /// If `x` has another width or layout, a range or `out` does not fit, or the rows overlap.
    pub fn product(
        &self,
        x: &QuantizedRows,
        x_rows: Range<usize>,
        groups: Range<usize>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        if let Some(segments) = self.segments {
            let columns = self.check(x, &x_rows, &groups, out.len(), out_stride);
            if x_rows.is_empty() || columns == 0 {
                return;
            }
            let w = Scaled {
                segments,
                lines: self.stored(groups),
                columns,
            };
            return scaled::product(
                self.kernel.loops(),
                self.strategy,
                w,
                (x, x_rows),
                out,
                out_stride,
            );
        }
        let (first, x_scales) = (GROUP_ROWS * groups.start, x.scales());
        let epilogue = Epilogue::new(self.kernel.loops(), &self.scales);
        let write = |piece: Piece<'_>, out: Rectangle<'_, f32>| {
            let columns = first + piece.columns.start..first + piece.columns.end;
            let sx = &x_scales[piece.rows];
            epilogue.write(columns, piece.sums, piece.excess, sx, out);
        };
        self.each_piece(x, x_rows, groups, out, out_stride, write);
    }

    /// The exact sums `out[i, j] = Σ_k x_q · w_q`, otherwise as [`PrepackedTernary::product`].
    ///
    /// # Panics
    ///
    /// As [`PrepackedTernary::product`], or if groups of weights have scales of their own.
    pub fn sums(
        &self,
        x: &QuantizedRows,
        x_rows: Range<usize>,
        groups: Range<usize>,
        out: &mut [i32],
        out_stride: usize,
    ) {
        assert!(
            self.segments.is_none(),
            "sums over groups of weights with scales of their own"
        );
        let write = |piece: Piece<'_>, out: Rectangle<'_, i32>| {
            write_sums(piece.sums, piece.excess, out);
        };
        self.each_piece(x, x_rows, groups, out, out_stride, write);
    }

    /// Calls `write(sums, out[rows, columns])` until everything is written; columns count from the first.
    fn each_piece<T>(
        &self,
        x: &QuantizedRows,
        x_rows: Range<usize>,
        groups: Range<usize>,
        out: &mut [T],
        out_stride: usize,
        write: impl Fn(Piece<'_>, Rectangle<'_, T>),
    ) {
        let columns = self.check(x, &x_rows, &groups, out.len(), out_stride);
        if x_rows.is_empty() || columns == 0 {
            return;
        }
        let lines = self.stored(groups.clone());
        let excess = Excess::of(self.strategy, x, x_rows.clone());
        let (x, first_row) = (x.block(x_rows.clone()), x_rows.start);
        let mut out = Destination {
            out,
            stride: out_stride,
            columns,
            excess,
            first_row,
            write,
        };
        let w = Groups {
            layout: self.layout,
            cols: self.cols,
            count: groups.len(),
            lines,
        };
        blocking::product(self.kernel.loops(), self.strategy, w, x, &mut out);
    }

    /// The output columns of some groups, once everything fits.
    fn check(
        &self,
        x: &QuantizedRows,
        x_rows: &Range<usize>,
        groups: &Range<usize>,
        out: usize,
        out_stride: usize,
    ) -> usize {
        assert_eq!(x.cols(), self.cols, "x has {} columns", x.cols());
        assert_eq!(x.layout(), self.layout, "x has the order of {}", x.layout());
        assert!(
            x_rows.start <= x_rows.end && x_rows.end <= x.rows(),
            "rows {x_rows:?} of {}",
            x.rows()
        );
        let columns = self.group_rows(groups).len();
        if x_rows.is_empty() || columns == 0 {
            return columns;
        }
        let needed = (x_rows.len() - 1) * out_stride + columns;
        assert!(
            columns <= out_stride || x_rows.len() == 1,
            "rows of {columns} values overlap at a stride of {out_stride}"
        );
        assert!(out >= needed, "out has {out} of {needed}");
        columns
    }
}

/// `out[rows, columns]`, through a function of the sums.
struct Destination<'a, T, W> {
    out: &'a mut [T],
    stride: usize,
    columns: usize,
    excess: Excess<'a>,
    /// Row of `x` that is the first one here.
    first_row: usize,
    write: W,
}

impl<T, W: Fn(Piece<'_>, Rectangle<'_, T>)> Output for Destination<'_, T, W> {
    #[inline]
    fn write(&mut self, row: usize, column: usize, sums: Sums<'_>) {
        let columns = column..(column + sums.width()).min(self.columns);
        let sums = sums.narrowed(columns.len());
        let out = &mut self.out[row * self.stride + column..];
        let out = Rectangle::new(out, self.stride, sums.rows(), sums.width());
        let first = self.first_row + row;
        let piece = Piece {
            rows: first..first + sums.rows(),
            columns,
            excess: self.excess.of_rows(row..row + sums.rows()),
            sums,
        };
        (self.write)(piece, out);
    }

    #[inline]
    fn expect(&self, row: usize, column: usize) {
        fetch(self.out.as_ptr().wrapping_add(row * self.stride + column));
    }
}

/// The lines of 16 rows of canonical words.
fn fill_group(w: PackedView<'_>, layout: Layout, group: usize, lines: &mut [Line]) {
    if layout == Layout::TwoBit {
        return interleave(w, group, lines);
    }
    let first = GROUP_ROWS * group;
    for lane in 0..GROUP_ROWS {
        let padding = [];
        let words = match first + lane < w.rows {
            true => w.row_words(first + lane),
            false => &padding[..],
        };
        base_three::encode_row(words, w.cols, lane, lines);
    }
}
