//! Fused multiply-adds, which SIMD128 lacks.
//!
//! All kernels give the same bits, and their float sums are defined by `fma`, which rounds once. Without the instruction
//! `f32::mul_add` is a call for each number. Here sums are doubles that hold f32 values: a product of two f32 is exact in a
//! double, so `product + sum` rounds once to 53 bits and then once more to 24. The second rounding is that of `fma` unless
//! the first one landed on a tie, halfway between two f32: in the low 29 bits of the double only the highest is set. If it
//! landed there by rounding (once in 2^29 sums of arbitrary numbers) the lanes are computed again, one by one; a sum that is
//! a tie itself (once in 2^8 products with bfloat16) is rounded as it should be.
//!
//! Where a sum lies below 2^-126, f32 has fewer digits and ties stand elsewhere: there a sum may differ from the fused one
//! in the last place of a subnormal number, as may that of `f32::mul_add` on this target.

use std::arch::wasm32::*;

/// Sixteen f32, as doubles.
pub(crate) type Wide = [v128; 8];

/// Sixteen zeros.
#[inline(always)]
pub(crate) fn zero() -> Wide {
    [f64x2_splat(0.0); 8]
}

/// Sixteen f32 widened.
#[inline(always)]
pub(crate) fn widen(x: [v128; 4]) -> Wide {
    let mut wide = zero();
    for (pair, x) in wide.as_chunks_mut::<2>().0.iter_mut().zip(x) {
        *pair = [
            f64x2_promote_low_f32x4(x),
            f64x2_promote_low_f32x4(i64x2_shuffle::<1, 1>(x, x)),
        ];
    }
    wide
}

/// `fma(a, b, sum)` of f32 values.
#[inline(always)]
pub(crate) fn fma(sum: Wide, a: Wide, b: Wide) -> Wide {
    let (low, half) = (i32x4_splat(0x1fff_ffff), i32x4_splat(0x1000_0000));
    let (mut out, mut ties) = (zero(), i32x4_splat(0));
    for i in (0..8).step_by(2) {
        let first = f64x2_add(f64x2_mul(a[i], b[i]), sum[i]);
        let second = f64x2_add(f64x2_mul(a[i + 1], b[i + 1]), sum[i + 1]);
        let lows = i32x4_shuffle::<0, 2, 4, 6>(first, second);
        ties = v128_or(ties, i32x4_eq(v128_and(lows, low), half));
        (out[i], out[i + 1]) = (rounded(first), rounded(second));
    }
    match v128_any_true(ties) && !exact(sum, a, b) {
        true => one_by_one(sum, a, b),
        false => out,
    }
}

/// Whether all sums are exact in doubles: then a tie is one, and has been rounded as such.
#[inline(never)]
fn exact(sum: Wide, a: Wide, b: Wide) -> bool {
    let mut exact = i32x4_splat(-1);
    for i in 0..8 {
        let product = f64x2_mul(a[i], b[i]);
        let total = f64x2_add(product, sum[i]);
        exact = v128_and(exact, f64x2_eq(f64x2_sub(total, product), sum[i]));
        exact = v128_and(exact, f64x2_eq(f64x2_sub(total, sum[i]), product));
    }
    i64x2_all_true(exact)
}

/// Doubles rounded to f32.
#[inline(always)]
fn rounded(x: v128) -> v128 {
    f64x2_promote_low_f32x4(f32x4_demote_f64x2_zero(x))
}

#[cold]
fn one_by_one(sum: Wide, a: Wide, b: Wide) -> Wide {
    let (mut sum, a, b) = (store(sum), store(a), store(b));
    for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
        *sum = a.mul_add(b, *sum);
    }
    let sum = sum.as_ptr().cast::<v128>();
    // SAFETY: 64 bytes.
    widen(unsafe {
        [
            v128_load(sum),
            v128_load(sum.add(1)),
            v128_load(sum.add(2)),
            v128_load(sum.add(3)),
        ]
    })
}

/// The f32 values.
#[inline(always)]
pub(crate) fn store(x: Wide) -> [f32; 16] {
    let mut out = [0.0; 16];
    for (out, pair) in out.as_chunks_mut::<4>().0.iter_mut().zip(x.as_chunks::<2>().0) {
        let [low, high] = pair.map(|half| f32x4_demote_f64x2_zero(half));
        // SAFETY: `out` is 16 bytes.
        unsafe { v128_store(out.as_mut_ptr().cast(), i64x2_shuffle::<0, 2>(low, high)) };
    }
    out
}

/// The 16-bit floats of four lanes, which lie in the lower halves of theirs.
///
/// Exponent and fraction of an f16 are those of an f32 whose exponent is too small by 112; the product with 2^112 is exact,
/// subnormal numbers included. Infinity and NaN take all bits of the exponent.
#[inline(always)]
fn from_f16(halves: v128) -> v128 {
    let magnitude = v128_and(halves, i32x4_splat(0x7fff));
    let sign = i32x4_shl(v128_xor(halves, magnitude), 16);
    let number = f32x4_mul(i32x4_shl(magnitude, 13), f32x4_splat(f32::from_bits((127 + 112) << 23)));
    let special = i32x4_gt(magnitude, i32x4_splat(0x7bff));
    let exponent = v128_and(special, i32x4_splat(0x7f80_0000));
    v128_or(v128_or(number, exponent), sign)
}

/// Sixteen f16 in two registers.
#[inline(always)]
pub(crate) fn of_f16(halves: [v128; 2]) -> [v128; 4] {
    [
        from_f16(u32x4_extend_low_u16x8(halves[0])),
        from_f16(u32x4_extend_high_u16x8(halves[0])),
        from_f16(u32x4_extend_low_u16x8(halves[1])),
        from_f16(u32x4_extend_high_u16x8(halves[1])),
    ]
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn wide(x: [f32; 16]) -> Wide {
        let quarters = x.as_chunks::<4>().0;
        let quarter = |i: usize| {
            let [a, b, c, d] = quarters[i];
            f32x4(a, b, c, d)
        };
        widen([quarter(0), quarter(1), quarter(2), quarter(3)])
    }

    /// Sums that are ties, that lie beside one by less than a double tells, and others.
    #[test]
    fn sums_round_once() {
        let ulp = 2f32.powi(-23);
        let tiny = 2f32.powi(-60);
        // a · b + c, and the nearest f32.
        let cases = [
            (1.0, 1.0 + ulp, ulp / 2.0, 1.0 + 2.0 * ulp),
            (ulp / 2.0, 1.0, 1.0, 1.0),
            (ulp / 2.0, 1.0, 1.0 + ulp, 1.0 + 2.0 * ulp),
            // 1 + ulp/2 · (1 + ulp) lies above the tie by 2^-47, which a double holds; 2^-120 it does not.
            (ulp / 2.0, 1.0 + ulp, 1.0, 1.0 + ulp),
            (tiny, tiny, 1.0 + ulp, 1.0 + ulp),
            (1.5 * ulp, -1.0, 1.0, 1.0 - 1.5 * ulp),
            (3.0e38, 2.0, -3.0e38, 3.0e38),
            (3.0e38, 2.0, 0.0, f32::INFINITY),
        ];
        for (a, b, c, expected) in cases {
            let sum = store(fma(wide([c; 16]), wide([a; 16]), wide([b; 16])));
            assert_eq!(sum, [expected; 16], "{a} {b} {c}");
        }
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Exponents that overlap, and digits that make ties frequent.
            let (fraction, exponent) = (state >> 5 & 0x007f_f000 | state >> 13 & 1, 120 + (state >> 29));
            f32::from_bits(state << 3 & 0x8000_0000 | exponent << 23 | fraction)
        };
        for _ in 0..100_000 {
            let (a, b, c) = (
                std::array::from_fn(|_| random()),
                std::array::from_fn(|_| random()),
                std::array::from_fn(|_| random()),
            );
            let sum = store(fma(wide(c), wide(a), wide(b)));
            for i in 0..16 {
                assert_eq!(sum[i].to_bits(), a[i].mul_add(b[i], c[i]).to_bits(), "{} {} {}", a[i], b[i], c[i]);
            }
        }
    }

    /// The case for which `one_by_one` is there: a sum that lies beside a tie by less than a double tells.
    #[test]
    fn a_tie_that_is_none_is_found() {
        // 2^24 + 2 + (1 - 2^-40) is nearer to 2^24 + 2; the nearest double is the tie with 2^24 + 4, which is even.
        let (a, b, c) = (1.0 + 2f32.powi(-20), 1.0 - 2f32.powi(-20), 16_777_218.0f32);
        let twice = (f64::from(a) * f64::from(b) + f64::from(c)) as f32;
        assert_eq!(twice, 16_777_220.0);
        for sign in [1.0, -1.0] {
            let sum = store(fma(wide([sign * c; 16]), wide([sign * a; 16]), wide([b; 16])));
            assert_eq!(sum, [sign * c; 16]);
        }
    }

    #[test]
    fn every_f16_is_itself() {
        for bits in (0..=u16::MAX).step_by(4) {
            let at = |i: u16| bits + i;
            let halves = u16x8(at(0), at(1), at(2), at(3), at(0), at(1), at(2), at(3));
            let floats = store(widen(of_f16([halves; 2])));
            for (i, float) in floats.into_iter().enumerate() {
                let expected = f16::from_bits(at(i as u16 % 4)).to_f32();
                assert!(float == expected || float.is_nan() && expected.is_nan(), "{:x}", at(i as u16 % 4));
                assert_eq!(float.is_sign_negative(), expected.is_sign_negative());
            }
        }
    }
}
