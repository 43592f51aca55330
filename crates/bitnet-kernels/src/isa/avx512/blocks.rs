//! Products in blocks with 512-bit `vpdpbusd`: a line is one register.
//!
//! The instruction multiplies unsigned by signed bytes. 8-bit codes become unsigned by flipping their sign bit, which adds
//! 128, so a sum of a block begins at `-128 · Σx`; stored 4-bit codes are unsigned, and those of `Int4` begin at `-8 · Σx`.

use crate::blocks::block_product;

/// The operations that `block_product` asks for.
mod ops {
    use std::arch::x86_64::*;

    use crate::dense::Line;

    pub(super) type Floats = __m512;
    pub(super) type Ints = __m512i;
    pub(super) type Codes = __m512i;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn zero() -> Floats {
        _mm512_setzero_ps()
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(line: &Line) -> __m512i {
        // SAFETY: a line is 64 aligned bytes.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn bytes(line: &Line) -> Codes {
        _mm512_xor_si512(load(line), _mm512_set1_epi8(i8::MIN))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn nibbles(line: &Line) -> [Codes; 2] {
        let (pairs, low) = (load(line), _mm512_set1_epi8(15));
        let high = _mm512_srli_epi32::<4>(pairs);
        [_mm512_and_si512(pairs, low), _mm512_and_si512(high, low)]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn begin8(start: i32) -> Ints {
        _mm512_slli_epi32::<4>(_mm512_set1_epi32(start))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn dot8(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(i32::from_le_bytes(x.map(|x| x as u8))))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn begin4(start: i32) -> Ints {
        _mm512_set1_epi32(start)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn dot4(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        dot8(sum, codes, x)
    }

    #[inline]
    pub(super) fn end4(sum: Ints, _: i32) -> Ints {
        sum
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn scales(line: &Line, half: usize) -> Floats {
        let halves = line.0.as_chunks::<8>().0;
        // SAFETY: half a line is 32 aligned bytes.
        _mm512_cvtph_ps(unsafe { _mm256_load_si256(halves[half].as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn scales_f32(line: &Line) -> Floats {
        _mm512_castsi512_ps(load(line))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn add(acc: Floats, sum: Ints, w_scale: Floats, x_scale: f32) -> Floats {
        let scale = _mm512_mul_ps(w_scale, _mm512_set1_ps(x_scale));
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, acc)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn add_min(acc: Floats, minimum: Floats, x_sum: f32) -> Floats {
        _mm512_fmadd_ps(minimum, _mm512_set1_ps(x_sum), acc)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store(acc: Floats) -> [f32; 16] {
        let mut out = [0.0; 16];
        // SAFETY: `out` is 64 bytes.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), acc) };
        out
    }
}

block_product! {
    #[target_feature(enable = "avx512f,avx512vnni")]
    blocks, rows [6, 4, 2, 1], wide 2, narrow 4, self::ops
}
