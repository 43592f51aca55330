//! Products in blocks with 256-bit registers: a line is two of them.
//!
//! `vpmaddubsw` multiplies unsigned by signed bytes and saturates at int16. 8-bit codes: `|q|` by the activation with the
//! sign of `q`, at most `2 · 128 · 127 = 32512` a pair (a code of an activation never is -128). 4-bit codes are stored
//! without a sign; the pairs of a whole block add up in int16: `8 · 2 · 15 · 127 = 30480`.

use crate::blocks::{XBlock, block_product, quantize_blocks as quantize};

/// The operations on 16 floats, which AVX-VNNI takes as they are.
pub(crate) mod floats {
    use std::arch::x86_64::*;

    use crate::dense::Line;

    pub(crate) type Floats = [__m256; 2];
    pub(crate) type Ints = [__m256i; 2];
    pub(crate) type Codes = [__m256i; 2];

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn zero() -> Floats {
        [_mm256_setzero_ps(); 2]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn load(line: &Line) -> Codes {
        let start = line.0.as_ptr().cast::<__m256i>();
        // SAFETY: a line is 64 aligned bytes.
        unsafe { [_mm256_load_si256(start), _mm256_load_si256(start.add(1))] }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn nibbles(line: &Line) -> [Codes; 2] {
        let ([a, b], low) = (load(line), _mm256_set1_epi8(15));
        let high = |pairs| _mm256_and_si256(_mm256_srli_epi32::<4>(pairs), low);
        [
            [_mm256_and_si256(a, low), _mm256_and_si256(b, low)],
            [high(a), high(b)],
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn quad(x: [i8; 4]) -> __m256i {
        _mm256_set1_epi32(i32::from_le_bytes(x.map(|x| x as u8)))
    }

    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    pub(crate) fn scales(line: &Line, half: usize) -> Floats {
        let quarters = line.0.as_chunks::<4>().0;
        // SAFETY: a quarter of a line is 16 aligned bytes.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_load_si128(quarters[2 * half].as_ptr().cast())),
                _mm256_cvtph_ps(_mm_load_si128(quarters[2 * half + 1].as_ptr().cast())),
            ]
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn scales_f32(line: &Line) -> Floats {
        let [a, b] = load(line);
        [_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn add(acc: Floats, sum: Ints, w_scale: Floats, x_scale: f32) -> Floats {
        let x_scale = _mm256_set1_ps(x_scale);
        let one = |acc, sum, w_scale| {
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(w_scale, x_scale), acc)
        };
        [one(acc[0], sum[0], w_scale[0]), one(acc[1], sum[1], w_scale[1])]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn add_min(acc: Floats, minimum: Floats, x_sum: f32) -> Floats {
        let x_sum = _mm256_set1_ps(x_sum);
        [
            _mm256_fmadd_ps(minimum[0], x_sum, acc[0]),
            _mm256_fmadd_ps(minimum[1], x_sum, acc[1]),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(crate) fn store(acc: Floats) -> [f32; 16] {
        let mut out = [0.0; 16];
        // SAFETY: `out` is 64 bytes.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), acc[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), acc[1]);
        }
        out
    }
}

/// The operations that `block_product` asks for.
mod ops {
    use std::arch::x86_64::*;

    pub(super) use super::floats::*;
    use crate::dense::Line;

    /// The codes keep their sign.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn bytes(line: &Line) -> Codes {
        load(line)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn begin8(_: i32) -> Ints {
        [_mm256_setzero_si256(); 2]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn dot8(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        let (x, ones) = (quad(x), _mm256_set1_epi16(1));
        let one = |sum, codes| {
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(codes), _mm256_sign_epi8(x, codes));
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones))
        };
        [one(sum[0], codes[0]), one(sum[1], codes[1])]
    }

    /// Sums of pairs, in int16.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn begin4(_: i32) -> Ints {
        [_mm256_setzero_si256(); 2]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn dot4(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        let x = quad(x);
        let one = |sum, codes| _mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, x));
        [one(sum[0], codes[0]), one(sum[1], codes[1])]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn end4(sum: Ints, start: i32) -> Ints {
        let (ones, start) = (_mm256_set1_epi16(1), _mm256_set1_epi32(start));
        let one = |sum| _mm256_add_epi32(_mm256_madd_epi16(sum, ones), start);
        [one(sum[0]), one(sum[1])]
    }
}

block_product! {
    #[target_feature(enable = "avx2,fma,f16c")]
    blocks, rows [4, 2, 1], wide 1, narrow 1, self::ops
}

/// The quantiser of activations with 256-bit registers.
#[target_feature(enable = "avx2")]
pub(crate) fn quantize_blocks(x: &[f32], out: &mut [XBlock]) {
    quantize(x, out);
}
