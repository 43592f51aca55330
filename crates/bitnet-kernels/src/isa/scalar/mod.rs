//! The portable kernel: the row loops in plain Rust.
//!
//! Written so that a compiler can vectorise them for any target (fixed lanes, no branches), and `inline(always)` so
//! that `avx2` can compile the float ones again, with 256-bit registers, from the very same source. Their results are
//! then equal by construction: IEEE operations do not depend on the width, and Rust never fuses or reorders them.

mod blocks;
mod dense;
mod prepacked;

pub(crate) use prepacked::signed;

use super::{DenseLoops, Isa, PanelLoops, RowLoops};
use crate::{Layout, SUM_LANES, TernaryWord, gemm::blocking::Sums, system::shared_out::Rectangle};

pub(crate) static ISA: Isa = Isa {
    needs: "nothing",
    detect: || Ok(()),
    layout: Layout::TwoBit,
    rows: ROWS,
    panels: PanelLoops {
        two_bit: prepacked::two_bit,
        base_three: prepacked::base_three,
        decode: crate::gemm::base_three::decode_group,
        gemm: prepacked::gemm,
        signed,
        rows_at_a_time: 1,
    },
    few_rows: None,
    many_rows: None,
    lookup: None,
    scaled: None,
    dense: DENSE,
    peak: None,
};

/// The loops over rows.
pub(crate) const ROWS: RowLoops = RowLoops {
    max_abs_bits,
    quantize_row,
    abs_block_sum,
    pack_row,
    unpack_row,
    div_row,
    epilogue,
    accumulate,
    sum,
    transpose_row,
    copy_row,
};

/// Dense products in plain loops.
pub(crate) const DENSE: DenseLoops = DenseLoops {
    dense_f32: dense::f32,
    dense_bf16: dense::bf16,
    dense_f16: dense::f16,
    dense_codes: dense::codes,
    dense_int8: dense::int8,
    quantize_blocks: crate::blocks::quantize_blocks,
    blocks: blocks::blocks,
    softmax: crate::dense::softmax_row,
};

/// The largest `|x|` as a bit pattern (NaN above infinity above numbers).
#[inline(always)]
pub(crate) fn max_abs_bits(x: &[f32]) -> u32 {
    x.iter()
        .fold(0, |max, v| max.max(v.to_bits() & 0x7fff_ffff))
}

/// `clamp(round(x · s), -128, 127)` of a finite row.
#[inline(always)]
pub(crate) fn quantize_row(x: &[f32], scale: f32, codes: &mut [i8]) {
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * scale).round_ties_even() as i8; // a Rust cast saturates at -128 and 127
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

/// `out = (sums − excess) as f32 / s_w / s_x`.
#[inline(always)]
pub(crate) fn epilogue(
    sums: Sums<'_>,
    excess: Option<&[i32]>,
    sw: &[f32],
    sx: &[f32],
    mut out: Rectangle<'_, f32>,
) {
    let (rows, width) = (sums.rows(), sums.width());
    assert!(out.rows() == rows && out.width() == width && sx.len() == rows);
    for (row, sx) in sx.iter().enumerate() {
        let excess = excess.map_or(0, |excess| excess[row]);
        let terms = out.row(row).iter_mut().zip(sums.row(row));
        if let [sw] = *sw {
            terms.for_each(|(out, sum)| *out = (sum - excess) as f32 / sw / sx);
        } else {
            terms
                .zip(sw)
                .for_each(|((out, sum), sw)| *out = (sum - excess) as f32 / sw / sx);
        }
    }
}

/// `out[r] += (sums[r] − excess[r]) as f32 · d` for rows of as many columns as there are `d`.
#[inline(always)]
pub(crate) fn accumulate(sums: &[i32], excess: &[i32], d: &[f32], out: &mut [f32]) {
    let rows = sums.chunks_exact(d.len()).zip(out.chunks_exact_mut(d.len()));
    for ((sums, out), excess) in rows.zip(excess) {
        for ((out, sum), d) in out.iter_mut().zip(sums).zip(d) {
            *out += (sum - excess) as f32 * d;
        }
    }
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
