//! Q6_K: 256 weights in 210 bytes, `{ u8 ql[128]; u8 qh[64]; i8 scales[16]; f16 d }`.
//!
//! A weight is `d · scales[e / 16] · (q - 32)`. With `e = 128h + 64n + m`, m < 64, the low four bits of `q` are half `n`
//! of `ql[64h + m]`; with `e = 128h + 32s + m`, m < 32, its high two bits are bits `2s..2s+1` of `qh[32h + m]`.

use super::f16_at;

pub(super) const WEIGHTS: usize = 256;
pub(super) const BYTES: usize = 210;

/// Weights that share a scale.
pub(super) const PER_SCALE: usize = 16;

pub(super) fn decode(block: &[u8], out: &mut [f32]) {
    for (e, out) in out.iter_mut().enumerate() {
        *out = scale(block, e / PER_SCALE) * f32::from(code(block, e));
    }
}

/// `d · scales[index]`.
pub(super) fn scale(block: &[u8], index: usize) -> f32 {
    f16_at(block, BYTES - 2).to_f32() * f32::from(block[192 + index] as i8)
}

/// `q - 32` of weight `e`.
pub(super) fn code(block: &[u8], e: usize) -> i8 {
    let half = e / 128;
    let low = block[64 * half + e % 64] >> (4 * (e / 64 % 2)) & 15;
    let high = block[128 + 32 * half + e % 32] >> (2 * (e / 32 % 4)) & 3;
    (low | high << 4) as i8 - 32
}
