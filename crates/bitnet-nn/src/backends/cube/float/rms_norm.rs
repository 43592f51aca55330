//! RMSNorm in one kernel: composed it is three, and decoding is bound by the number of launches.

use burn::backend::TensorMetadata;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::like;
use crate::backends::cube::{as_f32, cubes, position, readable, with_float};
use crate::shape::last;

/// Units that share a row.
const LANES: usize = 32;
/// Rows of a cube.
const ROWS: usize = 4;

/// `y = x · r · γ` and `r = 1 / √(mean(x²) + ε)` over the last dimension: `[..., K]` and `[..., 1]`.
pub fn rms_norm(x: CubeTensor, gamma: CubeTensor, epsilon: f32) -> (CubeTensor, CubeTensor) {
    let (x, gamma) = (readable(x), as_f32(gamma));
    let (shape, cols) = (x.shape(), last(&x.shape()));
    let mut inverse = shape.clone();
    inverse[shape.num_dims() - 1] = 1;
    let rows = inverse.num_elements();
    let (y, r) = (like(&x, shape), like(&x, inverse));
    if rows * cols > 0 {
        let client = x.client.clone();
        // SAFETY: rows are clamped to the last one, columns are below `cols`, the length of `gamma` and of a row.
        with_float!(x.dtype, F => unsafe {
            norm::launch_unchecked::<F>(
                &client,
                cubes(rows.div_ceil(ROWS)),
                CubeDim::new_2d(LANES as u32, ROWS as u32),
                x.into_tensor_arg(),
                gamma.into_tensor_arg(),
                y.clone().into_tensor_arg(),
                r.clone().into_tensor_arg(),
                epsilon,
            );
        });
    }
    (y, r)
}

#[cube(launch_unchecked)]
fn norm<F: Float>(
    x: &Tensor<F>,
    gamma: &Tensor<f32>,
    y: &mut Tensor<F>,
    r: &mut Tensor<F>,
    epsilon: f32,
) {
    let (rows, cols) = (r.len(), gamma.len());
    let (lane, place) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    // Units beyond the last row repeat it: all of a cube must meet at the barrier.
    let row = min(position() * ROWS + place, rows - 1);
    let mut sum = 0.0f32;
    let mut k = lane;
    while k < cols {
        let v = f32::cast_from(x[row * cols + k]);
        sum += v * v;
        k += LANES;
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(ROWS * LANES));
    shared[place * LANES + lane] = sum;
    sync_cube();
    sum = 0.0f32;
    for l in 0..LANES {
        sum += shared[place * LANES + l];
    }
    let inverse = 1.0f32 / (sum / f32::cast_from(cols) + epsilon).sqrt();
    if lane == 0 {
        r[row] = F::cast_from(inverse);
    }
    k = lane;
    while k < cols {
        y[row * cols + k] = F::cast_from(f32::cast_from(x[row * cols + k]) * inverse * gamma[k]);
        k += LANES;
    }
}
