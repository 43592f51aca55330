//! Where the data of each tensor lies: types, sizes, alignment, overlaps.
//!
//! Type 42 is llama.cpp's Q2_0 (groups of 64) or an older fork's type of the same number (groups of 128). The space from a
//! tensor to the next one, which is its size rounded up to the alignment, tells which; a tensor so small that both sizes
//! round up alike takes the answer of the others in the file, and where none tells, the file is refused.

use super::header::{Entry, Header};
use crate::{
    TensorType,
    error::{Fault, Place},
};

/// Checks the places of the tensors of a header whose entries are sorted by offset. Returns the type that 42 stands for.
pub(super) fn check(bytes: &[u8], header: &Header) -> Result<TensorType, Fault> {
    let data = (bytes.len() as u64).saturating_sub(header.data_at);
    let ends = header.entries.iter().skip(1).map(|entry| entry.offset);
    let group = group_of_42(bytes, header, data)?;
    for (entry, next) in header.entries.iter().zip(ends.chain([u64::MAX])) {
        let name = entry.name(bytes);
        let ty = tensor_type(name, entry.type_id)?;
        let ty = if ty == TensorType::Q2_0 { group } else { ty };
        let (len, offset) = (byte_len(name, entry, ty)?, entry.offset);
        let end = offset.checked_add(len);
        let problem = if !offset.is_multiple_of(header.alignment) {
            let alignment = header.alignment;
            format!("starts at {offset}, expected a multiple of {alignment}")
        } else if end.is_none_or(|end| end > data) {
            format!("{len} bytes from {offset} on, but the data of the file ends at {data}")
        } else if end > Some(next) {
            format!("{len} bytes from {offset} on overlap the next tensor, which starts at {next}")
        } else {
            continue;
        };
        return Err(Fault::tensor(name, problem));
    }
    Ok(group)
}

fn byte_len(name: &str, entry: &Entry, ty: TensorType) -> Result<u64, Fault> {
    let (rows, cols) = entry.rows_cols();
    ty.byte_len(rows, cols).ok_or_else(|| {
        let weights = ty.block_weights();
        let problem = format!(
            "{rows} rows of {cols} as {ty}, expected rows of whole blocks of {weights} and a size below 2^64"
        );
        Fault::tensor(name, problem)
    })
}

/// The type that 42 stands for in this file.
fn group_of_42(bytes: &[u8], header: &Header, data: u64) -> Result<TensorType, Fault> {
    let candidates = [TensorType::Q2_0, TensorType::Pq2_0];
    let mut possible = [true; 2];
    let mut any = None;
    let ends = header.entries.iter().skip(1).map(|entry| entry.offset);
    for (entry, end) in header.entries.iter().zip(ends.chain([data])) {
        if entry.type_id != TensorType::Q2_0.id() {
            continue;
        }
        let space = end.saturating_sub(entry.offset);
        let (rows, cols) = entry.rows_cols();
        let fits = candidates.map(|ty| {
            let len = ty.byte_len(rows, cols);
            let padded = len.and_then(|len| len.checked_next_multiple_of(header.alignment));
            // A writer may leave the last tensor without padding.
            padded == Some(space) || end == data && len == Some(space)
        });
        if fits == [false; 2] {
            let problem = format!(
                "type 42 with {rows} rows of {cols} in {space} bytes, expected the size of groups of 64 \
                 (18 bytes each) or of 128 (34 bytes each)"
            );
            return Err(Fault::tensor(entry.name(bytes), problem));
        }
        possible = [possible[0] && fits[0], possible[1] && fits[1]];
        any = Some(entry.name(bytes));
    }
    match (any, possible) {
        (None, _) | (_, [true, false]) => Ok(TensorType::Q2_0),
        (_, [false, true]) => Ok(TensorType::Pq2_0),
        (Some(name), [true, true]) => Err(Fault::unsupported(
            Place::Tensor(name.into()),
            "type 42 is so small here that groups of 64 and of 128 have the same size",
            "write it as TQ2_0, or with the id 142 if its groups have 128 weights",
        )),
        (Some(name), [false, false]) => Err(Fault::tensor(
            name,
            "type 42 has groups of 64 here and of 128 in another tensor, expected one of them",
        )),
    }
}

/// The type of a number, or why it is not read.
fn tensor_type(name: &str, id: u32) -> Result<TensorType, Fault> {
    if let Some(ty) = TensorType::from_id(id) {
        return Ok(ty);
    }
    let known = match id {
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        15 => "Q8_K",
        16..=23 | 29 => "an IQ type",
        24..=28 => "an integer or f64 type",
        37 => "I8_S",
        38 => "TL1",
        39 => "TL2 of microsoft/BitNet, or MXFP4 of llama.cpp",
        40 => "NVFP4",
        41 => "Q1_0",
        _ => "unknown",
    };
    let remedy = match id {
        38 | 39 => {
            "its layout depends on the kernel it was made for: take the I2_S file of the model"
        }
        _ => "convert it to Q8_0 or F16 with `llama-quantize --allow-requantize`",
    };
    let reason = format!("type {id} ({known}) is not read");
    let place = Place::Tensor(name.into());
    Err(Fault::unsupported(place, reason, remedy))
}
