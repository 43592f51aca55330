//! A folder of Hugging Face's transformers: `config.json`, safetensors, a tokenizer.

mod config;
mod describe;
mod folder;
mod generation;
mod packed;
mod pooling;
mod tensors;
mod text;
mod tokenizer;

pub use config::{HfConfig, QuantizationConfig, TokenIds};
pub use folder::HfModel;
pub use generation::GenerationConfig;
pub(crate) use generation::{SAMPLING, decimal, end_tokens};
pub use packed::{pack_rows, unpack_rows};
pub(crate) use pooling::{MODULES, POOLING};
pub use text::HfText;
