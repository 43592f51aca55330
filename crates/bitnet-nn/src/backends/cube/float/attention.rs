//! Attention of a few queries to the keys and values of a cache, in one kernel: composed it is a dozen, and decoding is
//! bound by their number. Nothing is copied for heads that share keys, and no mask is made.
//!
//! A cube serves one query of one head. It reads the keys in chunks, one key a unit, and keeps the softmax running: the
//! largest score so far, the sum of exponentials and the weighted sum of values, both scaled down whenever a chunk
//! holds a larger score (Milakov and Gimelshein, arXiv 1805.02867). Values are summed with one output a unit, so that
//! units read neighbours.

use burn::backend::TensorMetadata;
use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::prelude::*;

use crate::backends::cube::{as_f32, cubes, position, readable, with_float};

/// Units of a cube, and keys of a chunk.
const UNITS: usize = 128;
/// Units that look for the largest score of a chunk.
const SEARCHERS: usize = 8;
/// Below every score.
const LOWEST: f32 = -3.0e38;

/// `q` `[b, t, h, d]`, which stand at `offset` and after, `keys` and `values` `[b, g, s, d]` → `[b, t, h, d]`.
pub fn cached_attention(
    q: CubeTensor,
    keys: CubeTensor,
    values: CubeTensor,
    offset: usize,
) -> CubeTensor {
    let (q, keys, values) = match q.dtype == keys.dtype && q.dtype == values.dtype {
        true => (readable(q), readable(keys), readable(values)),
        false => (as_f32(q), as_f32(keys), as_f32(values)),
    };
    let dtype = q.dtype;
    let shape = q.shape();
    let (queries, width) = (shape[0] * shape[1] * shape[2], shape[3]);
    let (client, device) = (q.client.clone(), q.device.clone());
    let y = empty_device_contiguous_dtype(client.clone(), device, shape, dtype);
    if queries * width > 0 {
        // SAFETY: queries are clamped to the last one; keys are read below `offset + t`, which the caller holds within `s`;
        // units beyond the width read and write nothing.
        with_float!(dtype, F => unsafe {
            attend::launch_unchecked::<F>(
                &client,
                cubes(queries),
                CubeDim::new_1d(UNITS as u32),
                q.into_tensor_arg(),
                keys.into_tensor_arg(),
                values.into_tensor_arg(),
                y.clone().into_tensor_arg(),
                offset,
                1.0 / (width as f32).sqrt(),
                width,
            );
        });
    }
    y
}

#[cube(launch_unchecked)]
fn attend<F: Float>(
    q: &Tensor<F>,
    keys: &Tensor<F>,
    values: &Tensor<F>,
    y: &mut Tensor<F>,
    offset: usize,
    scale: f32,
    #[comptime] width: usize,
) {
    let unit = UNIT_POS_X as usize;
    let (time, heads) = (q.shape(1), q.shape(2));
    let (kv_heads, capacity) = (keys.shape(1), keys.shape(2));
    // Cubes beyond the last query repeat it: all units of a cube must meet at the barriers.
    let query = min(position(), q.shape(0) * time * heads - 1);
    let (batch, t, head) = (query / (time * heads), query / heads % time, query % heads);
    let visible = offset + t + 1;
    let memory = (batch * kv_heads + head * kv_heads / heads) * capacity * width;

    // Several units share an output where the head is narrow: each adds up every `splits`th value.
    let splits = comptime!(if width < UNITS { UNITS / width } else { 1 });
    let mut own = Shared::<[f32]>::new_slice(width);
    let mut weights = Shared::<[f32]>::new_slice(comptime!(UNITS));
    let mut highs = Shared::<[f32]>::new_slice(comptime!(SEARCHERS));
    let mut sums = Shared::<[f32]>::new_slice(comptime!(splits * width));
    let mut d = unit;
    while d < width {
        own[d] = f32::cast_from(q[query * width + d]) * scale;
        d += UNITS;
    }
    d = unit;
    while d < comptime!(splits * width) {
        sums[d] = 0.0f32;
        d += UNITS;
    }
    sync_cube();

    let mut highest = f32::new(LOWEST);
    let mut total = 0.0f32;
    let mut first = 0usize;
    while first < visible {
        let len = min(visible - first, UNITS);
        let mut score = f32::new(LOWEST);
        if unit < len {
            score = 0.0f32;
            let key = memory + (first + unit) * width;
            for d in 0..width {
                score += own[d] * f32::cast_from(keys[key + d]);
            }
        }
        weights[unit] = score;
        sync_cube();
        if unit < SEARCHERS {
            let mut high = f32::new(LOWEST);
            for u in 0..comptime!(UNITS / SEARCHERS) {
                high = max(high, weights[unit + u * SEARCHERS]);
            }
            highs[unit] = high;
        }
        sync_cube();
        let mut high = highest;
        for u in 0..SEARCHERS {
            high = max(high, highs[u]);
        }
        let fade = (highest - high).exp();
        highest = high;
        // A unit without a key keeps a weight that nobody reads.
        let weight = select(unit < len, (score - high).exp(), 0.0f32);
        weights[unit] = weight;
        total = total * fade + weight;
        sync_cube();
        d = unit;
        while d < comptime!(splits * width) {
            let mut sum = sums[d] * fade;
            let mut s = d / width;
            while s < len {
                let value = values[memory + (first + s) * width + d % width];
                sum += weights[s] * f32::cast_from(value);
                s += splits;
            }
            sums[d] = sum;
            d += UNITS;
        }
        sync_cube();
        first += UNITS;
    }

    weights[unit] = total;
    sync_cube();
    total = 0.0f32;
    for u in 0..UNITS {
        total += weights[u];
    }
    d = unit;
    while d < width {
        let mut sum = 0.0f32;
        for split in 0..splits {
            sum += sums[split * width + d];
        }
        y[query * width + d] = F::cast_from(sum / total);
        d += UNITS;
    }
}
