//! Model files of others: GGUF and safetensors, their ternary tensor types, and what their conventions are.
//!
//! | file | concept |
//! |---|---|
//! | `gguf` | the container: metadata and tensors, read in place and written tensor by tensor |
//! | `safetensors` | the other container: a file, or several by an index |
//! | `blocks` | tensor types of GGUF, one a file |
//! | `hf` | folders of transformers: `config.json`, packed codes, the tokenizer's files |
//! | `model` | a decoder-only model whatever the container: shape, conventions with their evidence, tensors by role |
//! | `inspect` | all of it in words, with the codes and values of every tensor |
//! | `tokenizer` | byte-level BPE as `tokenizer.json` and as the keys of GGUF, SentencePiece of GGUF |
//! | `convert` | a model written as another container |
//! | `ternary` | codes and scales of a matrix as a file holds them |
//! | `open` | a model of either container, by its path |
//! | `file_bytes`, `json`, `atomic_file` | files mapped, parsed, written whole |
//! | `error` | what is wrong with a file, in one line |
//!
//! Nothing here is trusted: every count and length is compared with the bytes that are there before it is used, what is
//! ambiguous is refused, and errors name the file, the key or tensor, and what was expected.

mod atomic_file;
mod blocks;
mod convert;
mod error;
mod file_bytes;
pub mod gguf;
pub mod hf;
pub mod inspect;
mod json;
pub mod model;
mod open;
pub mod safetensors;
mod ternary;
pub mod tokenizer;

pub use blocks::{EncodeError, I2sOrder, TensorType};
pub use convert::{Converted, Target, UnknownTarget, convert, write_text};
pub use error::{Error, Place};
pub use file_bytes::FileBytes;
pub use open::ModelFile;
pub use ternary::{ScaleDirection, TernaryError, TernaryTensor};
