//! Every CubeCL runtime (wgpu, vulkan, metal, cuda): kernels for what Burn's fusion does not make one kernel of.
//!
//! Subgroups are not used, and f16 only for tensors that are given in it, so any adapter runs them. A NaN is whatever the
//! adapter makes of it.

mod float;
mod ternary;

use burn::backend::{TensorMetadata, ops::FloatTensorOps};
use burn::tensor::{DType, FloatDType, Shape};
use burn_cubecl::{
    CubeBackend, kernel::into_contiguous, ops::numeric::empty_device_contiguous_dtype,
    tensor::CubeTensor,
};
use cubecl::{calculate_cube_count_elemwise, prelude::*};

/// Runs `$body` with `$F` the type of a tensor that is [`readable`]: f16 or f32.
macro_rules! with_float {
    ($dtype:expr, $F:ident => $body:expr) => {
        match $dtype {
            burn::tensor::DType::F16 => {
                type $F = burn::tensor::f16;
                $body
            }
            burn::tensor::DType::F32 => {
                type $F = f32;
                $body
            }
            other => unreachable!("the kernels take f16 and f32, not {other:?}"),
        }
    };
}
pub(crate) use with_float;

/// Contiguous, in f16 if that is what it is in, else in f32.
pub(crate) fn readable(x: CubeTensor) -> CubeTensor {
    match x.dtype {
        DType::F16 => into_contiguous(x),
        _ => as_f32(x),
    }
}

pub(crate) fn as_f32(x: CubeTensor) -> CubeTensor {
    let x = if x.dtype == DType::F32 {
        x
    } else {
        CubeBackend::float_cast(x, FloatDType::F32)
    };
    into_contiguous(x)
}

pub(crate) fn empty(like: &CubeTensor, shape: [usize; 2], dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(
        like.client.clone(),
        like.device.clone(),
        Shape::new(shape),
        dtype,
    )
}

/// Runs a kernel with one thread for each element of `output`; nothing to do for an empty one.
pub(crate) fn launch(
    output: &CubeTensor,
    kernel: impl FnOnce(&cubecl::client::Client, CubeCount, CubeDim),
) {
    let elements = output.shape().num_elements();
    if elements == 0 {
        return;
    }
    let dim = CubeDim::new(&output.client, elements);
    let count = calculate_cube_count_elemwise(&output.client, elements, dim);
    kernel(&output.client, count, dim);
}

/// `count` cubes, in two dimensions where one would exceed the 65,535 that every adapter grants. The last may be beyond.
pub(crate) fn cubes(count: usize) -> CubeCount {
    const MOST: usize = 65_535;
    let y = count.div_ceil(MOST);
    CubeCount::Static(count.div_ceil(y) as u32, y as u32, 1)
}

/// The cube's place among [`cubes`].
#[cube]
pub(crate) fn position() -> usize {
    CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize
}
