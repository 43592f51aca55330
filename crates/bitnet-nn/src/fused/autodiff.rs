//! Autodiff: hand-written backward passes. Each keeps its inputs (shared, not copied) and RMSNorm one value per row.
#![cfg(feature = "autodiff")]

use bitnet_kernels::float::{AdamWStep, Gate};
use burn::backend::{
    Autodiff, AutodiffBackend,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::FloatTensor,
};

use super::FusedBackend;

impl<B: FusedBackend, C: CheckpointStrategy> FusedBackend for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (gamma, gamma_node) = gamma.into_parts();
        let (y, r) = B::rms_norm_forward(x.clone(), gamma.clone(), epsilon);
        match RmsNormBackward
            .prepare::<C>([x_node, gamma_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, gamma, r), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn rms_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (y, r) = B::rms_norm_forward(x.into_primitive(), gamma.into_primitive(), epsilon);
        (Self::from_inner(y), Self::from_inner(r))
    }

    fn rms_norm_backward(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        r: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (grad_x, grad_gamma) = B::rms_norm_backward(
            grad.into_primitive(),
            x.into_primitive(),
            gamma.into_primitive(),
            r.into_primitive(),
        );
        (Self::from_inner(grad_x), Self::from_inner(grad_gamma))
    }

    fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Gate) -> FloatTensor<Self> {
        let (gate, gate_node) = gate.into_parts();
        let (up, up_node) = up.into_parts();
        let y = B::gated(gate.clone(), up.clone(), act);
        match GatedBackward
            .prepare::<C>([gate_node, up_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((gate, up, act), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn gated_backward(
        grad: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        act: Gate,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (grad_gate, grad_up) = B::gated_backward(
            grad.into_primitive(),
            gate.into_primitive(),
            up.into_primitive(),
            act,
        );
        (Self::from_inner(grad_gate), Self::from_inner(grad_up))
    }

    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (cos, sin) = (cos.into_primitive(), sin.into_primitive());
        let y = B::rotary(x, cos.clone(), sin.clone(), inverse);
        match RotaryBackward
            .prepare::<C>([x_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((cos, sin, inverse), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (param, m, v) = B::adamw(
            param.into_primitive(),
            grad.into_primitive(),
            moment_1.into_primitive(),
            moment_2.into_primitive(),
            step,
        );
        (
            Self::from_inner(param),
            Self::from_inner(m),
            Self::from_inner(v),
        )
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl<B: FusedBackend> Backward<B, 2> for RmsNormBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, gamma_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (x, gamma, r) = ops.state;
        let (grad_x, grad_gamma) = B::rms_norm_backward(grad, x, gamma, r);
        if let Some(node) = x_node {
            grads.register::<B>(node.id, grad_x);
        }
        if let Some(node) = gamma_node {
            grads.register::<B>(node.id, grad_gamma);
        }
    }
}

#[derive(Debug)]
struct GatedBackward;

impl<B: FusedBackend> Backward<B, 2> for GatedBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, Gate);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [gate_node, up_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (gate, up, act) = ops.state;
        let (grad_gate, grad_up) = B::gated_backward(grad, gate, up, act);
        if let Some(node) = gate_node {
            grads.register::<B>(node.id, grad_gate);
        }
        if let Some(node) = up_node {
            grads.register::<B>(node.id, grad_up);
        }
    }
}

#[derive(Debug)]
struct RotaryBackward;

impl<B: FusedBackend> Backward<B, 1> for RotaryBackward {
    type State = (FloatTensor<B>, FloatTensor<B>, bool);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (cos, sin, inverse) = ops.state;
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::rotary(grad, cos, sin, !inverse));
        }
    }
}
