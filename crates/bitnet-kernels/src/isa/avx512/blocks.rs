//! Products in blocks with 512-bit `vpdpbusd`: a line is one register.
//!
//! The instruction multiplies unsigned by signed bytes. 8-bit codes become unsigned by flipping their sign bit, which adds
//! 128, so a sum of a block begins at `-128 · Σx`; stored 4-bit codes are unsigned, and those of `Int4` begin at `-8 · Σx`.

use std::arch::x86_64::*;

use crate::{
    BLOCK,
    blocks::{XBlock, block_product, quantize_blocks as quantize},
};

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
    blocks, rows [6, 4, 2, 1], wide 2, narrow 1, self::ops
}

/// Activations to blocks, as the plain loops do: rounding to the nearest integer is one instruction.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn quantize_blocks(x: &[f32], out: &mut [XBlock]) {
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    for (x, out) in x.as_chunks::<BLOCK>().0.iter().zip(out) {
        // SAFETY: a block is 32 floats.
        let (low, high) = unsafe {
            let start = x.as_ptr();
            (_mm512_loadu_ps(start), _mm512_loadu_ps(start.add(16)))
        };
        let bits = |x| _mm512_and_si512(_mm512_castps_si512(x), magnitude);
        let max = _mm512_reduce_max_epu32(_mm512_max_epu32(bits(low), bits(high)));
        let max = f32::from_bits(max);
        let inverse = 127.0 / max;
        if !max.is_finite() || !inverse.is_finite() {
            quantize(x, std::slice::from_mut(out));
            continue;
        }
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        let factor = _mm512_set1_ps(inverse);
        let low = _mm512_cvt_roundps_epi32::<NEAREST>(_mm512_mul_ps(low, factor));
        let high = _mm512_cvt_roundps_epi32::<NEAREST>(_mm512_mul_ps(high, factor));
        let sums = [_mm512_reduce_add_epi32(low), _mm512_reduce_add_epi32(high)];
        *out = XBlock::new(max / 127.0, sums);
        let codes = out.codes.as_mut_ptr().cast::<__m128i>();
        // SAFETY: the codes of a block are 32 bytes.
        unsafe {
            _mm_storeu_si128(codes, _mm512_cvtepi32_epi8(low));
            _mm_storeu_si128(codes.add(1), _mm512_cvtepi32_epi8(high));
        }
    }
}
