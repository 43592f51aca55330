//! Q2_0: `N` weights, `{ f16 d; u8 qs[N / 4] }`; a weight is `(q - 1) · d`.
//!
//! Weight `j` is bits `2(j % 4)..2(j % 4)+1` of `qs[j / 4]`, the order of this workspace's packed words.
//!
//! llama.cpp's type has groups of 64 weights in 18 bytes. A fork used the same id 42 for groups of 128 in 34 bytes, and
//! calls them PQ2_0 (142) since: a tensor of id 42 is told from its size. `q` = 3
//! stands for a weight of 2d, which is not ternary.

use half::f16;

use super::{TernaryBlock, f16_at};

/// The blocks of `N` weights in `BYTES = 2 + N / 4` bytes.
pub(super) struct Q2_0<const N: usize>;

impl<const N: usize> TernaryBlock for Q2_0<N> {
    const WEIGHTS: usize = N;
    const BYTES: usize = 2 + N / 4;

    fn unpack(block: &[u8], stored: &mut [u8]) -> f16 {
        for (e, stored) in stored.iter_mut().enumerate() {
            *stored = block[2 + e / 4] >> (2 * (e % 4)) & 3;
        }
        f16_at(block, 0)
    }

    fn pack(stored: &[u8], d: f16, block: &mut [u8]) {
        block[..2].copy_from_slice(&d.to_le_bytes());
        for (byte, four) in block[2..].iter_mut().zip(stored.chunks_exact(4)) {
            *byte = four[0] | four[1] << 2 | four[2] << 4 | four[3] << 6;
        }
    }
}
