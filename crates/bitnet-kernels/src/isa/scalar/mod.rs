//! The portable kernel: the row loops in plain Rust.
//!
//! Written so that a compiler can vectorise them for any target (fixed lanes, no branches), and `inline(always)` so
//! that `avx2` can compile the float ones again, with 256-bit registers, from the very same source. Their results are
//! then equal by construction: IEEE operations do not depend on the width, and Rust never fuses or reorders them.

mod prepacked;

pub(crate) use prepacked::{ROWS, base_three, decode, gemm, signed, two_bit};

use crate::{
    PackedView, SUM_LANES, TernaryWord,
    gemm::planes::{Chunk, Planes},
    gemm::tiles::{TILE_N, Tile},
};

/// The largest `|x|` as a bit pattern (NaN above infinity above numbers).
#[inline(always)]
pub(crate) fn max_abs_bits(x: &[f32]) -> u32 {
    x.iter()
        .fold(0, |max, v| max.max(v.to_bits() & 0x7fff_ffff))
}

/// `clamp(round(x · s), -128, 127)` of a finite row.
#[inline(always)]
pub(crate) fn quantize_row_i8(x: &[f32], scale: f32, codes: &mut [i8]) {
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * scale).round_ties_even() as i8; // a Rust cast saturates at -128 and 127
    }
}

/// As [`quantize_row_i8`], as floats; adding +0 turns a rounded -0.0 into the integer's 0.0.
#[inline(always)]
pub(crate) fn quantize_row_f32(x: &[f32], scale: f32, codes: &mut [f32]) {
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * scale).round_ties_even().clamp(-128.0, 127.0) + 0.0;
    }
}

/// `Σ|w|` of one block, in the order of `weight`.
#[inline(always)]
pub(crate) fn abs_block_sum(block: &[f32]) -> f32 {
    let mut lanes = [0.0f32; SUM_LANES];
    let groups = block.chunks_exact(SUM_LANES);
    let tail = groups.remainder();
    for group in groups {
        for (lane, w) in lanes.iter_mut().zip(group) {
            *lane += w.abs();
        }
    }
    fold_lanes(lanes, tail)
}

/// The end of a block: its last elements, fewer than lanes, then the lanes in halves.
#[inline(always)]
pub(crate) fn fold_lanes(mut lanes: [f32; SUM_LANES], tail: &[f32]) -> f32 {
    for (lane, w) in lanes.iter_mut().zip(tail) {
        *lane += w.abs();
    }
    let mut half = SUM_LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
        half /= 2;
    }
    lanes[0]
}

/// One row of weights to packed words. Half to even makes `|w · s| ≤ 0.5` weight 0; NaN compares false and is 0 too.
#[inline(always)]
pub(crate) fn pack_row(w: &[f32], scale: f32, words: &mut [u32]) {
    for (word, w) in words.iter_mut().zip(w.chunks(TernaryWord::WEIGHTS)) {
        *word = TernaryWord::ZERO.0;
        for (i, w) in w.iter().enumerate() {
            let v = w * scale;
            let stored = 1 + u32::from(v > 0.5) - u32::from(v < -0.5);
            *word ^= (stored ^ 1) << (2 * i);
        }
    }
}

/// `out[k] = values[stored k]`.
#[inline(always)]
pub(crate) fn unpack_row(words: &[u32], values: [f32; 4], out: &mut [f32]) {
    for (word, out) in words.iter().zip(out.chunks_mut(TernaryWord::WEIGHTS)) {
        for (i, out) in out.iter_mut().enumerate() {
            *out = values[TernaryWord(*word).stored(i) as usize];
        }
    }
}

/// `out = codes / s`.
#[inline(always)]
pub(crate) fn div_row(codes: &[i8], scale: f32, out: &mut [f32]) {
    for (out, code) in out.iter_mut().zip(codes) {
        *out = f32::from(*code) / scale;
    }
}

/// `acc = acc / s_w / s_x`.
#[inline(always)]
pub(crate) fn scale_row(acc: &mut [f32], sw: &[f32], sx: f32) {
    if let [sw] = *sw {
        acc.iter_mut().for_each(|acc| *acc = *acc / sw / sx);
    } else {
        acc.iter_mut()
            .zip(sw)
            .for_each(|(acc, sw)| *acc = *acc / sw / sx);
    }
}

/// `out = acc as f32 / s_w / s_x + bias`.
#[inline(always)]
pub(crate) fn epilogue_row(
    acc: &[i32],
    sw: &[f32],
    sx: f32,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    for (out, acc) in out.iter_mut().zip(acc) {
        *out = *acc as f32;
    }
    scale_row(out, sw, sx);
    if let Some(bias) = bias {
        out.iter_mut()
            .zip(bias)
            .for_each(|(out, bias)| *out += bias);
    }
}

/// Splits a row of codes in the planes of `planes`, zero past its end, and returns its sum.
#[inline(always)]
pub(crate) fn split_row(codes: &[i8], chunks: &mut [Chunk]) -> i32 {
    for (chunk, codes) in chunks.iter_mut().zip(codes.chunks(Chunk::LEN)) {
        *chunk = Chunk::ZERO;
        for (k, code) in codes.iter().enumerate() {
            chunk.0[k % 4][k / 4] = *code;
        }
    }
    sum(codes)
}

/// `Σ codes`.
#[inline(always)]
pub(crate) fn sum(codes: &[i8]) -> i32 {
    codes.iter().map(|code| i32::from(*code)).sum()
}

/// Writes a row of codes as the 4 × 4 transpositions of its sixteens (`layout`), zero past its end, and returns its sum.
#[inline(always)]
pub(crate) fn transpose_row(codes: &[i8], out: &mut [i8]) -> i32 {
    for (out, codes) in out.chunks_exact_mut(16).zip(codes.chunks(16)) {
        let mut block = [0; 16];
        block[..codes.len()].copy_from_slice(codes);
        for (at, out) in out.iter_mut().enumerate() {
            *out = block[at % 4 * 4 + at / 4];
        }
    }
    out[codes.len().next_multiple_of(16)..].fill(0);
    sum(codes)
}

/// Writes a row of codes in its own order, zero past its end, and returns its sum.
#[inline(always)]
pub(crate) fn copy_row(codes: &[i8], out: &mut [i8]) -> i32 {
    out[..codes.len()].copy_from_slice(codes);
    out[codes.len()..].fill(0);
    sum(codes)
}

/// Fills a tile with the exact sums of its rows of `x` and `w`.
pub(crate) fn tile_product(x: &Planes, w: PackedView<'_>, tile: &mut Tile) {
    for n in tile.n.clone() {
        let words = w.row_words(n);
        for m in tile.m.clone() {
            let biased: i32 = words
                .chunks(8)
                .zip(x.row(m))
                .map(|(words, chunk)| dot_chunk(words, chunk))
                .sum();
            tile.sums[(m - tile.m.start) * TILE_N + n - tile.n.start] = biased - x.sum(m);
        }
    }
}

/// `Σ stored · x` of up to 8 words.
#[inline(always)]
fn dot_chunk(words: &[u32], chunk: &Chunk) -> i32 {
    let mut bytes = [0u8; 32];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut sum = 0;
    for (i, plane) in chunk.0.iter().enumerate() {
        for (byte, x) in bytes.iter().zip(plane) {
            sum += i32::from((byte >> (2 * i)) & 3) * i32::from(*x);
        }
    }
    sum
}
