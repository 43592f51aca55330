//! Quantisers: which scheme, weights to packed words, activations to int8, and both back to floats.

mod activations;
mod activations_int4;
mod dequantize;
mod optimum;
mod scheme;
mod weights;

pub(crate) use activations::quantize_row;
pub use activations::{activation_scale, int8_codes, quantize_activations};
pub use activations_int4::quantize_activations_int4;
pub(crate) use dequantize::values;
pub use dequantize::{codes_i8_to_f32_div, unpack_scaled_f32};
pub use scheme::{ActivationQuantizer, Granularity, Quantization, WeightQuantizer};
pub use weights::{SUM_BLOCK, SUM_LANES, pack_weights, quantize_weights, weight_scales};
