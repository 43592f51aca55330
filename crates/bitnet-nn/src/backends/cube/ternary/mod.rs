//! The ternary operations on GPUs.
//!
//! The kernels read 2-bit weights and int8 activations as `u32` words, because WGSL has no smaller integers, and sum by
//! selection and addition: exact for any `K` up to 2²³ (`product`). The scales of absmax and absmean are taken from
//! integers (`quantize`).

mod product;
mod quantize;

use bitnet_kernels::{Granularity, WeightQuantizer};
use burn::backend::{
    TensorMetadata,
    ops::FloatTensorOps,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, FloatDType, Shape};
use burn_cubecl::{CubeBackend, kernel::into_contiguous};
use cubecl::prelude::*;

use super::{as_f32, empty, launch, readable};
use crate::shape::in_dtype;
use crate::ternary::{TernaryBackend, reference};

impl TernaryBackend for CubeBackend {
    fn quantize_weights(
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        let w = as_f32(w);
        if quantizer == WeightQuantizer::Sign {
            return reference::quantize_weights::<Self>(w, quantizer, granularity);
        }
        let scales = match quantizer {
            WeightQuantizer::AbsMean => quantize::absmean_scales(&w, granularity),
            WeightQuantizer::AbsMedian
            | WeightQuantizer::Rms
            | WeightQuantizer::Mse
            | WeightQuantizer::Sign => {
                let scales = reference::weight_scales::<Self>(w.clone(), quantizer, granularity);
                let groups = scales.shape()[0];
                into_contiguous(Self::float_reshape(scales, Shape::new([groups])))
            }
        };
        (quantize::pack(w, scales.clone()), scales)
    }

    fn pack_weights(w: FloatTensor<Self>, scales: FloatTensor<Self>) -> IntTensor<Self> {
        quantize::pack(as_f32(w), into_contiguous(scales))
    }

    fn quantize_activations(x: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        quantize::activations(readable(x))
    }

    fn ternary_product(
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
        _in_features: usize,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        let y = product::product(
            into_contiguous(x_codes),
            into_contiguous(x_scales),
            into_contiguous(w_codes),
            into_contiguous(w_scales),
            match dtype {
                FloatDType::F16 => DType::F16,
                _ => DType::F32,
            },
        );
        in_dtype::<Self>(y, dtype)
    }

    fn dequantize_weights(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let (codes, scales) = (into_contiguous(codes), into_contiguous(scales));
        let w = empty(&codes, [codes.shape()[0], in_features], DType::F32);
        launch(&w, |client, count, dim| {
            // SAFETY: the kernel checks its position against `w` [rows, cols]; `codes` has ⌈cols/16⌉ words a row.
            unsafe {
                unpack_weights::launch_unchecked(
                    client,
                    count,
                    dim,
                    codes.clone().into_tensor_arg(),
                    scales.clone().into_tensor_arg(),
                    w.clone().into_tensor_arg(),
                )
            }
        });
        w
    }

    fn dequantize_activations(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let (codes, scales) = (into_contiguous(codes), into_contiguous(scales));
        let x = empty(&codes, [codes.shape()[0], in_features], DType::F32);
        launch(&x, |client, count, dim| {
            // SAFETY: the kernel checks its position against `x` [rows, cols]; `codes` has ⌈cols/4⌉ words a row.
            unsafe {
                unpack_activations::launch_unchecked(
                    client,
                    count,
                    dim,
                    codes.clone().into_tensor_arg(),
                    scales.clone().into_tensor_arg(),
                    x.clone().into_tensor_arg(),
                )
            }
        });
        x
    }
}

/// `w[n, k] = code / s`.
#[cube(launch_unchecked)]
fn unpack_weights(codes: &Tensor<u32>, scales: &Tensor<f32>, w: &mut Tensor<f32>) {
    if ABSOLUTE_POS >= w.len() {
        terminate!();
    }
    let cols = w.shape(1);
    let row = ABSOLUTE_POS / cols;
    let k = ABSOLUTE_POS % cols;
    let word = codes[row * codes.shape(1) + k / 16];
    let code = i32::cast_from((word >> (2 * (k % 16) as u32)) & 3) - 1;
    let scale = scales[select(scales.len() == 1, 0, row)];
    w[ABSOLUTE_POS] = f32::cast_from(code) / scale;
}

/// `x[m, k] = code / s`.
#[cube(launch_unchecked)]
fn unpack_activations(codes: &Tensor<u32>, scales: &Tensor<f32>, x: &mut Tensor<f32>) {
    if ABSOLUTE_POS >= x.len() {
        terminate!();
    }
    let cols = x.shape(1);
    let row = ABSOLUTE_POS / cols;
    let k = ABSOLUTE_POS % cols;
    let word = codes[row * codes.shape(1) + k / 4];
    let code = i32::cast_from(word << (24 - 8 * (k % 4) as u32)) >> 24;
    x[ABSOLUTE_POS] = f32::cast_from(code) / scales[row];
}
