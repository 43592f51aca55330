//! BitLinear for [Burn](https://burn.dev): linear layers with weights in {−1, 0, 1} and int8 activations, on every
//! Burn backend.
//!
//! A [`BitLinear`] trains with latent float weights and a straight-through estimator (BitNet b1.58, arXiv 2402.17764);
//! [`BitLinear::pack`] turns it into a [`PackedBitLinear`] that stores 2 bits per weight and computes the same outputs
//! from integers:
//!
//! ```text
//! s_x = 127 / max|x|  per token      x_q = round(x · s_x)       (int8)
//! s_w = 1 / mean|W|                  W_q = round(W · s_w)       (−1, 0, 1)
//! y   = (x_q · W_qᵀ) / s_w / s_x     the product is exact int32: signed summation
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `layers` | the two layers, forms of training, groups |
//! | `ternary`, `float` | the operations below them: a trait, its default bodies, functions on tensors |
//! | `backends` | how each backend runs these |
//! | `limits` | what a GPU grants a program |
//! | `shape` | shapes and types as operations see them |
//!
//! # Use in a Burn app
//!
//! ```
//! use bitnet_nn::{BitLinear, BitLinearConfig};
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! let device = Device::flex();
//! let layer: BitLinear = BitLinearConfig::new(64, 32).init(&device);
//! let x = Tensor::<3>::random([2, 5, 64], Distribution::Default, &device);
//! let y = layer.forward(x.clone());
//! assert_eq!(y.dims(), [2, 5, 32]);
//!
//! // Packed weights give the same numbers, bit for bit.
//! let packed = layer.pack();
//! packed.forward(x).into_data().assert_eq(&y.into_data(), true);
//! ```
//!
//! # Backends
//!
//! The [`TernaryBackend`] trait extends Burn's `Backend` with the operations below the layers. Each backend is a
//! feature of this crate: `flex` (default) and `ndarray` use the SIMD kernels of [`bitnet_kernels`]; `wgpu`, `vulkan`,
//! `metal` and `cuda` share CubeCL kernels; `autodiff` (default) and `fusion` wrap any of them.

mod backends;
pub mod float;
mod layers;
mod limits;
mod shape;
mod ternary;

pub use bitnet_kernels::{
    ActivationQuantizer, Granularity, Quantization, TernaryWord, WeightQuantizer, words_per_row,
};
pub use layers::{
    BitLinear, BitLinearConfig, PackError, PackedBitLinear, PackedBitLinearConfig, TrainingForm,
};
pub use limits::{DeviceLimits, device_limits};
pub use ternary::{
    QuantizedActivations, TernaryBackend, bitlinear, bitlinear_coded, bitlinear_quantized,
    dequantize_activations, dequantize_weights, pack_weights, packed_linear,
    packed_linear_quantized, quantize_activations, quantize_activations_int4, quantize_weights,
    reference,
};
