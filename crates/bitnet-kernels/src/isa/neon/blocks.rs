//! Products in blocks with `sdot`: a line is four registers, and codes of any width have their sign or need none.

use crate::blocks::block_product;

/// The operations that `block_product` asks for.
mod ops {
    use std::arch::{aarch64::*, asm};

    use super::super::{load, sdot};
    use crate::dense::Line;

    pub(super) type Floats = [float32x4_t; 4];
    pub(super) type Ints = [int32x4_t; 4];
    pub(super) type Codes = [int8x16_t; 4];

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn zero() -> Floats {
        [vdupq_n_f32(0.0); 4]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn bytes(line: &Line) -> Codes {
        let [a, b, c, d] = load(line);
        [
            vreinterpretq_s8_u8(a),
            vreinterpretq_s8_u8(b),
            vreinterpretq_s8_u8(c),
            vreinterpretq_s8_u8(d),
        ]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn nibbles(line: &Line) -> [Codes; 2] {
        let (mut low, mut high) = ([vdupq_n_s8(0); 4], [vdupq_n_s8(0); 4]);
        for (quarter, pairs) in load(line).into_iter().enumerate() {
            low[quarter] = vreinterpretq_s8_u8(vandq_u8(pairs, vdupq_n_u8(15)));
            high[quarter] = vreinterpretq_s8_u8(vshrq_n_u8::<4>(pairs));
        }
        [low, high]
    }

    /// The codes have their sign.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn begin8(_: i32) -> Ints {
        [vdupq_n_s32(0); 4]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn dot8(mut sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        let x = vreinterpretq_s8_s32(vdupq_n_s32(i32::from_le_bytes(x.map(|x| x as u8))));
        for quarter in 0..4 {
            sum[quarter] = sdot::<0>(sum[quarter], codes[quarter], x);
        }
        sum
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn begin4(start: i32) -> Ints {
        [vdupq_n_s32(start); 4]
    }

    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(super) fn dot4(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        dot8(sum, codes, x)
    }

    #[inline]
    pub(super) fn end4(sum: Ints, _: i32) -> Ints {
        sum
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn scales(line: &Line, half: usize) -> Floats {
        let quarters = line.0.as_chunks::<4>().0;
        let (mut low, mut high) = ([vdupq_n_f32(0.0); 2], [vdupq_n_f32(0.0); 2]);
        for i in 0..2 {
            // SAFETY: a quarter of a line is 16 bytes.
            let halves = unsafe { vld1q_u32(quarters[2 * half + i].as_ptr()) };
            // SAFETY: two instructions on registers, which every AArch64 has; their intrinsics take a type that is not
            // stable.
            unsafe {
                asm!(
                    "fcvtl {low:v}.4s, {halves:v}.4h",
                    "fcvtl2 {high:v}.4s, {halves:v}.8h",
                    low = out(vreg) low[i],
                    high = lateout(vreg) high[i],
                    halves = in(vreg) halves,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
        [low[0], high[0], low[1], high[1]]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn scales_f32(line: &Line) -> Floats {
        let [a, b, c, d] = load(line);
        [
            vreinterpretq_f32_u8(a),
            vreinterpretq_f32_u8(b),
            vreinterpretq_f32_u8(c),
            vreinterpretq_f32_u8(d),
        ]
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn add(mut acc: Floats, sum: Ints, w_scale: Floats, x_scale: f32) -> Floats {
        for i in 0..4 {
            let scale = vmulq_n_f32(w_scale[i], x_scale);
            acc[i] = vfmaq_f32(acc[i], vcvtq_f32_s32(sum[i]), scale);
        }
        acc
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn add_min(mut acc: Floats, minimum: Floats, x_sum: f32) -> Floats {
        for i in 0..4 {
            acc[i] = vfmaq_n_f32(acc[i], minimum[i], x_sum);
        }
        acc
    }

    #[inline]
    #[target_feature(enable = "neon")]
    pub(super) fn store(acc: Floats) -> [f32; 16] {
        let mut out = [0.0; 16];
        for (out, acc) in out.as_chunks_mut::<4>().0.iter_mut().zip(acc) {
            // SAFETY: `out` is 16 bytes.
            unsafe { vst1q_f32(out.as_mut_ptr(), acc) };
        }
        out
    }
}

block_product! {
    #[target_feature(enable = "neon,dotprod")]
    blocks, rows [2, 1], wide 1, narrow 1, self::ops
}
