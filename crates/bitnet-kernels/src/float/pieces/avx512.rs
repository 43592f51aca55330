//! Lines of tiles with AVX-512, which every processor with tiles has.

use std::arch::x86_64::*;

use super::operand::{Along, Floats, Int8Codes, Operand, TernaryCodes};
use super::product::Tiled;
use crate::isa::amx::{Pair, Tile};

/// The bits of a float that are a bf16.
const UPPER: i32 = 0xffff_0000_u32 as i32;

impl Operand for Floats<'_> {
    fn outer(&self) -> usize {
        self.outer
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn pieces(&self) -> usize {
        self.pieces
    }

    fn along(&self) -> Along {
        self.along
    }

    fn check(&self) {
        self.check_lengths();
    }

    #[inline]
    fn fill(&self, _: Tiled, outer: usize, depth: usize, half: usize, pairs: &mut [Pair]) {
        match (self.along, self.pieces) {
            // SAFETY: `Tiled` proves AVX-512 F and BW, which is what these functions need.
            (Along::Depth, 1) => unsafe { rows::<1>(self, outer, depth, half, pairs) },
            // SAFETY: as above.
            (Along::Depth, 2) => unsafe { rows::<2>(self, outer, depth, half, pairs) },
            // SAFETY: as above.
            (Along::Depth, _) => unsafe { rows::<3>(self, outer, depth, half, pairs) },
            // SAFETY: as above.
            (Along::Outer, 1) => unsafe { columns::<1>(self, outer, depth, half, pairs) },
            // SAFETY: as above.
            (Along::Outer, 2) => unsafe { columns::<2>(self, outer, depth, half, pairs) },
            // SAFETY: as above.
            (Along::Outer, _) => unsafe { columns::<3>(self, outer, depth, half, pairs) },
        }
    }

    #[cfg(test)]
    fn value(&self, outer: usize, depth: usize) -> f32 {
        let at = match self.along {
            Along::Depth => outer * self.stride + depth,
            Along::Outer => depth * self.stride + outer,
        };
        self.data[at] * self.scales.map_or(1.0, |scales| scales[depth])
    }
}

impl Operand for Int8Codes<'_> {
    fn outer(&self) -> usize {
        self.outer
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn check(&self) {
        assert_eq!(self.codes.len(), self.depth * self.outer, "codes");
    }

    #[inline]
    fn fill(&self, _: Tiled, outer: usize, depth: usize, half: usize, pairs: &mut [Pair]) {
        // SAFETY: `Tiled` proves AVX-512 F, BW and VL.
        unsafe { int8_columns(self, outer, depth, half, pairs) }
    }

    #[cfg(test)]
    fn value(&self, outer: usize, depth: usize) -> f32 {
        f32::from(self.codes[depth * self.outer + outer])
    }
}

impl Operand for TernaryCodes<'_> {
    fn outer(&self) -> usize {
        self.outer
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn check(&self) {
        assert_eq!(self.words.len(), self.depth * self.stride(), "words");
    }

    #[inline]
    fn fill(&self, _: Tiled, outer: usize, depth: usize, half: usize, pairs: &mut [Pair]) {
        // SAFETY: `Tiled` proves AVX-512 F and BW.
        unsafe { ternary_columns(self, outer, depth, half, pairs) }
    }

    #[cfg(test)]
    fn value(&self, outer: usize, depth: usize) -> f32 {
        let word = self.words[depth * self.stride() + outer / 16];
        (word >> (2 * (outer % 16)) & 3) as f32 - 1.0
    }
}

/// The first `count` of 16 lanes; all of them if there are more.
fn first(count: usize) -> __mmask16 {
    match count {
        0..16 => (1 << count) - 1,
        _ => !0,
    }
}

/// What `data[at..]` holds, up to 16 elements, and 0 in the other lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(data: &[f32], at: usize, lanes: __mmask16) -> __m512 {
    debug_assert!(lanes == 0 || at + lanes.count_ones() as usize <= data.len());
    // SAFETY: the lanes of the mask lie in `data`, by `check` and the callers' masks; the others are not touched.
    unsafe { _mm512_maskz_loadu_ps(lanes, data.as_ptr().wrapping_add(at)) }
}

/// `x` in pieces, each in the upper halves of its lanes; of a piece but the last, the lower halves hold what is not its own.
#[inline]
#[target_feature(enable = "avx512f")]
fn pieces<const P: usize>(x: __m512) -> [__m512i; P] {
    let mut out = [_mm512_setzero_si512(); P];
    let mut rest = x;
    for (p, out) in out.iter_mut().enumerate() {
        let bits = _mm512_castps_si512(rest);
        let last = p + 1 == P;
        *out = match last && P < 3 {
            true => rounded(rest),
            false => bits,
        };
        if !last {
            let upper = _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(UPPER)));
            rest = _mm512_sub_ps(rest, upper);
        }
    }
    out
}

/// The nearest bf16, ties to even, in the upper halves. A NaN stays one.
#[inline]
#[target_feature(enable = "avx512f")]
fn rounded(x: __m512) -> __m512i {
    let bits = _mm512_castps_si512(x);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
    _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x0040_0000))
}

/// The upper halves of two times 16 lanes, one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn one_after_the_other(a: __m512i, b: __m512i) -> __m512i {
    let odd_words = [
        1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47,
        49, 51, 53, 55, 57, 59, 61, 63i16,
    ];
    // SAFETY: 64 bytes of the array.
    let odd_words = unsafe { _mm512_loadu_si512(odd_words.as_ptr().cast()) };
    _mm512_permutex2var_epi16(a, odd_words, b)
}

/// The upper halves of `even` and `odd`, lane by lane as pairs.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn side_by_side(even: __m512i, odd: __m512i) -> __m512i {
    _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32::<16>(even), odd)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(tile: &mut Tile, row: usize, line: __m512i) {
    // SAFETY: a row of a tile is 64 bytes.
    unsafe { _mm512_storeu_si512(tile.0[row].as_mut_ptr().cast(), line) }
}

/// Lines of 32 depths.
#[target_feature(enable = "avx512f,avx512bw")]
fn rows<const P: usize>(
    x: &Floats<'_>,
    outer: usize,
    depth: usize,
    half: usize,
    pairs: &mut [Pair],
) {
    let pairs: &mut [Pair; P] = pairs.try_into().expect("a pair for each piece");
    let left = x.depth.saturating_sub(depth);
    let lanes = [first(left), first(left.saturating_sub(16))];
    let mut scales = [_mm512_set1_ps(1.0); 2];
    if let Some(all) = x.scales {
        for i in 0..2 {
            scales[i] = load(all, depth + 16 * i, lanes[i]);
        }
    }
    for r in 0..16 {
        // Beyond the last row no lane is read.
        let inside = if outer + r < x.outer { !0 } else { 0 };
        let at = (outer + r) * x.stride + depth;
        let mut cut = [[_mm512_setzero_si512(); P]; 2];
        for i in 0..2 {
            let value = load(x.data, at + 16 * i, lanes[i] & inside);
            cut[i] = pieces::<P>(if x.scales.is_some() {
                _mm512_mul_ps(value, scales[i])
            } else {
                value
            });
        }
        for p in 0..P {
            store(
                &mut pairs[p].0[half],
                r,
                one_after_the_other(cut[0][p], cut[1][p]),
            );
        }
    }
}

/// Lines of 16 outer indices and two depths.
#[target_feature(enable = "avx512f,avx512bw")]
fn columns<const P: usize>(
    x: &Floats<'_>,
    outer: usize,
    depth: usize,
    half: usize,
    pairs: &mut [Pair],
) {
    let pairs: &mut [Pair; P] = pairs.try_into().expect("a pair for each piece");
    let lanes = first(x.outer.saturating_sub(outer));
    for r in 0..16 {
        let mut cut = [[_mm512_setzero_si512(); P]; 2];
        for (i, cut) in cut.iter_mut().enumerate() {
            let depth = depth + 2 * r + i;
            if depth < x.depth {
                let value = load(x.data, depth * x.stride + outer, lanes);
                *cut = pieces::<P>(match x.scales {
                    Some(scales) => _mm512_mul_ps(value, _mm512_set1_ps(scales[depth])),
                    None => value,
                });
            }
        }
        for p in 0..P {
            store(&mut pairs[p].0[half], r, side_by_side(cut[0][p], cut[1][p]));
        }
    }
}

/// Lines of 16 outer indices and two depths, of bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn int8_columns(x: &Int8Codes<'_>, outer: usize, depth: usize, half: usize, pairs: &mut [Pair]) {
    let [pair] = pairs else {
        panic!("{} pairs for one piece", pairs.len())
    };
    let lanes = first(x.outer.saturating_sub(outer));
    for r in 0..16 {
        let mut floats = [_mm512_setzero_si512(); 2];
        for (i, floats) in floats.iter_mut().enumerate() {
            let depth = depth + 2 * r + i;
            if depth < x.depth {
                let at = depth * x.outer + outer;
                debug_assert!(at + lanes.count_ones() as usize <= x.codes.len());
                // SAFETY: the lanes of the mask are codes of row `depth`, of which `check` has found
                // as many as the shape says. The others are not touched.
                let codes =
                    unsafe { _mm_maskz_loadu_epi8(lanes, x.codes.as_ptr().wrapping_add(at)) };
                *floats = _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)));
            }
        }
        store(&mut pair.0[half], r, side_by_side(floats[0], floats[1]));
    }
}

/// Lines of 16 outer indices (a word) and two depths, of 2-bit codes.
#[target_feature(enable = "avx512f,avx512bw")]
fn ternary_columns(
    x: &TernaryCodes<'_>,
    outer: usize,
    depth: usize,
    half: usize,
    pairs: &mut [Pair],
) {
    let [pair] = pairs else {
        panic!("{} pairs for one piece", pairs.len())
    };
    let shifts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let stride = x.stride();
    for r in 0..16 {
        let mut floats = [_mm512_setzero_si512(); 2];
        for (i, floats) in floats.iter_mut().enumerate() {
            let depth = depth + 2 * r + i;
            if depth < x.depth && outer < x.outer {
                // Past the last column a word holds zeros.
                let word = x.words[depth * stride + outer / 16];
                let stored = _mm512_srlv_epi32(_mm512_set1_epi32(word as i32), shifts);
                let stored = _mm512_and_si512(stored, _mm512_set1_epi32(3));
                let codes = _mm512_sub_epi32(stored, _mm512_set1_epi32(1));
                *floats = _mm512_castps_si512(_mm512_cvtepi32_ps(codes));
            }
        }
        store(&mut pair.0[half], r, side_by_side(floats[0], floats[1]));
    }
}

/// Transposes a tile as 16 × 16 pairs: the form of A to that of B, and back.
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(tile: &mut Tile) {
    let mut a = [_mm512_setzero_si512(); 16];
    for (r, line) in a.iter_mut().enumerate() {
        // SAFETY: a row of a tile is 64 bytes.
        *line = unsafe { _mm512_loadu_si512(tile.0[r].as_ptr().cast()) };
    }
    // 2 × 2 blocks of lanes, then of pairs of lanes, within quarters.
    let mut b = a;
    for r in (0..16).step_by(4) {
        let low = [
            _mm512_unpacklo_epi32(a[r], a[r + 1]),
            _mm512_unpacklo_epi32(a[r + 2], a[r + 3]),
        ];
        let high = [
            _mm512_unpackhi_epi32(a[r], a[r + 1]),
            _mm512_unpackhi_epi32(a[r + 2], a[r + 3]),
        ];
        b[r] = _mm512_unpacklo_epi64(low[0], low[1]);
        b[r + 1] = _mm512_unpackhi_epi64(low[0], low[1]);
        b[r + 2] = _mm512_unpacklo_epi64(high[0], high[1]);
        b[r + 3] = _mm512_unpackhi_epi64(high[0], high[1]);
    }
    // `b[4 i + j]` holds, in quarter q, column `4 q + j` of rows `4 i ..`: the quarters are transposed now.
    for j in 0..4 {
        let low = [
            _mm512_shuffle_i32x4::<0x44>(b[j], b[4 + j]),
            _mm512_shuffle_i32x4::<0x44>(b[8 + j], b[12 + j]),
        ];
        let high = [
            _mm512_shuffle_i32x4::<0xee>(b[j], b[4 + j]),
            _mm512_shuffle_i32x4::<0xee>(b[8 + j], b[12 + j]),
        ];
        store(tile, j, _mm512_shuffle_i32x4::<0x88>(low[0], low[1]));
        store(tile, 4 + j, _mm512_shuffle_i32x4::<0xdd>(low[0], low[1]));
        store(tile, 8 + j, _mm512_shuffle_i32x4::<0x88>(high[0], high[1]));
        store(tile, 12 + j, _mm512_shuffle_i32x4::<0xdd>(high[0], high[1]));
    }
}
