//! `sum / s_w / s_x` without waiting for divisions.
//!
//! Both quotients must be rounded as a division rounds them. A 512-bit division keeps the unit busy for 10 to 16 cycles,
//! and two of them took a third of the time of a product of many rows on tiles. With the reciprocal `y = RN(1/b)`, which
//! is the same for a whole row, five multiply-adds give the same bits (Markstein; Muller et al., Handbook of
//! Floating-Point Arithmetic, "Newton-Raphson-based division with an FMA"):
//!
//! ```text
//! q₀ = RN(a·y)    r₀ = RN(a − b·q₀)    q₁ = RN(q₀ + r₀·y)    r₁ = RN(a − b·q₁)    a/b = RN(q₁ + r₁·y)
//! ```
//!
//! `q₀` is off by less than 2 ulp, so `q₁` is one of the two floats around `a/b`; then `r₁` is exact, and as `y` is the
//! nearest float to `1/b`, the last step rounds as the exact quotient would. This holds while nothing overflows or is
//! denormal: with scales in [`MODEST`] and an integer `a` of at most 2^29 every quotient is 0 or within 2^±109, and
//! every remainder 0 or a multiple of `2^-48 · 2^-40`. Scales outside, those of single columns, and the NaN or 0 of a
//! row that is not finite, are divided by.

use std::{arch::x86_64::*, ops::RangeInclusive};

use crate::{gemm::blocking::Sums, system::shared_out::Rectangle};

/// Scales for which the argument holds.
const MODEST: RangeInclusive<f32> = 1.0 / (1u64 << 40) as f32..=(1u64 << 40) as f32;

/// `out = (sums − excess) as f32 / s_w / s_x`.
#[target_feature(enable = "avx512f")]
pub(crate) fn epilogue(
    sums: Sums<'_>,
    excess: Option<&[i32]>,
    sw: &[f32],
    sx: &[f32],
    mut out: Rectangle<'_, f32>,
) {
    let (rows, width) = (sums.rows(), sums.width());
    assert!(out.rows() == rows && out.width() == width && sx.len() == rows);
    assert!(excess.is_none_or(|excess| excess.len() == rows));
    assert!(sw.len() == 1 || sw.len() == width);
    let [sw] = *sw else {
        for (row, sx) in sx.iter().enumerate() {
            let excess = excess.map_or(0, |excess| excess[row]);
            let terms = out.row(row).iter_mut().zip(sums.row(row)).zip(sw);
            terms.for_each(|((out, sum), sw)| *out = (sum - excess) as f32 / sw / sx);
        }
        return;
    };
    let one = _mm512_set1_ps(1.0);
    let of_w = _mm512_set1_ps(sw);
    let per_w = _mm512_div_ps(one, of_w);
    for (row, sx) in sx.iter().enumerate() {
        let of_x = _mm512_set1_ps(*sx);
        let per_x = _mm512_div_ps(one, of_x);
        let modest = MODEST.contains(sx) && MODEST.contains(&sw);
        let excess = _mm512_set1_epi32(excess.map_or(0, |excess| excess[row]));
        let (sums, out) = (sums.row(row), out.row(row));
        for (sums, out) in sums.chunks(16).zip(out.chunks_mut(16)) {
            let mask = match sums.len() {
                16 => u16::MAX,
                rest => (1 << rest) - 1,
            };
            // SAFETY: the mask keeps both accesses within slices of as many elements.
            unsafe {
                let sums = _mm512_maskz_loadu_epi32(mask, sums.as_ptr());
                let a = _mm512_cvtepi32_ps(_mm512_sub_epi32(sums, excess));
                let y = match modest {
                    true => divide(divide(a, of_w, per_w), of_x, per_x),
                    false => _mm512_div_ps(_mm512_div_ps(a, of_w), of_x),
                };
                _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, y);
            }
        }
    }
}

/// `a / b`, where `y = RN(1 / b)`.
#[inline]
#[target_feature(enable = "avx512f")]
fn divide(a: __m512, b: __m512, y: __m512) -> __m512 {
    let mut q = _mm512_mul_ps(a, y);
    for _ in 0..2 {
        q = _mm512_fmadd_ps(_mm512_fnmadd_ps(q, b, a), y, q);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{isa::scalar, skipped::skipped};

    /// Quotients next to every kind of tie, zeros, extremes, scales in and out of the range, and rows that are not finite.
    #[test]
    fn the_bits_of_two_divisions() {
        if std::arch::is_x86_feature_detected!("avx512f") {
            let mut state = 1u64;
            let mut random = move || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as u32
            };
            for case in 0..4_000 {
                let width = 1 + random() as usize % 40;
                let sums: Vec<i32> = (0..2 * width)
                    .map(|i| match i % 4 {
                        0 => random() as i32 % 300,
                        1 => random() as i32 % (1 << 28) - (1 << 27),
                        2 => 0,
                        _ => random() as i32 % (1 << 17) - (1 << 16),
                    })
                    .collect();
                let mut scale = || {
                    let float = f32::from_bits(0x3f80_0000 | random() & 0x7f_ffff);
                    match random() % 16 {
                        0 => f32::NAN,
                        1 => 0.0,
                        2 => float * 1e-30,
                        3 => float * 1e30,
                        4 => 127.0 / 3.0,
                        _ => float * 10f32.powi(random() as i32 % 12 - 4),
                    }
                };
                let (sx, sw) = ([scale(), scale()], scale());
                let sw = match case % 3 {
                    0 => vec![sw; width],
                    _ => vec![sw],
                };
                let excess = [random() as i32 % 1000, -5];
                let (mut found, mut expected) = (vec![7.0; 2 * width], vec![8.0; 2 * width]);
                let sums = Sums::new(&sums, width, 2, width);
                let excess = (case % 2 == 0).then_some(&excess[..]);
                let out = Rectangle::new(&mut found, width, 2, width);
                // SAFETY: just detected.
                unsafe { epilogue(sums, excess, &sw, &sx, out) };
                let out = Rectangle::new(&mut expected, width, 2, width);
                scalar::epilogue(sums, excess, &sw, &sx, out);
                for (found, expected) in found.iter().zip(&expected) {
                    let same = found.to_bits() == expected.to_bits();
                    assert!(same || found.is_nan() && expected.is_nan(), "{found:e} {expected:e} {sx:?} {sw:?}");
                }
            }
        } else {
            skipped("no AVX-512 here");
        }
    }
}
