//! The layers: one that trains, one that is packed.

mod bit_linear;
mod groups;
mod kind;
mod packed;

pub use bit_linear::{BitLinear, BitLinearConfig};
pub use kind::LinearKind;
pub use packed::{PackError, PackedBitLinear, PackedBitLinearConfig};
