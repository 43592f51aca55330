//! F32, F16 and BF16: one number a weight, little-endian.

use half::{bf16, f16};

use super::FloatBlock;

/// IEEE binary32.
pub(super) struct F32;
/// IEEE binary16, rounded half to even.
pub(super) struct F16;
/// The upper half of a binary32, rounded half to even; a NaN stays one.
pub(super) struct Bf16;

impl FloatBlock for F32 {
    const WEIGHTS: usize = 1;
    const BYTES: usize = 4;

    fn decode(block: &[u8], out: &mut [f32]) {
        out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        block.copy_from_slice(&values[0].to_le_bytes());
    }
}

impl FloatBlock for F16 {
    const WEIGHTS: usize = 1;
    const BYTES: usize = 2;

    fn decode(block: &[u8], out: &mut [f32]) {
        out[0] = f16::from_le_bytes([block[0], block[1]]).to_f32();
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        block.copy_from_slice(&f16::from_f32(values[0]).to_le_bytes());
    }
}

impl FloatBlock for Bf16 {
    const WEIGHTS: usize = 1;
    const BYTES: usize = 2;

    fn decode(block: &[u8], out: &mut [f32]) {
        out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32();
    }

    fn encode(values: &[f32], block: &mut [u8]) {
        block.copy_from_slice(&bf16::from_f32(values[0]).to_le_bytes());
    }
}
