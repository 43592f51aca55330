//! Metadata values: thirteen types, little-endian. Arrays stay the bytes that they are in the file until they are
//! iterated, so that a vocabulary of 150,000 strings costs nothing to open.

use std::borrow::Cow;

use super::cursor::{Cursor, ReadError};

/// How deeply arrays may be nested. Known files hold arrays of scalars and strings only.
const MAX_DEPTH: usize = 4;

/// The type of a metadata value, by its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ValueType {
    /// u8.
    U8 = 0,
    /// i8.
    I8 = 1,
    /// u16.
    U16 = 2,
    /// i16.
    I16 = 3,
    /// u32.
    U32 = 4,
    /// i32.
    I32 = 5,
    /// f32.
    F32 = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// u64 length in bytes, then UTF-8 without a terminator.
    String = 8,
    /// u32 type of the items, u64 count, then the items.
    Array = 9,
    /// u64.
    U64 = 10,
    /// i64.
    I64 = 11,
    /// f64.
    F64 = 12,
}

impl ValueType {
    const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, ReadError> {
        let at = cursor.at();
        let found = cursor.u32()?;
        let known = Self::ALL.get(found as usize).copied();
        known.ok_or(ReadError::ValueType { at, found })
    }

    /// Bytes of a scalar; `None` for strings and arrays.
    fn scalar_bytes(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the variants are the types of their names")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(Cow<'a, str>),
    Array(Array<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array: the type of its items, their number, and their bytes as they stand in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'a> {
    items: ValueType,
    len: u64,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Value<'a> {
    /// Reads a type number and the value after it.
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<Self, ReadError> {
        let kind = ValueType::read(cursor)?;
        Self::read_as(kind, cursor, MAX_DEPTH)
    }

    fn read_as(kind: ValueType, cursor: &mut Cursor<'a>, depth: usize) -> Result<Self, ReadError> {
        Ok(match kind {
            ValueType::U8 => Self::U8(u8::from_le_bytes(cursor.array()?)),
            ValueType::I8 => Self::I8(i8::from_le_bytes(cursor.array()?)),
            ValueType::U16 => Self::U16(u16::from_le_bytes(cursor.array()?)),
            ValueType::I16 => Self::I16(i16::from_le_bytes(cursor.array()?)),
            ValueType::U32 => Self::U32(u32::from_le_bytes(cursor.array()?)),
            ValueType::I32 => Self::I32(i32::from_le_bytes(cursor.array()?)),
            ValueType::F32 => Self::F32(f32::from_le_bytes(cursor.array()?)),
            ValueType::U64 => Self::U64(u64::from_le_bytes(cursor.array()?)),
            ValueType::I64 => Self::I64(i64::from_le_bytes(cursor.array()?)),
            ValueType::F64 => Self::F64(f64::from_le_bytes(cursor.array()?)),
            ValueType::String => Self::String(cursor.str()?.into()),
            ValueType::Bool => {
                let at = cursor.at();
                match cursor.array()? {
                    [0] => Self::Bool(false),
                    [1] => Self::Bool(true),
                    [found] => return Err(ReadError::Bool { at, found }),
                }
            }
            ValueType::Array => Self::Array(Array::read(cursor, depth)?),
        })
    }

    /// The type.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// Any integer type, unless it is negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::U64(v) => Some(v),
            Self::I8(v) => v.try_into().ok(),
            Self::I16(v) => v.try_into().ok(),
            Self::I32(v) => v.try_into().ok(),
            Self::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// A float of either width.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(v) => Some(v.into()),
            Self::F64(v) => Some(v),
            _ => None,
        }
    }

    /// A flag.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(v) => Some(v),
            _ => None,
        }
    }

    /// An array.
    pub fn as_array(&self) -> Option<&Array<'a>> {
        match self {
            Self::Array(v) => Some(v),
            _ => None,
        }
    }

    /// Appends the value without its type number.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(v) => out.extend(v.to_le_bytes()),
            Self::I8(v) => out.extend(v.to_le_bytes()),
            Self::U16(v) => out.extend(v.to_le_bytes()),
            Self::I16(v) => out.extend(v.to_le_bytes()),
            Self::U32(v) => out.extend(v.to_le_bytes()),
            Self::I32(v) => out.extend(v.to_le_bytes()),
            Self::F32(v) => out.extend(v.to_le_bytes()),
            Self::U64(v) => out.extend(v.to_le_bytes()),
            Self::I64(v) => out.extend(v.to_le_bytes()),
            Self::F64(v) => out.extend(v.to_le_bytes()),
            Self::Bool(v) => out.push((*v).into()),
            Self::String(v) => write_str(v, out),
            Self::Array(v) => {
                out.extend((v.items as u32).to_le_bytes());
                out.extend(v.len.to_le_bytes());
                out.extend(&*v.bytes);
            }
        }
    }

    /// Appends the type number and the value.
    pub(crate) fn write_typed(&self, out: &mut Vec<u8>) {
        out.extend((self.value_type() as u32).to_le_bytes());
        self.write(out);
    }
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, depth: usize) -> Result<Self, ReadError> {
        let at = cursor.at();
        let Some(depth) = depth.checked_sub(1) else {
            let limit = MAX_DEPTH;
            return Err(ReadError::Depth { at, limit });
        };
        let items = ValueType::read(cursor)?;
        let len = cursor.u64()?;
        let start = *cursor;
        match items.scalar_bytes() {
            Some(size) if items != ValueType::Bool => {
                cursor.take(len.saturating_mul(size))?;
            }
            // An item has at least a byte, so a false count ends with the file.
            _ => {
                for _ in 0..len {
                    Value::read_as(items, cursor, depth)?;
                }
            }
        }
        let mut whole = start;
        let bytes = whole.take((cursor.at() - start.at()) as u64)?;
        Ok(Self {
            items,
            len,
            bytes: bytes.into(),
        })
    }

    /// Collects values of one type.
    ///
    /// # Panics
    ///
    /// If a value has another type than `items`.
    pub fn from_values<'v>(
        items: ValueType,
        values: impl IntoIterator<Item = Value<'v>>,
    ) -> Array<'static> {
        let (mut len, mut bytes) = (0, Vec::new());
        for value in values {
            assert_eq!(value.value_type(), items, "an array has items of one type");
            value.write(&mut bytes);
            len += 1;
        }
        Array {
            items,
            len,
            bytes: bytes.into(),
        }
    }

    /// The type of the items.
    pub fn item_type(&self) -> ValueType {
        self.items
    }

    /// The number of items.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The items in order. They were checked when the array was read.
    pub fn iter(&self) -> impl Iterator<Item = Value<'_>> {
        let mut cursor = Cursor::new(&self.bytes, 0);
        (0..self.len).map_while(move |_| Value::read_as(self.items, &mut cursor, MAX_DEPTH).ok())
    }
}

/// Appends a string as GGUF stores it.
pub(crate) fn write_str(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text.into())
    }
}
