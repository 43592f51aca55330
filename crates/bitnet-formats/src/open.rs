//! A model's files by their path: a GGUF file or a folder of transformers.

use std::path::Path;

use crate::{
    Error,
    gguf::GgufModel,
    hf::HfModel,
    model::{MemoryModel, TensorSource},
};

/// A model of either container.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a program opens a handful of them"
)]
pub enum ModelFile {
    /// A GGUF file.
    Gguf(GgufModel),
    /// A folder of transformers.
    HuggingFace(HfModel),
    /// No file: what is in memory.
    Memory(MemoryModel),
}

impl ModelFile {
    /// Opens a folder as transformers' and a file as GGUF.
    ///
    /// # Errors
    ///
    /// If it cannot be read, contradicts its format or itself, or has a convention that is unknown.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(if path.is_dir() {
            Self::HuggingFace(HfModel::open(path)?)
        } else {
            Self::Gguf(GgufModel::open(path)?)
        })
    }

    /// Its tensors.
    pub fn source(&self) -> &dyn TensorSource {
        match self {
            Self::Gguf(model) => model,
            Self::HuggingFace(model) => model,
            Self::Memory(model) => model,
        }
    }

    /// What the container is.
    pub fn format(&self) -> String {
        match self {
            Self::Gguf(model) => format!("GGUF v{}", model.file().version()),
            Self::HuggingFace(model) => match model.checkpoint().files() {
                1 => "safetensors, 1 file".into(),
                n => format!("safetensors, {n} files"),
            },
            Self::Memory(_) => "in memory".into(),
        }
    }
}
