//! A folder of Hugging Face's transformers: `config.json`, safetensors, a tokenizer.

mod config;
mod describe;
mod folder;
mod packed;
mod tensors;
mod text;
mod tokenizer;

pub use config::{GenerationConfig, HfConfig, QuantizationConfig, TokenIds};
pub use folder::HfModel;
pub use packed::{pack_rows, unpack_rows};
pub use text::HfText;
