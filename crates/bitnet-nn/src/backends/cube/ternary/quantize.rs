//! The quantisers: a reduction, then one pass that rounds and packs.
//!
//! Scales are those of the CPU kernels, bit for bit, on every adapter. Shader compilers reassociate float sums and WGSL
//! grants 2.5 ulp to a division, so only what has one result is left to them: `max|x|` is taken on bit patterns; `Σ|w|` is
//! added in the blocks and lanes that `bitnet_kernels::quantize::weights` describes, the blocks in 64-bit fixed point
//! ([`absmean_scales`]); and what is divided is divided as integers ([`quotient`]).

use bitnet_kernels::{EPS, Granularity, SUM_BLOCK, SUM_LANES, words_per_row};
use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::{ops::numeric::empty_device_contiguous_dtype, tensor::CubeTensor};
use cubecl::prelude::*;

use crate::backends::cube::{cubes, empty, launch, position, with_float};

/// Bits of +infinity: finite magnitudes are below, NaN above.
const INFINITY: u32 = 0x7f80_0000;
/// Bits of the least magnitude that a scale is made of.
const LEAST: u32 = EPS.to_bits();
/// Units that share a row of activations.
const LANES: usize = 32;
/// Rows of activations in a cube.
const ROWS: usize = 4;
/// Units that join the block sums of a group.
const JOINERS: usize = 64;

/// Words `[M, ⌈K/4⌉]` and scales `[M]` of `x` `[M, K]`, contiguous f32 or f16.
pub fn activations(x: CubeTensor) -> (CubeTensor, CubeTensor) {
    let (rows, cols) = (x.shape()[0], x.shape()[1]);
    let words = empty(&x, [rows, cols.div_ceil(4)], DType::U32);
    let scales = vector(&x, rows);
    if rows > 0 {
        let (count, client) = (cubes(rows.div_ceil(ROWS)), x.client.clone());
        // SAFETY: rows are clamped to the last one; positions in a row stay below `cols` and below the words' width.
        with_float!(x.dtype, F => unsafe {
            absmax_int8::launch_unchecked::<F>(
                &client,
                count,
                CubeDim::new_2d(LANES as u32, ROWS as u32),
                x.into_tensor_arg(),
                words.clone().into_tensor_arg(),
                scales.clone().into_tensor_arg(),
            );
        });
    }
    (words, scales)
}

/// `1 / max(mean|w|, 1e-5)` of `w` `[N, K]`, contiguous f32: `[1]` or `[N]`.
///
/// Block sums are cut at 2⁻²⁰ of the largest one's last place, where the CPU adds them in f64, so the mean may round the
/// other way if it is that close to the middle of two floats. Takes groups of up to 2³¹ weights.
pub fn absmean_scales(w: &CubeTensor, granularity: Granularity) -> CubeTensor {
    let (rows, cols) = (w.shape()[0], w.shape()[1]);
    let (groups, size) = match granularity {
        Granularity::Tensor => (1, rows * cols),
        Granularity::Row => (rows, cols),
        Granularity::Group(_) => unreachable!("layers compose groups of parts by row"),
    };
    let scales = vector(w, groups);
    if groups == 0 {
        return scales;
    }
    let blocks = size.div_ceil(SUM_BLOCK);
    let client = w.client.clone();
    let sums = vector(w, groups * blocks);
    if blocks > 0 {
        // SAFETY: cubes beyond the last block write nothing; elements are read inside their group.
        unsafe {
            block_sums::launch_unchecked(
                &client,
                cubes(groups * blocks),
                CubeDim::new_1d(SUM_LANES as u32),
                w.clone().into_tensor_arg(),
                sums.clone().into_tensor_arg(),
                size,
                blocks,
            );
        }
    }
    // SAFETY: cubes beyond the last group write nothing; the sums are read inside their group.
    unsafe {
        join::launch_unchecked(
            &client,
            cubes(groups),
            CubeDim::new_1d(JOINERS as u32),
            sums.into_tensor_arg(),
            scales.clone().into_tensor_arg(),
            blocks,
            size as u32,
        );
    }
    scales
}

/// Words `[N, ⌈K/16⌉]` of `w` `[N, K]` by these scales.
pub fn pack(w: CubeTensor, scales: CubeTensor) -> CubeTensor {
    let (rows, cols) = (w.shape()[0], w.shape()[1]);
    let words = empty(&w, [rows, words_per_row(cols)], DType::U32);
    launch(&words, |client, count, dim| {
        // SAFETY: the kernel checks its position against `words` and every index it forms is below the lengths of the
        // contiguous `w` [rows, cols] and `scales` [1] or [rows].
        unsafe {
            pack_weights::launch_unchecked(
                client,
                count,
                dim,
                w.clone().into_tensor_arg(),
                scales.clone().into_tensor_arg(),
                words.clone().into_tensor_arg(),
                cols,
            );
        }
    });
    words
}

fn vector(like: &CubeTensor, len: usize) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::new([len]), DType::F32)
}

/// The magnitude's bits: their order is that of the magnitudes, with infinity above all and NaN above it.
#[cube]
fn magnitude(x: f32) -> u32 {
    u32::reinterpret(x) & 0x7fffffff
}

/// The scale of each row by its `max|x|`, and its int8 codes, four a word.
#[cube(launch_unchecked)]
fn absmax_int8<F: Float>(x: &Tensor<F>, words: &mut Tensor<u32>, scales: &mut Tensor<f32>) {
    let (rows, cols) = (x.shape(0), x.shape(1));
    let (lane, place) = (UNIT_POS_X as usize, UNIT_POS_Y as usize);
    // Units beyond the last row repeat it: all of a cube must meet at the barrier.
    let row = min(position() * ROWS + place, rows - 1);
    let mut most = u32::cast_from(LEAST);
    let mut k = lane;
    while k < cols {
        most = max(most, magnitude(f32::cast_from(x[row * cols + k])));
        k += LANES;
    }
    let mut shared = Shared::<[u32]>::new_slice(comptime!(ROWS * LANES));
    shared[place * LANES + lane] = most;
    sync_cube();
    for l in 0..LANES {
        most = max(most, shared[place * LANES + l]);
    }
    let scale = over(127.0f32, most);
    if lane == 0 {
        scales[row] = scale;
    }
    let per_row = words.shape(1);
    let mut j = lane;
    while j < per_row {
        let mut word = 0u32;
        #[unroll]
        for i in 0..4usize {
            let k = 4 * j + i;
            if k < cols && most < INFINITY {
                let v = (f32::cast_from(x[row * cols + k]) * scale).round();
                let code = i32::cast_from(v.clamp(-128.0f32, 127.0f32));
                word |= (u32::cast_from(code) & 0xff) << (8 * i as u32);
            }
        }
        words[row * per_row + j] = word;
        j += LANES;
    }
}

/// The sum of each block of `SUM_BLOCK` magnitudes of a group of `size`: `sums[group · blocks + block]`.
#[cube(launch_unchecked)]
fn block_sums(w: &Tensor<f32>, sums: &mut Tensor<f32>, size: usize, blocks: usize) {
    let lane = UNIT_POS_X as usize;
    let total = sums.len();
    let place = min(position(), total - 1);
    let first = (place / blocks) * size;
    let begin = (place % blocks) * SUM_BLOCK;
    let end = min(begin + SUM_BLOCK, size);
    let mut sum = 0.0f32;
    let mut k = begin + lane;
    while k < end {
        sum += w[first + k].abs();
        k += SUM_LANES;
    }
    let mut shared = Shared::<[f32]>::new_slice(SUM_LANES);
    shared[lane] = sum;
    sync_cube();
    if lane == 0 && position() < total {
        let mut lanes = Array::<f32>::new(SUM_LANES);
        #[unroll]
        for l in 0..SUM_LANES {
            lanes[l] = shared[l];
        }
        #[unroll]
        for half in 0..5usize {
            #[unroll]
            for l in 0..comptime!(SUM_LANES >> (half + 1)) {
                lanes[l] += lanes[l + comptime!(SUM_LANES >> (half + 1))];
            }
        }
        sums[place] = lanes[0];
    }
}

/// `a / b` rounded to nearest even, for a normal `a` and the bits of a `b` ≥ 1e-5; 0 for infinity, NaN for NaN.
#[cube]
fn over(a: f32, b: u32) -> f32 {
    let bits = u32::reinterpret(a);
    let mut numerator = (bits & 0x7fffff) | 0x800000;
    let denominator = (b & 0x7fffff) | 0x800000;
    let mut exponent = i32::cast_from(bits >> 23) - i32::cast_from(b >> 23) + 127;
    if numerator < denominator {
        numerator <<= 1u32;
        exponent -= 1i32;
    }
    let mut result = a / f32::reinterpret(b);
    // A quotient below the normal numbers stays with the device, which may not know any.
    if b < INFINITY && exponent > 0 {
        let mut rest = numerator;
        let mut q = 0u32;
        for _ in 0..25u32 {
            let fits = u32::cast_from(rest >= denominator);
            q = (q << 1) | fits;
            rest = (rest - fits * denominator) << 1;
        }
        result = rounded(q, rest != 0, exponent);
    }
    result
}

/// The float with a quotient of 25 bits: 24 are kept, rounded to nearest even. `exponent` is the biased one, at least 1.
#[cube]
fn rounded(q: u32, more: bool, exponent: i32) -> f32 {
    let kept = q >> 1;
    let up = (q & 1) & (kept | u32::cast_from(more));
    // The leading bit of the significand adds 1 to the exponent, as does a carry out of it.
    f32::reinterpret((u32::cast_from(exponent - 1) << 23) + kept + (up & 1))
}

/// Adds `v · 2²⁰ / 2^(top − exponent of v)` to the 64 bits of `(high, low)`: fixed point below the exponent `top`.
#[cube]
fn add_fixed(v: u32, top: u32, sum: &mut Array<u32>) {
    let exponent = max(v >> 23, 1);
    let significand = (v & 0x7fffff) | select(v >= 0x800000, 0x800000u32, 0u32);
    let shift = top - exponent;
    let mut high = 0u32;
    let mut low = 0u32;
    if shift <= 20 {
        let left = 20 - shift;
        low = significand << left;
        // At most 24 + 20 bits; a shift by 32 would be undefined.
        high = (significand >> 12) >> (20 - left);
    } else if shift < 44 {
        low = significand >> (shift - 20);
    }
    add_wide(high, low, sum);
}

/// 64-bit addition with carry.
#[cube]
fn add_wide(high: u32, low: u32, sum: &mut Array<u32>) {
    let before = sum[1];
    sum[1] = before + low;
    sum[0] += high + u32::cast_from(sum[1] < before);
}

/// The scale of each group of `size` weights from its block sums.
#[cube(launch_unchecked)]
fn join(sums: &Tensor<f32>, scales: &mut Tensor<f32>, blocks: usize, size: u32) {
    let unit = UNIT_POS_X as usize;
    let groups = scales.len();
    let group = min(position(), groups - 1);
    let mut most = magnitude(0.0f32);
    let mut b = unit;
    while b < blocks {
        most = max(most, magnitude(sums[group * blocks + b]));
        b += JOINERS;
    }
    let mut tops = Shared::<[u32]>::new_slice(JOINERS);
    tops[unit] = most;
    sync_cube();
    for u in 0..JOINERS {
        most = max(most, tops[u]);
    }
    let top = max(most >> 23, 1);
    let mut sum = Array::<u32>::new(2usize);
    sum[0] = 0u32;
    sum[1] = 0u32;
    b = unit;
    while b < blocks {
        add_fixed(magnitude(sums[group * blocks + b]), top, &mut sum);
        b += JOINERS;
    }
    let mut highs = Shared::<[u32]>::new_slice(JOINERS);
    let mut lows = Shared::<[u32]>::new_slice(JOINERS);
    highs[unit] = sum[0];
    lows[unit] = sum[1];
    sync_cube();
    if unit == 0 && position() < groups {
        for u in 1..JOINERS {
            add_wide(highs[u], lows[u], &mut sum);
        }
        // Infinity and NaN are the mean as they are.
        let mut mean = most;
        if most < INFINITY {
            mean = quotient(sum[0], sum[1], size, top);
        }
        scales[group] = over(1.0f32, max(mean, LEAST));
    }
}

/// The bits of `sum / size` rounded to nearest even, where `sum` is in the fixed point of [`add_fixed`]; 0 if that is
/// below the normal numbers.
#[cube]
fn quotient(high: u32, low: u32, size: u32, top: u32) -> u32 {
    let mut high = high;
    let mut low = low;
    let mut rest = 0u32;
    let mut q = 0u32;
    let mut steps = 0i32;
    // 64 bits of the sum, then as many zeros as 25 bits of a quotient below 1 take.
    while q < 0x1000000 && steps < 120 {
        rest = (rest << 1) | (high >> 31);
        high = (high << 1) | (low >> 31);
        low <<= 1u32;
        let fits = u32::cast_from(rest >= size);
        rest -= fits * size;
        q = (q << 1) | fits;
        steps += 1i32;
    }
    let exponent = i32::cast_from(top) + 45 - steps;
    let mut bits = 0u32;
    if q >= 0x1000000 && exponent > 0 {
        bits = u32::reinterpret(rounded(q, (rest | high | low) != 0, exponent));
    }
    bits
}

/// `words[n, j]` from the 16 weights `w[n, 16j..]`: `round(v)` clamped to ±1 is +1 above ½, −1 below −½, ties to 0.
#[cube(launch_unchecked)]
fn pack_weights(w: &Tensor<f32>, scales: &Tensor<f32>, words: &mut Tensor<u32>, cols: usize) {
    if ABSOLUTE_POS >= words.len() {
        terminate!();
    }
    let per_row = words.shape(1);
    let row = ABSOLUTE_POS / per_row;
    let first = (ABSOLUTE_POS % per_row) * 16;
    let scale = scales[select(scales.len() == 1, 0, row)];
    let mut word = 0u32;
    #[unroll]
    for i in 0..16usize {
        let mut code = 1u32;
        if first + i < cols {
            let v = w[row * cols + first + i] * scale;
            code += select(v > 0.5f32, 1u32, 0u32);
            code -= select(v < -0.5f32, 1u32, 0u32);
        }
        word |= code << (2 * i as u32);
    }
    words[ABSOLUTE_POS] = word;
}
