//! CubeCL runtimes: what their fusion does not make one kernel of.

mod attention;
mod block;
mod table;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;

use super::FusedBackend;

impl FusedBackend for CubeBackend {
    fn rows_product(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        table::rows_product(x, w)
    }

    fn rows(table: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        table::rows(table, ids)
    }

    fn rms_norm_forward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        block::rms_norm(x, gamma, epsilon)
    }

    fn rotary(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        inverse: bool,
    ) -> FloatTensor<Self> {
        block::rotary(x, cos, sin, inverse)
    }

    fn cached_attention(
        q: FloatTensor<Self>,
        keys: FloatTensor<Self>,
        values: FloatTensor<Self>,
        offset: usize,
    ) -> FloatTensor<Self> {
        attention::cached_attention(q, keys, values, offset)
    }
}
