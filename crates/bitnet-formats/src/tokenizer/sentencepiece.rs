//! SentencePiece as GGUF holds it: pieces with scores (`tokenizer.ggml.model` is `llama`).

use super::{
    NoForm, TokenKind,
    gguf::{Item, kinds, list, texts},
    no_form,
};
use crate::gguf::GgufFile;

/// The pieces of a SentencePiece BPE by id. A space is written `▁`.
#[derive(Clone, Debug, PartialEq)]
pub struct SentencePiece {
    /// Texts and kinds.
    pub tokens: Vec<(String, TokenKind)>,
    /// Of pairs of neighbours that make a piece, the one with the highest score is joined first.
    pub scores: Vec<f32>,
    /// Whether a space is put before a text, and after a special token.
    pub add_space_prefix: bool,
}

impl SentencePiece {
    /// Reads the keys of a file.
    pub(super) fn from_gguf(file: &GgufFile) -> Result<Self, NoForm> {
        let texts = texts(file)?;
        let Some(scores) = list(file, "scores").filter(|scores| scores.len() == texts.len()) else {
            return no_form("tokenizer.ggml.scores are not as many as tokens");
        };
        let score = |item| match item {
            Item::Number(score) if score.is_finite() => Ok(score as f32),
            _ => no_form("tokenizer.ggml.scores are not finite numbers"),
        };
        let prefix = file.get("tokenizer.ggml.add_space_prefix");
        Ok(Self {
            scores: scores.into_iter().map(score).collect::<Result<_, _>>()?,
            tokens: texts.into_iter().zip(kinds(file)).collect(),
            add_space_prefix: prefix.and_then(|v| v.as_bool()).unwrap_or(true),
        })
    }
}
