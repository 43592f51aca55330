//! The AVX2 kernel: the functions of `scalar`, with 256-bit vectors.
//!
//! Every function here needs AVX2 and nothing else of its caller; lengths are those of the slices. The float loops
//! are `scalar`'s own source compiled with wider registers; what a compiler does not find by itself (rounding to
//! bytes, packing, decoding, splitting, the product) is written with intrinsics.

mod blocks;
mod dense;
mod prepacked;
#[cfg(test)]
mod tests;

use std::arch::x86_64::*;

pub(crate) use blocks::floats;
pub(crate) use prepacked::panel_functions;

use super::{DenseLoops, Isa, PanelLoops, RowLoops, scalar};
use crate::{Layout, SUM_LANES, gemm::blocking::Sums, system::shared_out::Rectangle};

const NEEDS: &str = "AVX2, FMA and F16C";

pub(crate) static ISA: Isa = Isa {
    needs: NEEDS,
    detect: || require!(is_x86_feature_detected, NEEDS, "avx2", "fma", "f16c"),
    layout: Layout::TwoBit,
    rows: ROWS,
    panels: PanelLoops {
        two_bit: prepacked::two_bit,
        base_three: prepacked::base_three,
        decode: prepacked::decode,
        gemm: prepacked::gemm,
        signed: scalar::signed,
        rows_at_a_time: prepacked::ROWS,
    },
    few_rows: None,
    many_rows: None,
    lookup: None,
    scaled: None,
    dense: DENSE,
    peak: Some(dots),
};

/// The loops over rows, which wider instruction sets take as they are.
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

/// Dense products, which AVX-VNNI takes as they are, and products in blocks.
pub(crate) const DENSE: DenseLoops = DenseLoops {
    dense_f32: dense::f32,
    dense_bf16: dense::bf16,
    dense_f16: dense::f16,
    dense_codes: dense::codes,
    dense_int8: dense::int8,
    quantize_blocks: blocks::quantize_blocks,
    blocks: blocks::blocks,
    softmax: dense::softmax,
};

peak!(dots, "avx2", _mm256_setzero_si256(), multiply_and_add, 32);

/// AVX2 has no dot product to int32; this pair adds up in int16. The sum takes part in the product, or the compiler would
/// multiply once for the whole loop.
#[inline]
#[target_feature(enable = "avx2")]
fn multiply_and_add(sum: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    _mm256_add_epi16(codes, _mm256_maddubs_epi16(sum, x))
}

/// `scalar`'s source with 256-bit registers.
macro_rules! widened {
    ($($name:ident ( $($arg:ident : $type:ty),* ) $(-> $out:ty)?;)*) => {$(
        #[target_feature(enable = "avx2")]
        pub(crate) fn $name($($arg: $type),*) $(-> $out)? {
            scalar::$name($($arg),*)
        }
    )*};
}

widened! {
    max_abs_bits(x: &[f32]) -> u32;
    div_row(codes: &[i8], scale: f32, out: &mut [f32]);
    copy_row(codes: &[i8], out: &mut [i8]) -> i32;
    epilogue(sums: Sums<'_>, excess: Option<&[i32]>, sw: &[f32], sx: &[f32], out: Rectangle<'_, f32>);
    accumulate(sums: &[i32], excess: &[i32], d: &[f32], out: &mut [f32]);
    sum(codes: &[i8]) -> i32;
}

/// `Σ|w|` of one block, in the order of `weight`: the 32 lanes are four registers. (Left to itself the compiler keeps the
/// lanes in memory, at a sixth of the speed.)
#[target_feature(enable = "avx2")]
pub(crate) fn abs_block_sum(block: &[f32]) -> f32 {
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let mut sums = [_mm256_setzero_ps(); 4];
    let (groups, tail) = block.as_chunks::<SUM_LANES>();
    for group in groups {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: group has 32 floats and i < 4.
            let w = unsafe { _mm256_loadu_ps(group.as_ptr().add(8 * i)) };
            *sum = _mm256_add_ps(*sum, _mm256_and_ps(w, magnitude));
        }
    }
    let mut lanes = [0.0; SUM_LANES];
    for (lanes, sum) in lanes.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        // SAFETY: lanes are 8 floats.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    }
    scalar::fold_lanes(lanes, tail)
}

/// The order that undoes the lane-wise interleaving of two rounds of `packs`: element group `4g .. 4g+4` of the sources
/// ends at 32-bit position `g/2 + 4·(g%2)`.
#[target_feature(enable = "avx2")]
fn unpermute() -> __m256i {
    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)
}

/// Four vectors of 8 int32 to 32 int8 in order, saturating.
#[target_feature(enable = "avx2")]
fn narrow(v: [__m256i; 4]) -> __m256i {
    let bytes = _mm256_packs_epi16(
        _mm256_packs_epi32(v[0], v[1]),
        _mm256_packs_epi32(v[2], v[3]),
    );
    _mm256_permutevar8x32_epi32(bytes, unpermute())
}

/// `clamp(round(x · s), -128, 127)` of a finite row.
#[target_feature(enable = "avx2")]
pub(crate) fn quantize_row(x: &[f32], scale: f32, codes: &mut [i8]) {
    let s = _mm256_set1_ps(scale);
    let (blocks, tail) = x.as_chunks::<32>();
    let (out, out_tail) = codes.as_chunks_mut::<32>();
    for (block, out) in blocks.iter().zip(out) {
        let mut ints = [_mm256_setzero_si256(); 4];
        for (i, ints) in ints.iter_mut().enumerate() {
            // SAFETY: block has 32 floats and i < 4.
            let x = unsafe { _mm256_loadu_ps(block.as_ptr().add(8 * i)) };
            // Rounds half to even: Rust code runs with the default rounding mode.
            *ints = _mm256_cvtps_epi32(_mm256_mul_ps(x, s));
        }
        // SAFETY: out has 32 bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), narrow(ints)) };
    }
    scalar::quantize_row(tail, scale, out_tail);
}

/// One row of weights to packed words, 32 weights (two words) at a time.
#[target_feature(enable = "avx2")]
pub(crate) fn pack_row(w: &[f32], scale: f32, words: &mut [u32]) {
    let (s, half, minus_half) = (
        _mm256_set1_ps(scale),
        _mm256_set1_ps(0.5),
        _mm256_set1_ps(-0.5),
    );
    let (blocks, tail) = w.as_chunks::<32>();
    let (out, out_tail) = words.split_at_mut(2 * blocks.len());
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<2>().0) {
        let mut codes = [_mm256_setzero_si256(); 4];
        for (i, codes) in codes.iter_mut().enumerate() {
            // SAFETY: block has 32 floats and i < 4.
            let v = _mm256_mul_ps(unsafe { _mm256_loadu_ps(block.as_ptr().add(8 * i)) }, s);
            // A true comparison is -1.
            let up = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_GT_OQ>(v, half));
            let down = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(v, minus_half));
            *codes = _mm256_sub_epi32(down, up);
        }
        let stored = _mm256_add_epi8(narrow(codes), _mm256_set1_epi8(1));
        // c0 + 4·c1 in 16 bits, then (c0 + 4·c1) + 16·(c2 + 4·c3) in 32: the low byte of each is one packed byte.
        let pairs = _mm256_maddubs_epi16(stored, _mm256_set1_epi16(0x0401));
        let bytes = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x0010_0001));
        let low = _mm256_setr_epi8(
            0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, //
            0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
        );
        let packed = _mm256_shuffle_epi8(bytes, low);
        *out = [
            _mm256_extract_epi32::<0>(packed) as u32,
            _mm256_extract_epi32::<4>(packed) as u32,
        ];
    }
    scalar::pack_row(tail, scale, out_tail);
}

/// `out[k] = values[stored k]`: a shift brings the element to bits 1:0, by which `permutevar` picks a value.
#[target_feature(enable = "avx2")]
pub(crate) fn unpack_row(words: &[u32], values: [f32; 4], out: &mut [f32]) {
    let [a, b, c, d] = values;
    let table = _mm256_setr_ps(a, b, c, d, a, b, c, d);
    let low = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    let high = _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30);
    let (blocks, tail) = out.as_chunks_mut::<16>();
    let full = blocks.len();
    for (word, block) in words.iter().zip(blocks) {
        let word = _mm256_set1_epi32(*word as i32);
        let first = _mm256_permutevar_ps(table, _mm256_srlv_epi32(word, low));
        let second = _mm256_permutevar_ps(table, _mm256_srlv_epi32(word, high));
        // SAFETY: block has 16 floats.
        unsafe {
            _mm256_storeu_ps(block.as_mut_ptr(), first);
            _mm256_storeu_ps(block.as_mut_ptr().add(8), second);
        }
    }
    scalar::unpack_row(&words[full..], values, tail);
}

/// Writes a row of codes as the 4 × 4 transpositions of its sixteens, zero past its end, and returns its sum.
#[target_feature(enable = "avx2")]
pub(crate) fn transpose_row(codes: &[i8], out: &mut [i8]) -> i32 {
    let by_four = _mm256_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, //
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
    );
    let (blocks, tail) = codes.as_chunks::<32>();
    let (full, rest) = out.split_at_mut(32 * blocks.len());
    for (block, out) in blocks.iter().zip(full.as_chunks_mut::<32>().0) {
        // SAFETY: both are 32 bytes.
        unsafe {
            let bytes = _mm256_loadu_si256(block.as_ptr().cast());
            let bytes = _mm256_shuffle_epi8(bytes, by_four);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
        }
    }
    scalar::transpose_row(tail, rest);
    scalar::sum(codes)
}
