//! Integer products of ternary weights: of canonical words, which training packs anew each step, and of prepacked weights,
//! which a model that only runs repacks once.

pub(crate) mod activations;
pub(crate) mod base_three;
pub(crate) mod blocking;
mod canonical;
mod layout;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lut;
mod prepacked;
pub(crate) mod scaled;
mod sums;

pub use activations::QuantizedRows;
pub use canonical::{MAX_COLS, linear_quantized, matmul_i32};
pub use layout::Layout;
pub use prepacked::PrepackedTernary;
