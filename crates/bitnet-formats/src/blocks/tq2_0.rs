//! TQ2_0: 256 ternary weights in 66 bytes, `{ u8 qs[64]; f16 d }`; a weight is `(q - 1) · d`.
//!
//! Weight `128h + 32n + m`, m < 32, is bits `2n..2n+1` of `qs[32h + m]`.

use half::f16;

use super::{TernaryBlock, f16_at};

pub(super) struct Tq2_0;

impl TernaryBlock for Tq2_0 {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 66;

    fn unpack(block: &[u8], stored: &mut [u8]) -> f16 {
        for (e, stored) in stored.iter_mut().enumerate() {
            *stored = block[e / 128 * 32 + e % 32] >> (2 * (e / 32 % 4)) & 3;
        }
        f16_at(block, 64)
    }

    fn pack(stored: &[u8], d: f16, block: &mut [u8]) {
        block[..64].fill(0);
        for (e, stored) in stored.iter().enumerate() {
            block[e / 128 * 32 + e % 32] |= stored << (2 * (e / 32 % 4));
        }
        block[64..].copy_from_slice(&d.to_le_bytes());
    }
}
