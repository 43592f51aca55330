//! The operations of [`FloatBackend`] on Burn's public [`Tensor`].

use bitnet_kernels::float::{AdamWStep, Gate};
use burn::backend::Dispatch;
use burn::nn::RmsNorm;
use burn::tensor::{Int, Tensor};

use super::FloatBackend;

/// `y = x · wᵀ`: `x` `[..., K]`, `w` `[N, K]` → `[..., N]`.
///
/// # Panics
/// If the last dimensions differ.
pub fn linear<const D: usize>(x: Tensor<D>, w: Tensor<2>) -> Tensor<D> {
    let (features, [_, in_features]) = (x.dims()[D - 1], w.dims());
    assert_eq!(
        features, in_features,
        "linear: x has {features} features, w takes {in_features}"
    );
    Tensor::from_dispatch(<Dispatch as FloatBackend>::float_linear(
        x.into_dispatch(),
        w.into_dispatch(),
    ))
}

/// The rows of a table by their ids: `table` `[V, K]`, `ids` `[batch, time]` → `[batch, time, K]`. Not differentiable.
///
/// Unlike Burn's `Embedding` it takes a table larger than a GPU binds at once.
pub fn embedding(table: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    let ([batch, time], [_, width]) = (ids.dims(), table.dims());
    let rows: Tensor<2> = Tensor::from_dispatch(<Dispatch as FloatBackend>::gather_rows(
        table.into_dispatch(),
        ids.reshape([batch * time]).into_dispatch(),
    ));
    rows.reshape([batch, time, width])
}

/// Causal self-attention with RoPE: `q` `[batch, time, heads, width]`, `k` and `v`
/// `[batch, time, kv_heads, width]`, tables `[time, width]` → `[batch, time, heads, width]`.
///
/// # Panics
/// If the shapes disagree, the width is odd, or `kv_heads` does not divide `heads`.
pub fn causal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    cos: Tensor<2>,
    sin: Tensor<2>,
) -> Tensor<4> {
    let [batch, time, heads, width] = q.dims();
    let kv_heads = k.dims()[2];
    assert!(
        k.dims() == [batch, time, kv_heads, width]
            && v.dims() == k.dims()
            && cos.dims() == [time, width]
            && sin.dims() == [time, width]
            && width.is_multiple_of(2)
            && heads.is_multiple_of(kv_heads),
        "causal_attention: q {:?}, k {:?}, v {:?}, tables {:?} and {:?}",
        q.dims(),
        k.dims(),
        v.dims(),
        cos.dims(),
        sin.dims()
    );
    Tensor::from_dispatch(<Dispatch as FloatBackend>::causal_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
    ))
}

/// Attention of a few queries to the KV cache, in decoding. Queries stand at `offset` and after, and each attends to the
/// keys up to its own position; `q` and `keys` are rotated already. Not differentiable.
///
/// # Shapes
/// `q` `[batch, time, heads, width]`, `keys` and `values` `[batch, kv_heads, positions, width]` →
/// `[batch, time, heads, width]`.
///
/// # Panics
/// If the shapes disagree, `kv_heads` does not divide `heads`, or there are fewer positions than `offset + time`.
pub fn cached_attention(
    q: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
    offset: usize,
) -> Tensor<4> {
    let [batch, time, heads, width] = q.dims();
    let [_, kv_heads, positions, _] = keys.dims();
    assert!(
        keys.dims() == [batch, kv_heads, positions, width]
            && values.dims() == keys.dims()
            && heads.is_multiple_of(kv_heads)
            && offset + time <= positions,
        "cached_attention: q {:?} at {offset}, keys {:?}, values {:?}",
        q.dims(),
        keys.dims(),
        values.dims()
    );
    Tensor::from_dispatch(<Dispatch as FloatBackend>::cached_attention(
        q.into_dispatch(),
        keys.into_dispatch(),
        values.into_dispatch(),
        offset,
    ))
}

/// `−ln softmax(x)[target]` of each row, in nats: logits `[M, V]`, targets `[M]` → `[M]`.
///
/// # Panics
/// If the numbers of rows differ.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let ([rows, _], [targets_len]) = (logits.dims(), targets.dims());
    assert_eq!(rows, targets_len, "cross_entropy: logits and targets");
    Tensor::from_dispatch(<Dispatch as FloatBackend>::cross_entropy(
        logits.into_dispatch(),
        targets.into_dispatch(),
    ))
}

/// `T² · KL(softmax(z / T) ‖ softmax(x / T))` of each row, in nats: `x` and `taught` `z`, `[M, V]`, → `[M]`. Differentiable
/// in `x`.
///
/// # Panics
/// If the shapes differ.
pub fn divergence(x: Tensor<2>, taught: Tensor<2>, temperature: f32) -> Tensor<1> {
    assert_eq!(x.dims(), taught.dims(), "divergence: shapes");
    Tensor::from_dispatch(<Dispatch as FloatBackend>::divergence(
        x.into_dispatch(),
        taught.into_dispatch(),
        temperature,
    ))
}

/// `Σ x²` over all elements. Not differentiable.
pub fn sum_of_squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as FloatBackend>::sum_of_squares(
        x.into_dispatch(),
    ))
}

/// The forward pass of Burn's [`RmsNorm`] in one operation: `[..., K]` → `[..., K]`.
///
/// # Panics
/// If the last dimension of `x` is not the norm's.
pub fn rms_norm<const D: usize>(norm: &RmsNorm, x: Tensor<D>) -> Tensor<D> {
    let gamma = norm.gamma.val();
    let (features, [width]) = (x.dims()[D - 1], gamma.dims());
    assert_eq!(
        features, width,
        "rms_norm: x has {features} features, the norm {width}"
    );
    Tensor::from_dispatch(<Dispatch as FloatBackend>::rms_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        norm.epsilon as f32,
    ))
}

/// `act(gate) · up`, for two tensors of one shape.
///
/// # Panics
/// If the shapes differ.
pub fn gated<const D: usize>(gate: Tensor<D>, up: Tensor<D>, act: Gate) -> Tensor<D> {
    assert_eq!(gate.dims(), up.dims(), "gated: gate and up differ in shape");
    Tensor::from_dispatch(<Dispatch as FloatBackend>::gated(
        gate.into_dispatch(),
        up.into_dispatch(),
        act,
    ))
}

/// RoPE (rotate-half) of `x` `[batch, time, heads, width]` by the tables `[time, width]`.
///
/// # Panics
/// If the tables have another shape, or the width is odd.
pub fn rope(x: Tensor<4>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<4> {
    let [_, time, _, width] = x.dims();
    assert!(
        cos.dims() == [time, width] && sin.dims() == [time, width] && width.is_multiple_of(2),
        "rope: tables {:?} and {:?} for {time} positions of width {width}",
        cos.dims(),
        sin.dims()
    );
    Tensor::from_dispatch(<Dispatch as FloatBackend>::rope(
        x.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        false,
    ))
}

/// One AdamW step on the gradient times `factor` `[1]`; returns the parameter and both moments.
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    factor: Tensor<1>,
    moments: (Tensor<D>, Tensor<D>),
    step: AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (param, m, v) = <Dispatch as FloatBackend>::adamw(
        param.into_dispatch(),
        grad.into_dispatch(),
        factor.into_dispatch(),
        moments.0.into_dispatch(),
        moments.1.into_dispatch(),
        step,
    );
    (
        Tensor::from_dispatch(param),
        Tensor::from_dispatch(m),
        Tensor::from_dispatch(v),
    )
}
