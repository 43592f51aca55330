//! The float operations on slices of host memory, each in one pass.

use bitnet_kernels::float::{self, AdamWStep, Gate, Heads, Matrix};
use burn::backend::{
    TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::Shape;

use super::{Slices, as_f32, with_all};
use crate::float::FloatBackend;

impl<B: Slices> FloatBackend for B {
    fn matmul(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        transpose_a: bool,
        transpose_b: bool,
    ) -> FloatTensor<Self> {
        let (a_shape, b_shape) = (a.shape(), b.shape());
        with_all::<B, 2, _>([a, b], |[a, b]| {
            let a = view(a, &a_shape, transpose_a);
            let b = view(b, &b_shape, transpose_b);
            B::own_f32(float::matmul(a, b), Shape::new([a.rows(), b.cols()]))
        })
    }

    fn causal_attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (shape, heads) = (q.shape(), heads(&q.shape(), &k.shape()));
        let (y, log_sums) = with_all::<B, 5, _>([q, k, v, cos, sin], |[q, k, v, cos, sin]| {
            float::attention(heads, q, k, v, cos, sin)
        });
        let queries = Shape::new([heads.batch, heads.time, heads.heads]);
        (B::own_f32(y, shape), B::own_f32(log_sums, queries))
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
        let (q_shape, k_shape) = (q.shape(), k.shape());
        let heads = heads(&q_shape, &k_shape);
        let (grad_q, grad_k, grad_v) = with_all::<B, 7, _>(
            [grad, q, k, v, cos, sin, log_sums],
            |[grad, q, k, v, cos, sin, log_sums]| {
                float::attention_backward(heads, grad, (q, k, v), cos, sin, log_sums)
            },
        );
        (
            B::own_f32(grad_q, q_shape),
            B::own_f32(grad_k, k_shape.clone()),
            B::own_f32(grad_v, k_shape),
        )
    }

    fn cross_entropy_forward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let rows = logits.shape()[0];
        let (mut losses, mut log_normalizers) = (vec![0f32; rows], vec![0f32; rows]);
        B::with_indices(targets, |targets| {
            with_all::<B, 1, _>([logits], |[logits]| {
                float::cross_entropy(logits, targets, &mut losses, &mut log_normalizers);
            });
        });
        (
            B::own_f32(losses, Shape::new([rows])),
            B::own_f32(log_normalizers, Shape::new([rows])),
        )
    }

    fn cross_entropy_backward(
        grad: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        log_normalizers: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let shape = logits.shape();
        let mut grad_logits = vec![0f32; shape.num_elements()];
        B::with_indices(targets, |targets| {
            with_all::<B, 3, _>([grad, logits, log_normalizers], |[grad, logits, norms]| {
                float::cross_entropy_backward(grad, logits, targets, norms, &mut grad_logits);
            });
        });
        B::own_f32(grad_logits, shape)
    }

    fn divergence_forward(
        x: FloatTensor<Self>,
        taught: FloatTensor<Self>,
        temperature: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let rows = x.shape()[0];
        let (mut distances, mut norms) = (vec![0f32; rows], vec![[0f32; 2]; rows]);
        with_all::<B, 2, _>([x, taught], |[x, taught]| {
            float::divergence(x, taught, temperature, &mut distances, &mut norms);
        });
        (
            B::own_f32(distances, Shape::new([rows])),
            B::own_f32(norms.into_flattened(), Shape::new([rows, 2])),
        )
    }

    fn divergence_backward(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        taught: FloatTensor<Self>,
        log_normalizers: FloatTensor<Self>,
        temperature: f32,
    ) -> FloatTensor<Self> {
        let shape = x.shape();
        let mut grad_x = vec![0f32; shape.num_elements()];
        let tensors = [grad, x, taught, log_normalizers];
        with_all::<B, 4, _>(tensors, |[grad, x, taught, norms]| {
            let (norms, _) = norms.as_chunks::<2>();
            float::divergence_backward(grad, (x, taught), temperature, norms, &mut grad_x);
        });
        B::own_f32(grad_x, shape)
    }

    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let sum = with_all::<B, 1, _>([x], |[x]| float::sum_of_squares(x));
        B::own_f32(vec![sum], Shape::new([1]))
    }

    fn rms_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let shape = x.shape();
        let mut statistics = shape.clone();
        let rank = shape.num_dims();
        statistics[rank - 1] = 1;
        let (y, r) =
            with_all::<B, 2, _>([x, gamma], |[x, gamma]| float::rms_norm(x, gamma, epsilon));
        (B::own_f32(y, shape), B::own_f32(r, statistics))
    }

    fn rms_norm_backward(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        r: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (shape, gamma_shape) = (x.shape(), gamma.shape());
        let (grad_x, grad_gamma) =
            with_all::<B, 4, _>([grad, x, gamma, r], |[grad, x, gamma, r]| {
                float::rms_norm_backward(grad, x, gamma, r)
            });
        (
            B::own_f32(grad_x, shape),
            B::own_f32(grad_gamma, gamma_shape),
        )
    }

    fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Gate) -> FloatTensor<Self> {
        let shape = gate.shape();
        let y = with_all::<B, 2, _>([gate, up], |[gate, up]| float::gated(act, gate, up));
        B::own_f32(y, shape)
    }

    fn gated_backward(
        grad: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        act: Gate,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let shape = gate.shape();
        let (grad_gate, grad_up) = with_all::<B, 3, _>([grad, gate, up], |[grad, gate, up]| {
            float::gated_backward(act, grad, gate, up)
        });
        (
            B::own_f32(grad_gate, shape.clone()),
            B::own_f32(grad_up, shape),
        )
    }

    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let shape = x.shape();
        let mut y = vec![0f32; shape.num_elements()];
        if y.is_empty() {
            return x;
        }
        with_all::<B, 3, _>([x, cos, sin], |[x, cos, sin]| {
            float::rotary(x, shape[1], shape[2], cos, sin, inverse, &mut y);
        });
        B::own_f32(y, shape)
    }

    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (mut param, mut m, mut v) = (
            B::exclusive(as_f32::<B>(param)),
            B::exclusive(as_f32::<B>(moment_1)),
            B::exclusive(as_f32::<B>(moment_2)),
        );
        with_all::<B, 2, _>([grad, factor], |[grad, factor]| {
            float::adamw(
                step,
                B::as_mut_f32(&mut param),
                grad,
                factor[0],
                B::as_mut_f32(&mut m),
                B::as_mut_f32(&mut v),
            );
        });
        (param, m, v)
    }
}

fn view<'a>(x: &'a [f32], shape: &Shape, transpose: bool) -> Matrix<'a> {
    let x = Matrix::new(x, shape[0], shape[1]);
    if transpose { x.t() } else { x }
}

fn heads(q: &Shape, k: &Shape) -> Heads {
    Heads {
        batch: q[0],
        time: q[1],
        heads: q[2],
        kv_heads: k[2],
        width: q[3],
    }
}
