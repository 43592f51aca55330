//! Float blocks as the kernels hold them: codes and scales, with no float in between.

use bitnet_kernels::{BLOCK, BlockFormat, BlockRow};

use super::{TensorType, f16_at, q6_k};

/// The kernels' form of a type, if its blocks are codes with scales of 32 weights or fewer.
pub(crate) fn block_format(ty: TensorType) -> Option<BlockFormat> {
    match ty {
        TensorType::Q8_0 => Some(BlockFormat::Int8),
        TensorType::Q4_0 => Some(BlockFormat::Int4),
        TensorType::Q4_1 => Some(BlockFormat::Int4Min),
        TensorType::Q6K => Some(BlockFormat::Int8Halves),
        TensorType::F32
        | TensorType::F16
        | TensorType::Bf16
        | TensorType::Tq1_0
        | TensorType::Tq2_0
        | TensorType::I2S
        | TensorType::Q2_0
        | TensorType::Pq2_0
        | TensorType::Ptq1_0 => None,
    }
}

/// Decodes a row of a type that has a [`block_format`].
pub(crate) fn decode_row(ty: TensorType, bytes: &[u8], to: BlockRow<'_>) {
    let BlockRow {
        codes,
        scales,
        minimums,
    } = to;
    match ty {
        TensorType::Q8_0 => {
            let blocks = bytes.chunks_exact(34).zip(codes.chunks_exact_mut(BLOCK));
            for ((block, codes), scale) in blocks.zip(scales) {
                *scale = f16_at(block, 0).to_f32();
                for (code, q) in codes.iter_mut().zip(&block[2..]) {
                    *code = *q as i8;
                }
            }
        }
        TensorType::Q4_0 => {
            let blocks = bytes.chunks_exact(18).zip(codes.chunks_exact_mut(BLOCK));
            for ((block, codes), scale) in blocks.zip(scales) {
                *scale = f16_at(block, 0).to_f32();
                halves(&block[2..], 8, codes);
            }
        }
        TensorType::Q4_1 => {
            let blocks = bytes.chunks_exact(20).zip(codes.chunks_exact_mut(BLOCK));
            for ((block, codes), (scale, minimum)) in blocks.zip(scales.iter_mut().zip(minimums)) {
                *scale = f16_at(block, 0).to_f32();
                *minimum = f16_at(block, 2).to_f32();
                halves(&block[4..], 0, codes);
            }
        }
        TensorType::Q6K => {
            let blocks = bytes.chunks_exact(q6_k::BYTES);
            let codes = codes.chunks_exact_mut(q6_k::WEIGHTS);
            let scales = scales.chunks_exact_mut(q6_k::WEIGHTS / q6_k::PER_SCALE);
            for ((block, codes), scales) in blocks.zip(codes).zip(scales) {
                for (index, scale) in scales.iter_mut().enumerate() {
                    *scale = q6_k::scale(block, index);
                }
                for (e, code) in codes.iter_mut().enumerate() {
                    *code = q6_k::code(block, e);
                }
            }
        }
        // Types without a form have no rows in it.
        _ => {}
    }
}

/// Low halves of bytes, then their high halves, each less `zero`.
fn halves(bytes: &[u8], zero: i8, codes: &mut [i8]) {
    let (low, high) = codes.split_at_mut(bytes.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = (byte & 15) as i8 - zero;
        *high = (byte >> 4) as i8 - zero;
    }
}
