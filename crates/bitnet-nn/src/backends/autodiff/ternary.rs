//! The straight-through backward of the two composed operations.
//!
//! The forward pass keeps the int8 codes of the activations and the 2-bit codes of the weights, with their scales:
//! 1 byte and ¼ byte for an element, where keeping `x̂` and `ŵ` as floats would take 4 each. Quantisers and the product
//! alone are not differentiable.

use bitnet_kernels::{Granularity, WeightQuantizer};
use burn::backend::{
    Autodiff, AutodiffBackend, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, binary, unary},
    },
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, FloatDType, Shape};

use super::{output, untracked};
use crate::shape::{as_rows, last, with_leading};
use crate::ternary::TernaryBackend;

/// Codes and their scales.
type Codes<B> = (IntTensor<B>, FloatTensor<B>);

impl<B: TernaryBackend, C: CheckpointStrategy> TernaryBackend for Autodiff<B, C> {
    untracked! {
        fn quantize_weights(w: Float, quantizer: WeightQuantizer, granularity: Granularity) -> (Int, Float);
        fn pack_weights(w: Float, scales: Float) -> Int;
        fn quantize_activations(x: Float) -> (Int, Float);
        fn quantize_activations_int4(x: Float) -> (Int, Float);
        fn ternary_product(
            x_codes: Int, x_scales: Float, w_codes: Int, w_scales: Float, in_features: usize, dtype: FloatDType
        ) -> Float;
        fn dequantize_weights(codes: Int, scales: Float, in_features: usize) -> Float;
        fn dequantize_activations(codes: Int, scales: Float, in_features: usize) -> Float;
    }

    fn bitlinear_quantized(
        x: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> FloatTensor<Self> {
        let (codes, scales) = Self::quantize_weights(w.clone(), quantizer, granularity);
        Self::bitlinear_coded(x, x_codes, x_scales, w, codes, scales)
    }

    fn bitlinear_coded(
        x: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let (_, x_node) = x.into_parts();
        let (_, w_node) = w.into_parts();
        let wq = (w_codes, w_scales.into_primitive());
        let xq = (x_codes, x_scales.into_primitive());
        let y = product::<B>(&xq, &wq, &shape, dtype);
        output::<B, C, _, 2>(BitLinearBackward, [x_node, w_node], (xq, wq, shape), y)
    }

    fn packed_linear_quantized(
        x: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let (_, x_node) = x.into_parts();
        let xq = (x_codes, x_scales.into_primitive());
        let wq = (w_codes, w_scales.into_primitive());
        let y = product::<B>(&xq, &wq, &shape, dtype);
        output::<B, C, _, 1>(PackedLinearBackward, [x_node], (wq, shape), y)
    }
}

#[derive(Debug)]
struct BitLinearBackward;

impl<B: TernaryBackend> Backward<B, 2> for BitLinearBackward {
    type State = (Codes<B>, Codes<B>, Shape);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ((x_codes, x_scales), wq, shape) = ops.state;
        let features = last(&shape);
        binary::<B, _, _>(
            ops.parents,
            ops.node,
            grads,
            |grad| grad_input::<B>(grad, wq, shape),
            |grad| B::weight_gradient(as_rows::<B>(grad), x_codes, x_scales, features),
        );
    }
}

#[derive(Debug)]
struct PackedLinearBackward;

impl<B: TernaryBackend> Backward<B, 1> for PackedLinearBackward {
    type State = (Codes<B>, Shape);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (wq, shape) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            grad_input::<B>(grad, wq, shape)
        });
    }
}

fn product<B: TernaryBackend>(
    xq: &Codes<B>,
    wq: &Codes<B>,
    shape: &Shape,
    dtype: DType,
) -> FloatTensor<B> {
    let ((x_codes, x_scales), (w_codes, w_scales)) = (xq.clone(), wq.clone());
    let features = last(shape);
    let y = B::ternary_product(x_codes, x_scales, w_codes, w_scales, features, dtype.into());
    with_leading::<B>(y, shape.clone())
}

/// `∂x = ∂y · ŵ`, in the shape of `x`.
fn grad_input<B: TernaryBackend>(
    grad: FloatTensor<B>,
    (codes, scales): Codes<B>,
    shape: Shape,
) -> FloatTensor<B> {
    let grad_x = B::input_gradient(as_rows::<B>(grad), codes, scales, last(&shape));
    B::float_reshape(grad_x, shape)
}
