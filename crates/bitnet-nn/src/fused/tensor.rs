//! The operations of [`FusedBackend`] on Burn's public [`Tensor`].

use bitnet_kernels::float::{AdamWStep, Gate};
use burn::backend::Dispatch;
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use super::FusedBackend;

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
    Tensor::from_dispatch(<Dispatch as FusedBackend>::rms_norm(
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
    Tensor::from_dispatch(<Dispatch as FusedBackend>::gated(
        gate.into_dispatch(),
        up.into_dispatch(),
        act,
    ))
}

/// Rotary embedding (rotate-half) of `x` `[batch, time, heads, width]` by the tables `[time, width]`.
///
/// # Panics
/// If the tables have another shape, or the width is odd.
pub fn rotary(x: Tensor<4>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<4> {
    let [_, time, _, width] = x.dims();
    assert!(
        cos.dims() == [time, width] && sin.dims() == [time, width] && width.is_multiple_of(2),
        "rotary: tables {:?} and {:?} for {time} positions of width {width}",
        cos.dims(),
        sin.dims()
    );
    Tensor::from_dispatch(<Dispatch as FusedBackend>::rotary(
        x.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        false,
    ))
}

/// One AdamW step; returns the parameter and both moments.
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: (Tensor<D>, Tensor<D>),
    step: AdamWStep,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let (param, m, v) = <Dispatch as FusedBackend>::adamw(
        param.into_dispatch(),
        grad.into_dispatch(),
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
