//! Autodiff: hand-written backward passes. Each keeps its inputs (shared, not copied) and RMSNorm one value per row.
#![cfg(feature = "autodiff")]

use bitnet_kernels::float::{AdamWStep, Gate};
use burn::backend::{
    Autodiff, AutodiffBackend, TensorMetadata,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind},
    },
    tensor::{FloatTensor, IntTensor},
};

use super::FusedBackend;
use crate::ops::as_rows;

impl<B: FusedBackend, C: CheckpointStrategy> FusedBackend for Autodiff<B, C> {
    fn float_linear(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let (x, x_node) = x.into_parts();
        let (w, w_node) = w.into_parts();
        let y = B::float_linear(x.clone(), w.clone());
        match LinearBackward
            .prepare::<C>([x_node, w_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((x, w), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
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
        match AttentionBackward
            .prepare::<C>([q_node, k_node, v_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(([q, k, v], tables, log_sums), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn causal_attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let [q, k, v, cos, sin] = [q, k, v, cos, sin].map(|x| x.into_primitive());
        let (y, log_sums) = B::causal_attention_forward(q, k, v, cos, sin);
        (Self::from_inner(y), Self::from_inner(log_sums))
    }

    fn causal_attention_backward(
        grad: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        log_sums: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [grad, q, k, v, cos, sin, log_sums] =
            [grad, q, k, v, cos, sin, log_sums].map(|x| x.into_primitive());
        let (dq, dk, dv) = B::causal_attention_backward(grad, q, k, v, cos, sin, log_sums);
        (
            Self::from_inner(dq),
            Self::from_inner(dk),
            Self::from_inner(dv),
        )
    }

    fn cross_entropy(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self> {
        let (logits, node) = logits.into_parts();
        let (losses, norms) = B::cross_entropy_forward(logits.clone(), targets.clone());
        match CrossEntropyBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish((logits, targets, norms), losses),
            OpsKind::UnTracked(prep) => prep.finish(losses),
        }
    }

    fn cross_entropy_forward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (losses, norms) = B::cross_entropy_forward(logits.into_primitive(), targets);
        (Self::from_inner(losses), Self::from_inner(norms))
    }

    fn cross_entropy_backward(
        grad: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        log_normalizers: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::from_inner(B::cross_entropy_backward(
            grad.into_primitive(),
            logits.into_primitive(),
            targets,
            log_normalizers.into_primitive(),
        ))
    }

    fn product(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        transpose_a: bool,
        transpose_b: bool,
    ) -> FloatTensor<Self> {
        let (a, b) = (a.into_primitive(), b.into_primitive());
        Self::from_inner(B::product(a, b, transpose_a, transpose_b))
    }

    fn rows_product(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::rows_product(x.into_primitive(), w.into_primitive()))
    }

    fn rows(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::rows(table.into_primitive(), ids))
    }

    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::from_inner(B::sum_of_squares(x.into_primitive()))
    }

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
        factor: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (param, m, v) = B::adamw(
            param.into_primitive(),
            grad.into_primitive(),
            factor.into_primitive(),
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
struct LinearBackward;

impl<B: FusedBackend> Backward<B, 2> for LinearBackward {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [x_node, w_node] = ops.parents;
        let grad = as_rows::<B>(grads.consume::<B>(&ops.node));
        let (x, w) = ops.state;
        let shape = x.shape();
        if let Some(node) = w_node {
            let grad_w = B::product(grad.clone(), as_rows::<B>(x), true, false);
            grads.register::<B>(node.id, grad_w);
        }
        if let Some(node) = x_node {
            let grad_x = B::product(grad, w, false, false);
            grads.register::<B>(node.id, B::float_reshape(grad_x, shape));
        }
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl<B: FusedBackend> Backward<B, 3> for AttentionBackward {
    type State = ([FloatTensor<B>; 3], [FloatTensor<B>; 2], FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<B>(&ops.node);
        let ([q, k, v], [cos, sin], log_sums) = ops.state;
        let (dq, dk, dv) = B::causal_attention_backward(grad, q, k, v, cos, sin, log_sums);
        for (node, grad) in ops.parents.into_iter().zip([dq, dk, dv]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct CrossEntropyBackward;

impl<B: FusedBackend> Backward<B, 1> for CrossEntropyBackward {
    type State = (FloatTensor<B>, IntTensor<B>, FloatTensor<B>);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let [node] = ops.parents;
        let grad = grads.consume::<B>(&ops.node);
        let (logits, targets, norms) = ops.state;
        if let Some(node) = node {
            let grad = B::cross_entropy_backward(grad, logits, targets, norms);
            grads.register::<B>(node.id, grad);
        }
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
