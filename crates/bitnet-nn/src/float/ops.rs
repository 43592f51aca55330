//! The backend extension: what each float operation computes, and whether autodiff knows its backward pass.

// The extension names NdArray, which Burn deprecates in favour of Flex.
#![allow(deprecated)]

use bitnet_kernels::float::{AdamWStep, Gate};
#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::{
    Backend, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
#[cfg(feature = "fusion")]
use burn::tensor::Shape;

use super::reference;

/// The float operations of a Transformer block, its loss and its optimiser, on a Burn backend.
///
/// The operations of the first part are differentiable on `Autodiff`; the rest are their parts and are not.
#[backend_extension(
    Flex: cfg(feature = "flex"),
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(feature = "cube"),
    Autodiff: cfg(feature = "autodiff"),
    Fusion: cfg(feature = "fusion"),
)]
pub trait FloatBackend: Backend {
    /// `y = x · wᵀ`: `x` `[..., K]`, `w` `[N, K]` → `[..., N]`. Differentiable.
    #[fusion(default)]
    fn float_linear(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        reference::linear::<Self>(x, w)
    }

    /// RoPE of `q` and `k`, which are passed *un*rotated, then causal self-attention. Differentiable in `q`, `k` and `v`.
    ///
    /// `q` `[batch, time, heads, width]`, `k` and `v` `[batch, time, kv_heads, width]`, `cos` and `sin`
    /// `[time, width]` → `[batch, time, heads, width]`.
    #[fusion(default)]
    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::causal_attention_forward(q, k, v, cos, sin).0
    }

    /// `y = x / √(mean(x²) + ε) · γ` over the last dimension: `x` `[..., K]`, `γ` `[K]`. Differentiable.
    #[fusion(default)]
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f32) -> FloatTensor<Self> {
        Self::rms_norm_forward(x, gamma, epsilon).0
    }

    /// `y = act(gate) · up`, element by element. Differentiable.
    #[fusion(default)]
    fn gated(gate: FloatTensor<Self>, up: FloatTensor<Self>, act: Gate) -> FloatTensor<Self> {
        reference::gated::<Self>(gate, up, act)
    }

    /// RoPE, rotate-half: `x` `[batch, time, heads, width]`, `cos` and `sin` `[time, width]`.
    /// `inverse` rotates back. Differentiable in `x`.
    #[fusion(meta = rope_spec)]
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        reference::rope::<Self>(x, cos, sin, inverse)
    }

    /// `−ln softmax(x)[target]` of each row: `x` `[M, V]`, targets `[M]` → `[M]`. Differentiable in `x`.
    #[fusion(default)]
    fn cross_entropy(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self> {
        Self::cross_entropy_forward(logits, targets).0
    }

    /// `T² · KL(softmax(z / T) ‖ softmax(x / T))` of each row: `x` and `taught` `z`, `[M, V]`, → `[M]`. Differentiable in
    /// `x`.
    #[fusion(default)]
    fn divergence(
        x: FloatTensor<Self>,
        taught: FloatTensor<Self>,
        temperature: f32,
    ) -> FloatTensor<Self> {
        Self::divergence_forward(x, taught, temperature).0
    }

    /// One AdamW step: parameter, gradient, a factor `[1]` for the gradient, and both moments in; parameter and
    /// moments out. Not differentiable.
    #[fusion(default)]
    fn adamw(
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        reference::adamw::<Self>(param, grad, factor, (moment_1, moment_2), step)
    }

    /// `Σ x²` over all elements → `[1]`. Not differentiable.
    #[fusion(default)]
    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_sum(Self::float_mul(x.clone(), x))
    }

    /// `a · b` of two matrices, each transposed first if asked. Not differentiable.
    #[fusion(default)]
    fn matmul(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        transpose_a: bool,
        transpose_b: bool,
    ) -> FloatTensor<Self> {
        reference::matmul::<Self>(a, b, transpose_a, transpose_b)
    }

    /// [`float_linear`](Self::float_linear) of rows: `x` `[M, K]`, `w` `[N, K]` → `[M, N]`. `w` may be larger than the
    /// device binds at once. Not differentiable.
    #[fusion(meta = linear_spec)]
    fn linear_forward(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::matmul(x, w, false, true)
    }

    /// The rows `ids` `[M]` of `table` `[V, K]` → `[M, K]`. The table may be larger than the device binds at once. Not
    /// differentiable.
    #[fusion(meta = gather_rows_spec)]
    fn gather_rows(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        Self::float_select(table, 0, ids)
    }

    /// Attention of a few queries, which stand at `offset` and after, each to the keys up to its own place.
    ///
    /// `q` `[batch, time, heads, width]`, `keys` and `values` `[batch, kv_heads, positions, width]` with positions for
    /// `offset + time` at least → `[batch, time, heads, width]`. Meant for decoding.
    #[fusion(meta = cached_attention_spec)]
    fn cached_attention(
        q: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        offset: usize,
    ) -> FloatTensor<Self> {
        reference::cached_attention::<Self>(q, keys, values, offset)
    }

    /// [`causal_attention`](Self::causal_attention) and `ln Σ eˢ` of every query, `[batch, time, heads]`.
    #[fusion(default)]
    fn causal_attention_forward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        reference::causal_attention::<Self>(q, k, v, cos, sin)
    }

    /// The gradients of `q`, `k` and `v`; the probabilities are computed again from `log_sums`.
    #[fusion(default)]
    #[allow(clippy::too_many_arguments)]
    fn causal_attention_backward(
        grad: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        log_sums: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        reference::causal_attention_backward::<Self>(grad, (q, k, v), (cos, sin), log_sums)
    }

    /// [`rms_norm`](Self::rms_norm) and the inverse root mean squares `[..., 1]`.
    #[fusion(meta = rms_norm_spec)]
    fn rms_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        reference::rms_norm::<Self>(x, gamma, epsilon)
    }

    /// `∂x = r·h − x·r³·mean(h·x)` with `h = ∂y·γ`, and `∂γ = Σ ∂y·x·r`.
    #[fusion(default)]
    fn rms_norm_backward(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        r: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        reference::rms_norm_backward::<Self>(grad, x, gamma, r)
    }

    /// `∂gate = ∂y · up · act'(gate)` and `∂up = ∂y · act(gate)`.
    #[fusion(default)]
    fn gated_backward(
        grad: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        act: Gate,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        reference::gated_backward::<Self>(grad, gate, up, act)
    }

    /// [`cross_entropy`](Self::cross_entropy) and `ln Σ eˣ` of each row, `[M]`.
    #[fusion(default)]
    fn cross_entropy_forward(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        reference::cross_entropy::<Self>(logits, targets)
    }

    /// `∂x = (softmax(x) − onehot(target)) · ∂loss`.
    #[fusion(default)]
    fn cross_entropy_backward(
        grad: FloatTensor<Self>,
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        log_normalizers: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        reference::cross_entropy_backward::<Self>(grad, logits, targets, log_normalizers)
    }

    /// [`divergence`](Self::divergence), and `ln Σ e^(x / T)` and `ln Σ e^(z / T)` of each row, `[M, 2]`.
    #[fusion(default)]
    fn divergence_forward(
        x: FloatTensor<Self>,
        taught: FloatTensor<Self>,
        temperature: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        reference::divergence::<Self>(x, taught, temperature)
    }

    /// `∂x = T · (softmax(x / T) − softmax(z / T)) · ∂loss`.
    #[fusion(default)]
    fn divergence_backward(
        grad: FloatTensor<Self>,
        x: FloatTensor<Self>,
        taught: FloatTensor<Self>,
        log_normalizers: FloatTensor<Self>,
        temperature: f32,
    ) -> FloatTensor<Self> {
        reference::divergence_backward::<Self>(grad, (x, taught), log_normalizers, temperature)
    }
}

#[cfg(feature = "fusion")]
fn linear_spec(x: &TensorSpec, w: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::new([x.shape[0], w.shape[0]]), x.dtype)
}

#[cfg(feature = "fusion")]
fn gather_rows_spec(table: &TensorSpec, ids: &TensorSpec) -> TensorSpec {
    TensorSpec::new(Shape::new([ids.shape[0], table.shape[1]]), table.dtype)
}

#[cfg(feature = "fusion")]
fn cached_attention_spec(
    q: &TensorSpec,
    _keys: &TensorSpec,
    _values: &TensorSpec,
    _offset: &usize,
) -> TensorSpec {
    TensorSpec::new(q.shape.clone(), q.dtype)
}

#[cfg(feature = "fusion")]
fn rope_spec(x: &TensorSpec, _cos: &TensorSpec, _sin: &TensorSpec, _inverse: &bool) -> TensorSpec {
    TensorSpec::new(x.shape.clone(), x.dtype)
}

#[cfg(feature = "fusion")]
fn rms_norm_spec(x: &TensorSpec, _gamma: &TensorSpec, _epsilon: &f32) -> (TensorSpec, TensorSpec) {
    let mut inverse = x.shape.clone();
    let rank = inverse.num_dims();
    inverse[rank - 1] = 1;
    (
        TensorSpec::new(x.shape.clone(), x.dtype),
        TensorSpec::new(inverse, x.dtype),
    )
}
