//! The header of a GGUF file: where each key and each tensor's entry stands, checked.

use super::{
    ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC,
    cursor::{Cursor, ReadError},
    value::Value,
};
use crate::error::{Fault, Place};

/// The longest name of a key or tensor; the format's own limit for keys.
const MAX_NAME: usize = u16::MAX as usize;
/// The most dimensions of a tensor, as in ggml.
const MAX_RANK: u32 = 4;
/// The least bytes of a key (length, a character, type, a byte) and of a tensor's entry (one dimension).
const MIN_KEY: u64 = 8 + 1 + 4 + 1;
const MIN_TENSOR: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// Where a key stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    name_at: usize,
    name_len: u16,
    value_at: usize,
}

impl Key {
    pub(super) fn name<'a>(&self, bytes: &'a [u8]) -> &'a str {
        text(bytes, self.name_at, self.name_len)
    }

    /// The value, which was readable when the file was opened.
    pub(super) fn value<'a>(&self, bytes: &'a [u8]) -> Option<Value<'a>> {
        Value::read(&mut Cursor::new(bytes, self.value_at)).ok()
    }
}

/// A tensor's entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    name_at: usize,
    name_len: u16,
    rank: u8,
    /// The type's number in the file.
    pub(super) type_id: u32,
    dims: [u64; MAX_RANK as usize],
    /// From the start of the data.
    pub(super) offset: u64,
}

impl Entry {
    pub(super) fn name<'a>(&self, bytes: &'a [u8]) -> &'a str {
        text(bytes, self.name_at, self.name_len)
    }

    /// The dimensions, columns first.
    pub(super) fn dims(&self) -> &[u64] {
        &self.dims[..self.rank.into()]
    }

    /// All dimensions but the first as one, and the first. Their product was counted when the file was opened.
    pub(super) fn rows_cols(&self) -> (u64, u64) {
        (self.dims[1..].iter().product(), self.dims[0])
    }
}

/// Checked as UTF-8 when the file was opened.
fn text(bytes: &[u8], at: usize, len: u16) -> &str {
    let name = bytes.get(at..).and_then(|rest| rest.get(..len.into()));
    std::str::from_utf8(name.unwrap_or_default()).unwrap_or_default()
}

/// The parts of a header.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) alignment: u64,
    /// Sorted by name.
    pub(super) keys: Vec<Key>,
    /// As in the file.
    pub(super) entries: Vec<Entry>,
    /// Where the data starts.
    pub(super) data_at: u64,
}

/// Reads and checks a header.
pub(super) fn read(bytes: &[u8]) -> Result<Header, Fault> {
    let mut cursor = Cursor::new(bytes, 0);
    let magic = cursor.array::<4>().map_err(Fault::header)?;
    if magic != MAGIC {
        let problem = format!("starts with {magic:02x?}, expected {MAGIC:02x?} (`GGUF`)");
        return Err(Fault::header(problem));
    }
    let version = cursor.u32().map_err(Fault::header)?;
    check_version(version)?;
    let tensors = cursor.u64().map_err(Fault::header)?;
    let keys = cursor.u64().map_err(Fault::header)?;
    // Each count by itself and both together, so that neither leaves too few bytes for the other.
    let needed =
        u128::from(tensors) * u128::from(MIN_TENSOR) + u128::from(keys) * u128::from(MIN_KEY);
    if needed > cursor.left() as u128 {
        return Err(Fault::header(format!(
            "{keys} keys and {tensors} tensors need {needed} bytes, the file has {} left",
            cursor.left()
        )));
    }
    let keys = read_keys(bytes, &mut cursor, keys)?;
    let entries = read_entries(&mut cursor, tensors)?;
    let alignment = alignment(bytes, &keys)?;
    Ok(Header {
        version,
        alignment,
        keys,
        entries,
        data_at: (cursor.at() as u64).next_multiple_of(alignment),
    })
}

fn check_version(version: u32) -> Result<(), Fault> {
    let (reason, remedy) = match version {
        2 | 3 => return Ok(()),
        1 => (
            "version 1 has 32-bit lengths",
            "convert it with a llama.cpp of 2023, or take a newer file of the model",
        ),
        _ if matches!(version.swap_bytes(), 1..=9) => (
            "the file is big-endian",
            "convert it with `gguf-convert-endian FILE little` (PyPI: gguf)",
        ),
        _ => {
            let problem = format!("version {version}, expected 2 or 3");
            return Err(Fault::header(problem));
        }
    };
    Err(Fault::unsupported(Place::Header, reason, remedy))
}

/// A name: where it stands, and itself.
fn read_name<'a>(cursor: &mut Cursor<'a>) -> Result<(usize, u16, &'a str), String> {
    let start = cursor.at();
    let name = cursor.str().map_err(|error| error.to_string())?;
    match u16::try_from(name.len()) {
        Ok(len @ 1..) => Ok((start + 8, len, name)),
        _ => Err(format!(
            "the name at offset {start} has {} bytes, expected 1 to {MAX_NAME}",
            name.len()
        )),
    }
}

fn read_keys(bytes: &[u8], cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<Key>, Fault> {
    // The count was compared with the length of the file.
    let mut keys = Vec::with_capacity(count as usize);
    for index in 0..count {
        let wrong = |error| Fault::header(format!("key {index} of {count}: {error}"));
        let (name_at, name_len, name) = read_name(cursor).map_err(wrong)?;
        let value_at = cursor.at();
        Value::read(cursor).map_err(|error| Fault::key(name, error))?;
        keys.push(Key {
            name_at,
            name_len,
            value_at,
        });
    }
    keys.sort_unstable_by_key(|key| key.name(bytes));
    for pair in keys.windows(2) {
        let name = pair[0].name(bytes);
        if name == pair[1].name(bytes) {
            return Err(Fault::key(name, "stands twice, expected once"));
        }
    }
    Ok(keys)
}

fn read_entries(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::with_capacity(count as usize);
    for index in 0..count {
        let wrong = |error| Fault::header(format!("tensor {index} of {count}: {error}"));
        let (name_at, name_len, name) = read_name(cursor).map_err(wrong)?;
        let wrong = |error: ReadError| Fault::tensor(name, error);
        let rank = cursor.u32().map_err(wrong)?;
        if !(1..=MAX_RANK).contains(&rank) {
            let problem = format!("{rank} dimensions, expected 1 to {MAX_RANK}");
            return Err(Fault::tensor(name, problem));
        }
        let mut dims = [1; MAX_RANK as usize];
        let mut elements = Some(1_u64);
        for dim in &mut dims[..rank as usize] {
            *dim = cursor.u64().map_err(wrong)?;
            elements = elements.and_then(|n| n.checked_mul(*dim));
        }
        if !matches!(elements, Some(1..)) {
            let problem = format!(
                "dimensions {:?}, expected a product from 1 to 2^64 - 1",
                &dims[..rank as usize]
            );
            return Err(Fault::tensor(name, problem));
        }
        entries.push(Entry {
            name_at,
            name_len,
            rank: rank as u8,
            type_id: cursor.u32().map_err(wrong)?,
            dims,
            offset: cursor.u64().map_err(wrong)?,
        });
    }
    Ok(entries)
}

fn alignment(bytes: &[u8], keys: &[Key]) -> Result<u64, Fault> {
    let found = keys.binary_search_by_key(&ALIGNMENT_KEY, |key| key.name(bytes));
    let Ok(index) = found else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    match keys[index].value(bytes) {
        Some(Value::U32(n)) if n.is_power_of_two() => Ok(n.into()),
        value => {
            let problem = format!("{value:?}, expected a power of two as u32");
            Err(Fault::key(ALIGNMENT_KEY, problem))
        }
    }
}
