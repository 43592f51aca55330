//! The operations composed from Burn's own, for any backend: what the kernels are tested against.

use bitnet_kernels::float::{AdamWStep, Gate};
use burn::backend::{
    TensorMetadata, get_device_settings,
    tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
};
use burn::tensor::{FloatDType, Scalar, Shape, Slice};

use super::FloatBackend;
use crate::shape::{as_rows, in_dtype, last, with_leading};

/// Queries, keys and values.
type Triple<B> = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>);

pub(super) fn linear<B: FloatBackend>(x: FloatTensor<B>, w: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let y = B::linear_forward(as_rows::<B>(x), w);
    with_leading::<B>(y, shape)
}

pub(super) fn matmul<B: FloatBackend>(
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    transpose_a: bool,
    transpose_b: bool,
) -> FloatTensor<B> {
    let transposed = |x, transpose| {
        if transpose { B::float_transpose(x) } else { x }
    };
    B::float_matmul(transposed(a, transpose_a), transposed(b, transpose_b))
}

/// `[b, t, h, d]` to `[b, h, t, d]` and back.
fn swap<B: FloatBackend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_swap_dims(x, 1, 2)
}

/// `1 / √d`.
fn attention_scale(q: &Shape) -> Scalar {
    Scalar::from(1.0 / (last(q) as f32).sqrt())
}

/// The causal mask: −∞ in place of scores `[b, h, t, s]` of future keys. Queries stand at `offset` and after, keys from
/// 0 on.
fn mask_future<B: FloatBackend>(scores: FloatTensor<B>, offset: usize) -> FloatTensor<B> {
    let (shape, device) = (scores.shape(), scores.device());
    let (time, len) = (shape[2], shape[3]);
    let settings = get_device_settings::<B>(&device);
    let positions = |from, to| B::int_arange(from as i64..to as i64, &device, settings.int_dtype);
    let queries = B::int_reshape(
        positions(offset, offset + time),
        Shape::new([1, 1, time, 1]),
    );
    let keys = B::int_reshape(positions(0, len), Shape::new([1, 1, 1, len]));
    let of_all = Shape::new([1, 1, time, len]);
    let future = B::int_lower(
        B::int_expand(queries, of_all.clone()),
        B::int_expand(keys, of_all),
        settings.bool_dtype,
    );
    let future = B::bool_expand(future, shape);
    B::float_mask_fill(scores, future, Scalar::from(f32::NEG_INFINITY))
}

/// Softmax over the last dimension, and `ln Σ eˢ` with a last dimension of 1.
fn softmax<B: FloatBackend>(scores: FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>) {
    let highest = B::float_max_dim(scores.clone(), 3);
    let exps = B::float_exp(B::float_sub(scores, highest.clone()));
    let sums = B::float_sum_dim(exps.clone(), 3);
    let p = B::float_div(exps, sums.clone());
    (p, B::float_add(highest, B::float_log(sums)))
}

pub(super) fn cached_attention<B: FloatBackend>(
    q: FloatTensor<B>,
    keys: FloatTensor<B>,
    values: FloatTensor<B>,
    offset: usize,
) -> FloatTensor<B> {
    let shape = q.shape();
    let (time, heads) = (shape[1], shape[2]);
    let visible = |x: FloatTensor<B>| {
        let mut range = vec![Slice::full(); 4];
        range[2] = Slice::from(0..offset + time);
        repeat_kv::<B>(B::float_slice(x, &range), heads)
    };
    let q = B::float_mul_scalar(swap::<B>(q), attention_scale(&shape));
    let scores = B::float_matmul(q, B::float_transpose(visible(keys)));
    let (p, _) = softmax::<B>(mask_future::<B>(scores, offset));
    swap::<B>(B::float_matmul(p, visible(values)))
}

/// Repeats each key/value head for the query heads that share it: `[b, g, t, d]` → `[b, h, t, d]`.
fn repeat_kv<B: FloatBackend>(x: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let shape = x.shape();
    let [b, g, t, d] = [shape[0], shape[1], shape[2], shape[3]];
    if g == heads {
        return x;
    }
    let x = B::float_reshape(x, Shape::new([b, g, 1, t, d]));
    let x = B::float_expand(x, Shape::new([b, g, heads / g, t, d]));
    B::float_reshape(x, Shape::new([b, heads, t, d]))
}

/// The sum over the query heads that share a key/value head: `[b, h, t, d]` → `[b, g, t, d]`.
fn sum_kv<B: FloatBackend>(x: FloatTensor<B>, kv_heads: usize) -> FloatTensor<B> {
    let shape = x.shape();
    let [b, h, t, d] = [shape[0], shape[1], shape[2], shape[3]];
    if h == kv_heads {
        return x;
    }
    let x = B::float_reshape(x, Shape::new([b, kv_heads, h / kv_heads, t, d]));
    let x = B::float_sum_dim(x, 2);
    B::float_reshape(x, Shape::new([b, kv_heads, t, d]))
}

/// Scaled scores `[b, h, t, t]`, −∞ in the future, with the rotated queries and repeated rotated keys they come from.
fn scores<B: FloatBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
) -> Triple<B> {
    let shape = q.shape();
    let (heads, scale) = (shape[2], attention_scale(&shape));
    let q = swap::<B>(B::rope(q, cos.clone(), sin.clone(), false));
    let k = repeat_kv::<B>(swap::<B>(B::rope(k, cos, sin, false)), heads);
    let q = B::float_mul_scalar(q, scale);
    let scores = B::float_matmul(q.clone(), B::float_transpose(k.clone()));
    (mask_future::<B>(scores, 0), q, k)
}

pub(super) fn causal_attention<B: FloatBackend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let shape = q.shape();
    let [batch, time, heads] = [shape[0], shape[1], shape[2]];
    let dtype = q.dtype().into();
    let (scores, _, _) = scores::<B>(q, k, cos, sin);
    // 16 bits would be too few for a sum of exponentials.
    let (p, log_sums) = softmax::<B>(in_dtype::<B>(scores, FloatDType::F32));
    let y = B::float_matmul(in_dtype::<B>(p, dtype), repeat_kv::<B>(swap::<B>(v), heads));
    let log_sums = B::float_reshape(swap::<B>(log_sums), Shape::new([batch, time, heads]));
    (swap::<B>(y), log_sums)
}

pub(super) fn causal_attention_backward<B: FloatBackend>(
    grad: FloatTensor<B>,
    (q, k, v): Triple<B>,
    (cos, sin): (FloatTensor<B>, FloatTensor<B>),
    log_sums: FloatTensor<B>,
) -> Triple<B> {
    let (shape, kv_heads) = (q.shape(), k.shape()[2]);
    let [batch, time, heads] = [shape[0], shape[1], shape[2]];
    let (scores, q, k) = scores::<B>(q, k, cos.clone(), sin.clone());
    let log_sums = B::float_reshape(log_sums, Shape::new([batch, time, heads, 1]));
    let p = B::float_exp(B::float_sub(scores, swap::<B>(log_sums)));
    let dy = swap::<B>(grad);
    let v = repeat_kv::<B>(swap::<B>(v), heads);
    let dv = B::float_matmul(B::float_transpose(p.clone()), dy.clone());
    let dp = B::float_matmul(dy, B::float_transpose(v));
    let pull = B::float_sum_dim(B::float_mul(p.clone(), dp.clone()), 3);
    let ds = B::float_mul(p, B::float_sub(dp, pull));
    let dq = B::float_mul_scalar(B::float_matmul(ds.clone(), k), attention_scale(&shape));
    // `q` holds the scale already.
    let dk = B::float_matmul(B::float_transpose(ds), q);
    (
        B::rope(swap::<B>(dq), cos.clone(), sin.clone(), true),
        B::rope(swap::<B>(sum_kv::<B>(dk, kv_heads)), cos, sin, true),
        swap::<B>(sum_kv::<B>(dv, kv_heads)),
    )
}

pub(super) fn cross_entropy<B: FloatBackend>(
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let rows = logits.shape()[0];
    let highest = B::float_max_dim(logits.clone(), 1);
    let exps = B::float_exp(B::float_sub(logits.clone(), highest.clone()));
    let log_normalizers = B::float_add(highest, B::float_log(B::float_sum_dim(exps, 1)));
    let targets = B::int_reshape(targets, Shape::new([rows, 1]));
    let losses = B::float_sub(log_normalizers.clone(), B::float_gather(1, logits, targets));
    let flat = |x| B::float_reshape(x, Shape::new([rows]));
    (flat(losses), flat(log_normalizers))
}

pub(super) fn cross_entropy_backward<B: FloatBackend>(
    grad: FloatTensor<B>,
    logits: FloatTensor<B>,
    targets: IntTensor<B>,
    log_normalizers: FloatTensor<B>,
) -> FloatTensor<B> {
    let rows = logits.shape()[0];
    let column = |x| B::float_reshape(x, Shape::new([rows, 1]));
    let p = B::float_exp(B::float_sub(logits, column(log_normalizers)));
    let grad = column(grad);
    let targets = B::int_reshape(targets, Shape::new([rows, 1]));
    B::float_scatter(
        1,
        B::float_mul(p, grad.clone()),
        targets,
        B::float_neg(grad),
        IndexingUpdateOp::Add,
    )
}

pub(super) fn divergence<B: FloatBackend>(
    x: FloatTensor<B>,
    taught: FloatTensor<B>,
    temperature: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let rows = x.shape()[0];
    let softened = |x| {
        let x = B::float_div_scalar(x, temperature.into());
        let highest = B::float_max_dim(x.clone(), 1);
        let exps = B::float_exp(B::float_sub(x.clone(), highest.clone()));
        let norms = B::float_add(highest, B::float_log(B::float_sum_dim(exps, 1)));
        (B::float_sub(x, norms.clone()), norms)
    };
    let ((log_q, norms_x), (log_p, norms_z)) = (softened(x), softened(taught));
    let parts = B::float_mul(B::float_exp(log_p.clone()), B::float_sub(log_p, log_q));
    let distances = B::float_reshape(B::float_sum_dim(parts, 1), Shape::new([rows]));
    let square = temperature * temperature;
    (
        B::float_mul_scalar(distances, square.into()),
        B::float_cat(vec![norms_x, norms_z], 1),
    )
}

pub(super) fn divergence_backward<B: FloatBackend>(
    grad: FloatTensor<B>,
    (x, taught): (FloatTensor<B>, FloatTensor<B>),
    log_normalizers: FloatTensor<B>,
    temperature: f32,
) -> FloatTensor<B> {
    let rows = x.shape()[0];
    let probabilities = |x, column: usize| {
        let all = Slice::from(..);
        let one = Slice::from(column..column + 1);
        let norms = B::float_slice(log_normalizers.clone(), &[all, one]);
        let x = B::float_div_scalar(x, temperature.into());
        B::float_exp(B::float_sub(x, norms))
    };
    let difference = B::float_sub(probabilities(x, 0), probabilities(taught, 1));
    let grad = B::float_reshape(grad, Shape::new([rows, 1]));
    B::float_mul(difference, B::float_mul_scalar(grad, temperature.into()))
}

pub(super) fn rms_norm<B: FloatBackend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    epsilon: f32,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let dim = x.rank() - 1;
    let mean = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), dim);
    let r = B::float_recip(B::float_sqrt(B::float_add_scalar(
        mean,
        Scalar::from(epsilon),
    )));
    let gamma = broadcast::<B>(gamma, x.rank());
    let y = B::float_mul(B::float_mul(x, r.clone()), gamma);
    (y, r)
}

pub(super) fn rms_norm_backward<B: FloatBackend>(
    grad: FloatTensor<B>,
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    r: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (rank, features) = (x.rank(), last(&x.shape()));
    let h = B::float_mul(grad.clone(), broadcast::<B>(gamma, rank));
    let pull = B::float_mean_dim(B::float_mul(h.clone(), x.clone()), rank - 1);
    let cube = B::float_mul(B::float_mul(r.clone(), r.clone()), r.clone());
    let normed = B::float_mul(x.clone(), r.clone());
    let grad_x = B::float_sub(
        B::float_mul(h, r),
        B::float_mul(x, B::float_mul(pull, cube)),
    );
    let products = B::float_mul(grad, normed);
    let rows = products.shape().num_elements() / features.max(1);
    let products = B::float_reshape(products, Shape::new([rows, features]));
    let sum = B::float_sum_dim(products, 0);
    (grad_x, B::float_reshape(sum, Shape::new([features])))
}

pub(super) fn gated<B: FloatBackend>(
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    act: Gate,
) -> FloatTensor<B> {
    B::float_mul(activated::<B>(gate, act), up)
}

pub(super) fn gated_backward<B: FloatBackend>(
    grad: FloatTensor<B>,
    gate: FloatTensor<B>,
    up: FloatTensor<B>,
    act: Gate,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let grad_up = B::float_mul(grad.clone(), activated::<B>(gate.clone(), act));
    let slope = match act {
        // s · (1 + g · (1 − s))
        Gate::Silu => {
            let s = B::sigmoid(gate.clone());
            let rest = B::float_add_scalar(B::float_neg(s.clone()), Scalar::from(1f32));
            let bend = B::float_add_scalar(B::float_mul(gate, rest), Scalar::from(1f32));
            B::float_mul(s, bend)
        }
        Gate::Relu2 => B::float_mul_scalar(B::relu(gate), Scalar::from(2f32)),
    };
    let grad_gate = B::float_mul(B::float_mul(grad, up), slope);
    (grad_gate, grad_up)
}

pub(super) fn rope<B: FloatBackend>(
    x: FloatTensor<B>,
    cos: FloatTensor<B>,
    sin: FloatTensor<B>,
    inverse: bool,
) -> FloatTensor<B> {
    let shape = x.shape();
    let (time, width) = (shape[1], shape[3]);
    let table = |t| B::float_reshape(t, Shape::new([1, time, 1, width]));
    let part = |range: core::ops::Range<usize>| {
        let all = |i: usize| Slice::from(0..shape[i]);
        B::float_slice(x.clone(), &[all(0), all(1), all(2), Slice::from(range)])
    };
    let (first, second) = (part(0..width / 2), part(width / 2..width));
    let rotated = if inverse {
        B::float_cat(vec![second, B::float_neg(first)], 3)
    } else {
        B::float_cat(vec![B::float_neg(second), first], 3)
    };
    B::float_add(
        B::float_mul(x, table(cos)),
        B::float_mul(rotated, table(sin)),
    )
}

pub(super) fn adamw<B: FloatBackend>(
    param: FloatTensor<B>,
    grad: FloatTensor<B>,
    factor: FloatTensor<B>,
    (moment_1, moment_2): (FloatTensor<B>, FloatTensor<B>),
    step: AdamWStep,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let ones = vec![1; grad.rank()];
    let factor = B::float_reshape(factor, Shape::from(ones));
    let grad = B::float_mul(grad, factor);
    let blend = |old, new, beta: f32| {
        B::float_add(
            B::float_mul_scalar(old, Scalar::from(beta)),
            B::float_mul_scalar(new, Scalar::from(1.0 - beta)),
        )
    };
    let m = blend(moment_1, grad.clone(), step.beta1);
    let v = blend(moment_2, B::float_mul(grad.clone(), grad), step.beta2);
    let rate = step.learning_rate / (1.0 - step.beta1.powi(step.time));
    let correct = 1.0 / (1.0 - step.beta2.powi(step.time));
    let root = B::float_add_scalar(
        B::float_sqrt(B::float_mul_scalar(v.clone(), Scalar::from(correct))),
        Scalar::from(step.epsilon),
    );
    let update = B::float_mul_scalar(B::float_div(m.clone(), root), Scalar::from(rate));
    let keep = 1.0 - step.learning_rate * step.weight_decay;
    let kept = B::float_mul_scalar(param, Scalar::from(keep));
    (B::float_sub(kept, update), m, v)
}

fn activated<B: FloatBackend>(gate: FloatTensor<B>, act: Gate) -> FloatTensor<B> {
    match act {
        Gate::Silu => B::float_mul(gate.clone(), B::sigmoid(gate)),
        Gate::Relu2 => {
            let positive = B::relu(gate);
            B::float_mul(positive.clone(), positive)
        }
    }
}

/// `[K]` → `[1, ..., K]`.
fn broadcast<B: FloatBackend>(gamma: FloatTensor<B>, rank: usize) -> FloatTensor<B> {
    let mut shape = Shape::new([1]);
    let features = gamma.shape()[0];
    shape = (1..rank).fold(shape, |mut shape, _| {
        shape.push(1);
        shape
    });
    shape[rank - 1] = features;
    B::float_reshape(gamma, shape)
}
