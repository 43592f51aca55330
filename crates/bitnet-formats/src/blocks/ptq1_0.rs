//! PTQ1_0 (private id 143): 128 ternary weights in 28 bytes, `{ u8 qs[24]; u8 qh[2]; f16 d }`; a weight is `(t - 1) · d`.
//!
//! Bytes hold trits (`trits.rs`). Weight `16n + m` is trit `n` < 5 of `qs[m]`, m < 16; weight `80 + 8n + m` is trit `n`
//! < 5 of `qs[16 + m]`, m < 8; weight `120 + 2n + m` is trit `n` < 4 of `qh[m]`, m < 2.

use half::f16;

use super::{TernaryBlock, f16_at, trits::Part};

pub(super) struct Ptq1_0;

const PARTS: [Part; 3] = [
    Part {
        at: 0,
        first: 0,
        bytes: 16,
        trits: 5,
    },
    Part {
        at: 16,
        first: 80,
        bytes: 8,
        trits: 5,
    },
    Part {
        at: 24,
        first: 120,
        bytes: 2,
        trits: 4,
    },
];

impl TernaryBlock for Ptq1_0 {
    const WEIGHTS: usize = 128;
    const BYTES: usize = 28;

    fn unpack(block: &[u8], stored: &mut [u8]) -> f16 {
        for part in PARTS {
            part.unpack(block, stored);
        }
        f16_at(block, 26)
    }

    fn pack(stored: &[u8], d: f16, block: &mut [u8]) {
        for part in PARTS {
            part.pack(stored, block);
        }
        block[26..].copy_from_slice(&d.to_le_bytes());
    }
}
