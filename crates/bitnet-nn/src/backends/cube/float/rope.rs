//! RoPE in one kernel: composed it is eight.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::like;
use crate::backends::cube::{as_f32, launch, readable, with_float};

/// Rotate-half of `x` `[batch, time, heads, width]` by tables `[time, width]`; `inverse` rotates back.
pub fn rope(x: CubeTensor, cos: CubeTensor, sin: CubeTensor, inverse: bool) -> CubeTensor {
    let (x, cos, sin) = (readable(x), as_f32(cos), as_f32(sin));
    let y = like(&x, x.shape());
    launch(&y, |client, count, dim| {
        // SAFETY: the kernel checks its position against `y`, which has the shape of `x`; the tables are read inside
        // `[time, width]`.
        with_float!(x.dtype, F => unsafe {
            rotate::launch_unchecked::<F>(
                client,
                count,
                dim,
                x.clone().into_tensor_arg(),
                cos.clone().into_tensor_arg(),
                sin.clone().into_tensor_arg(),
                y.clone().into_tensor_arg(),
                if inverse { -1.0 } else { 1.0 },
            );
        });
    });
    y
}

/// RoPE, rotate-half: `y = x · cos + [−x₂, x₁] · sin`; `direction` −1 inverts the rotation.
#[cube(launch_unchecked)]
fn rotate<F: Float>(
    x: &Tensor<F>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    y: &mut Tensor<F>,
    direction: f32,
) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let (time, heads, width) = (x.shape(1), x.shape(2), x.shape(3));
    let half = width / 2;
    let d = ABSOLUTE_POS % width;
    let at = (ABSOLUTE_POS / (width * heads)) % time * width + d;
    let other = select(d < half, ABSOLUTE_POS + half, ABSOLUTE_POS - half);
    let sign = select(d < half, -direction, direction);
    let (own, other_half) = (f32::cast_from(x[ABSOLUTE_POS]), f32::cast_from(x[other]));
    y[ABSOLUTE_POS] = F::cast_from(own * cos[at] + sign * other_half * sin[at]);
}
