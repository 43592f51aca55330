//! Ternary blocks to codes and scales and back, without a float in between.

use half::f16;

use super::{
    EncodeError, I2sOrder, TensorType, TernaryBlock,
    i2_s::{I2sBlock, TAIL},
    ptq1_0::Ptq1_0,
    q2_0::Q2_0,
    tq1_0::Tq1_0,
    tq2_0::Tq2_0,
};
use bitnet_kernels::Granularity;

use crate::ternary::{ScaleDirection, TernaryError, TernaryTensor};

/// Decodes a ternary matrix. `bytes` has the length of its type and shape; `order` matters to I2_S only.
///
/// # Panics
///
/// If the type is not ternary.
pub(crate) fn decode_ternary(
    ty: TensorType,
    order: I2sOrder,
    bytes: &[u8],
    rows: usize,
    cols: usize,
) -> Result<TernaryTensor, TernaryError> {
    let shape = (rows, cols);
    match ty {
        TensorType::Tq1_0 => decode::<Tq1_0>(bytes, shape, None),
        TensorType::Tq2_0 => decode::<Tq2_0>(bytes, shape, None),
        TensorType::Q2_0 => decode::<Q2_0<64>>(bytes, shape, None),
        TensorType::Pq2_0 => decode::<Q2_0<128>>(bytes, shape, None),
        TensorType::Ptq1_0 => decode::<Ptq1_0>(bytes, shape, None),
        TensorType::I2S => {
            let (codes, tail) = bytes.split_at(bytes.len() - TAIL);
            let scale = f32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
            match order {
                I2sOrder::X86 => decode::<I2sBlock<32>>(codes, shape, Some(scale)),
                I2sOrder::Arm => decode::<I2sBlock<16>>(codes, shape, Some(scale)),
            }
        }
        _ => unreachable!("{ty} is not ternary"),
    }
}

fn decode<B: TernaryBlock>(
    bytes: &[u8],
    (rows, cols): (usize, usize),
    scale: Option<f32>,
) -> Result<TernaryTensor, TernaryError> {
    let granularity = match scale {
        Some(_) => Granularity::Tensor,
        None => Granularity::Group(B::WEIGHTS),
    };
    let mut tensor = TernaryTensor::new(rows, cols, granularity, ScaleDirection::Multiply);
    let mut scales = Vec::with_capacity(rows * cols / B::WEIGHTS);
    let mut stored = vec![0; B::WEIGHTS];
    let per_row = cols / B::WEIGHTS;
    for (index, block) in bytes.chunks_exact(B::BYTES).enumerate() {
        let d = B::unpack(block, &mut stored);
        tensor.set_codes(index / per_row, index % per_row * B::WEIGHTS, &stored)?;
        scales.push(d.to_f32());
    }
    tensor.set_scales(scale.map_or(scales, |scale| vec![scale]))?;
    Ok(tensor)
}

/// Encodes a ternary matrix; `order` matters to I2_S only.
///
/// # Errors
///
/// If the type is not ternary, rows are not whole blocks, weights of a block have different scales, or a scale is out
/// of the range of f16.
pub(crate) fn encode_ternary(
    tensor: &TernaryTensor,
    ty: TensorType,
    order: I2sOrder,
) -> Result<Vec<u8>, EncodeError> {
    ty.check_cols(tensor.cols())?;
    match ty {
        TensorType::Tq1_0 => encode::<Tq1_0>(tensor),
        TensorType::Tq2_0 => encode::<Tq2_0>(tensor),
        TensorType::Q2_0 => encode::<Q2_0<64>>(tensor),
        TensorType::Pq2_0 => encode::<Q2_0<128>>(tensor),
        TensorType::Ptq1_0 => encode::<Ptq1_0>(tensor),
        TensorType::I2S => {
            let cols = tensor.rows() * tensor.cols();
            let scale = shared_scale(tensor, 0, cols)?;
            let mut bytes = match order {
                I2sOrder::X86 => codes::<I2sBlock<32>>(tensor, |_, _| Ok(f16::ONE))?,
                I2sOrder::Arm => codes::<I2sBlock<16>>(tensor, |_, _| Ok(f16::ONE))?,
            };
            bytes.extend(scale.to_le_bytes());
            bytes.extend([0; TAIL - 4]);
            Ok(bytes)
        }
        _ => Err(EncodeError::NotTernary { ty }),
    }
}

fn encode<B: TernaryBlock>(tensor: &TernaryTensor) -> Result<Vec<u8>, EncodeError> {
    codes::<B>(tensor, |row, col| {
        let first = row * tensor.cols() + col;
        let scale = shared_scale(tensor, first, B::WEIGHTS)?;
        let d = f16::from_f32(scale);
        if d.is_finite() && (d > f16::ZERO || scale == 0.0) {
            Ok(d)
        } else {
            Err(EncodeError::ScaleRange { scale, row, col })
        }
    })
}

/// The one scale of `count` weights from the flat index `first` on.
fn shared_scale(tensor: &TernaryTensor, first: usize, count: usize) -> Result<f32, EncodeError> {
    let cols = tensor.cols();
    let step = match tensor.granularity() {
        Granularity::Tensor => count,
        Granularity::Row => cols,
        Granularity::Group(n) => n,
    };
    let at = |index: usize| tensor.multiplier(index / cols, index % cols);
    let scale = at(first);
    let mut index = first;
    while index < first + count {
        if at(index) != scale {
            return Err(EncodeError::SeveralScales {
                row: index / cols,
                col: index % cols,
                count,
            });
        }
        // To the next group: groups start anew in each row.
        let col = index % cols;
        index += (step - col % step).min(cols - col).max(1);
        if tensor.granularity() == Granularity::Tensor {
            break;
        }
    }
    Ok(scale)
}

fn codes<B: TernaryBlock>(
    tensor: &TernaryTensor,
    scale: impl Fn(usize, usize) -> Result<f16, EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    let blocks = tensor.rows() * tensor.cols() / B::WEIGHTS;
    let mut bytes = vec![0; blocks * B::BYTES];
    let mut stored = vec![0; B::WEIGHTS];
    let per_row = tensor.cols() / B::WEIGHTS;
    for (index, block) in bytes.chunks_exact_mut(B::BYTES).enumerate() {
        let (row, first) = (index / per_row, index % per_row * B::WEIGHTS);
        for (col, stored) in (first..).zip(&mut stored) {
            *stored = (tensor.code(row, col) + 1) as u8;
        }
        B::pack(&stored, scale(row, first)?, block);
    }
    Ok(bytes)
}
