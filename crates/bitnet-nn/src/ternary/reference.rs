//! The reference: every operation composed from Burn's own, generic over any [`Backend`].
//!
//! It is the default body of each [`TernaryBackend`](crate::TernaryBackend) operation and what the kernels are tested
//! against: codes exactly, gradients within float tolerance. It is slow on purpose: one pass over memory per line.
//!
//! Formulas: "The Era of 1-bit LLMs: Training Tips, Code and FAQ" (microsoft/unilm, `bitnet/`). A NaN activation has
//! code 0, as in [`bitnet_kernels`]; other NaN and infinity handling is the backend's own.

use bitnet_kernels::{EPS, Granularity, WeightQuantizer};
use burn::backend::{
    Backend, TensorMetadata, get_device_settings,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{BoolDType, FloatDType, IntDType, Scalar, Shape, Slice};

use crate::shape::last;

/// Weight scales `s = 1 / max(center|w|, 1e-5)` of `w` `[N, K]`, as `[1, 1]` or `[N, 1]`.
pub fn weight_scales<B: Backend>(
    w: FloatTensor<B>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> FloatTensor<B> {
    let shape = w.shape();
    let groups = match granularity {
        Granularity::Tensor => 1,
        Granularity::Row => shape[0],
        Granularity::Group(_) => unreachable!("layers compose groups of parts by row"),
    };
    let group_len = shape.num_elements() / groups.max(1);
    let magnitude = B::float_reshape(B::float_abs(w), Shape::new([groups, group_len]));
    let center = match quantizer {
        WeightQuantizer::AbsMean | WeightQuantizer::Sign => B::float_mean_dim(magnitude, 1),
        WeightQuantizer::AbsMedian => {
            let sorted = B::float_sort(magnitude, 1, false);
            let at = |i: usize| {
                B::float_slice(
                    sorted.clone(),
                    &[Slice::from(0..groups), Slice::from(i..i + 1)],
                )
            };
            let pair = B::float_add(at((group_len - 1) / 2), at(group_len / 2));
            B::float_mul_scalar(pair, Scalar::from(0.5f32))
        }
        WeightQuantizer::Rms => normal_optimum::<B>(magnitude),
        WeightQuantizer::Mse => exact_optimum::<B>(magnitude),
    };
    B::float_recip(B::float_clamp_min(center, Scalar::from(EPS)))
}

/// `1.224 · √mean w²` of the magnitudes `[G, L]`, as `[G, 1]`; of values below 1, whose squares do not overflow.
fn normal_optimum<B: Backend>(magnitude: FloatTensor<B>) -> FloatTensor<B> {
    let most = B::float_max_dim(magnitude.clone(), 1);
    let most = B::float_clamp_min(most, Scalar::from(EPS));
    let unit = B::float_div(magnitude, most.clone());
    let mean = B::float_mean_dim(B::float_mul(unit.clone(), unit), 1);
    let rms = B::float_mul(B::float_sqrt(mean), most);
    B::float_mul_scalar(rms, Scalar::from(WeightQuantizer::RMS_OPTIMUM as f32))
}

/// The α of least squared error for the magnitudes `[G, L]`, as `[G, 1]`: with `S` the sum of the `k` largest, `S / k` of
/// the `k` that makes `S / √k` largest.
fn exact_optimum<B: Backend>(magnitude: FloatTensor<B>) -> FloatTensor<B> {
    let device = magnitude.device();
    let shape = magnitude.shape();
    let sums = B::float_cumsum(B::float_sort(magnitude, 1, true), 1);
    let ones = B::float_full(shape, Scalar::from(1f32), &device, FloatDType::F32);
    let counts = B::float_cumsum(ones, 1);
    let gains = B::float_div(sums.clone(), B::float_sqrt(counts.clone()));
    let int = get_device_settings::<B>(&device).int_dtype;
    let best = B::float_argmax(gains, 1, int);
    B::float_gather(1, B::float_div(sums, counts), best)
}

/// Weight codes as floats in {−1, 0, 1}, `[N, K]`, and their scales, `[1, 1]` or `[N, 1]`.
pub fn weight_codes<B: Backend>(
    w: FloatTensor<B>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let scales = weight_scales::<B>(w.clone(), quantizer, granularity);
    if quantizer == WeightQuantizer::Sign {
        return (signs::<B>(w, granularity), scales);
    }
    (rounded::<B>(w, scales.clone()), scales)
}

/// `clamp(round(w · s), −1, 1)` of `w` `[N, K]` and scales `[1, 1]` or `[N, 1]`.
fn rounded<B: Backend>(w: FloatTensor<B>, scales: FloatTensor<B>) -> FloatTensor<B> {
    B::float_clamp(
        B::float_round(B::float_mul(w, scales)),
        Scalar::from(-1f32),
        Scalar::from(1f32),
    )
}

/// Signs about the mean: 1 where `w > mean(w)` of the tensor or row, else −1.
fn signs<B: Backend>(w: FloatTensor<B>, granularity: Granularity) -> FloatTensor<B> {
    let shape = w.shape();
    let mean = match granularity {
        Granularity::Tensor => B::float_reshape(B::float_mean(w.clone()), Shape::new([1, 1])),
        Granularity::Row => B::float_mean_dim(w.clone(), 1),
        Granularity::Group(_) => unreachable!("layers compose groups of parts by row"),
    };
    let centred = B::float_sub(w, mean);
    let above = B::float_greater_elem(
        centred.clone(),
        Scalar::from(0f32),
        bool_type::<B>(&centred),
    );
    let device = centred.device();
    let full =
        |value: f32| B::float_full(shape.clone(), Scalar::from(value), &device, FloatDType::F32);
    B::float_mask_where(full(-1.0), above, full(1.0))
}

/// 4-bit activation codes as integral floats in [−8, 7], `[M, K]`, and their scales `s = √7 / max(mean|x|, 1e-5)`, `[M, 1]`.
pub fn activation_codes_int4<B: Backend>(x: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let mean = B::float_clamp_min(
        B::float_mean_dim(B::float_abs(x.clone()), 1),
        Scalar::from(EPS),
    );
    let scales = B::float_mul_scalar(B::float_recip(mean), Scalar::from(7f32.sqrt()));
    let rounded = B::float_round(B::float_mul(x, scales.clone()));
    let is_nan = B::float_is_nan(rounded.clone(), bool_type::<B>(&rounded));
    let codes = B::float_clamp(
        B::float_mask_fill(rounded, is_nan, Scalar::from(0f32)),
        Scalar::from(-8f32),
        Scalar::from(7f32),
    );
    (codes, scales)
}

/// Activation scales `s = 127 / max(max|x|, 1e-5)` of `x` `[M, K]`, as `[M, 1]`.
pub fn activation_scales<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let peak = B::float_clamp_min(B::float_max_abs_dim(x, 1), Scalar::from(EPS));
    let most = B::float_full(
        peak.shape(),
        Scalar::from(127f32),
        &peak.device(),
        FloatDType::F32,
    );
    B::float_div(most, peak)
}

/// Activation codes as integral floats in [−128, 127], `[M, K]`, and their scales, `[M, 1]`.
pub fn activation_codes<B: Backend>(x: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let scales = activation_scales::<B>(x.clone());
    let rounded = B::float_round(B::float_mul(x, scales.clone()));
    let is_nan = B::float_is_nan(rounded.clone(), bool_type::<B>(&rounded));
    let codes = B::float_clamp(
        B::float_mask_fill(rounded, is_nan, Scalar::from(0f32)),
        Scalar::from(-128f32),
        Scalar::from(127f32),
    );
    (codes, scales)
}

/// Fake quantisation with the straight-through estimator: `y = (x + sg(x̂ − x)) · (w + sg(ŵ − w))ᵀ`.
///
/// `x` `[M, K]`, `w` `[N, K]` → `[M, N]`, differentiable through the backend's own operations.
pub fn bitlinear<B: Backend>(
    x: FloatTensor<B>,
    w: FloatTensor<B>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> FloatTensor<B> {
    let (xq, sx) = activation_codes::<B>(B::float_detach(x.clone()));
    let (wq, sw) = weight_codes::<B>(B::float_detach(w.clone()), quantizer, granularity);
    let x_hat = straight_through::<B>(x, B::float_div(xq, sx));
    let w_hat = straight_through::<B>(w, B::float_div(wq, sw));
    B::float_matmul(x_hat, B::float_transpose(w_hat))
}

fn straight_through<B: Backend>(v: FloatTensor<B>, v_hat: FloatTensor<B>) -> FloatTensor<B> {
    let step = B::float_sub(v_hat, B::float_detach(v.clone()));
    B::float_add(v, B::float_detach(step))
}

/// See [`TernaryBackend::quantize_weights`](crate::TernaryBackend::quantize_weights).
pub fn quantize_weights<B: Backend>(
    w: FloatTensor<B>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> (IntTensor<B>, FloatTensor<B>) {
    let (codes, scales) = weight_codes::<B>(w, quantizer, granularity);
    let stored = B::float_add_scalar(codes, Scalar::from(1f32));
    let groups = scales.shape()[0];
    (
        pack::<B>(stored, 2, 1.0),
        B::float_reshape(scales, Shape::new([groups])),
    )
}

/// See [`TernaryBackend::pack_weights`](crate::TernaryBackend::pack_weights).
pub fn pack_weights<B: Backend>(w: FloatTensor<B>, scales: FloatTensor<B>) -> IntTensor<B> {
    let groups = scales.shape()[0];
    let codes = rounded::<B>(w, B::float_reshape(scales, Shape::new([groups, 1])));
    pack::<B>(B::float_add_scalar(codes, Scalar::from(1f32)), 2, 1.0)
}

/// See [`TernaryBackend::quantize_activations`](crate::TernaryBackend::quantize_activations).
pub fn quantize_activations<B: Backend>(x: FloatTensor<B>) -> (IntTensor<B>, FloatTensor<B>) {
    pack_activations::<B>(activation_codes::<B>(x))
}

/// See [`TernaryBackend::quantize_activations_int4`](crate::TernaryBackend::quantize_activations_int4).
pub fn quantize_activations_int4<B: Backend>(x: FloatTensor<B>) -> (IntTensor<B>, FloatTensor<B>) {
    pack_activations::<B>(activation_codes_int4::<B>(x))
}

fn pack_activations<B: Backend>(
    (codes, scales): (FloatTensor<B>, FloatTensor<B>),
) -> (IntTensor<B>, FloatTensor<B>) {
    let rows = scales.shape()[0];
    // Two's complement in 8 bits: a negative code is stored as code + 256.
    let negative = B::float_lower_elem(codes.clone(), Scalar::from(0f32), bool_type::<B>(&codes));
    let wrapped = B::float_add_scalar(codes.clone(), Scalar::from(256f32));
    let stored = B::float_mask_where(codes, negative, wrapped);
    (
        pack::<B>(stored, 8, 0.0),
        B::float_reshape(scales, Shape::new([rows])),
    )
}

/// See [`TernaryBackend::ternary_product`](crate::TernaryBackend::ternary_product).
///
/// The product is taken in f32: exact while every partial sum stays below 2²⁴, which `K ≤ 131,072` guarantees.
pub fn ternary_product<B: Backend>(
    x_codes: IntTensor<B>,
    x_scales: FloatTensor<B>,
    w_codes: IntTensor<B>,
    w_scales: FloatTensor<B>,
    in_features: usize,
) -> FloatTensor<B> {
    let xq = unpack_activations::<B>(x_codes, in_features);
    let wq = unpack_weights::<B>(w_codes, in_features);
    let sums = B::float_matmul(xq, B::float_transpose(wq));
    let (m, n) = (x_scales.shape()[0], w_scales.shape()[0]);
    let per_weight = B::float_div(sums, B::float_reshape(w_scales, Shape::new([1, n])));
    B::float_div(per_weight, B::float_reshape(x_scales, Shape::new([m, 1])))
}

/// See [`TernaryBackend::dequantize_weights`](crate::TernaryBackend::dequantize_weights).
pub fn dequantize_weights<B: Backend>(
    codes: IntTensor<B>,
    scales: FloatTensor<B>,
    in_features: usize,
) -> FloatTensor<B> {
    let groups = scales.shape()[0];
    B::float_div(
        unpack_weights::<B>(codes, in_features),
        B::float_reshape(scales, Shape::new([groups, 1])),
    )
}

/// See [`TernaryBackend::dequantize_activations`](crate::TernaryBackend::dequantize_activations).
pub fn dequantize_activations<B: Backend>(
    codes: IntTensor<B>,
    scales: FloatTensor<B>,
    in_features: usize,
) -> FloatTensor<B> {
    let rows = scales.shape()[0];
    B::float_div(
        unpack_activations::<B>(codes, in_features),
        B::float_reshape(scales, Shape::new([rows, 1])),
    )
}

fn unpack_weights<B: Backend>(words: IntTensor<B>, in_features: usize) -> FloatTensor<B> {
    B::float_sub_scalar(unpack::<B>(words, 2, in_features), Scalar::from(1f32))
}

fn unpack_activations<B: Backend>(words: IntTensor<B>, in_features: usize) -> FloatTensor<B> {
    let stored = unpack::<B>(words, 8, in_features);
    let negative = B::float_greater_elem(
        stored.clone(),
        Scalar::from(127f32),
        bool_type::<B>(&stored),
    );
    let wrapped = B::float_sub_scalar(stored.clone(), Scalar::from(256f32));
    B::float_mask_where(stored, negative, wrapped)
}

/// The booleans of the tensor's device: WGPU has no native ones.
fn bool_type<B: Backend>(tensor: &FloatTensor<B>) -> BoolDType {
    get_device_settings::<B>(&tensor.device()).bool_dtype
}

/// Non-negative integral floats below `2^bits`, `[R, K]` → words `[R, ⌈K·bits/32⌉]`; missing elements are `padding`.
fn pack<B: Backend>(stored: FloatTensor<B>, bits: u32, padding: f32) -> IntTensor<B> {
    let per_word = 32 / bits as usize;
    let (rows, cols) = (stored.shape()[0], last(&stored.shape()));
    let words = cols.div_ceil(per_word);
    let missing = words * per_word - cols;
    let device = stored.device();
    let stored = if missing == 0 {
        stored
    } else {
        let fill = B::float_full(
            Shape::new([rows, missing]),
            Scalar::from(padding),
            &device,
            FloatDType::F32,
        );
        B::float_cat(vec![stored, fill], 1)
    };
    let codes = B::float_reshape(stored, Shape::new([rows, words, per_word]));
    let codes = B::float_into_int(codes, IntDType::U32);
    let shifted = |i: usize| {
        let column = B::int_slice(
            codes.clone(),
            &[
                Slice::from(0..rows),
                Slice::from(0..words),
                Slice::from(i..i + 1),
            ],
        );
        let column = B::int_reshape(column, Shape::new([rows, words]));
        B::bitwise_left_shift_scalar(column, Scalar::from(bits * i as u32))
    };
    (1..per_word).fold(shifted(0), |word, i| B::bitwise_or(word, shifted(i)))
}

/// The inverse of [`pack`], `[R, cols]`.
fn unpack<B: Backend>(words: IntTensor<B>, bits: u32, cols: usize) -> FloatTensor<B> {
    let per_word = 32 / bits as usize;
    let (rows, count) = (words.shape()[0], words.shape()[1]);
    let element = |i: usize| {
        let shifted = B::bitwise_right_shift_scalar(words.clone(), Scalar::from(bits * i as u32));
        let code = B::bitwise_and_scalar(shifted, Scalar::from((1u32 << bits) - 1));
        B::int_reshape(code, Shape::new([rows, count, 1]))
    };
    let codes = B::int_cat((0..per_word).map(element).collect(), 2);
    let codes = B::int_reshape(codes, Shape::new([rows, count * per_word]));
    let codes = B::int_slice(codes, &[Slice::from(0..rows), Slice::from(0..cols)]);
    B::int_into_float(codes, FloatDType::F32)
}
