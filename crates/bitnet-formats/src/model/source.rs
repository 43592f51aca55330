//! The tensors of a model, one at a time.

use bitnet_kernels::{BlockMatrix, DenseMatrix, Kernel};

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

/// A matrix of floats as its file stores it.
#[derive(Clone, Debug)]
pub enum Stored {
    /// 16 bits a weight.
    Dense(DenseMatrix),
    /// Codes with a scale for each 32 weights.
    Blocks(BlockMatrix),
}

/// The kind of a tensor's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Floats of 32 bits.
    Full,
    /// Floats of 16 bits.
    Half,
    /// Floats in blocks of codes.
    Blocks,
    /// Ternary codes.
    Codes,
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
    /// What kind of type that is.
    pub form: Form,
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

    /// A matrix of floats in the form in which it is stored, for a kernel: 16 bits, or blocks of codes. `None` if it is
    /// stored in 32 bits or is ternary. Nothing is lost, and nothing is held twice.
    ///
    /// # Errors
    ///
    /// As [`TensorSource::read`], and if a scale is not finite.
    fn read_stored(&self, role: Role, kernel: Kernel) -> Result<Option<Stored>, Error>;

    /// Decodes one row of a matrix to floats, without touching the others.
    ///
    /// # Errors
    ///
    /// If the model has no such tensor or row, or its type has no rows of its own (I2_S, packed codes).
    fn read_row(&self, role: Role, row: usize, out: &mut [f32]) -> Result<(), Error>;

    /// Says that a tensor is not needed any more, so that its pages need not stay in memory. It can be read again.
    fn release(&self, role: Role);
}
