//! The embedding, which may be the head as well.

use std::sync::Arc;

use bitnet_kernels::{BlockMatrix, DenseMatrix, PackedTernary, unpack_scaled_f32};

/// From tokens to the residual stream.
#[derive(Debug)]
pub(crate) enum Embedding {
    Dense(Arc<DenseMatrix>),
    Blocks(Arc<BlockMatrix>),
    Ternary(PackedTernary),
}

impl Embedding {
    /// Writes the row of a token.
    pub(crate) fn row(&self, token: usize, out: &mut [f32]) {
        match self {
            Embedding::Dense(matrix) => matrix.row(token, out),
            Embedding::Blocks(matrix) => matrix.row(token, out),
            Embedding::Ternary(packed) => unpack_scaled_f32(packed.view().row(token), out),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Embedding::Dense(matrix) => matrix.bytes(),
            Embedding::Blocks(matrix) => matrix.bytes(),
            Embedding::Ternary(packed) => packed.bytes(),
        }
    }
}
