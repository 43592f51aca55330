//! The layers: one that trains, one that is packed.

mod bit_linear;
mod groups;
mod packed;

pub use bit_linear::{BitLinear, BitLinearConfig};
pub use packed::{PackError, PackedBitLinear, PackedBitLinearConfig};
