//! I2_S (microsoft/BitNet): 2 bits a weight, one f32 scale for the matrix; a weight is `(q - 1) · scale`.
//!
//! The rows lie one after the other as one sequence of n weights, cut into blocks: n/4 bytes, then the scale as f32 and 28
//! bytes that are not read (n/4 + 32 in all). K must be a multiple of 128. In the builds for x86 a block is 128 weights
//! in 32 bytes: byte `p` holds the weights `p`, `32 + p`, `64 + p`, `96 + p` in its bits 7:6, 5:4, 3:2, 1:0. Builds for
//! ARM since 2025 use blocks of 64 weights in 16 bytes, in the same manner. Sizes are equal and no key says which, so
//! the order is the reader's to state ([`I2sOrder`]).

use half::f16;

use super::TernaryBlock;

/// Bytes after the codes: the f32 scale and padding.
pub(super) const TAIL: usize = 32;

/// In which order an I2_S tensor stores its weights. The file does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum I2sOrder {
    /// Blocks of 128 weights, as the published files and builds for x86 have them.
    #[default]
    X86,
    /// Blocks of 64 weights, as builds for ARM write them since 2025.
    Arm,
}

/// `4 · STRIDE` weights in `STRIDE` bytes, without a scale of their own.
pub(super) struct I2sBlock<const STRIDE: usize>;

impl<const STRIDE: usize> TernaryBlock for I2sBlock<STRIDE> {
    const WEIGHTS: usize = 4 * STRIDE;
    const BYTES: usize = STRIDE;

    fn unpack(block: &[u8], stored: &mut [u8]) -> f16 {
        for (n, stored) in stored.chunks_exact_mut(STRIDE).enumerate() {
            for (stored, byte) in stored.iter_mut().zip(block) {
                *stored = byte >> (6 - 2 * n) & 3;
            }
        }
        f16::ONE
    }

    fn pack(stored: &[u8], _: f16, block: &mut [u8]) {
        block.fill(0);
        for (n, stored) in stored.chunks_exact(STRIDE).enumerate() {
            for (stored, byte) in stored.iter().zip(&mut *block) {
                *byte |= stored << (6 - 2 * n);
            }
        }
    }
}
