//! The layers: one that trains, one that is packed.

mod bit_linear;
mod kind;
mod packed;

pub use bit_linear::{BitLinear, BitLinearConfig};
pub use kind::{ActivationQuantizer, LinearKind};
pub use packed::{PackError, PackedBitLinear, PackedBitLinearConfig};
