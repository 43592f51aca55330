//! Products with the rows of a table, and its rows by their ids.
//!
//! An adapter binds a buffer only up to its limit, 128 MiB on many, where the head of a vocabulary of 128,256 by 2,560 takes
//! 1.3 GB. So a table is read in blocks of rows, each a view of the one buffer. And one to four rows of `x` (decoding) are
//! multiplied by a kernel that reads the table once; matrices are Burn's product.

use burn::backend::{
    TensorMetadata,
    ops::{FloatTensorOps, IntTensorOps},
};
use burn::tensor::{FloatDType, IntDType, Shape};
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;

use crate::backends::cube::{empty, launch, readable, with_float};
use crate::shape::in_dtype;

/// Rows of `x` up to which each row of the table is read once for all of them.
const FEW: usize = 4;
/// Rows of the table that a unit handles together.
const ROWS: usize = 4;
/// Units that share a row.
const LANES: usize = 32;
/// Groups of rows in a cube.
const GROUPS: usize = 4;

/// `x · wᵀ`: `x` `[M, K]`, `w` `[N, K]` → `[M, N]`.
pub fn linear(x: CubeTensor, w: CubeTensor) -> CubeTensor {
    let (x, w) = (readable(x), readable(w));
    let (m, n, dtype) = (x.shape()[0], w.shape()[0], x.dtype);
    let many = m > FEW;
    // Of many rows of `x` Burn's product wants a table of their type, which may be wider.
    let blocks = blocks(&w, if many { dtype.size() } else { 0 });
    if many || m * n == 0 {
        let like_x = FloatDType::from(dtype);
        let mut products: Vec<_> = blocks
            .into_iter()
            .map(|(_, rows)| {
                let rows = in_dtype::<CubeBackend>(rows, like_x);
                CubeBackend::float_matmul(x.clone(), CubeBackend::float_transpose(rows))
            })
            .collect();
        return match (products.len(), products.pop()) {
            (1, Some(product)) => product,
            (_, last) => CubeBackend::float_cat(products.into_iter().chain(last).collect(), 1),
        };
    }
    let y = empty(&x, [m, n], dtype);
    let client = y.client.clone();
    for (first, rows) in blocks {
        let cubes = rows.shape()[0].div_ceil(ROWS * GROUPS) as u32;
        // SAFETY: rows are clamped to the block's last one before they are read; only outputs of the block's rows,
        // which lie inside `y` [m, n], are written.
        with_float!(dtype, X => with_float!(rows.dtype, W => unsafe {
            few::launch_unchecked::<X, W>(
                &client,
                CubeCount::Static(cubes, 1, 1),
                CubeDim::new_2d(LANES as u32, GROUPS as u32),
                x.clone().into_tensor_arg(),
                rows.into_tensor_arg(),
                y.clone().into_tensor_arg(),
                first,
                m,
            );
        }));
    }
    y
}

/// The rows `ids` `[M]` of `table` `[V, K]` → `[M, K]`.
pub fn gather_rows(table: CubeTensor, ids: CubeTensor) -> CubeTensor {
    let table = readable(table);
    let ids = into_contiguous(CubeBackend::int_cast(ids, IntDType::I32));
    let out = empty(&table, [ids.shape()[0], table.shape()[1]], table.dtype);
    for (first, rows) in blocks(&table, 0) {
        launch(&out, |client, count, dim| {
            // SAFETY: the kernel checks its position against `out` [m, k] and reads a row only if it is of this block.
            with_float!(table.dtype, F => unsafe {
                pick::launch_unchecked::<F>(
                    client,
                    count,
                    dim,
                    rows.clone().into_tensor_arg(),
                    ids.clone().into_tensor_arg(),
                    out.clone().into_tensor_arg(),
                    first as i32,
                );
            });
        });
    }
    out
}

/// The table in blocks of rows that the device binds, with elements of `width` bytes too, and the number of each
/// block's first row.
fn blocks(table: &CubeTensor, width: usize) -> Vec<(usize, CubeTensor)> {
    let (rows, cols) = (table.shape()[0], table.shape()[1]);
    let memory = &table.client.properties().memory;
    let row_bytes = (cols * table.dtype.size()) as u64;
    let widest = (cols * width.max(table.dtype.size())) as u64;
    if rows as u64 * widest <= memory.max_page_size {
        return vec![(0, table.clone())];
    }
    // A block begins where the device lets a binding begin.
    let unit = (memory.alignment / greatest_common_divisor(memory.alignment, row_bytes)) as usize;
    let most = (memory.max_page_size / widest) as usize;
    let step = (most / unit * unit).max(unit);
    (0..rows)
        .step_by(step)
        .map(|first| {
            let last = rows.min(first + step);
            let handle = table
                .handle
                .clone()
                .offset_start(first as u64 * row_bytes)
                .offset_end((rows - last) as u64 * row_bytes);
            let block = CubeTensor::new_contiguous(
                table.client.clone(),
                table.device.clone(),
                Shape::new([last - first, cols]),
                handle,
                table.dtype,
            );
            (first, block)
        })
        .collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// `y[m, first + n] = Σ_k x[m, k] · w[n, k]` for `few` rows of `x`: `LANES` units share `ROWS` rows of `w`.
#[cube(launch_unchecked)]
fn few<X: Float, W: Float>(
    x: &Tensor<X>,
    w: &Tensor<W>,
    y: &mut Tensor<X>,
    first: usize,
    #[comptime] tokens: usize,
) {
    let (rows, cols, width) = (w.shape(0), w.shape(1), y.shape(1));
    let (lane, group) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let n0 = (CUBE_POS_X as usize * GROUPS + group) * ROWS;
    let mut sums = Array::<f32>::new(comptime!(tokens * ROWS));
    #[unroll]
    for o in 0..comptime!(tokens * ROWS) {
        sums[o] = 0.0f32;
    }
    let mut k = lane;
    while k < cols {
        #[unroll]
        for r in 0..ROWS {
            let weight = f32::cast_from(w[min(n0 + r, rows - 1) * cols + k]);
            #[unroll]
            for t in 0..tokens {
                sums[t * ROWS + r] += f32::cast_from(x[t * cols + k]) * weight;
            }
        }
        k += LANES;
    }
    let mut shared = Shared::<[f32]>::new_slice(comptime!(GROUPS * LANES * ROWS * tokens));
    let own = (group * LANES + lane) * comptime!(ROWS * tokens);
    #[unroll]
    for o in 0..comptime!(tokens * ROWS) {
        shared[own + o] = sums[o];
    }
    sync_cube();
    let mut o = lane;
    while o < comptime!(tokens * ROWS) {
        let (m, n) = (o / ROWS, n0 + o % ROWS);
        if n < rows {
            let mut sum = 0.0f32;
            for l in 0..LANES {
                sum += shared[(group * LANES + l) * comptime!(ROWS * tokens) + o];
            }
            y[m * width + first + n] = X::cast_from(sum);
        }
        o += LANES;
    }
}

/// `out[m] = table[ids[m] − first]` where that is a row of the table.
#[cube(launch_unchecked)]
fn pick<F: Float>(table: &Tensor<F>, ids: &Tensor<i32>, out: &mut Tensor<F>, first: i32) {
    if ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    let cols = out.shape(1);
    let row = ids[ABSOLUTE_POS / cols] - first;
    if row >= 0 && row < i32::cast_from(table.shape(0)) {
        out[ABSOLUTE_POS] = table[row as usize * cols + ABSOLUTE_POS % cols];
    }
}
