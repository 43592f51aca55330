//! TQ1_0: 256 ternary weights in 54 bytes, `{ u8 qs[48]; u8 qh[4]; f16 d }`; a weight is `(t - 1) · d`.
//!
//! Bytes hold trits (`trits.rs`). Weight `32n + m` is trit `n` < 5 of `qs[m]`, m < 32; weight `160 + 16n + m` is trit `n`
//! < 5 of `qs[32 + m]`, m < 16; weight `240 + 4n + m` is trit `n` < 4 of `qh[m]`, m < 4.

use half::f16;

use super::{TernaryBlock, f16_at, trits::Part};

pub(super) struct Tq1_0;

const PARTS: [Part; 3] = [
    Part {
        at: 0,
        first: 0,
        bytes: 32,
        trits: 5,
    },
    Part {
        at: 32,
        first: 160,
        bytes: 16,
        trits: 5,
    },
    Part {
        at: 48,
        first: 240,
        bytes: 4,
        trits: 4,
    },
];

impl TernaryBlock for Tq1_0 {
    const WEIGHTS: usize = 256;
    const BYTES: usize = 54;

    fn unpack(block: &[u8], stored: &mut [u8]) -> f16 {
        for part in PARTS {
            part.unpack(block, stored);
        }
        f16_at(block, 52)
    }

    fn pack(stored: &[u8], d: f16, block: &mut [u8]) {
        for part in PARTS {
            part.pack(stored, block);
        }
        block[52..].copy_from_slice(&d.to_le_bytes());
    }
}
