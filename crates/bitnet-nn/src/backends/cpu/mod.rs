//! What Flex and NdArray share: the kernels of [`bitnet_kernels`] on slices borrowed from their tensors.
//!
//! A backend says how to borrow and how to own ([`Slices`]); the operations are the same.

mod float;
mod ternary;

use burn::backend::{
    Backend,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{FloatDType, Shape};

use crate::shape::in_dtype;

/// A backend whose tensors are slices of host memory.
pub(crate) trait Slices: Backend {
    /// The same f32 tensor in row-major order: copied only where it is strided.
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The elements of a [`contiguous`](Self::contiguous) tensor.
    fn as_f32s(tensor: &FloatTensor<Self>) -> &[f32];
    /// Calls `f` with the elements of an f32 tensor in row-major order.
    fn with_f32<R>(tensor: FloatTensor<Self>, f: impl FnOnce(&[f32]) -> R) -> R {
        f(Self::as_f32s(&Self::contiguous(tensor)))
    }
    /// Calls `f` with the elements of an integer tensor as indices; a negative one becomes too large to be valid.
    fn with_indices<R>(tensor: IntTensor<Self>, f: impl FnOnce(&[usize]) -> R) -> R;
    /// Calls `f` with the elements of a u32 tensor in row-major order.
    fn with_u32<R>(tensor: IntTensor<Self>, f: impl FnOnce(&[u32]) -> R) -> R;
    /// An f32 tensor of these elements.
    fn own_f32(data: Vec<f32>, shape: Shape) -> FloatTensor<Self>;
    /// The same f32 tensor, alone in its memory and in row-major order: copied only where it is shared or strided.
    fn exclusive(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The elements of an [`exclusive`](Self::exclusive) tensor.
    fn as_mut_f32(tensor: &mut FloatTensor<Self>) -> &mut [f32];
    /// A u32 tensor of these elements.
    fn own_u32(data: Vec<u32>, shape: Shape) -> IntTensor<Self>;
}

/// The tensor in f32, the type that the kernels compute in.
fn as_f32<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    in_dtype::<B>(x, FloatDType::F32)
}

/// Calls `f` with the elements of several float tensors at once.
fn with_all<B: Slices, const N: usize, R>(
    tensors: [FloatTensor<B>; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> R {
    let tensors = tensors.map(|tensor| B::contiguous(as_f32::<B>(tensor)));
    f(tensors.each_ref().map(B::as_f32s))
}

/// An index of an integer tensor; a negative one becomes too large to be valid.
pub(super) fn index(value: i64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
