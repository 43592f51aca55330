//! Products in blocks: codes as pairs of int16, the even bytes of each lane and the odd ones.

use crate::blocks::block_product;

/// The operations that `block_product` asks for.
pub(crate) mod ops {
    use std::arch::wasm32::*;

    pub(crate) use super::super::floats::{store, zero};
    use super::super::{
        floats::{self, Wide, of_f16, widen},
        load,
    };
    use crate::dense::Line;

    pub(crate) type Ints = [v128; 4];
    /// The even bytes of each quarter, then the odd ones.
    pub(crate) type Codes = [v128; 8];

    /// Signed bytes as int16.
    #[inline(always)]
    pub(crate) fn pairs_of_bytes(line: &Line) -> Codes {
        let [a, b, c, d] = load(line);
        let even = |x| i16x8_shr(i16x8_shl(x, 8), 8);
        let odd = |x| i16x8_shr(x, 8);
        [even(a), even(b), even(c), even(d), odd(a), odd(b), odd(c), odd(d)]
    }

    #[inline(always)]
    pub(crate) fn bytes(line: &Line) -> Codes {
        pairs_of_bytes(line)
    }

    #[inline(always)]
    pub(crate) fn nibbles(line: &Line) -> [Codes; 2] {
        let (lanes, mask) = (load(line), i16x8_splat(15));
        let mut codes = [[mask; 8]; 2];
        for (quarter, lane) in lanes.into_iter().enumerate() {
            codes[0][quarter] = v128_and(lane, mask);
            codes[0][4 + quarter] = v128_and(u16x8_shr(lane, 8), mask);
            codes[1][quarter] = v128_and(u16x8_shr(lane, 4), mask);
            codes[1][4 + quarter] = u16x8_shr(lane, 12);
        }
        codes
    }

    /// The codes have their sign.
    #[inline(always)]
    pub(crate) fn begin8(_: i32) -> Ints {
        [i32x4_splat(0); 4]
    }

    #[inline(always)]
    pub(crate) fn dot8(mut sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        let x = i32x4_splat(i32::from_le_bytes(x.map(|x| x as u8)));
        let (even, odd) = (i16x8_shr(i16x8_shl(x, 8), 8), i16x8_shr(x, 8));
        for quarter in 0..4 {
            let first = i32x4_dot_i16x8(codes[quarter], even);
            let second = i32x4_dot_i16x8(codes[4 + quarter], odd);
            sum[quarter] = i32x4_add(sum[quarter], i32x4_add(first, second));
        }
        sum
    }

    #[inline(always)]
    pub(crate) fn begin4(start: i32) -> Ints {
        [i32x4_splat(start); 4]
    }

    #[inline(always)]
    pub(crate) fn dot4(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        dot8(sum, codes, x)
    }

    #[inline(always)]
    pub(crate) fn end4(sum: Ints, _: i32) -> Ints {
        sum
    }

    #[inline(always)]
    pub(crate) fn scales(line: &Line, half: usize) -> [v128; 4] {
        let lanes = load(line);
        of_f16([lanes[2 * half], lanes[2 * half + 1]])
    }

    #[inline(always)]
    pub(crate) fn scales_f32(line: &Line) -> [v128; 4] {
        load(line)
    }

    #[inline(always)]
    pub(crate) fn add(acc: Wide, sum: Ints, w_scale: [v128; 4], x_scale: f32) -> Wide {
        let scale = widen(w_scale.map(|scale| f32x4_mul(scale, f32x4_splat(x_scale))));
        let mut sums = zero();
        for (pair, sum) in sums.as_chunks_mut::<2>().0.iter_mut().zip(sum) {
            // Below 2^24, so exact as an f32 too.
            *pair = [
                f64x2_convert_low_i32x4(sum),
                f64x2_convert_low_i32x4(i64x2_shuffle::<1, 1>(sum, sum)),
            ];
        }
        floats::fma(acc, sums, scale)
    }

    #[inline(always)]
    pub(crate) fn add_min(acc: Wide, minimum: [v128; 4], x_sum: f32) -> Wide {
        floats::fma(acc, widen(minimum), [f64x2_splat(f64::from(x_sum)); 8])
    }
}

block_product! { blocks, rows [2, 1], wide 1, narrow 1, self::ops }
