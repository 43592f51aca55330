//! Autodiff: the straight-through backward of the two composed operations.
//!
//! The forward pass keeps the int8 codes of the activations and the 2-bit codes of the weights, with their scales:
//! 1 byte and ¼ byte for an element, where keeping `x̂` and `ŵ` as floats would take 4 each. Quantisers and the product alone are not differentiable: their results leave the graph.

use bitnet_kernels::{Granularity, WeightQuantizer};
use burn::backend::{
    Autodiff, AutodiffBackend, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DType, FloatDType, Shape};

use crate::TernaryBackend;
use crate::ops::{as_rows, last, with_leading};

/// Codes and their scales.
type Codes<B> = (IntTensor<B>, FloatTensor<B>);

impl<B: TernaryBackend, C: CheckpointStrategy> TernaryBackend for Autodiff<B, C> {
    fn quantize_weights(
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (codes, scales) = B::quantize_weights(w.into_primitive(), quantizer, granularity);
        (codes, Self::from_inner(scales))
    }

    fn quantize_activations(x: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (codes, scales) = B::quantize_activations(x.into_primitive());
        (codes, Self::from_inner(scales))
    }

    fn quantize_activations_int4(x: FloatTensor<Self>) -> (IntTensor<Self>, FloatTensor<Self>) {
        let (codes, scales) = B::quantize_activations_int4(x.into_primitive());
        (codes, Self::from_inner(scales))
    }

    fn ternary_product(
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w_codes: IntTensor<Self>,
        w_scales: FloatTensor<Self>,
        in_features: usize,
        dtype: FloatDType,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::ternary_product(
            x_codes,
            x_scales.into_primitive(),
            w_codes,
            w_scales.into_primitive(),
            in_features,
            dtype,
        ))
    }

    fn dequantize_weights(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let scales = scales.into_primitive();
        Self::from_inner(B::dequantize_weights(codes, scales, in_features))
    }

    fn dequantize_activations(
        codes: IntTensor<Self>,
        scales: FloatTensor<Self>,
        in_features: usize,
    ) -> FloatTensor<Self> {
        let scales = scales.into_primitive();
        Self::from_inner(B::dequantize_activations(codes, scales, in_features))
    }

    fn bitlinear_quantized(
        x: FloatTensor<Self>,
        x_codes: IntTensor<Self>,
        x_scales: FloatTensor<Self>,
        w: FloatTensor<Self>,
        quantizer: WeightQuantizer,
        granularity: Granularity,
    ) -> FloatTensor<Self> {
        let (shape, dtype) = (x.shape(), x.dtype());
        let (_, x_node) = x.into_parts();
        let (w, w_node) = w.into_parts();
        let wq = B::quantize_weights(w, quantizer, granularity);
        let xq = (x_codes, x_scales.into_primitive());
        let y = product::<B>(&xq, &wq, &shape, dtype);
        match BitLinearBackward
            .prepare::<C>([x_node, w_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((xq, wq, shape), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
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
        match PackedLinearBackward
            .prepare::<C>([x_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((wq, shape), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

#[derive(Debug)]
struct BitLinearBackward;

impl<B: TernaryBackend> Backward<B, 2> for BitLinearBackward {
    type State = (Codes<B>, Codes<B>, Shape);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, w_node] = ops.parents;
        let grad = as_rows::<B>(grads.consume::<B>(&ops.node));
        let ((x_codes, x_scales), wq, shape) = ops.state;
        if let Some(node) = w_node {
            let grad_w = B::weight_gradient(grad.clone(), x_codes, x_scales, last(&shape));
            grads.register::<B>(node.id, grad_w);
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, grad_input::<B>(grad, wq, shape));
        }
    }
}

#[derive(Debug)]
struct PackedLinearBackward;

impl<B: TernaryBackend> Backward<B, 1> for PackedLinearBackward {
    type State = (Codes<B>, Shape);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node] = ops.parents;
        let grad = as_rows::<B>(grads.consume::<B>(&ops.node));
        let (wq, shape) = ops.state;
        if let Some(node) = x_node {
            grads.register::<B>(node.id, grad_input::<B>(grad, wq, shape));
        }
    }
}

fn product<B: TernaryBackend>(
    xq: &Codes<B>,
    wq: &Codes<B>,
    shape: &Shape,
    dtype: DType,
) -> FloatTensor<B> {
    let (x_codes, x_scales) = xq.clone();
    let (w_codes, w_scales) = wq.clone();
    let y = B::ternary_product(
        x_codes,
        x_scales,
        w_codes,
        w_scales,
        last(shape),
        dtype.into(),
    );
    with_leading::<B>(y, shape.clone())
}

/// `∂x = ∂y · ŵ`, in the shape of `x`.
fn grad_input<B: TernaryBackend>(
    grad: FloatTensor<B>,
    (codes, scales): Codes<B>,
    shape: Shape,
) -> FloatTensor<B> {
    let grad_x = B::input_gradient(grad, codes, scales, last(&shape));
    B::float_reshape(grad_x, shape)
}
