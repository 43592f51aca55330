//! Tokens as rows of the residual stream, and rows as scores.

use std::sync::Arc;

use bitnet_kernels::{DenseFormat, DenseMatrix, MAX_INT8_COLS};

use super::{Positions, TableWeights, common::Common};
use crate::{
    EngineError, Options,
    linear::{Linear, Matrix},
};

/// The token embedding, times `√m`, with the sinusoids.
#[derive(Debug)]
pub(crate) struct Embedding {
    table: Arc<DenseMatrix>,
    /// Rows of the table have length 1 (Vaswani et al. 2017, section 3.4).
    scale: f32,
    /// `[positions, hidden]`: `sin(p · 10000^(−2i/m))` at `2i`, the cosine at `2i + 1`.
    sinusoids: Option<Vec<f32>>,
}

impl Embedding {
    pub(crate) fn new(common: &Common, weights: &TableWeights) -> Result<Embedding, EngineError> {
        let (hidden, vocab) = (common.shape.hidden_size, common.shape.vocab_size);
        let table = table("embed_tokens", weights, [vocab, hidden], &common.options)?;
        let positions = common.shape.max_position_embeddings;
        let value = |p: usize, d: usize| {
            let exponent = -((d - d % 2) as f64) / hidden as f64;
            let angle = p as f64 * 10_000f64.powf(exponent);
            (if d.is_multiple_of(2) {
                angle.sin()
            } else {
                angle.cos()
            }) as f32
        };
        let all = (0..positions).flat_map(|p| (0..hidden).map(move |d| value(p, d)));
        Ok(Embedding {
            table: Arc::new(table),
            scale: (hidden as f64).sqrt() as f32,
            sinusoids: matches!(common.shape.positions, Positions::Sinusoidal)
                .then(|| all.collect()),
        })
    }

    /// Writes the row of a token at a position.
    pub(crate) fn row(&self, token: u32, position: usize, x: &mut [f32]) {
        self.table.row(token as usize, x);
        x.iter_mut().for_each(|x| *x *= self.scale);
        if let Some(sinusoids) = &self.sinusoids {
            let angles = &sinusoids[position * x.len()..];
            x.iter_mut().zip(angles).for_each(|(x, angle)| *x += angle);
        }
    }

    /// The table as a head.
    pub(crate) fn head(&self) -> Linear {
        Linear {
            matrix: Matrix::Dense(Arc::clone(&self.table)),
            norm: None,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// A float head.
///
/// # Errors
///
/// If it does not have these rows and columns, or is too wide for its format.
pub(crate) fn head(
    name: &str,
    weights: &TableWeights,
    dims: [usize; 2],
    norm: Option<Vec<f32>>,
    options: &Options,
) -> Result<Linear, EngineError> {
    let table = table(name, weights, dims, options)?;
    Ok(Linear {
        matrix: Matrix::Dense(Arc::new(table)),
        norm,
    })
}

fn table(
    name: &str,
    weights: &TableWeights,
    expected: [usize; 2],
    options: &Options,
) -> Result<DenseMatrix, EngineError> {
    let [rows, cols] = expected;
    let found = [weights.rows, weights.values.len() / weights.rows.max(1)];
    if weights.values.len() != rows * cols || found != expected {
        return Err(EngineError::Tensor {
            tensor: name.to_owned(),
            expected,
            found,
        });
    }
    if options.head == DenseFormat::Int8 && cols > MAX_INT8_COLS {
        return Err(EngineError::WideHead {
            hidden: cols,
            max: MAX_INT8_COLS,
        });
    }
    let fill = |row: usize, out: &mut [f32]| {
        out.copy_from_slice(&weights.values[row * cols..][..cols]);
    };
    let table = DenseMatrix::from_rows(rows, cols, options.head, options.kernel, fill);
    Ok(table)
}
