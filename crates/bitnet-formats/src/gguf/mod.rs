//! GGUF, versions 2 and 3, little-endian: metadata and tensors in one file.
//!
//! ```text
//! "GGUF"  u32 version  u64 tensors  u64 keys
//! keys    × { string name; u32 type; value }                                string = u64 length, UTF-8
//! tensors × { string name; u32 rank; u64 dims[rank]; u32 type; u64 offset }   dims[0] = columns, offset from the data
//! padding to `general.alignment` (32 if absent), then the data; each tensor starts at a multiple of the alignment
//! ```
//!
//! [`GgufFile`] checks all of it when it opens a file and keeps positions, not copies: 32 bytes for a key of at least 14, 60
//! for a tensor's entry of at least 33. Counts and lengths are compared with the bytes that are left before anything is
//! allocated. [`GgufWriter`] writes a file tensor by tensor.

mod cursor;
mod describe;
mod file;
mod header;
mod layout;
mod model;
mod value;
mod writer;

pub(crate) use describe::{END_TOKENS, POOLING_TYPE};
pub use file::{GgufFile, GgufTensor};
pub use model::GgufModel;
pub use value::{Array, Value, ValueType};
pub use writer::{GgufStream, GgufWriter};

/// What a file starts with.
const MAGIC: [u8; 4] = *b"GGUF";
/// The alignment of a file that names none.
const DEFAULT_ALIGNMENT: u64 = 32;
/// The key of another alignment: u32, a power of two.
const ALIGNMENT_KEY: &str = "general.alignment";
