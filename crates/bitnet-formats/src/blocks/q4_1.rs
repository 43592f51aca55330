//! Q4_1: 32 weights in 20 bytes, `{ f16 d; f16 m; u8 qs[16] }`; a weight is `q · d + m`.
//!
//! The low half of `qs[j]` is weight `j`, the high half weight `16 + j`. Encoding: `m = min w`, `d = (max w - m) / 15`,
//! `q = min(15, trunc((w - m) · (1/d) + 0.5))`.

use half::f16;

use super::{FloatBlock, f16_at, inverse};

pub(super) struct Q4_1;

impl FloatBlock for Q4_1 {
    const WEIGHTS: usize = 32;
    const BYTES: usize = 20;

    fn decode(block: &[u8], out: &mut [f32]) {
        let (d, m) = (f16_at(block, 0).to_f32(), f16_at(block, 2).to_f32());
        let (low, high) = out.split_at_mut(16);
        for (j, byte) in block[4..].iter().enumerate() {
            low[j] = d * f32::from(byte & 15) + m;
            high[j] = d * f32::from(byte >> 4) + m;
        }
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        let m = values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let d = (max - m) / 15.0;
        let inverse = inverse(d);
        let code = |v: f32| (((v - m) * inverse + 0.5) as u8).min(15);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        block[2..4].copy_from_slice(&f16::from_f32(m).to_le_bytes());
        for (j, byte) in block[4..].iter_mut().enumerate() {
            *byte = code(values[j]) | code(values[16 + j]) << 4;
        }
    }
}
