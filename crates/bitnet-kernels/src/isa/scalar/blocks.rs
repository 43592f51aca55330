//! Products in blocks in plain Rust.

use crate::blocks::block_product;

/// The operations that `block_product` asks for.
mod ops {
    use crate::dense::Line;

    pub(super) type Floats = [f32; 16];
    pub(super) type Ints = [i32; 16];
    pub(super) type Codes = [u32; 16];

    #[inline(always)]
    pub(super) fn zero() -> Floats {
        [0.0; 16]
    }

    #[inline(always)]
    pub(super) fn bytes(line: &Line) -> Codes {
        line.0
    }

    #[inline(always)]
    pub(super) fn nibbles(line: &Line) -> [Codes; 2] {
        [
            line.0.map(|lane| lane & 0x0f0f_0f0f),
            line.0.map(|lane| lane >> 4 & 0x0f0f_0f0f),
        ]
    }

    /// The codes have their sign.
    #[inline(always)]
    pub(super) fn begin8(_: i32) -> Ints {
        [0; 16]
    }

    #[inline(always)]
    pub(super) fn dot8(mut sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        for (sum, codes) in sum.iter_mut().zip(codes) {
            for (code, x) in codes.to_le_bytes().into_iter().zip(x) {
                *sum += i32::from(code as i8) * i32::from(x);
            }
        }
        sum
    }

    #[inline(always)]
    pub(super) fn begin4(start: i32) -> Ints {
        [start; 16]
    }

    #[inline(always)]
    pub(super) fn dot4(sum: Ints, codes: Codes, x: [i8; 4]) -> Ints {
        dot8(sum, codes, x)
    }

    #[inline(always)]
    pub(super) fn end4(sum: Ints, _: i32) -> Ints {
        sum
    }

    #[inline(always)]
    pub(super) fn scales(line: &Line, half: usize) -> Floats {
        std::array::from_fn(|lane| line.f16(lane, half))
    }

    #[inline(always)]
    pub(super) fn scales_f32(line: &Line) -> Floats {
        line.0.map(f32::from_bits)
    }

    #[inline(always)]
    pub(super) fn add(mut acc: Floats, sum: Ints, w_scale: Floats, x_scale: f32) -> Floats {
        for ((acc, sum), w_scale) in acc.iter_mut().zip(sum).zip(w_scale) {
            *acc = (sum as f32).mul_add(w_scale * x_scale, *acc);
        }
        acc
    }

    #[inline(always)]
    pub(super) fn add_min(mut acc: Floats, minimum: Floats, x_sum: f32) -> Floats {
        for (acc, minimum) in acc.iter_mut().zip(minimum) {
            *acc = minimum.mul_add(x_sum, *acc);
        }
        acc
    }

    #[inline(always)]
    pub(super) fn store(acc: Floats) -> [f32; 16] {
        acc
    }
}

block_product! { blocks, rows [1], wide 1, narrow 1, self::ops }
