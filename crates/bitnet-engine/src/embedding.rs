//! The embedding, which may be the head as well.

use std::sync::Arc;

use bitnet_kernels::{
    BlockMatrix, DenseMatrix, PackedTernary, PrepackedTernary, unpack_scaled_f32,
};

use crate::linear::Matrix;

/// From tokens to the residual stream.
#[derive(Debug)]
pub(crate) enum Embedding {
    Dense(Arc<DenseMatrix>),
    Blocks(Arc<BlockMatrix>),
    Ternary(PackedTernary),
    /// Those of the head.
    Prepacked(Arc<PrepackedTernary>),
}

impl Embedding {
    /// The weights of a head, held once.
    pub(crate) fn of_head(matrix: &Matrix) -> Embedding {
        match matrix {
            Matrix::Dense(matrix) => Embedding::Dense(Arc::clone(matrix)),
            Matrix::Blocks(matrix) => Embedding::Blocks(Arc::clone(matrix)),
            Matrix::Ternary(matrix) | Matrix::TernaryInt4(matrix) => {
                Embedding::Prepacked(Arc::clone(matrix))
            }
        }
    }

    /// Whether a head's weights are these.
    pub(crate) fn is(&self, head: &Matrix) -> bool {
        match (self, head) {
            (Embedding::Dense(table), Matrix::Dense(head)) => Arc::ptr_eq(table, head),
            (Embedding::Blocks(table), Matrix::Blocks(head)) => Arc::ptr_eq(table, head),
            (Embedding::Prepacked(_), _) => true,
            _ => false,
        }
    }

    /// Writes the row of a token.
    pub(crate) fn row(&self, token: usize, out: &mut [f32]) {
        match self {
            Embedding::Dense(matrix) => matrix.row(token, out),
            Embedding::Blocks(matrix) => matrix.row(token, out),
            Embedding::Ternary(packed) => unpack_scaled_f32(packed.view().row(token), out),
            Embedding::Prepacked(matrix) => matrix.row(token, out),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Embedding::Dense(matrix) => matrix.bytes(),
            Embedding::Blocks(matrix) => matrix.bytes(),
            Embedding::Ternary(packed) => packed.bytes(),
            Embedding::Prepacked(matrix) => matrix.bytes(),
        }
    }
}
