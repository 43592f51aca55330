//! Integer products of ternary weights: of canonical words, which training packs anew each step, and of prepacked weights,
//! which a model that only runs repacks once.

pub(crate) mod activations;
pub(crate) mod base_three;
pub(crate) mod blocking;
mod canonical;
mod interleaved;
mod layout;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lut;
pub(crate) mod planes;
mod prepacked;
pub(crate) mod tiles;

pub use activations::QuantizedRows;
pub use canonical::{MAX_COLS, linear, linear_quantized, linear_with, matmul_i32};
pub use layout::Layout;
pub use prepacked::PrepackedTernary;
