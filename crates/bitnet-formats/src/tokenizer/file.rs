//! The tokenizer that a model's files bring.

use std::path::Path;

use super::{ByteLevelBpe, SentencePiece, pieces};
use crate::{
    Error, FileBytes, ModelFile,
    error::{Fault, Place},
    model::{TensorSource, TokenizerKind},
};

/// The tokenizer of a model's files, in the form that they have.
#[derive(Debug)]
pub enum TokenizerFile {
    /// A `tokenizer.json`.
    Json(FileBytes),
    /// Byte-level BPE of a GGUF file.
    ByteLevelBpe(ByteLevelBpe),
    /// SentencePiece of a GGUF file.
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
        let (path, description) = match model {
            ModelFile::HuggingFace(model) => (model.checkpoint().path(), model.description()),
            ModelFile::Gguf(model) => (model.file().path(), model.description()),
            ModelFile::Memory(_) => {
                let place = Place::Header;
                let remedy = "a model in memory is a run's, and so is its tokenizer";
                let fault = Fault::unsupported(place, "there is no tokenizer", remedy);
                return Err(fault.within(Path::new("memory")));
            }
        };
        let refuse = |place: &str, reason: String, remedy: &str| {
            let place = Place::Key(place.into());
            Err(Fault::unsupported(place, reason, remedy).within(path))
        };
        let kind = &description.tokenizer.value;
        let read = match (model, kind) {
            (ModelFile::HuggingFace(_), TokenizerKind::HuggingFace(_)) => {
                return FileBytes::open(path.with_file_name("tokenizer.json")).map(Self::Json);
            }
            (ModelFile::Gguf(gguf), TokenizerKind::GgufBpe { .. }) => {
                ByteLevelBpe::from_gguf(gguf.file(), kind).map(Self::ByteLevelBpe)
            }
            (ModelFile::Gguf(gguf), TokenizerKind::GgufSentencePiece) => {
                SentencePiece::from_gguf(gguf.file()).map(Self::SentencePiece)
            }
            (ModelFile::Gguf(gguf), TokenizerKind::GgufOther(name)) if name == "rwkv" => {
                pieces::from_gguf(gguf.file()).map(Self::Pieces)
            }
            (_, TokenizerKind::SentencePiece) => {
                let fault = Fault::unsupported(
                    Place::File,
                    "a SentencePiece model is not read",
                    "write tokenizer.json beside it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
                );
                return Err(fault.within(&path.with_file_name("tokenizer.model")));
            }
            (ModelFile::HuggingFace(_) | ModelFile::Memory(_), _) => {
                let fault = Fault::unsupported(
                    Place::File,
                    "the model has no tokenizer",
                    "copy tokenizer.json and tokenizer_config.json to this place",
                );
                return Err(fault.within(&path.with_file_name("tokenizer.json")));
            }
            (ModelFile::Gguf(_), TokenizerKind::GgufOther(name)) => {
                return refuse(
                    "tokenizer.ggml.model",
                    format!("tokenizers of the kind {name:?} are not read"),
                    "gpt2 (byte-level BPE) and llama (SentencePiece) are",
                );
            }
            (ModelFile::Gguf(_), _) => {
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
}
