//! The packed layout of transformers' BitNet: four rows in a byte.
//!
//! A matrix `[rows, cols]` is stored as u8 `[quarter, cols]`, `quarter = ceil(rows / 4)`: bits `2i..2i+1` of byte `[r, c]`
//! hold the code of row `i · quarter + r`, column `c`, plus 1. It is row *quarters* that share a byte, not neighbours.

use bitnet_kernels::Granularity;

use crate::ternary::{ScaleDirection, TernaryError, TernaryTensor};

/// Unpacks a matrix with one scale.
///
/// # Errors
///
/// If a code is 3, or the scale is not finite (or 0 where it divides).
///
/// # Panics
///
/// If `packed` is not `ceil(rows / 4) · cols` bytes.
pub fn unpack_rows(
    packed: &[u8],
    (rows, cols): (usize, usize),
    scale: f32,
    direction: ScaleDirection,
) -> Result<TernaryTensor, TernaryError> {
    let quarter = rows.div_ceil(4);
    assert_eq!(packed.len(), quarter * cols, "bytes of {rows} x {cols}");
    let mut tensor = TernaryTensor::new(rows, cols, Granularity::Tensor, direction);
    let mut stored = vec![0; cols];
    for row in 0..rows {
        let (i, r) = (row / quarter, row % quarter);
        for (stored, byte) in stored.iter_mut().zip(&packed[r * cols..]) {
            *stored = byte >> (2 * i) & 3;
        }
        tensor.set_codes(row, 0, &stored)?;
    }
    tensor.set_scales(vec![scale])?;
    Ok(tensor)
}

/// Packs the codes of a matrix; bits of rows past the last are 0.
pub fn pack_rows(tensor: &TernaryTensor) -> Vec<u8> {
    let (rows, cols) = (tensor.rows(), tensor.cols());
    let quarter = rows.div_ceil(4);
    let mut packed = vec![0_u8; quarter * cols];
    for row in 0..rows {
        let (i, r) = (row / quarter, row % quarter);
        for (col, byte) in packed[r * cols..][..cols].iter_mut().enumerate() {
            *byte |= ((tensor.code(row, col) + 1) as u8) << (2 * i);
        }
    }
    packed
}
