//! Where an engine's weights come from.
//!
//! A [`Source`] hands them out block by block, each to be repacked and dropped before the next is asked for: a model is
//! never in memory twice. Float tables are read row by row, so that a large vocabulary need not exist as f32.

use bitnet_kernels::{BlockMatrix, DenseMatrix, PackedTernary, unpack_scaled_f32};

/// The weights of a linear layer, `[N, K]`.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Codes −1, 0, 1 and their scales.
    Ternary(PackedTernary),
    /// Row-major floats.
    Float {
        /// `[rows, cols]`.
        values: Vec<f32>,
        /// Output features.
        rows: usize,
        /// Input features.
        cols: usize,
    },
    /// Floats that are held as they are given: in 16 bits where the source has no more, so that nothing is lost.
    Dense(DenseMatrix),
    /// Floats in blocks of codes (Q8_0, Q4_0, Q4_1, Q6_K), times activations of 8 bits in blocks.
    Blocks(BlockMatrix),
}

impl Weights {
    /// Output and input features.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Weights::Ternary(packed) => [packed.rows(), packed.cols()],
            Weights::Float { rows, cols, .. } => [*rows, *cols],
            Weights::Dense(matrix) => [matrix.rows(), matrix.cols()],
            Weights::Blocks(matrix) => [matrix.rows(), matrix.cols()],
        }
    }

    /// The weights as floats, row-major; codes times their scales.
    pub fn into_floats(self) -> Vec<f32> {
        let [rows, cols] = self.dims();
        let mut values = vec![0.0; rows * cols];
        let by_row = |values: &mut [f32], row: &dyn Fn(usize, &mut [f32])| {
            let all = values.chunks_exact_mut(cols.max(1)).enumerate();
            all.for_each(|(index, out)| row(index, out));
        };
        match self {
            Weights::Float { values, .. } => return values,
            Weights::Ternary(packed) => unpack_scaled_f32(packed.view(), &mut values),
            Weights::Dense(matrix) => by_row(&mut values, &|row, out| matrix.row(row, out)),
            Weights::Blocks(matrix) => by_row(&mut values, &|row, out| matrix.row(row, out)),
        }
        values
    }
}

/// A linear layer.
#[derive(Clone, Debug)]
pub struct LinearWeights {
    /// The matrix.
    pub weights: Weights,
    /// γ of the RMSNorm in front of it, with [`Norms::INSIDE`](crate::Norms::INSIDE).
    pub norm: Option<Vec<f32>>,
}

/// One block. The names are Hugging Face's.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct LayerWeights {
    pub input_layernorm: Option<Vec<f32>>,
    pub q_proj: LinearWeights,
    pub k_proj: LinearWeights,
    pub v_proj: LinearWeights,
    pub q_norm: Option<Vec<f32>>,
    pub k_norm: Option<Vec<f32>>,
    pub attn_sub_norm: Option<Vec<f32>>,
    pub o_proj: LinearWeights,
    pub post_attention_layernorm: Option<Vec<f32>>,
    pub gate_proj: LinearWeights,
    pub up_proj: LinearWeights,
    pub ffn_sub_norm: Option<Vec<f32>>,
    pub down_proj: LinearWeights,
}

/// What a source could not read.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A matrix `[vocab_size, hidden_size]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// From tokens to the residual stream.
    Embedding,
    /// From the residual stream to logits; not asked for when it is tied to the embedding.
    Head,
}

/// A model to run.
pub trait Source: Sync {
    /// A table to be held as it is given; `None` of one whose rows are asked for and held as [`Options::head`] says.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    ///
    /// [`Options::head`]: crate::Options::head
    fn table(&self, table: Table) -> Result<Option<Weights>, SourceError> {
        let _ = table;
        Ok(None)
    }

    /// Writes a row of a table, `[hidden_size]`.
    fn table_row(&self, table: Table, token: usize, out: &mut [f32]);

    /// The block `index`.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError>;

    /// γ of the final norm, `[hidden_size]`.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn final_norm(&self) -> Result<Vec<f32>, SourceError>;
}
