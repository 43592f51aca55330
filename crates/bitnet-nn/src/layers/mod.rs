//! The layers: one that trains, one that is packed.

mod bit_linear;
mod form;
mod groups;
mod packed;

pub use bit_linear::{BitLinear, BitLinearConfig};
pub use form::TrainingForm;
pub use packed::{PackError, PackedBitLinear, PackedBitLinearConfig};
