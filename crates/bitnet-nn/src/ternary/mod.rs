//! The operations of ternary linear layers: a backend extension ([`TernaryBackend`]), its reference, and functions on
//! Burn's tensors.

mod ops;
pub mod reference;
mod tensor;

pub use ops::TernaryBackend;
pub use tensor::{
    QuantizedActivations, bitlinear, bitlinear_coded, bitlinear_quantized, dequantize_activations,
    dequantize_weights, pack_weights, packed_linear, packed_linear_quantized, quantize_activations,
    quantize_activations_int4, quantize_weights,
};
