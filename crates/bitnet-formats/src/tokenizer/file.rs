//! The tokenizer that a model's files bring.

use std::path::Path;

use super::{ByteLevelBpe, SentencePiece, pieces};
use crate::{
    Error, FileBytes, ModelFile,
    error::{Fault, Place},
    hf::HfText,
    model::{TensorSource, TokenizerKind},
};

/// The tokenizer of a model's files, in the form that they have.
#[derive(Debug)]
pub enum TokenizerFile {
    /// A `tokenizer.json`.
    Json(FileBytes),
    /// Byte-level BPE of a GGUF file.
    ByteLevelBpe(ByteLevelBpe),
    /// SentencePiece of a GGUF file, or of a `tokenizer.model`.
    SentencePiece(SentencePiece),
    /// Byte strings of a GGUF file by id, of which the longest is taken (`rwkv`).
    Pieces(Vec<Vec<u8>>),
}

impl TokenizerFile {
    /// Reads the tokenizer of a model.
    ///
    /// # Errors
    ///
    /// If there is none, or it is of a kind that is not read.
    pub fn open(model: &ModelFile) -> Result<Self, Error> {
        let gguf = match model {
            ModelFile::HuggingFace(model) => return Self::of_folder(model.text()),
            ModelFile::Gguf(model) => model,
            ModelFile::Memory(_) => {
                let place = Place::Header;
                let remedy = "a model in memory is a run's, and so is its tokenizer";
                let fault = Fault::unsupported(place, "there is no tokenizer", remedy);
                return Err(fault.within(Path::new("memory")));
            }
        };
        let path = gguf.file().path();
        let refuse = |place: &str, reason: String, remedy: &str| {
            let place = Place::Key(place.into());
            Err(Fault::unsupported(place, reason, remedy).within(path))
        };
        let kind = &gguf.description().tokenizer.value;
        let read = match kind {
            TokenizerKind::GgufBpe { .. } => {
                ByteLevelBpe::from_gguf(gguf.file(), kind).map(Self::ByteLevelBpe)
            }
            TokenizerKind::GgufSentencePiece => {
                SentencePiece::from_gguf(gguf.file()).map(Self::SentencePiece)
            }
            TokenizerKind::GgufOther(name) if name == "rwkv" => {
                pieces::from_gguf(gguf.file()).map(Self::Pieces)
            }
            TokenizerKind::GgufOther(name) => {
                return refuse(
                    "tokenizer.ggml.model",
                    format!("tokenizers of the kind {name:?} are not read"),
                    "gpt2 (byte-level BPE) and llama (SentencePiece) are",
                );
            }
            _ => {
                return refuse(
                    "tokenizer.ggml.tokens",
                    "the file has no tokenizer".into(),
                    "make it anew from a folder with tokenizer.json",
                );
            }
        };
        read.or_else(|reason| {
            refuse(
                "tokenizer.ggml",
                reason.to_string(),
                "take the model's folder with tokenizer.json instead",
            )
        })
    }
    /// Reads the tokenizer of a folder of transformers.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be read.
    pub fn of_folder(text: &HfText) -> Result<Self, Error> {
        let refuse = |name: &str, reason: &str, remedy: &str| {
            let fault = Fault::unsupported(Place::File, reason, remedy);
            Err(fault.within(&text.folder().join(name)))
        };
        match text.tokenizer().value {
            TokenizerKind::HuggingFace(_) => {
                FileBytes::open(text.folder().join("tokenizer.json")).map(Self::Json)
            }
            TokenizerKind::SentencePiece => {
                SentencePiece::from_folder(text.folder()).map(Self::SentencePiece)
            }
            _ => refuse(
                "tokenizer.json",
                "the model has no tokenizer",
                "copy tokenizer.json and tokenizer_config.json to this place",
            ),
        }
    }
}
