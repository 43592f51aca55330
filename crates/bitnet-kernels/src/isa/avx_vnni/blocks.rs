//! Products in blocks with 256-bit `vpdpbusd`, in either encoding: the floats are AVX2's, the sums begin as AVX-512's.

use crate::blocks::block_product;

/// Defines the operations that `block_product` asks for.
macro_rules! block_operations {
    ($name:ident, $features:literal, $dot:path) => {
        mod $name {
            use std::arch::x86_64::*;

            pub(super) use crate::isa::avx2::floats::*;
            use crate::dense::Line;

            #[inline]
            #[target_feature(enable = "avx2")]
            pub(super) fn bytes(line: &Line) -> Codes {
                let sign = _mm256_set1_epi8(i8::MIN);
                let [a, b] = load(line);
                [_mm256_xor_si256(a, sign), _mm256_xor_si256(b, sign)]
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            pub(super) fn begin8(start: i32) -> Ints {
                [_mm256_slli_epi32::<4>(_mm256_set1_epi32(start)); 2]
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn dot8(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
                let x = quad(x);
                [$dot(sum[0], codes[0], x), $dot(sum[1], codes[1], x)]
            }

            #[inline]
            #[target_feature(enable = "avx2")]
            pub(super) fn begin4(start: i32) -> Ints {
                [_mm256_set1_epi32(start); 2]
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn dot4(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
                dot8(sum, codes, x)
            }

            #[inline]
            pub(super) fn end4(sum: Ints, _: i32) -> Ints {
                sum
            }
        }
    };
}

block_operations!(ops, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);

block_product! {
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    blocks, rows [4, 2, 1], wide 1, narrow 1, self::ops
}

/// The same source with AVX-512's encoding of the instruction, on machines that have no other.
#[cfg(test)]
pub(crate) mod evex {
    use super::block_product;

    block_operations!(ops, "avx2,avx512vnni,avx512vl", _mm256_dpbusd_epi32);

    block_product! {
        #[target_feature(enable = "avx2,fma,f16c,avx512vnni,avx512vl")]
        blocks, rows [4, 2, 1], wide 1, narrow 1, self::ops
    }
}
