//! Q4_0: 32 weights in 18 bytes, `{ f16 d; u8 qs[16] }`; a weight is `(q - 8) · d`.
//!
//! The low half of `qs[j]` is weight `j`, the high half weight `16 + j`. Encoding: `d = m / -8`, where `m` is the first
//! weight of the largest magnitude with its sign, and `q = min(15, trunc(w · (1/d) + 8.5))`.

use half::f16;

use super::{FloatBlock, f16_at, inverse};

pub(super) struct Q4_0;

impl FloatBlock for Q4_0 {
    const WEIGHTS: usize = 32;
    const BYTES: usize = 18;

    fn decode(block: &[u8], out: &mut [f32]) {
        let d = f16_at(block, 0).to_f32();
        let (low, high) = out.split_at_mut(16);
        for (j, byte) in block[2..].iter().enumerate() {
            low[j] = d * (f32::from(byte & 15) - 8.0);
            high[j] = d * (f32::from(byte >> 4) - 8.0);
        }
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        let mut extreme = 0.0_f32;
        for v in values {
            if v.abs() > extreme.abs() {
                extreme = *v;
            }
        }
        let d = extreme / -8.0;
        let inverse = inverse(d);
        let code = |v: f32| ((v * inverse + 8.5) as u8).min(15);
        block[..2].copy_from_slice(&f16::from_f32(d).to_le_bytes());
        for (j, byte) in block[2..].iter_mut().enumerate() {
            *byte = code(values[j]) | code(values[16 + j]) << 4;
        }
    }
}
