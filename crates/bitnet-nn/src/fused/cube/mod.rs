//! CubeCL runtimes: what their fusion does not make one kernel of. The kernels take f16 and f32; other float types are computed
//! in f32. What comes out is of the type of what goes in.

mod attention;
mod block;
mod table;

use burn::backend::{
    TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};
use burn_cubecl::CubeBackend;

use super::FusedBackend;
use crate::ops::in_dtype;

impl FusedBackend for CubeBackend {
    fn rows_product(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let dtype = x.dtype().into();
        in_dtype::<Self>(table::rows_product(x, w), dtype)
    }

    fn rows(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let dtype = table.dtype().into();
        in_dtype::<Self>(table::rows(table, ids), dtype)
    }

    fn rms_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let dtype = x.dtype().into();
        let (y, r) = block::rms_norm(x, gamma, epsilon);
        (in_dtype::<Self>(y, dtype), in_dtype::<Self>(r, dtype))
    }

    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        let dtype = x.dtype().into();
        in_dtype::<Self>(block::rotary(x, cos, sin, inverse), dtype)
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
