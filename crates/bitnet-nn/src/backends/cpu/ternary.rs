//! The ternary operations on slices of host memory.

use bitnet_kernels::{self as kernels, Granularity, PackedView, WeightQuantizer};
use burn::backend::{
    TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{FloatDType, Shape};

use super::{Slices, as_f32};
use crate::TernaryBackend;
use crate::shape::in_dtype;

impl<B: Slices> TernaryBackend for B {
    fn quantize_weights(
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (rows, cols) = dims(&w.shape());
        let (words, scales) = B::with_f32(as_f32::<B>(w), |w| {
            kernels::quantize_weights(w, rows, cols, quantizer, granularity)
        });
        let groups = scales.len();
        (
            B::own_u32(words, Shape::new([rows, kernels::words_per_row(cols)])),
            B::own_f32(scales, Shape::new([groups])),
        )
    }

    fn pack_weights(w: FloatTensor<Self>, scales: FloatTensor<Self>) -> IntTensor<Self> {
        let (rows, cols) = dims(&w.shape());
        let stride = kernels::words_per_row(cols);
        let mut words = vec![0; rows * stride];
        B::with_f32(as_f32::<B>(w), |w| {
            B::with_f32(scales, |scales| {
                let granularity = granularity_of(scales);
                kernels::pack_weights(w, rows, cols, scales, granularity, &mut words);
            });
        });
        B::own_u32(words, Shape::new([rows, stride]))
    }

    fn quantize_activations(x: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (rows, cols) = dims(&x.shape());
        let stride = cols.div_ceil(4);
        let mut words = vec![0u32; rows * stride];
        let mut scales = vec![0f32; rows];
        B::with_f32(as_f32::<B>(x), |x| {
            let codes: &mut [i8] = bytemuck::cast_slice_mut(&mut words);
            if cols.is_multiple_of(4) {
                kernels::quantize_activations(x, cols, codes, &mut scales);
                return;
            }
            // Rows are padded to whole words: quantise them one by one.
            for ((x, codes), scale) in x
                .chunks_exact(cols)
                .zip(codes.chunks_exact_mut(4 * stride))
                .zip(&mut scales)
            {
                kernels::quantize_activations(
                    x,
                    cols,
                    &mut codes[..cols],
                    std::slice::from_mut(scale),
                );
            }
        });
        (
            B::own_u32(words, Shape::new([rows, stride])),
            B::own_f32(scales, Shape::new([rows])),
        )
    }

    fn ternary_product(
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
        in_features: usize,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        let (m, n) = (x_codes.shape()[0], w_codes.shape()[0]);
        let y = B::with_u32(w_codes, |words| {
            B::with_f32(w_scales, |scales| {
                let weights = view(words, scales, n, in_features);
                with_codes::<B, _>(x_codes, in_features, |codes| {
                    B::with_f32(x_scales, |x_scales| {
                        kernels::linear_quantized(codes, x_scales, weights)
                    })
                })
            })
        });
        in_dtype::<B>(B::own_f32(y, Shape::new([m, n])), dtype)
    }

    fn dequantize_weights(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let rows = codes.shape()[0];
        let mut w = vec![0f32; rows * in_features];
        B::with_u32(codes, |words| {
            B::with_f32(scales, |scales| {
                kernels::unpack_scaled_f32(view(words, scales, rows, in_features), &mut w);
            });
        });
        B::own_f32(w, Shape::new([rows, in_features]))
    }

    fn dequantize_activations(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let rows = codes.shape()[0];
        let mut x = vec![0f32; rows * in_features];
        with_codes::<B, _>(codes, in_features, |codes| {
            B::with_f32(scales, |scales| {
                kernels::codes_i8_to_f32_div(codes, in_features, scales, &mut x);
            });
        });
        B::own_f32(x, Shape::new([rows, in_features]))
    }

    fn input_gradient(
        grad: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let (m, n) = dims(&grad.shape());
        let grad_x = B::with_f32(as_f32::<B>(grad), |grad| {
            B::with_u32(w_codes, |words| {
                B::with_f32(w_scales, |scales| {
                    kernels::float::input_gradient(grad, view(words, scales, n, in_features))
                })
            })
        });
        B::own_f32(grad_x, Shape::new([m, in_features]))
    }

    fn weight_gradient(
        grad: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let (_, n) = dims(&grad.shape());
        let grad_w = B::with_f32(as_f32::<B>(grad), |grad| {
            with_codes::<B, _>(x_codes, in_features, |codes| {
                B::with_f32(x_scales, |scales| {
                    kernels::float::weight_gradient(grad, n, codes, scales, in_features)
                })
            })
        });
        B::own_f32(grad_w, Shape::new([n, in_features]))
    }
}

/// Calls `f` with the int8 codes, row-major and without the padding of their words.
fn with_codes<B: Slices, R>(words: IntTensor<B>, cols: usize, f: impl FnOnce(&[i8]) -> R) -> R {
    B::with_u32(words, |words| {
        let codes: &[i8] = bytemuck::cast_slice(words);
        if cols.is_multiple_of(4) {
            return f(codes);
        }
        let dense: Vec<i8> = codes
            .chunks_exact(4 * cols.div_ceil(4))
            .flat_map(|row| &row[..cols])
            .copied()
            .collect();
        f(&dense)
    })
}

/// The kernels' view of packed weights. Words and scales come from [`TernaryBackend::quantize_weights`] or from a
/// checked [`PackedBitLinear`](crate::PackedBitLinear), so a mismatch is a bug of this crate.
fn view<'a>(words: &'a [u32], scales: &'a [f32], rows: usize, cols: usize) -> PackedView<'a> {
    PackedView::new(words, scales, granularity_of(scales), rows, cols)
        .expect("words and scales fit the weight's shape")
}

/// One scale for all, or one for each row.
fn granularity_of(scales: &[f32]) -> Granularity {
    match scales.len() {
        1 => Granularity::Tensor,
        _ => Granularity::Row,
    }
}

fn dims(shape: &Shape) -> (usize, usize) {
    (shape[0], shape[1])
}
