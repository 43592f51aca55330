//! A decoder-only language model as its files describe it, whatever the container: shape, conventions, tensors by role.

mod description;
mod memory;
mod role;
mod rope_rows;
mod source;
mod ternary_values;

pub use bitnet_kernels::float::RopeScaling;
pub use description::{
    Activation, ActivationFormat, Family, Finding, ModelDescription, ModelShape, Norms, Pooling,
    Rope, SpecialTokens, TokenizerKind, WeightFormat,
};
pub use memory::{MemoryModel, Pieces};
pub use role::{LayerRole, Projection, Role};
pub use source::{Form, Stored, Tensor, TensorEntry, TensorSource};

pub(crate) use role::Names;
pub(crate) use rope_rows::interleaved_row;
pub(crate) use ternary_values::ternary_values;
