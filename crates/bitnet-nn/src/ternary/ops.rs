//! The backend extension: the operations that a ternary linear layer adds to Burn's [`Backend`].
//!
//! Seven primitive operations carry everything; each has a default body composed from Burn's own operations
//! ([`reference`]), so a backend without kernels of its own needs an empty `impl`. The composed operations
//! stand on them: [`bitlinear`](TernaryBackend::bitlinear) for training and
//! [`packed_linear`](TernaryBackend::packed_linear) for inference, each also for activations that several layers share.
//! Both go through the same integer product, which is why a packed model answers exactly as the fake-quantised one it was
//! packed from.
//!
//! # Layouts
//!
//! WGSL has no 8-bit integers, so codes travel in `u32` words on every backend, little-endian inside the word:
//!
//! | what | shape | in a word |
//! |---|---|---|
//! | ternary weights `[N, K]` | `[N, ⌈K/16⌉]` | element `k` at bits `2(k mod 16)`, stored as `w + 1`; padding is 1 (zero) |
//! | int8 activations `[M, K]` | `[M, ⌈K/4⌉]` | element `k` at bits `8(k mod 4)`, two's complement; padding is 0 |
//!
//! The weight layout is the canonical one of [`bitnet_kernels::PackedTernary`].
//!
//! # Scales
//!
//! A scale `s` is the multiplier that made the codes, `q = clamp(round(v · s))`, so the value is `q / s`. Weights have
//! one scale for the tensor (shape `[1]`) or one per output row (`[N]`), activations one per token (`[M]`).

// The extension names NdArray, which Burn deprecates in favour of Flex.
#![allow(deprecated)]

use bitnet_kernels::{Granularity, WeightQuantizer};
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::{
    Backend, TensorMetadata, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
#[cfg(feature = "fusion")]
use burn::tensor::DType;
use burn::tensor::FloatDType;
#[cfg(feature = "fusion")]
use burn::tensor::Shape;

use super::reference;
use crate::shape::{as_rows, in_dtype, last, with_leading};

/// The operations of ternary linear layers, on a Burn backend.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff: cfg(feature = "autodiff"),
    Fusion: cfg(feature = "fusion"),
)]
pub trait TernaryBackend: Backend {
    /// Quantises latent weights: `s = 1 / max(mean|w|, 1e-5)`, `q = clamp(round(w · s), −1, 1)`.
    ///
    /// `w` `[N, K]` → words `[N, ⌈K/16⌉]` (u32), scales `[1]` or `[N]` (f32). Not differentiable.
    #[fusion(meta = weight_codes_spec)]
    fn quantize_weights(
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        reference::quantize_weights::<Self>(w, quantizer, granularity)
    }

    /// Codes of latent weights by scales that are known already: `q = clamp(round(w · s), −1, 1)`.
    ///
    /// `w` `[N, K]`, `scales` `[1]` or `[N]` → words `[N, ⌈K/16⌉]` (u32). Not differentiable.
    #[fusion(meta = packed_spec)]
    fn pack_weights(w: FloatTensor<Self>, scales: FloatTensor<Self>) -> IntTensor<Self> {
        reference::pack_weights::<Self>(w, scales)
    }

    /// Quantises activations per token: `s = 127 / max(max|x|, 1e-5)`, `q = clamp(round(x · s), −128, 127)`.
    ///
    /// `x` `[M, K]` → words `[M, ⌈K/4⌉]` (u32), scales `[M]` (f32). Not differentiable.
    #[fusion(meta = activation_codes_spec)]
    fn quantize_activations(x: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        reference::quantize_activations::<Self>(x)
    }

    /// Quantises activations per token to 4 bits: `s = √7 / max(mean|x|, 1e-5)`, `q = clamp(round(x · s), −8, 7)`, stored
    /// as int8 codes (BitNet a4.8, arXiv 2411.04965, equation 4).
    ///
    /// `x` `[M, K]` → words `[M, ⌈K/4⌉]` (u32), scales `[M]` (f32). Not differentiable. Composed on every backend: the scale
    /// comes from its own float sum.
    #[fusion(meta = activation_codes_spec)]
    fn quantize_activations_int4(x: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        reference::quantize_activations_int4::<Self>(x)
    }

    /// The exact integer product and its scales: `y[m, n] = (Σ_k xq[m, k] · wq[n, k]) / s_w / s_x`.
    ///
    /// → `[M, N]`, computed in f32 and rounded to `dtype`. Differentiable nowhere: [`bitlinear`](Self::bitlinear) and
    /// [`packed_linear`](Self::packed_linear) carry the gradient, and give what is of the type of their `x`.
    #[fusion(meta = product_spec)]
    fn ternary_product(
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
        in_features: usize,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        let y =
            reference::ternary_product::<Self>(x_codes, x_scales, w_codes, w_scales, in_features);
        in_dtype::<Self>(y, dtype)
    }

    /// The weights that the codes stand for: `ŵ = q / s`, `[N, K]` (f32).
    #[fusion(meta = dequantized_spec)]
    fn dequantize_weights(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        reference::dequantize_weights::<Self>(codes, scales, in_features)
    }

    /// The activations that the codes stand for: `x̂ = q / s`, `[M, K]` (f32).
    #[fusion(meta = dequantized_spec)]
    fn dequantize_activations(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        reference::dequantize_activations::<Self>(codes, scales, in_features)
    }

    /// The gradient of a layer's input, `∂x = ∂y · ŵ`: `grad` `[M, N]` and packed weights → `[M, in_features]`.
    #[fusion(default)]
    fn input_gradient(
        grad: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let w_hat = Self::dequantize_weights(w_codes, w_scales, in_features);
        Self::float_matmul(grad, w_hat)
    }

    /// The gradient of a layer's weights, `∂w = ∂yᵀ · x̂`: `grad` `[M, N]` and int8 activations → `[N, in_features]`.
    #[fusion(default)]
    fn weight_gradient(
        grad: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let x_hat = Self::dequantize_activations(x_codes, x_scales, in_features);
        Self::float_matmul(Self::float_transpose(grad), x_hat)
    }

    /// The training operation: `y = x̂ · ŵᵀ`, computed as the integer product of the codes.
    ///
    /// `x` `[..., K]`, `w` `[N, K]` → `[..., N]`. On `Autodiff` both quantisers are straight-through:
    /// `∂x = ∂y · ŵ`, `∂w = ∂yᵀ · x̂`, from the int8 and 2-bit codes kept since the forward pass.
    #[fusion(default)]
    fn bitlinear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> FloatTensor<Self> {
        let (x_codes, x_scales) = Self::quantize_activations(as_rows::<Self>(x.clone()));
        Self::bitlinear_quantized(x, x_codes, x_scales, w, quantizer, granularity)
    }

    /// [`bitlinear`](Self::bitlinear) of an `x` that is quantised already, once for the layers that share it (queries,
    /// keys and values; gate and up). Differentiable in `x` and `w`; the codes must be those of `x`.
    #[fusion(default)]
    fn bitlinear_quantized(
        x: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> FloatTensor<Self> {
        let (w_codes, w_scales) = Self::quantize_weights(w.clone(), quantizer, granularity);
        Self::bitlinear_coded(x, x_codes, x_scales, w, w_codes, w_scales)
    }

    /// The training operation of weights that are quantised already, by whatever rule: `y = x̂ · ŵᵀ` of the codes. The
    /// latent `w` is not read; it takes the gradient, `∂w = ∂yᵀ · x̂`, and carries it to what the weights are made of.
    #[fusion(default)]
    fn bitlinear_coded(
        x: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        _w: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (shape, dtype) = (x.shape(), x.dtype().into());
        let features = last(&shape);
        let y = Self::ternary_product(x_codes, x_scales, w_codes, w_scales, features, dtype);
        with_leading::<Self>(y, shape)
    }

    /// The inference operation: quantises `x`, then the integer product with packed weights.
    ///
    /// `x` `[..., K]`, `w_codes` `[N, ⌈K/16⌉]`, `w_scales` `[1]` or `[N]` → `[..., N]`. On `Autodiff` the gradient of
    /// `x` passes straight through; packed weights have none.
    #[fusion(default)]
    fn packed_linear(
        x: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (x_codes, x_scales) = Self::quantize_activations(as_rows::<Self>(x.clone()));
        Self::packed_linear_quantized(x, x_codes, x_scales, w_codes, w_scales)
    }

    /// [`packed_linear`](Self::packed_linear) of an `x` that is quantised already. Differentiable in `x`.
    #[fusion(default)]
    fn packed_linear_quantized(
        x: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (shape, dtype) = (x.shape(), x.dtype().into());
        let features = last(&shape);
        let y = Self::ternary_product(x_codes, x_scales, w_codes, w_scales, features, dtype);
        with_leading::<Self>(y, shape)
    }
}

#[cfg(feature = "fusion")]
fn weight_codes_spec(
    w: &TensorSpec,
    _quantizer: &WeightQuantizer,
    granularity: &Granularity,
) -> (TensorSpec, TensorSpec) {
    let (rows, cols) = (w.shape[0], w.shape[1]);
    let scales = granularity.scales(rows, cols);
    (
        TensorSpec::new(
            Shape::new([rows, bitnet_kernels::words_per_row(cols)]),
            DType::U32,
        ),
        TensorSpec::new(Shape::new([scales]), DType::F32),
    )
}

#[cfg(feature = "fusion")]
fn packed_spec(w: &TensorSpec, _scales: &TensorSpec) -> TensorSpec {
    let words = bitnet_kernels::words_per_row(w.shape[1]);
    TensorSpec::new(Shape::new([w.shape[0], words]), DType::U32)
}

#[cfg(feature = "fusion")]
fn activation_codes_spec(x: &TensorSpec) -> (TensorSpec, TensorSpec) {
    let (rows, cols) = (x.shape[0], x.shape[1]);
    (
        TensorSpec::new(Shape::new([rows, cols.div_ceil(4)]), DType::U32),
        TensorSpec::new(Shape::new([rows]), DType::F32),
    )
}

#[cfg(feature = "fusion")]
fn product_spec(
    x_codes: &TensorSpec,
    _x_scales: &TensorSpec,
    w_codes: &TensorSpec,
    _w_scales: &TensorSpec,
    _in_features: &usize,
    dtype: &FloatDType,
) -> TensorSpec {
    let shape = Shape::new([x_codes.shape[0], w_codes.shape[0]]);
    TensorSpec::new(shape, (*dtype).into())
}

#[cfg(feature = "fusion")]
fn dequantized_spec(codes: &TensorSpec, _scales: &TensorSpec, in_features: &usize) -> TensorSpec {
    TensorSpec::new(Shape::new([codes.shape[0], *in_features]), DType::F32)
}
