//! The integer product by selection and addition, four weights at a time.
//!
//! WGSL has no bytes, so a `u32` word is worked on as four of them. An activation `x` is held as `127 − x`, a byte in
//! 0..=255. A weight selects what to add: the byte's complement, `x + 128`, for +1; the byte itself for −1; nothing for 0.
//! Neither choice needs a branch or a multiplication:
//!
//! ```text
//! selected = (x ^ flip) & keep                     flip = 0xff where w = +1, keep = 0xff where w ≠ 0
//! Σ w·x    = Σ selected − 128·n₊ − 127·n₋           n₊, n₋: how many weights are +1 and −1
//! ```
//!
//! The stored code `w + 1` has the bits of both masks: bit 1 is set for +1, bit 0 for 0. `(word >> 2i) & 0x01010101` reads
//! one bit of the weights `i, i + 4, i + 8, i + 12`, one in each byte, so the activations of a word of weights are
//! transposed to match. Selected bytes are added in pairs to the two 16-bit halves of an accumulator, which hold 32 words
//! of weights (`32 · 4 · 2 · 255 < 2¹⁶`), and then go to `i32`: exact for any `K` up to 2²³ (`Σ selected ≤ 255 · K`).
//!
//! Two kernels share this. [`gemv`], for up to [`GEMV_TOKENS`] tokens, reads each weight once: the units of a cube share
//! the words of a row and join their sums in shared memory. [`gemm`] gives each unit a tile of outputs, so that the masks
//! serve several tokens and the activations several rows.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::backends::cube::{empty, launch, with_float};

/// Tokens up to which the product reads weights once for all of them.
pub const GEMV_TOKENS: usize = 4;

/// Rows of weights that a unit handles together.
const ROWS: usize = 4;
/// Units that share a row in [`gemv`].
const LANES: usize = 16;
/// Groups of rows in a cube of [`gemv`].
const GROUPS: usize = 4;
/// Tokens of a unit's tile in [`gemm`].
const TOKENS: usize = 8;
/// Units of a cube of [`gemm`], along rows and along tokens.
const UNITS: (u32, u32) = (16, 4);
/// Words of weights after which the 16-bit sums are full.
const FULL: usize = 32;

/// `[M, ⌈K/4⌉]` and `[N, ⌈K/16⌉]` words, contiguous, with `[M]` and `[1]` or `[N]` scales → `[M, N]`, f32 or f16.
pub fn product(
    x_codes: CubeTensor,
    x_scales: CubeTensor,
    w_codes: CubeTensor,
    w_scales: CubeTensor,
    dtype: DType,
) -> CubeTensor {
    let (m, n, words) = (x_codes.shape()[0], w_codes.shape()[0], w_codes.shape()[1]);
    let y = empty(&x_codes, [m, n], dtype);
    if m * n == 0 {
        return y;
    }
    let client = y.client.clone();
    if m <= GEMV_TOKENS {
        let cubes = n.div_ceil(ROWS * GROUPS) as u32;
        // SAFETY: rows are clamped to the last one and words to the row's width before they are read; only outputs
        // inside `y` [m, n] are written.
        with_float!(dtype, F => unsafe {
            gemv::launch_unchecked::<F>(
                &client,
                CubeCount::Static(cubes, 1, 1),
                CubeDim::new_2d(LANES as u32, GROUPS as u32),
                x_codes.into_tensor_arg(),
                x_scales.into_tensor_arg(),
                w_codes.into_tensor_arg(),
                w_scales.into_tensor_arg(),
                y.clone().into_tensor_arg(),
                m,
            );
        });
        return y;
    }
    let x_bytes = empty(&x_codes, [m, words * 4], DType::U32);
    let groups = empty(&x_codes, [m, words], DType::U32);
    launch(&groups, |client, count, dim| {
        // SAFETY: the kernel checks its position against `m · words`, a quarter of the elements of `x_bytes`; words of
        // `x_codes` are clamped to the row's last.
        unsafe {
            arrange::launch_unchecked(
                client,
                count,
                dim,
                x_codes.clone().into_tensor_arg(),
                x_bytes.clone().into_tensor_arg(),
                words,
            );
        }
    });
    let cubes = |outputs: usize, tile: usize, units: u32| outputs.div_ceil(tile * units as usize);
    let count = CubeCount::Static(
        cubes(n, ROWS, UNITS.0) as u32,
        cubes(m, TOKENS, UNITS.1) as u32,
        1,
    );
    // SAFETY: rows and tokens are clamped to the last ones before they are read; only outputs inside `y` are written.
    with_float!(dtype, F => unsafe {
        gemm::launch_unchecked::<F>(
            &client,
            count,
            CubeDim::new_2d(UNITS.0, UNITS.1),
            x_bytes.into_tensor_arg(),
            x_scales.into_tensor_arg(),
            w_codes.into_tensor_arg(),
            w_scales.into_tensor_arg(),
            y.clone().into_tensor_arg(),
        );
    });
    y
}

/// The four words of activations that meet word `j` of the weights, as bytes `127 − x` in the weights' order: byte `b` of
/// `out[i]` is activation `16j + 4b + i`. Beyond the row's end they are anything: the weights are 0 there.
#[cube]
fn arranged(x: &Tensor<u32>, row: usize, j: usize, out: &mut Array<u32>, #[comptime] at: usize) {
    let width = x.shape(1);
    let first = row * width;
    let low = 0x00ff00ffu32;
    let a = x[first + min(4 * j, width - 1)] ^ 0x7f7f7f7f;
    let b = x[first + min(4 * j + 1, width - 1)] ^ 0x7f7f7f7f;
    let c = x[first + min(4 * j + 2, width - 1)] ^ 0x7f7f7f7f;
    let d = x[first + min(4 * j + 3, width - 1)] ^ 0x7f7f7f7f;
    let ab_even = (a & low) | ((b & low) << 8);
    let cd_even = (c & low) | ((d & low) << 8);
    let ab_odd = ((a >> 8) & low) | (b & !low);
    let cd_odd = ((c >> 8) & low) | (d & !low);
    out[at] = (ab_even & 0xffff) | (cd_even << 16);
    out[at + 1] = (ab_odd & 0xffff) | (cd_odd << 16);
    out[at + 2] = (ab_even >> 16) | (cd_even & 0xffff0000);
    out[at + 3] = (ab_odd >> 16) | (cd_odd & 0xffff0000);
}

/// Writes what [`arranged`] gives for every row and word, `[m, 4 · words]`.
#[cube(launch_unchecked)]
fn arrange(x: &Tensor<u32>, out: &mut Tensor<u32>, words: usize) {
    if 4 * ABSOLUTE_POS >= out.len() {
        terminate!();
    }
    let mut bytes = Array::<u32>::new(4usize);
    arranged(
        x,
        ABSOLUTE_POS / words,
        ABSOLUTE_POS % words,
        &mut bytes,
        0usize,
    );
    #[unroll]
    for i in 0..4usize {
        out[4 * ABSOLUTE_POS + i] = bytes[i];
    }
}

/// Each byte with its lowest bit set becomes 0xff, the others 0.
#[cube]
fn spread(bits: u32) -> u32 {
    let ones = bits & 0x01010101;
    (ones << 8) - ones
}

/// The low bit of each code: what a word of zero weights stores.
const LOW: u32 = bitnet_kernels::TernaryWord::ZERO.0;

/// What the selected bytes of a word exceed `Σ w·x` by: `128·n₊ + 127·n₋`.
#[cube]
fn excess(word: u32) -> i32 {
    let zeros = i32::cast_from((word & LOW).count_ones());
    let plus = i32::cast_from((word & 0xaaaaaaaau32).count_ones());
    (16 - zeros) * 127 + plus
}

#[cube]
fn two_halves(selected: u32) -> u32 {
    (selected & 0x00ff00ff) + ((selected >> 8) & 0x00ff00ff)
}

#[cube]
fn scaled(sum: i32, m: usize, n: usize, x_scales: &Tensor<f32>, w_scales: &Tensor<f32>) -> f32 {
    f32::cast_from(sum) / w_scales[select(w_scales.len() == 1, 0, n)] / x_scales[m]
}

/// `y` for `tokens` tokens: `LANES` units share `ROWS` rows, unit `l` reads the words `l, l + LANES, …`.
#[cube(launch_unchecked)]
fn gemv<F: Float>(
    x: &Tensor<u32>,
    x_scales: &Tensor<f32>,
    w: &Tensor<u32>,
    w_scales: &Tensor<f32>,
    y: &mut Tensor<F>,
    #[comptime] tokens: usize,
) {
    let words = w.shape(1);
    let rows = w.shape(0);
    let lane = UNIT_POS_X as usize;
    let group = UNIT_POS_Y as usize;
    let first = (CUBE_POS_X as usize * GROUPS + group) * ROWS;
    let mut sums = Array::<i32>::new(comptime!(tokens * ROWS));
    let mut halves = Array::<u32>::new(comptime!(tokens * ROWS));
    let mut bytes = Array::<u32>::new(comptime!(tokens * 4));
    #[unroll]
    for o in 0..comptime!(tokens * ROWS) {
        sums[o] = 0i32;
    }
    let mut start = lane;
    while start < words {
        let end = min(words, start + FULL * LANES);
        #[unroll]
        for o in 0..comptime!(tokens * ROWS) {
            halves[o] = 0u32;
        }
        let mut j = start;
        while j < end {
            #[unroll]
            for t in 0..tokens {
                arranged(x, t, j, &mut bytes, comptime!(4 * t));
            }
            #[unroll]
            for r in 0..ROWS {
                let word = w[min(first + r, rows - 1) * words + j];
                let over = excess(word);
                #[unroll]
                for t in 0..tokens {
                    sums[t * ROWS + r] -= over;
                }
                #[unroll]
                for i in 0..4usize {
                    let keep = spread((!word) >> (2 * i as u32));
                    let flip = spread(word >> (2 * i as u32 + 1));
                    #[unroll]
                    for t in 0..tokens {
                        halves[t * ROWS + r] += two_halves((bytes[4 * t + i] ^ flip) & keep);
                    }
                }
            }
            j += LANES;
        }
        #[unroll]
        for o in 0..comptime!(tokens * ROWS) {
            sums[o] += i32::cast_from((halves[o] & 0xffff) + (halves[o] >> 16));
        }
        start += FULL * LANES;
    }

    // The units of a group join their sums.
    let mut shared = Shared::<[i32]>::new_slice(comptime!(GROUPS * LANES * ROWS * tokens));
    let own = (group * LANES + lane) * comptime!(ROWS * tokens);
    #[unroll]
    for o in 0..comptime!(tokens * ROWS) {
        shared[own + o] = sums[o];
    }
    sync_cube();
    let mut o = lane;
    while o < comptime!(tokens * ROWS) {
        let (m, n) = (o / ROWS, first + o % ROWS);
        if n < rows {
            let mut sum = 0i32;
            for l in 0..LANES {
                sum += shared[(group * LANES + l) * comptime!(ROWS * tokens) + o];
            }
            y[m * rows + n] = F::cast_from(scaled(sum, m, n, x_scales, w_scales));
        }
        o += LANES;
    }
}

/// `y` in tiles of `TOKENS` tokens and `ROWS` rows, one a unit; `x` is what [`arrange`] wrote.
#[cube(launch_unchecked)]
fn gemm<F: Float>(
    x: &Tensor<u32>,
    x_scales: &Tensor<f32>,
    w: &Tensor<u32>,
    w_scales: &Tensor<f32>,
    y: &mut Tensor<F>,
) {
    let words = w.shape(1);
    let rows = w.shape(0);
    let tokens = x.shape(0);
    let m0 = ABSOLUTE_POS_Y as usize * TOKENS;
    let n0 = ABSOLUTE_POS_X as usize * ROWS;
    if m0 >= tokens || n0 >= rows {
        terminate!();
    }
    let mut sums = Array::<i32>::new(comptime!(TOKENS * ROWS));
    let mut halves = Array::<u32>::new(comptime!(TOKENS * ROWS));
    let mut word = Array::<u32>::new(ROWS);
    let mut over = Array::<i32>::new(ROWS);
    let mut keep = Array::<u32>::new(ROWS);
    let mut flip = Array::<u32>::new(ROWS);
    #[unroll]
    for o in 0..comptime!(TOKENS * ROWS) {
        sums[o] = 0i32;
    }
    #[unroll]
    for r in 0..ROWS {
        over[r] = 0i32;
    }
    let mut start = 0usize;
    while start < words {
        #[unroll]
        for o in 0..comptime!(TOKENS * ROWS) {
            halves[o] = 0u32;
        }
        for j in start..min(words, start + FULL) {
            #[unroll]
            for r in 0..ROWS {
                word[r] = w[min(n0 + r, rows - 1) * words + j];
                over[r] += excess(word[r]);
            }
            #[unroll]
            for i in 0..4usize {
                #[unroll]
                for r in 0..ROWS {
                    keep[r] = spread((!word[r]) >> (2 * i as u32));
                    flip[r] = spread(word[r] >> (2 * i as u32 + 1));
                }
                #[unroll]
                for t in 0..TOKENS {
                    let bytes = x[(min(m0 + t, tokens - 1) * words + j) * 4 + i];
                    #[unroll]
                    for r in 0..ROWS {
                        halves[t * ROWS + r] += two_halves((bytes ^ flip[r]) & keep[r]);
                    }
                }
            }
        }
        #[unroll]
        for o in 0..comptime!(TOKENS * ROWS) {
            sums[o] += i32::cast_from((halves[o] & 0xffff) + (halves[o] >> 16));
        }
        start += FULL;
    }
    #[unroll]
    for t in 0..TOKENS {
        #[unroll]
        for r in 0..ROWS {
            if m0 + t < tokens && n0 + r < rows {
                let sum = sums[t * ROWS + r] - over[r];
                let value = scaled(sum, m0 + t, n0 + r, x_scales, w_scales);
                y[(m0 + t) * rows + n0 + r] = F::cast_from(value);
            }
        }
    }
}
