//! Tensor types of GGUF: what a block of weights looks like on disk, one type a file.
//!
//! A row of a matrix is a sequence of blocks; every number is little-endian, every `d` is f16 and multiplies. None of
//! this depends on a processor: weights are repacked for one after they are read.
//!
//! | type | id | weights | bytes | bits a weight | |
//! |---|---|---|---|---|---|
//! | F32, F16, BF16 | 0, 1, 30 | 1 | 4, 2, 2 | 32, 16, 16 | `float` |
//! | Q8_0 | 8 | 32 | 34 | 8.5 | `q8_0` |
//! | Q4_0, Q4_1 | 2, 3 | 32 | 18, 20 | 4.5, 5 | `q4_0`, `q4_1` |
//! | Q6_K | 14 | 256 | 210 | 6.5625 | `q6_k`, read only |
//! | TQ1_0 | 34 | 256 | 54 | 1.6875 | `tq1_0`, ternary |
//! | TQ2_0 | 35 | 256 | 66 | 2.0625 | `tq2_0`, ternary |
//! | I2_S | 36 | 128 | 32 + one scale a matrix | 2 | `i2_s`, ternary |
//! | Q2_0 | 42 | 64 | 18 | 2.25 | `q2_0`, ternary |
//! | PQ2_0 | 142, once 42 | 128 | 34 | 2.125 | `q2_0`, ternary |
//! | PTQ1_0 | 143 | 128 | 28 | 1.75 | `ptq1_0`, ternary |

mod codes;
mod float;
mod i2_s;
mod ptq1_0;
mod q2_0;
mod q4_0;
mod q4_1;
mod q6_k;
mod q8_0;
mod tensor_type;
mod ternary;
mod tq1_0;
mod tq2_0;
mod trits;

pub(crate) use codes::{block_format, decode_row};
pub use i2_s::I2sOrder;
pub use tensor_type::{EncodeError, TensorType};
pub(crate) use ternary::{decode_ternary, encode_ternary};

use half::f16;

/// A block of floats, each decoded by itself or with the numbers that its block shares.
trait FloatBlock {
    /// Weights of a block.
    const WEIGHTS: usize;
    /// Bytes of a block.
    const BYTES: usize;

    /// Decodes one block.
    fn decode(block: &[u8], out: &mut [f32]);

    /// Encodes one block of finite values; the largest finite scale is the caller's to check.
    fn encode(values: &[f32], block: &mut [u8]);
}

/// A block of codes 0, 1, 2 for -1, 0, 1 with one f16 that multiplies them.
trait TernaryBlock {
    /// Weights of a block.
    const WEIGHTS: usize;
    /// Bytes of a block.
    const BYTES: usize;

    /// Decodes the stored codes and returns the scale. Two-bit types can hold the code 3, which is not ternary.
    fn unpack(block: &[u8], stored: &mut [u8]) -> f16;

    /// Writes stored codes 0, 1, 2 and the scale.
    fn pack(stored: &[u8], d: f16, block: &mut [u8]);
}

/// The f16 at the start of two bytes.
fn f16_at(bytes: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// `1 / d`, or 0 where that is not finite: the codes of a block of zeros are 0.
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}
