//! Activations as the prepared products read them: int8 codes in the order of the layout, padded, with scale and sum.
//!
//! A row takes `16 · words` bytes (`layout` says in which order), zero past its end so that padding contributes nothing
//! whatever the weights store there. Stored weights are `w + 1`, so every product is too large by `Σ x_q` of its row,
//! which is kept beside it. Rows lie an odd number of cache lines apart: at a power of two all rows of a product's block
//! would fall into the same sets of the level-one cache and evict each other.
//!
//! The buffers belong to the caller and grow only, so a decoder allocates nothing after its first token. Everything here
//! runs on the calling thread.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    Kernel, Layout, float,
    format::{GROUP_ROWS, Line, as_words, as_words_mut},
    gemm::blocking::{Sixteen, at_a_time, equal_parts, is_few},
    isa::Loops,
    quantize::quantize_row,
    system::parallel::TASK_ELEMENTS,
};

const LINE_BYTES: usize = size_of::<Line>();

/// Rows of quantised activations, `x_q[m, k]` with one scale a row.
///
/// ```
/// use bitnet_kernels::{Kernel, Layout, QuantizedRows};
/// let mut x = QuantizedRows::new();
/// x.quantize(Kernel::detect(), Layout::TwoBit, &[1.0, -2.0, 0.5, 0.0], 2);
/// assert_eq!((x.rows(), x.cols(), x.scales()), (2, 2, &[63.5, 254.0][..]));
/// ```
#[derive(Clone, Debug)]
pub struct QuantizedRows {
    layout: Layout,
    cols: usize,
    row_bytes: usize,
    stride: usize,
    storage: Vec<Line>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    codes: Vec<i8>,
    normed: Vec<f32>,
    /// Of few rows, sixteen codes of each in turn: what every product of theirs reads.
    side_by_side: Vec<Sixteen>,
    /// How many rows stand side by side there at most; 0 where they do not.
    at_a_time: usize,
}

impl Default for QuantizedRows {
    fn default() -> Self {
        Self::new()
    }
}

impl QuantizedRows {
    /// No rows and no memory.
    pub fn new() -> QuantizedRows {
        QuantizedRows {
            layout: Layout::TwoBit,
            cols: 0,
            row_bytes: 0,
            stride: 0,
            storage: Vec::new(),
            scales: Vec::new(),
            sums: Vec::new(),
            codes: Vec::new(),
            normed: Vec::new(),
            side_by_side: Vec::new(),
            at_a_time: 0,
        }
    }

    /// Quantises the rows of `x[m, k]`: the codes and scales of [`quantize_activations`](crate::quantize_activations),
    /// bit for bit. With `k = 0` there are no rows.
    ///
    /// # Panics
    ///
    /// If `x` is not whole rows, or if the processor lacks `kernel`.
    pub fn quantize(&mut self, kernel: Kernel, layout: Layout, x: &[f32], k: usize) {
        self.reset(layout, rows_of(x.len(), k), k);
        for (row, x) in x.chunks_exact(k.max(1)).enumerate() {
            self.quantize_into(kernel, row, x);
        }
        self.stand_side_by_side(kernel);
    }

    /// RMSNorm, then the quantiser, a row at a time while it is in the cache: `x_q = quantise(x · r · γ)` with
    /// `r = 1 / √(mean(x²) + ε)`. The same bits as [`float::rms_norm`] followed by [`QuantizedRows::quantize`].
    ///
    /// # Panics
    ///
    /// If `x` is not whole rows of `gamma.len()` columns, or if the processor lacks `kernel`.
    pub fn norm_quantize(
        &mut self,
        kernel: Kernel,
        layout: Layout,
        x: &[f32],
        gamma: &[f32],
        epsilon: f32,
    ) {
        let k = gamma.len();
        self.reset(layout, rows_of(x.len(), k), k);
        let mut normed = std::mem::take(&mut self.normed);
        normed.resize(k, 0.0);
        for (row, x) in x.chunks_exact(k.max(1)).enumerate() {
            float::rms_norm_row(x, gamma, epsilon, &mut normed);
            self.quantize_into(kernel, row, &normed);
        }
        self.normed = normed;
        self.stand_side_by_side(kernel);
    }

    /// Takes codes `xq[m, k]` and scales that exist already.
    ///
    /// # Panics
    ///
    /// If `codes.len() != scales.len() * k`, or if the processor lacks `kernel`.
    pub fn set_codes(
        &mut self,
        kernel: Kernel,
        layout: Layout,
        codes: &[i8],
        scales: &[f32],
        k: usize,
    ) {
        assert_eq!(
            codes.len(),
            scales.len() * k,
            "codes are not {} x {k}",
            scales.len()
        );
        self.reset(layout, scales.len(), k);
        self.scales.copy_from_slice(scales);
        for (row, codes) in codes.chunks_exact(k.max(1)).enumerate() {
            self.arrange(kernel, row, codes);
        }
        self.stand_side_by_side(kernel);
    }

    /// Rows, m.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Elements of a row, k.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The layout whose order the codes have.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The scale of each row.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// `Σ_k x_q` of each row.
    pub(crate) fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// The codes of some rows.
    pub(crate) fn block(&self, rows: Range<usize>) -> Rows<'_> {
        let bytes: &[i8] = bytemuck::cast_slice(as_words(&self.storage));
        Rows {
            bytes: &bytes[rows.start * self.stride..rows.end * self.stride],
            row_bytes: self.row_bytes,
            stride: self.stride,
            count: rows.len(),
            side_by_side: match rows.len() == self.rows() {
                true => (self.at_a_time, &self.side_by_side),
                false => (0, &[]),
            },
        }
    }

    /// Copies few rows as a product of few rows reads them, once for all products of these rows.
    fn stand_side_by_side(&mut self, kernel: Kernel) {
        let rows = self.rows();
        if rows < 2 || !is_few(rows, self.row_bytes) {
            return;
        }
        let at_a_time = at_a_time(kernel.loops(), self.layout);
        let mut side_by_side = std::mem::take(&mut self.side_by_side);
        self.block(0..rows).interleave(at_a_time, &mut side_by_side);
        (self.side_by_side, self.at_a_time) = (side_by_side, at_a_time);
    }

    fn reset(&mut self, layout: Layout, rows: usize, k: usize) {
        self.layout = layout;
        self.cols = k;
        self.at_a_time = 0;
        self.row_bytes = GROUP_ROWS * layout.words(k);
        self.stride = self.row_bytes.next_multiple_of(LINE_BYTES);
        self.scales.clear();
        self.scales.resize(rows, 127.0 / crate::EPS);
        self.sums.clear();
        self.sums.resize(rows, 0);
        // Rows are written whole, padding included, so what stood here before may stay.
        let lines = rows * self.stride / LINE_BYTES;
        if self.storage.len() < lines {
            self.storage.resize(lines, Line([0; GROUP_ROWS]));
        }
    }

    fn quantize_into(&mut self, kernel: Kernel, row: usize, x: &[f32]) {
        let mut codes = std::mem::take(&mut self.codes);
        codes.resize(x.len(), 0);
        self.scales[row] = quantize_row(kernel.loops(), x, &mut codes);
        self.arrange(kernel, row, &codes);
        self.codes = codes;
    }

    fn arrange(&mut self, kernel: Kernel, row: usize, codes: &[i8]) {
        let bytes: &mut [i8] = bytemuck::cast_slice_mut(as_words_mut(&mut self.storage));
        let out = &mut bytes[row * self.stride..][..self.row_bytes];
        self.sums[row] = arrange_row(kernel.loops(), self.layout, codes, out);
    }

    /// Takes codes `xq[m, k]` without scales.
    pub(crate) fn arrange_codes(&mut self, kernel: Kernel, layout: Layout, codes: &[i8], m: usize) {
        let k = codes.len().checked_div(m).unwrap_or_default();
        self.reset(layout, m, k);
        for (row, codes) in codes.chunks_exact(k.max(1)).enumerate() {
            self.arrange(kernel, row, codes);
        }
    }

    /// As [`QuantizedRows::arrange_codes`], on rayon's threads.
    pub(crate) fn share_codes(&mut self, kernel: Kernel, layout: Layout, codes: &[i8], m: usize) {
        let k = codes.len().checked_div(m).unwrap_or_default();
        self.reset(layout, m, k);
        if k == 0 {
            return;
        }
        let (loops, stride, row_bytes) = (kernel.loops(), self.stride, self.row_bytes);
        let group = (TASK_ELEMENTS / k).max(1);
        let storage = &mut self.storage[..m * stride / LINE_BYTES];
        storage
            .par_chunks_mut(group * stride / LINE_BYTES)
            .zip(codes.par_chunks(group * k))
            .zip(self.sums.par_chunks_mut(group))
            .for_each(|((storage, codes), sums)| {
                let bytes: &mut [i8] = bytemuck::cast_slice_mut(as_words_mut(storage));
                let rows = bytes.chunks_exact_mut(stride);
                for ((row, codes), sum) in rows.zip(codes.chunks_exact(k)).zip(sums) {
                    *sum = arrange_row(loops, layout, codes, &mut row[..row_bytes]);
                }
            });
    }

    /// Bytes held.
    pub(crate) fn capacity(&self) -> usize {
        self.storage.capacity() * LINE_BYTES + self.codes.capacity()
    }
}

/// Writes the codes of a row in the order of the layout and returns their sum.
fn arrange_row(loops: Loops, layout: Layout, codes: &[i8], out: &mut [i8]) -> i32 {
    match layout {
        Layout::TwoBit => loops.transpose_row(codes, out),
        Layout::BaseThree => loops.copy_row(codes, out),
    }
}

/// Codes of consecutive rows, as a product reads them.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    bytes: &'a [i8],
    row_bytes: usize,
    stride: usize,
    count: usize,
    side_by_side: (usize, &'a [Sixteen]),
}

impl<'a> Rows<'a> {
    /// What [`Rows::interleave`] makes for so many rows at a time, if that was made when the rows were.
    pub(crate) fn side_by_side(self, at_a_time: usize) -> Option<&'a [Sixteen]> {
        (self.side_by_side.0 == at_a_time).then_some(self.side_by_side.1)
    }

    /// The rows in equal parts of at most so many, sixteen codes of each row of a part in turn.
    pub(crate) fn interleave(self, at_a_time: usize, out: &mut Vec<Sixteen>) {
        out.clear();
        for rows in equal_parts(self.count, at_a_time) {
            let (count, first) = (rows.len(), out.len());
            out.resize(first + count * self.row_bytes / 16, [0; 16]);
            for (r, row) in rows.enumerate() {
                let out = out[first..].iter_mut().skip(r).step_by(count);
                for (out, codes) in out.zip(self.row(row).as_chunks::<16>().0) {
                    *out = *codes;
                }
            }
        }
    }

    /// Some of the rows.
    pub(crate) fn part(self, rows: Range<usize>) -> Rows<'a> {
        let end = rows.end.saturating_sub(1) * self.stride + self.row_bytes;
        Rows {
            bytes: &self.bytes[rows.start * self.stride..end],
            count: rows.len(),
            side_by_side: (0, &[]),
            ..self
        }
    }

    /// Number of rows.
    pub(crate) fn len(self) -> usize {
        self.count
    }

    /// Bytes of a row: whole words of 16.
    pub(crate) fn row_bytes(self) -> usize {
        self.row_bytes
    }

    /// The codes of a row: whole words of 16.
    #[inline]
    pub(crate) fn row(self, row: usize) -> &'a [i8] {
        &self.bytes[row * self.stride..][..self.row_bytes]
    }
}

fn rows_of(len: usize, k: usize) -> usize {
    if k == 0 {
        assert_eq!(len, 0, "x has {len} elements, but rows of none");
        return 0;
    }
    assert!(
        len.is_multiple_of(k),
        "x has {len} elements: no whole rows of {k}"
    );
    len / k
}
