//! Quantisers: which scheme, weights to packed words, activations to int8, and both back to floats.

mod activations;
mod dequantize;
mod rescale;
mod scheme;
mod weights;

pub(crate) use activations::quantize_row;
pub use activations::{activation_scale, quantize_activations, quantize_activations_f32};
pub use dequantize::{unpack_codes_f32, unpack_codes_i8, unpack_scaled_f32};
pub use rescale::{codes_i8_to_f32_div, scale_rows_cols};
pub use scheme::{ActivationQuantizer, Granularity, Quantization, WeightQuantizer};
pub use weights::{
    SUM_BLOCK, SUM_LANES, pack_signs, pack_weights, quantize_weights, weight_scales,
};
