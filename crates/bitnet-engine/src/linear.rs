//! A linear layer made ready to run: `y[m, n] = Σ_k norm(x)[m, k] · W[n, k]`, ternary or float.

use std::{ops::Range, sync::Arc};

use bitnet_kernels::{
    ActivationQuantizer, BlockMatrix, BlockRows, DenseFormat, DenseMatrix, DenseRows, Layout,
    PrepackedTernary, QuantizedRows, float::rms_norm_row, probe, quantize_activations_int4,
    unpack_scaled_f32,
};

use crate::{EngineError, LinearWeights, Options, Weights, lent::Grid, partition::Tile};

/// Weights in the layout that the kernel reads.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// Times activations of 8 bits.
    Ternary(Arc<PrepackedTernary>),
    /// Times activations of 4 bits.
    TernaryInt4(Arc<PrepackedTernary>),
    Dense(Arc<DenseMatrix>),
    Blocks(Arc<BlockMatrix>),
}

/// A matrix and the norm in front of it.
#[derive(Debug)]
pub(crate) struct Linear {
    pub matrix: Matrix,
    pub norm: Option<Vec<f32>>,
}

/// RMSNorm: its γ and ε.
pub(crate) type Norm<'a> = Option<(&'a [f32], f32)>;

/// Rows of activations in the form that a matrix multiplies.
#[derive(Debug, Default)]
pub(crate) struct Input {
    codes: QuantizedRows,
    dense: DenseRows,
    blocks: BlockRows,
    normed: Vec<f32>,
    /// Codes and scales of 4-bit activations, before they are arranged.
    int4: (Vec<i8>, Vec<f32>),
}

impl Linear {
    /// Repacks a layer.
    ///
    /// # Errors
    ///
    /// If it does not have `rows` and `cols`, or its words are no ternary matrix.
    pub(crate) fn new(
        name: &dyn Fn() -> String,
        layer: LinearWeights,
        [rows, cols]: [usize; 2],
        activations: ActivationQuantizer,
        options: &Options,
    ) -> Result<Linear, EngineError> {
        let Options {
            kernel,
            strategy,
            layout,
            ..
        } = *options;
        let found = layer.weights.dims();
        if found != [rows, cols] {
            return Err(EngineError::Tensor {
                tensor: name(),
                expected: [rows, cols],
                found,
            });
        }
        let dense = |values: &[f32]| {
            let dense = DenseMatrix::new(values, rows, cols, DenseFormat::F32, kernel);
            Matrix::Dense(Arc::new(dense))
        };
        let matrix = match layer.weights {
            Weights::Ternary(packed) => {
                let prepacked = || {
                    let suited = || Layout::suited_to(kernel, packed.granularity());
                    let layout = layout.unwrap_or_else(suited);
                    let prepacked = PrepackedTernary::new(packed.view(), layout, kernel, strategy);
                    prepacked
                        .map(Arc::new)
                        .map_err(|source| EngineError::Ternary {
                            tensor: name(),
                            source,
                        })
                };
                match activations {
                    ActivationQuantizer::Int8 => Matrix::Ternary(prepacked()?),
                    ActivationQuantizer::Int4 => Matrix::TernaryInt4(prepacked()?),
                    ActivationQuantizer::Float => {
                        let mut values = vec![0.0; rows * cols];
                        unpack_scaled_f32(packed.view(), &mut values);
                        dense(&values)
                    }
                }
            }
            Weights::Float { values, .. } if rows * cols != values.len() => {
                return Err(EngineError::Length {
                    tensor: name(),
                    shape: [rows, cols],
                    found: values.len(),
                });
            }
            Weights::Float { values, .. } => dense(&values),
            Weights::Dense(matrix) => Matrix::Dense(Arc::new(matrix.with_kernel(kernel)?)),
            Weights::Blocks(matrix) => Matrix::Blocks(Arc::new(matrix.with_kernel(kernel)?)),
        };
        Ok(Linear {
            matrix,
            norm: layer.norm,
        })
    }

    /// Bytes of weights and scales.
    pub(crate) fn bytes(&self) -> usize {
        self.matrix.bytes() + 4 * self.norm.as_ref().map_or(0, Vec::len)
    }

    /// `out[tile] = W · input`, where `input` holds the rows of the tile.
    pub(crate) fn store(&self, input: &Input, tile: &Tile, out: &Grid<'_>, local: &mut Vec<f32>) {
        let (rows, columns) = (tile.rows.len(), self.columns(tile));
        if columns.is_empty() {
            return;
        }
        if rows == 1 || columns.len() == out.cols() {
            // SAFETY: the rectangle of this thread's task, whole rows of it or a part of one row.
            let out = unsafe { out.contiguous(tile.rows.clone(), columns.clone()) };
            return self.product(input, tile, out);
        }
        let values = self.local(input, tile, local);
        for (row, values) in tile.rows.clone().zip(values.chunks_exact(columns.len())) {
            // SAFETY: the rectangle of this thread's tile.
            unsafe { out.segment(row, columns.clone()) }.copy_from_slice(values);
        }
    }

    /// `out[tile] += W · input`.
    pub(crate) fn add(&self, input: &Input, tile: &Tile, out: &Grid<'_>, local: &mut Vec<f32>) {
        let columns = self.columns(tile);
        if columns.is_empty() {
            return;
        }
        let values = self.local(input, tile, local);
        for (row, values) in tile.rows.clone().zip(values.chunks_exact(columns.len())) {
            // SAFETY: the rectangle of this thread's tile.
            let out = unsafe { out.segment(row, columns.clone()) };
            out.iter_mut().zip(values).for_each(|(out, y)| *out += y);
        }
    }

    /// The tile's product alone, `[rows, columns(tile)]`.
    pub(crate) fn local<'a>(
        &self,
        input: &Input,
        tile: &Tile,
        local: &'a mut Vec<f32>,
    ) -> &'a mut [f32] {
        let needed = tile.rows.len() * self.columns(tile).len();
        if local.len() < needed {
            local.resize(needed, 0.0);
        }
        let out = &mut local[..needed];
        self.product(input, tile, out);
        out
    }

    /// `out = W · input` of `rows` rows, all of it on the calling thread.
    pub(crate) fn whole(&self, input: &Input, rows: usize, out: &mut Vec<f32>) {
        let tile = Tile::whole(rows);
        out.resize(rows * self.columns(&tile).len(), 0.0);
        self.product(input, &tile, out);
    }

    /// The output columns of a tile.
    pub(crate) fn columns(&self, tile: &Tile) -> Range<usize> {
        self.matrix.columns(&tile.groups(self.matrix.groups()))
    }

    fn product(&self, input: &Input, tile: &Tile, out: &mut [f32]) {
        let groups = tile.groups(self.matrix.groups());
        let (rows, stride) = (0..tile.rows.len(), self.matrix.columns(&groups).len());
        match &self.matrix {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => {
                w.product(&input.codes, rows, groups, out, stride)
            }
            Matrix::Dense(w) => w.product(&input.dense, rows, groups, out, stride),
            Matrix::Blocks(w) => w.product(&input.blocks, rows, groups, out, stride),
        }
    }
}

impl Matrix {
    fn groups(&self) -> usize {
        match self {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => w.groups(),
            Matrix::Dense(w) => w.groups(),
            Matrix::Blocks(w) => w.groups(),
        }
    }

    /// How it is stored, in a word.
    pub(crate) fn format(&self) -> String {
        match self {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => w.layout().to_string(),
            Matrix::Dense(w) => w.format().to_string(),
            Matrix::Blocks(w) => format!("{} blocks", w.format()),
        }
    }

    pub(crate) fn layout(&self) -> Option<Layout> {
        match self {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => Some(w.layout()),
            Matrix::Dense(_) | Matrix::Blocks(_) => None,
        }
    }

    fn cols(&self) -> usize {
        match self {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => w.cols(),
            Matrix::Dense(w) => w.cols(),
            Matrix::Blocks(w) => w.cols(),
        }
    }

    fn columns(&self, groups: &Range<usize>) -> Range<usize> {
        let rows = match self {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => w.rows(),
            Matrix::Dense(w) => w.rows(),
            Matrix::Blocks(w) => w.rows(),
        };
        (16 * groups.start).min(rows)..(16 * groups.end).min(rows)
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => w.bytes(),
            Matrix::Dense(w) => w.bytes(),
            Matrix::Blocks(w) => w.bytes(),
        }
    }

    /// Reads what a tile would read, and computes nothing.
    pub(crate) fn read(&self, tile: &Tile) {
        let groups = tile.groups(self.groups());
        probe::read(match self {
            Matrix::Ternary(w) | Matrix::TernaryInt4(w) => w.stored(groups),
            Matrix::Dense(w) => w.stored(groups),
            Matrix::Blocks(w) => w.stored(groups),
        });
    }

    /// Whether rows made ready for one are ready for the other.
    fn takes_the_same(&self, other: &Matrix) -> bool {
        match (self, other) {
            (Matrix::Ternary(a), Matrix::Ternary(b))
            | (Matrix::TernaryInt4(a), Matrix::TernaryInt4(b)) => a.layout() == b.layout(),
            (Matrix::Dense(a), Matrix::Dense(b)) => a.format() == b.format(),
            (Matrix::Blocks(_), Matrix::Blocks(_)) => true,
            _ => false,
        }
    }
}

impl Input {
    /// Makes `norm(x)` ready for a matrix.
    fn set(&mut self, matrix: &Matrix, x: &[f32], norm: Norm<'_>) {
        let Input {
            codes,
            dense,
            blocks,
            normed,
            int4,
        } = self;
        match (matrix, norm) {
            (Matrix::Ternary(w), Some((gamma, epsilon))) => {
                codes.norm_quantize(w.kernel(), w.layout(), x, gamma, epsilon);
            }
            (Matrix::Ternary(w), None) => codes.quantize(w.kernel(), w.layout(), x, w.cols()),
            (Matrix::TernaryInt4(w), norm) => {
                let (x, k) = (rms_norm(norm, x, normed), w.cols());
                let (values, scales) = int4;
                values.resize(x.len(), 0);
                scales.resize(x.len() / k, 0.0);
                quantize_activations_int4(x, k, values, scales);
                codes.set_codes(w.kernel(), w.layout(), values, scales, k);
            }
            (Matrix::Dense(w), norm) => dense.set(w.format(), rms_norm(norm, x, normed), w.cols()),
            (Matrix::Blocks(w), norm) => {
                blocks.set(w.kernel(), rms_norm(norm, x, normed), w.cols())
            }
        }
    }
}

/// The rows of `x` through the norm, if there is one.
fn rms_norm<'a>(norm: Norm<'_>, x: &'a [f32], normed: &'a mut Vec<f32>) -> &'a [f32] {
    let Some((gamma, epsilon)) = norm else {
        return x;
    };
    normed.resize(x.len(), 0.0);
    let rows = normed.chunks_exact_mut(gamma.len());
    for (y, x) in rows.zip(x.chunks_exact(gamma.len())) {
        rms_norm_row(x, gamma, epsilon, y);
    }
    normed
}

/// The inputs of layers that read the same rows: one for all of them, or one each where they have norms of their own. One
/// such per thread, its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    inputs: [Input; 3],
    /// Which of the layers have theirs, for these rows.
    ready: [bool; 3],
    /// Rows after the block's norm, where layers have norms of their own besides.
    outer: Vec<f32>,
    rows: Range<usize>,
}

impl Inputs {
    /// Forgets what is ready: at the beginning of a round.
    pub(crate) fn clear(&mut self) {
        self.ready = [false; 3];
    }

    /// Calls `each(i, input)` for every layer, with `norm(x[rows])` made ready for it, through the norm of its own if it has
    /// one; what is ready from the task before stays. `x` is `[.., width]`, with `width` the layers' columns.
    pub(crate) fn each_of<const N: usize>(
        &mut self,
        layers: [&Linear; N],
        x: &[f32],
        rows: &Range<usize>,
        (norm, epsilon): (Norm<'_>, f32),
        mut each: impl FnMut(usize, &Input),
    ) {
        if self.rows != *rows {
            self.rows = rows.clone();
            self.clear();
        }
        for (i, layer) in layers.into_iter().enumerate() {
            let own = layer.norm.as_deref().map(|gamma| (gamma, epsilon));
            let shared = i > 0 && own.is_none() && layers[0].matrix.takes_the_same(&layer.matrix);
            let slot = if shared { 0 } else { i };
            if !self.ready[slot] {
                let width = layer.matrix.cols();
                let x = &x[rows.start * width..rows.end * width];
                let input = &mut self.inputs[slot];
                match own {
                    Some(own) => {
                        let x = rms_norm(norm, x, &mut self.outer);
                        input.set(&layer.matrix, x, Some(own));
                    }
                    None => input.set(&layer.matrix, x, norm),
                }
                self.ready[slot] = true;
            }
            each(i, &self.inputs[slot]);
        }
    }
}
