//! Every CubeCL runtime (wgpu, vulkan, metal, cuda): one thread for a word or an output element.
//!
//! The kernels read 2-bit weights and int8 activations as `u32` words, because WGSL has no smaller integers, and sum by
//! selection and addition in `i32`: exact for any `K` up to 2²⁴ (`|Σ| ≤ 128 · K`). They use neither subgroups nor f16,
//! so any adapter runs them. The scales come from Burn's reductions. A NaN is whatever the adapter makes of it.

mod product;

use bitnet_kernels::{Granularity, WeightQuantizer};
use burn::backend::{
    TensorMetadata,
    ops::FloatTensorOps,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, FloatDType, Shape};
use burn_cubecl::{
    CubeBackend, kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

use crate::{TernaryBackend, reference};

impl TernaryBackend for CubeBackend {
    fn quantize_weights(
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        let w = as_f32(w);
        let (rows, cols) = (w.shape()[0], w.shape()[1]);
        let scales = reference::weight_scales::<Self>(w.clone(), quantizer, granularity);
        let groups = scales.shape()[0];
        let scales = into_contiguous(Self::float_reshape(scales, Shape::new([groups])));
        let words = empty(&w, [rows, cols.div_ceil(16)], DType::U32);
        launch(&words, |client, count, dim| {
            // SAFETY: the kernel checks its position against `words` and every index it forms is below the lengths
            // of the contiguous `w` [rows, cols] and `scales` [groups].
            unsafe {
                pack_weights::launch_unchecked(
                    client,
                    count,
                    dim,
                    w.clone().into_tensor_arg(),
                    scales.clone().into_tensor_arg(),
                    words.clone().into_tensor_arg(),
                    cols,
                )
            }
        });
        (words, scales)
    }

    fn quantize_activations(x: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        let x = as_f32(x);
        let (rows, cols) = (x.shape()[0], x.shape()[1]);
        let scales = reference::activation_scales::<Self>(x.clone());
        let scales = into_contiguous(Self::float_reshape(scales, Shape::new([rows])));
        let words = empty(&x, [rows, cols.div_ceil(4)], DType::U32);
        launch(&words, |client, count, dim| {
            // SAFETY: as for `pack_weights`, with `x` [rows, cols] and `scales` [rows].
            unsafe {
                pack_activations::launch_unchecked(
                    client,
                    count,
                    dim,
                    x.clone().into_tensor_arg(),
                    scales.clone().into_tensor_arg(),
                    words.clone().into_tensor_arg(),
                    cols,
                )
            }
        });
        (words, scales)
    }

    fn ternary_product(
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
        _in_features: usize,
    ) -> FloatTensor<Self> {
        product::product(
            into_contiguous(x_codes),
            into_contiguous(x_scales),
            into_contiguous(w_codes),
            into_contiguous(w_scales),
        )
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

fn as_f32(x: CubeTensor) -> CubeTensor {
    let x = if x.dtype == DType::F32 {
        x
    } else {
        CubeBackend::float_cast(x, FloatDType::F32)
    };
    into_contiguous(x)
}

fn empty(like: &CubeTensor, shape: [usize; 2], dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        Shape::new(shape),
        dtype,
    )
}

/// Runs a kernel with one thread for each element of `output`; nothing to do for an empty one.
fn launch(output: &CubeTensor, kernel: impl FnOnce(&cubecl::client::Client, CubeCount, CubeDim)) {
    let elements = output.shape().num_elements();
    if elements == 0 {
        return;
    }
    let dim = CubeDim::new(&output.client, elements);
    let count = calculate_cube_count_elemwise(&output.client, elements, dim);
    kernel(&output.client, count, dim);
}

/// `words[n, j]` from the 16 weights `w[n, 16j..]`: `round(v)` clamped to ±1 is +1 above ½, −1 below −½, ties to 0.
#[cube(launch_unchecked)]
fn pack_weights(w: &Tensor<f32>, scales: &Tensor<f32>, words: &mut Tensor<u32>, cols: usize) {
    if ABSOLUTE_POS >= words.len() {
        terminate!();
    }
    let per_row = words.shape(1);
    let row = ABSOLUTE_POS / per_row;
    let first = (ABSOLUTE_POS % per_row) * 16;
    let scale = scales[select(scales.len() == 1, 0, row)];
    let mut word = 0u32;
    for i in 0..16usize {
        let mut code = 1u32;
        if first + i < cols {
            let v = w[row * cols + first + i] * scale;
            code += select(v > 0.5f32, 1u32, 0u32);
            code -= select(v < -0.5f32, 1u32, 0u32);
        }
        word |= code << (2 * i as u32);
    }
    words[ABSOLUTE_POS] = word;
}

/// `words[m, j]` from the 4 activations `x[m, 4j..]`.
#[cube(launch_unchecked)]
fn pack_activations(x: &Tensor<f32>, scales: &Tensor<f32>, words: &mut Tensor<u32>, cols: usize) {
    if ABSOLUTE_POS >= words.len() {
        terminate!();
    }
    let per_row = words.shape(1);
    let row = ABSOLUTE_POS / per_row;
    let first = (ABSOLUTE_POS % per_row) * 4;
    let scale = scales[row];
    let mut word = 0u32;
    for i in 0..4usize {
        if first + i < cols {
            let v = (x[row * cols + first + i] * scale).round();
            let code = i32::cast_from(v.clamp(-128.0f32, 127.0f32));
            word |= (u32::cast_from(code) & 0xff) << (8 * i as u32);
        }
    }
    words[ABSOLUTE_POS] = word;
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
