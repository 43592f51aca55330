//! The operations of [`TernaryBackend`] on Burn's public [`Tensor`], dispatched to the tensor's own backend.

use bitnet_kernels::{ActivationQuantizer, Granularity, WeightQuantizer, words_per_row};
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor};

use super::TernaryBackend;

/// `y = x̂ · ŵᵀ` with fake-quantised operands and straight-through gradients.
///
/// # Shapes
/// `x` `[..., K]`, `w` `[N, K]` → `[..., N]`.
///
/// # Panics
/// If the last dimension of `x` is not that of `w`.
pub fn bitlinear<const D: usize>(
    x: Tensor<D>,
    w: Tensor<2>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> Tensor<D> {
    let (features, [_, in_features]) = (x.dims()[D - 1], w.dims());
    assert_eq!(
        features, in_features,
        "bitlinear: x has {features} features, w takes {in_features}"
    );
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::bitlinear(
        x.into_dispatch(),
        w.into_dispatch(),
        quantizer,
        granularity,
    ))
}

/// Activations with their int8 codes: quantised once for all layers that read them.
#[derive(Clone, Debug)]
pub struct QuantizedActivations<const D: usize> {
    x: Tensor<D>,
    codes: Tensor<2, Int>,
    scales: Tensor<1>,
}

impl<const D: usize> QuantizedActivations<D> {
    /// Quantises `x` `[..., K]` per token, to 8 bits.
    pub fn new(x: Tensor<D>) -> Self {
        Self::by(x, quantize_activations)
    }

    /// Quantises `x` `[..., K]` per token, to 4 bits.
    pub fn int4(x: Tensor<D>) -> Self {
        Self::by(x, quantize_activations_int4)
    }

    /// Quantises `x` `[..., K]` per token as a scheme says; none if it leaves activations alone.
    pub fn of(x: Tensor<D>, quantizer: ActivationQuantizer) -> Option<Self> {
        match quantizer {
            ActivationQuantizer::Int8 => Some(Self::new(x)),
            ActivationQuantizer::Int4 => Some(Self::int4(x)),
            ActivationQuantizer::Float => None,
        }
    }

    fn by(x: Tensor<D>, quantize: fn(Tensor<2>) -> (Tensor<2, Int>, Tensor<1>)) -> Self {
        let features = x.dims()[D - 1];
        let rows = x.shape().num_elements() / features.max(1);
        let (codes, scales) = quantize(x.clone().reshape([rows, features]));
        Self { x, codes, scales }
    }

    /// What the codes stand for, `x̂ = q / s`, `[..., K]`. Not differentiable.
    pub fn dequantize(&self) -> Tensor<D> {
        let features = self.x.dims()[D - 1];
        let x_hat = dequantize_activations(self.codes.clone(), self.scales.clone(), features);
        x_hat.reshape(self.x.dims())
    }

    /// The features `start..start + len` of every token, with the scale of the whole; `start` is a multiple of 16.
    pub(crate) fn features(&self, start: usize, len: usize) -> Self {
        Self {
            x: self.x.clone().narrow(D - 1, start, len),
            codes: self.codes.clone().narrow(1, start / 4, len.div_ceil(4)),
            scales: self.scales.clone(),
        }
    }

    /// What was quantised.
    pub fn values(&self) -> &Tensor<D> {
        &self.x
    }
}

/// [`bitlinear`] of activations that are quantised already.
///
/// # Panics
/// As [`bitlinear`].
pub fn bitlinear_quantized<const D: usize>(
    x: &QuantizedActivations<D>,
    w: Tensor<2>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> Tensor<D> {
    let (features, [_, in_features]) = (x.x.dims()[D - 1], w.dims());
    assert_eq!(
        features, in_features,
        "bitlinear: x has {features} features, w takes {in_features}"
    );
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::bitlinear_quantized(
        x.x.clone().into_dispatch(),
        x.codes.clone().into_dispatch(),
        x.scales.clone().into_dispatch(),
        w.into_dispatch(),
        quantizer,
        granularity,
    ))
}

/// [`bitlinear_quantized`] of weights that are quantised already, by whatever rule: their codes and scales as
/// [`quantize_weights`] gives them. `w` `[N, K]` is not read; it takes the gradient `∂yᵀ · x̂` of `ŵ`.
///
/// # Panics
/// As [`bitlinear`].
pub fn bitlinear_coded<const D: usize>(
    x: &QuantizedActivations<D>,
    w: Tensor<2>,
    (codes, scales): (Tensor<2, Int>, Tensor<1>),
) -> Tensor<D> {
    let (features, [_, in_features]) = (x.x.dims()[D - 1], w.dims());
    assert_eq!(
        features, in_features,
        "bitlinear: x has {features} features, w takes {in_features}"
    );
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::bitlinear_coded(
        x.x.clone().into_dispatch(),
        x.codes.clone().into_dispatch(),
        x.scales.clone().into_dispatch(),
        w.into_dispatch(),
        codes.into_dispatch(),
        scales.into_dispatch(),
    ))
}

/// [`packed_linear`] of activations that are quantised already.
///
/// # Panics
/// As [`packed_linear`].
pub fn packed_linear_quantized<const D: usize>(
    x: &QuantizedActivations<D>,
    codes: Tensor<2, Int>,
    scales: Tensor<1>,
) -> Tensor<D> {
    let (features, [_, words]) = (x.x.dims()[D - 1], codes.dims());
    assert_eq!(
        words_per_row(features),
        words,
        "packed_linear: x has {features} features, the weights have {words} words of 16 a row"
    );
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::packed_linear_quantized(
        x.x.clone().into_dispatch(),
        x.codes.clone().into_dispatch(),
        x.scales.clone().into_dispatch(),
        codes.into_dispatch(),
        scales.into_dispatch(),
    ))
}

/// `y = (x_q · w_qᵀ) / s_w / s_x` with packed weights.
///
/// # Shapes
/// `x` `[..., K]`, `codes` `[N, ⌈K/16⌉]`, `scales` `[1]` or `[N]` → `[..., N]`.
///
/// # Panics
/// If `codes` has another width than `x` asks for.
pub fn packed_linear<const D: usize>(
    x: Tensor<D>,
    codes: Tensor<2, Int>,
    scales: Tensor<1>,
) -> Tensor<D> {
    let (features, [_, words]) = (x.dims()[D - 1], codes.dims());
    assert_eq!(
        words_per_row(features),
        words,
        "packed_linear: x has {features} features, the weights have {words} words of 16 a row"
    );
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::packed_linear(
        x.into_dispatch(),
        codes.into_dispatch(),
        scales.into_dispatch(),
    ))
}

/// Ternary codes of `w` `[N, K]` in words `[N, ⌈K/16⌉]` (u32), and their scales, `[1]` or `[N]`.
pub fn quantize_weights(
    w: Tensor<2>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> (Tensor<2, Int>, Tensor<1>) {
    let (codes, scales) =
        <Dispatch as TernaryBackend>::quantize_weights(w.into_dispatch(), quantizer, granularity);
    (Tensor::from_dispatch(codes), Tensor::from_dispatch(scales))
}

/// Ternary codes of `w` `[N, K]` in words `[N, ⌈K/16⌉]` (u32) by scales `[1]` or `[N]`: `clamp(round(w · s), −1, 1)`.
pub fn pack_weights(w: Tensor<2>, scales: Tensor<1>) -> Tensor<2, Int> {
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::pack_weights(
        w.into_dispatch(),
        scales.into_dispatch(),
    ))
}

/// Int8 codes of `x` `[M, K]` in words `[M, ⌈K/4⌉]` (u32), and the scale of each token, `[M]`.
pub fn quantize_activations(x: Tensor<2>) -> (Tensor<2, Int>, Tensor<1>) {
    let (codes, scales) = <Dispatch as TernaryBackend>::quantize_activations(x.into_dispatch());
    (Tensor::from_dispatch(codes), Tensor::from_dispatch(scales))
}

/// 4-bit codes of `x` `[M, K]`, as int8 in words `[M, ⌈K/4⌉]` (u32), and the scale of each token, `[M]`.
pub fn quantize_activations_int4(x: Tensor<2>) -> (Tensor<2, Int>, Tensor<1>) {
    let (codes, scales) =
        <Dispatch as TernaryBackend>::quantize_activations_int4(x.into_dispatch());
    (Tensor::from_dispatch(codes), Tensor::from_dispatch(scales))
}

/// `ŵ = q / s`, `[N, in_features]`, from what [`quantize_weights`] gives.
pub fn dequantize_weights(
    codes: Tensor<2, Int>,
    scales: Tensor<1>,
    in_features: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::dequantize_weights(
        codes.into_dispatch(),
        scales.into_dispatch(),
        in_features,
    ))
}

/// `x̂ = q / s`, `[M, in_features]`, from what [`quantize_activations`] gives.
pub fn dequantize_activations(
    codes: Tensor<2, Int>,
    scales: Tensor<1>,
    in_features: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as TernaryBackend>::dequantize_activations(
        codes.into_dispatch(),
        scales.into_dispatch(),
        in_features,
    ))
}
