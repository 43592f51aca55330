//! The AVX2 product: `vpmaddubsw` on stored codes.
//!
//! A load of 32 packed bytes and three shifts give four registers of codes (unsigned, 0..=3), which meet the four
//! planes of a [`Chunk`]: `vpmaddubsw` multiplies 32 codes by 32 activations and adds neighbours to 16 int16. Decoding
//! costs 8 instructions for 128 elements and each row of `x` another 8, so up to [`ROWS`] rows of `x` share it.
//!
//! # Why int16 does not overflow
//!
//! A code is at most 3 (2 for legal words) and |x| at most 128, so one `vpmaddubsw` lane is at most `2 · 3 · 128 =
//! 768` in size. A chunk adds four of them, 3072; [`WIDEN`]` = 8` chunks 24576 ≤ 32767. Then `vpmaddwd` by ones adds
//! neighbours to int32 (bounds: `product`), at 2 instructions per 8 chunks. Neither `vpmaddubsw`'s saturation nor a
//! wrap can occur.

use std::arch::x86_64::*;

use crate::{
    PackedView,
    gemm::planes::{Chunk, Planes},
    gemm::tiles::{TILE_N, Tile},
};

/// Rows of `x` that share one decoding: more than 3 are interleaved instead (`interleaved`).
const ROWS: usize = 3;

/// Chunks between two widenings.
const WIDEN: usize = 8;

/// Fills a tile with the exact sums of its rows of `x` and `w`.
#[target_feature(enable = "avx2")]
pub(crate) fn tile_product(x: &Planes, w: PackedView<'_>, tile: &mut Tile) {
    let mut m = tile.m.start;
    // A group of x (4 · K bytes, level one at K ≤ 8192) stays while the tile's rows of w pass by.
    while m < tile.m.end {
        match tile.m.end - m {
            1 => one_row(x, w, m, tile),
            2 => rows::<2>(x, w, m, tile),
            _ => rows::<ROWS>(x, w, m, tile),
        }
        m += ROWS;
    }
}

/// `R` rows of `x` against every row of `w` in the tile. Four rows of `w` at a time, so that sums leave in vectors: at
/// K = 128 storing them one by one took half of the time.
#[target_feature(enable = "avx2")]
fn rows<const R: usize>(x: &Planes, w: PackedView<'_>, m: usize, tile: &mut Tile) {
    let planes: [&[Chunk]; R] = std::array::from_fn(|r| x.row(m + r));
    let mut correction = [0; 4];
    (0..R).for_each(|r| correction[r] = x.sum(m + r));
    let correction = _mm_setr_epi32(correction[0], correction[1], correction[2], correction[3]);
    let base = (m - tile.m.start) * TILE_N;
    for column in (0..tile.n.len()).step_by(4) {
        let mut sums = [_mm_setzero_si128(); 4];
        for (sum, n) in sums.iter_mut().zip(tile.n.start + column..tile.n.end) {
            let mut lanes = [_mm256_setzero_si256(); 4];
            lanes[..R].copy_from_slice(&accumulate(w.row_words(n), planes));
            *sum = _mm_sub_epi32(horizontal(lanes), correction);
        }
        for (r, sums) in transpose(sums).into_iter().enumerate().take(R) {
            store(sums, tile, base + r * TILE_N + column);
        }
    }
}

/// One row of `x` (decoding a token): four rows of `w` share the horizontal additions.
#[target_feature(enable = "avx2")]
fn one_row(x: &Planes, w: PackedView<'_>, m: usize, tile: &mut Tile) {
    let (planes, correction) = (x.row(m), _mm_set1_epi32(x.sum(m)));
    let base = (m - tile.m.start) * TILE_N;
    for column in (0..tile.n.len()).step_by(4) {
        let mut lanes = [_mm256_setzero_si256(); 4];
        for (lanes, n) in lanes.iter_mut().zip(tile.n.start + column..tile.n.end) {
            [*lanes] = accumulate(w.row_words(n), [planes]);
        }
        store(
            _mm_sub_epi32(horizontal(lanes), correction),
            tile,
            base + column,
        );
    }
}

/// Writes four sums of a row of the tile. `TILE_N` is a multiple of 4, so those past the tile's last column still lie
/// in the row; nobody reads them.
#[inline]
#[target_feature(enable = "avx2")]
fn store(sums: __m128i, tile: &mut Tile, at: usize) {
    const { assert!(TILE_N.is_multiple_of(4)) };
    let out = &mut tile.sums[at..at + 4];
    // SAFETY: out is 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), sums) };
}

/// `Σ stored · x` of one row of `w` with `R` rows of `x`, as 8 int32 lanes each.
#[inline]
#[target_feature(enable = "avx2")]
fn accumulate<const R: usize>(words: &[u32], x: [&[Chunk]; R]) -> [__m256i; R] {
    let (chunks, tail) = words.as_chunks::<8>();
    for x in x {
        assert_eq!(x.len(), chunks.len() + usize::from(!tail.is_empty()));
    }
    let ones = _mm256_set1_epi16(1);
    let mut total = [_mm256_setzero_si256(); R];
    for (block, chunks) in chunks.chunks(WIDEN).enumerate() {
        let mut sums = [_mm256_setzero_si256(); R];
        for (i, words) in chunks.iter().enumerate() {
            // SAFETY: `words` is 32 bytes.
            let codes = decode(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) });
            for r in 0..R {
                // SAFETY: the index is that of `words` among the full chunks, of which x[r] has at least as many.
                let chunk = unsafe { x[r].get_unchecked(block * WIDEN + i) };
                sums[r] = _mm256_add_epi16(sums[r], dot(codes, chunk));
            }
        }
        for r in 0..R {
            total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(sums[r], ones));
        }
    }
    if !tail.is_empty() {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(tail.len() as i32), lanes);
        // SAFETY: the mask selects the `tail.len()` words of `tail`; masked words are not read.
        let codes = decode(unsafe { _mm256_maskload_epi32(tail.as_ptr().cast(), mask) });
        for r in 0..R {
            let sum = dot(codes, &x[r][chunks.len()]);
            total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(sum, ones));
        }
    }
    total
}

/// 32 packed bytes to four registers: the codes of elements `4b + i`.
#[inline]
#[target_feature(enable = "avx2")]
fn decode(bytes: __m256i) -> [__m256i; 4] {
    let mask = _mm256_set1_epi8(3);
    [
        _mm256_and_si256(bytes, mask),
        _mm256_and_si256(_mm256_srli_epi16::<2>(bytes), mask),
        _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask),
        _mm256_and_si256(_mm256_srli_epi16::<6>(bytes), mask),
    ]
}

/// The four partial products of a chunk, added in int16.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(codes: [__m256i; 4], chunk: &Chunk) -> __m256i {
    let mut products = [_mm256_setzero_si256(); 4];
    for i in 0..4 {
        // SAFETY: a plane is 32 bytes, aligned to 32 as `Chunk` is.
        let plane = unsafe { _mm256_load_si256(chunk.0[i].as_ptr().cast()) };
        products[i] = _mm256_maddubs_epi16(codes[i], plane);
    }
    _mm256_add_epi16(
        _mm256_add_epi16(products[0], products[1]),
        _mm256_add_epi16(products[2], products[3]),
    )
}

/// The sums of the lanes of four vectors.
#[inline]
#[target_feature(enable = "avx2")]
fn horizontal(v: [__m256i; 4]) -> __m128i {
    let quads = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
    _mm_add_epi32(
        _mm256_castsi256_si128(quads),
        _mm256_extracti128_si256::<1>(quads),
    )
}

/// Rows to columns of a 4 × 4 block.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(v: [__m128i; 4]) -> [__m128i; 4] {
    let (low01, high01) = (
        _mm_unpacklo_epi32(v[0], v[1]),
        _mm_unpackhi_epi32(v[0], v[1]),
    );
    let (low23, high23) = (
        _mm_unpacklo_epi32(v[2], v[3]),
        _mm_unpackhi_epi32(v[2], v[3]),
    );
    [
        _mm_unpacklo_epi64(low01, low23),
        _mm_unpackhi_epi64(low01, low23),
        _mm_unpacklo_epi64(high01, high23),
        _mm_unpackhi_epi64(high01, high23),
    ]
}
