//! Shapes and types of backend tensors: a layer sees `[..., K]`, its operations rows of `K`.

use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{FloatDType, Shape};

/// `x` in another float type, or as it is.
pub(crate) fn in_dtype<B: Backend>(x: FloatTensor<B>, dtype: FloatDType) -> FloatTensor<B> {
    if x.dtype() == dtype.into() {
        x
    } else {
        B::float_cast(x, dtype)
    }
}

/// The last dimension: the features of a token.
pub(crate) fn last(shape: &Shape) -> usize {
    shape[shape.num_dims() - 1]
}

/// `[..., K]` → `[M, K]`.
pub(crate) fn as_rows<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    if shape.num_dims() == 2 {
        return x;
    }
    let cols = last(&shape);
    let rows = shape.iter().take(shape.num_dims() - 1).product();
    B::float_reshape(x, Shape::new([rows, cols]))
}

/// `[M, N]` → `[..., N]` with the leading dimensions of `shape`.
pub(crate) fn with_leading<B: Backend>(y: FloatTensor<B>, mut shape: Shape) -> FloatTensor<B> {
    if shape.num_dims() == 2 {
        return y;
    }
    let rank = shape.num_dims();
    shape[rank - 1] = y.shape()[1];
    B::float_reshape(y, shape)
}
