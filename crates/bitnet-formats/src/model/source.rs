//! The tensors of a model, one at a time.

use super::{ModelDescription, Role};
use crate::{Error, ternary::TernaryTensor};

/// A decoded tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    /// Floats.
    Float {
        /// Row-major.
        shape: Vec<usize>,
        /// The elements.
        values: Vec<f32>,
    },
    /// Codes and scales.
    Ternary(TernaryTensor),
}

impl Tensor {
    /// The elements as floats, row-major.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Float { values, .. } => values.clone(),
            Self::Ternary(ternary) => ternary.to_f32(),
        }
    }
}

/// A tensor of a file: what it is and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its place in the model.
    pub role: Role,
    /// Its name in the file.
    pub name: String,
    /// Its shape in the model; packed codes have another in the file.
    pub shape: Vec<usize>,
    /// How it is stored: `BF16`, `TQ2_0`, `U8` (packed).
    pub storage: String,
    /// Whether this type holds codes and not numbers.
    pub ternary: bool,
    /// Bytes in the file.
    pub bytes: u64,
}

/// The files of a model.
pub trait TensorSource: Sync {
    /// What the model is.
    fn description(&self) -> &ModelDescription;

    /// Its tensors, by role.
    fn tensors(&self) -> &[TensorEntry];

    /// Decodes one tensor: ternary ones to codes, all others to floats. Rows of `q` and `k` are in rotate-half order.
    ///
    /// # Errors
    ///
    /// If the model has no such tensor, or its content is not what its type demands.
    fn read(&self, role: Role) -> Result<Tensor, Error>;

    /// Decodes one row of a table (embedding or head) to floats `[hidden_size]`, without touching the others.
    ///
    /// # Errors
    ///
    /// If the model has no such tensor or row, or its type has no rows of its own (I2_S).
    fn read_row(&self, role: Role, row: usize, out: &mut [f32]) -> Result<(), Error>;

    /// Says that a tensor is not needed any more, so that its pages need not stay in memory. It can be read again.
    fn release(&self, role: Role);
}
