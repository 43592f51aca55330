//! The backward passes of the float operations. Each keeps its inputs (shared, not copied), RMSNorm one value per row
//! and attention and cross-entropy one logarithm.

use bitnet_kernels::float::{AdamWStep, Gate};
use burn::backend::{
    Autodiff, AutodiffBackend, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, binary, unary},
    },
    tensor::{FloatTensor, IntTensor},
};

use super::{output, register_all, untracked};
use crate::float::FloatBackend;
use crate::shape::as_rows;

impl<B: FloatBackend, C: CheckpointStrategy> FloatBackend for Autodiff<B, C> {
    untracked! {
        fn causal_attention_forward(q: Float, k: Float, v: Float, cos: Float, sin: Float) -> (Float, Float);
        fn causal_attention_backward(
            grad: Float, q: Float, k: Float, v: Float, cos: Float, sin: Float, log_sums: Float
        ) -> (Float, Float, Float);
        fn cross_entropy_forward(logits: Float, targets: Int) -> (Float, Float);
        fn cross_entropy_backward(grad: Float, logits: Float, targets: Int, log_normalizers: Float) -> Float;
        fn divergence_forward(x: Float, taught: Float, temperature: f32) -> (Float, Float);
        fn divergence_backward(
            grad: Float, x: Float, taught: Float, log_normalizers: Float, temperature: f32
        ) -> Float;
        fn rms_norm_forward(x: Float, gamma: Float, epsilon: f32) -> (Float, Float);
        fn rms_norm_backward(grad: Float, x: Float, gamma: Float, r: Float) -> (Float, Float);
        fn gated_backward(grad: Float, gate: Float, up: Float, act: Gate) -> (Float, Float);
        fn matmul(a: Float, b: Float, transpose_a: bool, transpose_b: bool) -> Float;
        fn linear_forward(x: Float, w: Float) -> Float;
        fn gather_rows(table: Float, ids: Int) -> Float;
        fn cached_attention(q: Float, keys: Float, values: Float, offset: usize) -> Float;
        fn sum_of_squares(x: Float) -> Float;
        fn adamw(
            param: Float, grad: Float, factor: Float, moment_1: Float, moment_2: Float, step: AdamWStep
        ) -> (Float, Float, Float);
    }

    fn float_linear(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (w, w_node) = w.into_parts();
        let y = B::float_linear(x.clone(), w.clone());
        output::<B, C, _, 2>(LinearBackward, [x_node, w_node], (x, w), y)
    }

    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (q, q_node) = q.into_parts();
        let (k, k_node) = k.into_parts();
        let (v, v_node) = v.into_parts();
        let tables = [cos.into_primitive(), sin.into_primitive()];
        let [cos, sin] = tables.clone();
        let (y, log_sums) = B::causal_attention_forward(q.clone(), k.clone(), v.clone(), cos, sin);
        let state = ([q, k, v], tables, log_sums);
        output::<B, C, _, 3>(AttentionBackward, [q_node, k_node, v_node], state, y)
    }

    fn cross_entropy(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self> {
        let (logits, node) = logits.into_parts();
        let (losses, norms) = B::cross_entropy_forward(logits.clone(), targets.clone());
        output::<B, C, _, 1>(
            CrossEntropyBackward,
            [node],
            (logits, targets, norms),
            losses,
        )
    }

    fn divergence(
        x: FloatTensor<Self>,
        taught: FloatTensor<Self>,
        temperature: f32,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let taught = taught.into_primitive();
        let (distances, norms) = B::divergence_forward(x.clone(), taught.clone(), temperature);
        let state = (x, taught, norms, temperature);
        output::<B, C, _, 1>(DivergenceBackward, [node], state, distances)
    }

    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (gamma, gamma_node) = gamma.into_parts();
        let (y, r) = B::rms_norm_forward(x.clone(), gamma.clone(), epsilon);
        output::<B, C, _, 2>(RmsNormBackward, [x_node, gamma_node], (x, gamma, r), y)
    }

    fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Gate) -> FloatTensor<Self> {
        let (gate, gate_node) = gate.into_parts();
        let (up, up_node) = up.into_parts();
        let y = B::gated(gate.clone(), up.clone(), act);
        output::<B, C, _, 2>(GatedBackward, [gate_node, up_node], (gate, up, act), y)
    }

    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let (cos, sin) = (cos.into_primitive(), sin.into_primitive());
        let y = B::rope(x, cos.clone(), sin.clone(), inverse);
        output::<B, C, _, 1>(RopeBackward, [node], (cos, sin, inverse), y)
    }
}

#[derive(Debug)]
struct LinearBackward;

impl<B: FloatBackend> Backward<B, 2> for LinearBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, w) = ops.state;
        let shape = x.shape();
        binary::<B, _, _>(
            ops.parents,
            ops.node,
            grads,
            |grad| B::float_reshape(B::matmul(as_rows::<B>(grad), w, false, false), shape),
            |grad| B::matmul(as_rows::<B>(grad), as_rows::<B>(x), true, false),
        );
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl<B: FloatBackend> Backward<B, 3> for AttentionBackward {
    type State = ([FloatTensor<B>; 3], [FloatTensor<B>; 2], FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let ([q, k, v], [cos, sin], log_sums) = ops.state;
        let (dq, dk, dv) = B::causal_attention_backward(grad, q, k, v, cos, sin, log_sums);
        let inputs = ops.parents.map(|node| node.map(|node| node.id));
        register_all::<B, 3>(grads, inputs, [dq, dk, dv]);
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl<B: FloatBackend> Backward<B, 1> for CrossEntropyBackward {
    type State = (FloatTensor<B>, IntTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (logits, targets, norms) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::cross_entropy_backward(grad, logits, targets, norms)
        });
    }
}

#[derive(Debug)]
struct DivergenceBackward;

impl<B: FloatBackend> Backward<B, 1> for DivergenceBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (x, taught, norms, temperature) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::divergence_backward(grad, x, taught, norms, temperature)
        });
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl<B: FloatBackend> Backward<B, 2> for RmsNormBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, gamma, r) = ops.state;
        let (dx, dgamma) = B::rms_norm_backward(grad, x, gamma, r);
        let inputs = ops.parents.map(|node| node.map(|node| node.id));
        register_all::<B, 2>(grads, inputs, [dx, dgamma]);
    }
}

#[derive(Debug)]
struct GatedBackward;

impl<B: FloatBackend> Backward<B, 2> for GatedBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, Gate);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (gate, up, act) = ops.state;
        let (dgate, dup) = B::gated_backward(grad, gate, up, act);
        let inputs = ops.parents.map(|node| node.map(|node| node.id));
        register_all::<B, 2>(grads, inputs, [dgate, dup]);
    }
}

#[derive(Debug)]
struct RopeBackward;

impl<B: FloatBackend> Backward<B, 1> for RopeBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, bool);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (cos, sin, inverse) = ops.state;
        unary::<B, _>(ops.parents, ops.node, grads, |grad| {
            B::rope(grad, cos, sin, !inverse)
        });
    }
}
