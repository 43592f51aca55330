//! The float operations on GPUs that Burn's fusion does not compile into one kernel. The kernels take f16 and f32; other
//! float types are computed in f32. Outputs have the type of the inputs.

mod attention;
mod linear;
mod rms_norm;
mod rope;

use burn::backend::{
    TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::Shape;
use burn_cubecl::{CubeBackend, ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};

use crate::float::FloatBackend;
use crate::shape::in_dtype;

impl FloatBackend for CubeBackend {
    fn linear_forward(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype().into();
        in_dtype::<Self>(linear::linear(x, w), dtype)
    }

    fn gather_rows(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let dtype = table.dtype().into();
        in_dtype::<Self>(linear::gather_rows(table, ids), dtype)
    }

    fn rms_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let dtype = x.dtype().into();
        let (y, r) = rms_norm::rms_norm(x, gamma, epsilon);
        (in_dtype::<Self>(y, dtype), in_dtype::<Self>(r, dtype))
    }

    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let dtype = x.dtype().into();
        in_dtype::<Self>(rope::rope(x, cos, sin, inverse), dtype)
    }

    fn cached_attention(
        q: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        offset: usize,
    ) -> FloatTensor<Self> {
        let dtype = q.dtype().into();
        in_dtype::<Self>(attention::cached_attention(q, keys, values, offset), dtype)
    }
}

/// Uninitialised, of the type and on the device of `x`.
fn like(x: &CubeTensor, shape: Shape) -> CubeTensor {
    empty_device_contiguous_dtype(x.client.clone(), x.device.clone(), shape, x.dtype)
}
