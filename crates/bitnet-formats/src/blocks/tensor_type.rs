//! The tensor types by name, number and size, and floats to and from each of them.

use std::fmt;

use half::f16;

use super::{
    FloatBlock, I2sOrder, TernaryBlock, decode_ternary,
    float::{Bf16, F16, F32},
    i2_s::{I2sBlock, TAIL},
    inverse,
    ptq1_0::Ptq1_0,
    q2_0::Q2_0,
    q4_0::Q4_0,
    q4_1::Q4_1,
    q6_k,
    q8_0::Q8_0,
    tq1_0::Tq1_0,
    tq2_0::Tq2_0,
};
use crate::ternary::TernaryError;

/// How the weights of a GGUF tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table of `blocks` says what each is")]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q6K,
    Tq1_0,
    Tq2_0,
    I2S,
    Q2_0,
    Pq2_0,
    Ptq1_0,
}

/// Why a tensor cannot be stored as a type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The type has no codes.
    #[error("{ty} is not a ternary type")]
    NotTernary {
        /// The type asked for.
        ty: TensorType,
    },
    /// The type is written from codes only, or not at all.
    #[error("{ty} is not written from floats: choose F32, F16, BF16, Q8_0, Q4_0 or Q4_1")]
    NotWritten {
        /// The type asked for.
        ty: TensorType,
    },
    /// A row is not a whole number of blocks.
    #[error("rows of {cols} weights are not whole blocks of {weights} ({ty}): {}", fitting(*cols))]
    Cols {
        /// The type asked for.
        ty: TensorType,
        /// Weights of a block.
        weights: usize,
        /// Weights of a row.
        cols: usize,
    },
    /// Weights that the type gives one scale have several.
    #[error(
        "the scale changes at row {row}, column {col}, within {count} weights that share one: \
         choose a type with smaller groups"
    )]
    SeveralScales {
        /// Row of the first weight with another scale.
        row: usize,
        /// Column of the first weight with another scale.
        col: usize,
        /// Weights that share a scale in the type.
        count: usize,
    },
    /// A scale has no f16.
    #[error("the scale {scale} at row {row}, column {col} is out of the range of f16")]
    ScaleRange {
        /// The scale.
        scale: f32,
        /// Row of the block.
        row: usize,
        /// First column of the block.
        col: usize,
    },
    /// A value is NaN, infinite, or too large for the type.
    #[error("weight {index} is {value}, which {ty} cannot hold")]
    Value {
        /// The type asked for.
        ty: TensorType,
        /// The value.
        value: f32,
        /// Its flat index.
        index: usize,
    },
}

/// "it fits …": the ternary types whose blocks divide a row.
fn fitting(cols: usize) -> String {
    let fits = |ty: &TensorType| ty.is_ternary() && cols.is_multiple_of(ty.block_weights());
    let names: Vec<_> = TensorType::ALL.into_iter().filter(fits).collect();
    let names: Vec<_> = names.iter().map(TensorType::to_string).collect();
    if names.is_empty() {
        "no ternary type fits; F32, F16 and BF16 do".into()
    } else {
        format!("{} fit", names.join(", "))
    }
}

impl TensorType {
    /// Every type.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q6K,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::I2S,
        Self::Q2_0,
        Self::Pq2_0,
        Self::Ptq1_0,
    ];

    /// Name, number, weights and bytes of a block.
    const fn row(self) -> (&'static str, u32, usize, usize) {
        const fn float<B: FloatBlock>() -> (usize, usize) {
            (B::WEIGHTS, B::BYTES)
        }
        const fn ternary<B: TernaryBlock>() -> (usize, usize) {
            (B::WEIGHTS, B::BYTES)
        }
        let (name, id, (weights, bytes)) = match self {
            Self::F32 => ("F32", 0, float::<F32>()),
            Self::F16 => ("F16", 1, float::<F16>()),
            Self::Bf16 => ("BF16", 30, float::<Bf16>()),
            Self::Q8_0 => ("Q8_0", 8, float::<Q8_0>()),
            Self::Q4_0 => ("Q4_0", 2, float::<Q4_0>()),
            Self::Q4_1 => ("Q4_1", 3, float::<Q4_1>()),
            Self::Q6K => ("Q6_K", 14, (q6_k::WEIGHTS, q6_k::BYTES)),
            Self::Tq1_0 => ("TQ1_0", 34, ternary::<Tq1_0>()),
            Self::Tq2_0 => ("TQ2_0", 35, ternary::<Tq2_0>()),
            Self::I2S => ("I2_S", 36, ternary::<I2sBlock<32>>()),
            Self::Q2_0 => ("Q2_0", 42, ternary::<Q2_0<64>>()),
            Self::Pq2_0 => ("PQ2_0", 142, ternary::<Q2_0<128>>()),
            Self::Ptq1_0 => ("PTQ1_0", 143, ternary::<Ptq1_0>()),
        };
        (name, id, weights, bytes)
    }

    /// The number in a file. 42 is read as Q2_0 here; an old PQ2_0 with that number is told by its size.
    pub const fn id(self) -> u32 {
        self.row().1
    }

    /// The type of a number.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.id() == id)
    }

    /// Weights of a block.
    pub const fn block_weights(self) -> usize {
        self.row().2
    }

    /// Whether weights are stored as codes -1, 0, 1.
    pub const fn is_ternary(self) -> bool {
        matches!(
            self,
            Self::Tq1_0 | Self::Tq2_0 | Self::I2S | Self::Q2_0 | Self::Pq2_0 | Self::Ptq1_0
        )
    }

    /// Refuses rows that are not whole blocks.
    pub(crate) fn check_cols(self, cols: usize) -> Result<(), EncodeError> {
        let weights = self.block_weights();
        if cols.is_multiple_of(weights) {
            Ok(())
        } else {
            Err(EncodeError::Cols {
                ty: self,
                weights,
                cols,
            })
        }
    }

    /// Bytes of `rows` rows of `cols` weights; `None` if rows are not whole blocks or the number has no u64.
    pub(crate) fn byte_len(self, rows: u64, cols: u64) -> Option<u64> {
        let (_, _, weights, bytes) = self.row();
        if !cols.is_multiple_of(weights as u64) {
            return None;
        }
        let blocks = rows.checked_mul(cols / weights as u64)?;
        let tail = if self == Self::I2S { TAIL as u64 } else { 0 };
        blocks.checked_mul(bytes as u64)?.checked_add(tail)
    }

    /// Decodes whole rows of any type to floats. `cols` and `order` matter to I2_S only.
    pub(crate) fn decode_floats(
        self,
        order: I2sOrder,
        bytes: &[u8],
        rows: usize,
        cols: usize,
    ) -> Result<Vec<f32>, TernaryError> {
        let decode: fn(&[u8], &mut [f32]) = match self {
            Self::F32 => F32::decode,
            Self::F16 => F16::decode,
            Self::Bf16 => Bf16::decode,
            Self::Q8_0 => Q8_0::decode,
            Self::Q4_0 => Q4_0::decode,
            Self::Q4_1 => Q4_1::decode,
            Self::Q6K => q6_k::decode,
            Self::Tq1_0 => decode_codes::<Tq1_0>,
            Self::Tq2_0 => decode_codes::<Tq2_0>,
            Self::Q2_0 => decode_codes::<Q2_0<64>>,
            Self::Pq2_0 => decode_codes::<Q2_0<128>>,
            Self::Ptq1_0 => decode_codes::<Ptq1_0>,
            Self::I2S => return Ok(decode_ternary(self, order, bytes, rows, cols)?.to_f32()),
        };
        let (_, _, weights, size) = self.row();
        let mut out = vec![0.0; rows * cols];
        for (block, out) in bytes.chunks_exact(size).zip(out.chunks_exact_mut(weights)) {
            decode(block, out);
        }
        Ok(out)
    }

    /// Encodes floats, rows of `cols` one after the other. TQ1_0, TQ2_0 and Q2_0 take `max|w|` of a block as its scale
    /// and round half away from zero, as ggml does: right for values that are ternary already.
    ///
    /// # Errors
    ///
    /// If the type is not written from floats, rows are not whole blocks, or a value does not fit the type.
    pub fn encode_floats(self, values: &[f32], cols: usize) -> Result<Vec<u8>, EncodeError> {
        let encode: fn(&[f32], &mut [u8]) = match self {
            Self::F32 => F32::encode,
            Self::F16 => F16::encode,
            Self::Bf16 => Bf16::encode,
            Self::Q8_0 => Q8_0::encode,
            Self::Q4_0 => Q4_0::encode,
            Self::Q4_1 => Q4_1::encode,
            Self::Tq1_0 => encode_codes::<Tq1_0>,
            Self::Tq2_0 => encode_codes::<Tq2_0>,
            Self::Q2_0 => encode_codes::<Q2_0<64>>,
            Self::Pq2_0 => encode_codes::<Q2_0<128>>,
            Self::Ptq1_0 => encode_codes::<Ptq1_0>,
            Self::Q6K | Self::I2S => return Err(EncodeError::NotWritten { ty: self }),
        };
        self.check_cols(cols)?;
        self.check_values(values)?;
        let (_, _, weights, size) = self.row();
        let mut out = vec![0; values.len() / weights * size];
        for (values, block) in values.chunks_exact(weights).zip(out.chunks_exact_mut(size)) {
            encode(values, block);
        }
        Ok(out)
    }

    /// Refuses values that would become infinite, and in a block with a scale also NaN, which would spoil it.
    fn check_values(self, values: &[f32]) -> Result<(), EncodeError> {
        let fits = |v: f32| match self {
            Self::F32 => true,
            Self::Bf16 => v.is_nan() || v.is_infinite() || half::bf16::from_f32(v).is_finite(),
            Self::F16 => v.is_nan() || v.is_infinite() || f16::from_f32(v).is_finite(),
            _ => f16::from_f32(v).is_finite(),
        };
        match values.iter().position(|v| !fits(*v)) {
            None => Ok(()),
            Some(index) => Err(EncodeError::Value {
                ty: self,
                value: values[index],
                index,
            }),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.row().0)
    }
}

/// `(q - 1) · d`, of the code 3 too.
fn decode_codes<B: TernaryBlock>(block: &[u8], out: &mut [f32]) {
    let mut stored = [0; 256];
    let stored = &mut stored[..B::WEIGHTS];
    let d = B::unpack(block, stored).to_f32();
    for (out, q) in out.iter_mut().zip(stored) {
        *out = d * (f32::from(*q) - 1.0);
    }
}

/// `d = max|w|`, `q = round(w · (1/d)) + 1`.
fn encode_codes<B: TernaryBlock>(values: &[f32], block: &mut [u8]) {
    let d = values.iter().fold(0.0, |max: f32, v| max.max(v.abs()));
    let inverse = inverse(d);
    let mut stored = [0; 256];
    let stored = &mut stored[..B::WEIGHTS];
    for (stored, v) in stored.iter_mut().zip(values) {
        *stored = ((v * inverse).round() + 1.0) as u8;
    }
    B::pack(stored, f16::from_f32(d), block);
}
