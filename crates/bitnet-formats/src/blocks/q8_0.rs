//! Q8_0: 32 weights in 34 bytes, `{ f16 d; i8 qs[32] }`; a weight is `qs[j] · d`.
//!
//! Encoding: `d = max|w| / 127` in f32, `qs = round(w · (1/d))` half away from zero, then `d` is rounded to f16.

use half::f16;

use super::{FloatBlock, f16_at, inverse};

pub(super) struct Q8_0;

impl FloatBlock for Q8_0 {
    const WEIGHTS: usize = 32;
    const BYTES: usize = 34;

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = f16_at(block, 0).to_f32();
        for (out, q) in out.iter_mut().zip(&block[2..]) {
            *out = f32::from(*q as i8) * d;
        }
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        let d = values.iter().fold(0.0, |max: f32, v| max.max(v.abs())) / 127.0;
        let inverse = inverse(d);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        for (q, v) in block[2..].iter_mut().zip(values) {
            *q = (v * inverse).round() as i8 as u8;
        }
    }
}
