//! safetensors: a JSON header, then the bytes of all tensors without gaps.
//!
//! ```text
//! u64 n (little-endian)   n bytes of JSON   data
//! { "__metadata__": { name: text }, tensor: { "dtype": "BF16", "shape": [out, in], "data_offsets": [start, end] } }
//! ```
//!
//! A checkpoint is one file, or several and `model.safetensors.index.json` that says which tensor is in which. The
//! crate `safetensors` reads the same format; this reader names the tensor in every error, refuses names that stand twice,
//! which it takes the last of, and checks an index against its shards.

mod checkpoint;
mod file;
mod header;
mod writer;

pub use checkpoint::{Checkpoint, INDEX_FILE, SINGLE_FILE};
pub use file::{SafeTensor, SafetensorsFile};
pub use header::Dtype;
pub use writer::{SafetensorsStream, SafetensorsWriter};
