//! SentencePiece: pieces with scores, as the keys of GGUF (`tokenizer.ggml.model` is `llama`), or as the file
//! `tokenizer.model` with what stands beside it.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    NoForm, TokenKind,
    gguf::{Item, kinds, list, texts, write_special, write_tokens},
    no_form,
};
use crate::{
    Error, FileBytes,
    error::{Fault, Place},
    gguf::{Array, GgufFile, GgufWriter, Value as GgufValue, ValueType},
    json,
    model::SpecialTokens,
};

/// Bytes of the largest files that are read.
const MAX_MODEL: usize = 64 << 20;
const MAX_CONFIG: usize = 16 << 20;

/// `tokenizer_config.json`, as far as it says which tokens were added.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Added {
    added_tokens_decoder: BTreeMap<u32, AddedToken>,
}

#[derive(Debug, Deserialize)]
struct AddedToken {
    content: String,
    #[serde(default)]
    special: bool,
}

/// The pieces of a SentencePiece BPE by id. A space is written `▁`.
#[derive(Clone, Debug, PartialEq)]
pub struct SentencePiece {
    /// Texts and kinds.
    pub tokens: Vec<(String, TokenKind)>,
    /// Of pairs of neighbours that make a piece, the one with the highest score is joined first.
    pub scores: Vec<f32>,
    /// Whether a space is put before a text, and after a special token.
    pub add_space_prefix: bool,
    /// User-defined pieces below this id are found in a text that has its space already, as SentencePiece's own library
    /// does; those from it on are special tokens in that, as all are to llama.cpp.
    pub own_pieces: usize,
}

impl SentencePiece {
    /// Reads the keys of a file.
    pub(crate) fn from_gguf(file: &GgufFile) -> Result<Self, NoForm> {
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
            own_pieces: 0,
        })
    }
    /// Reads `tokenizer.model` of a folder, and the tokens that were added to it: `added_tokens_decoder` of
    /// `tokenizer_config.json`, and `added_tokens.json` of older folders.
    pub(crate) fn from_folder(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("tokenizer.model");
        let bytes = FileBytes::open(&path)?;
        let malformed = |problem: String| Fault::malformed(Place::File, problem).within(&path);
        if bytes.len() > MAX_MODEL {
            let problem = format!("{} bytes, expected at most {MAX_MODEL}", bytes.len());
            return Err(malformed(problem));
        }
        let mut model = Self::from_protobuf(&bytes).map_err(|reason| {
            let remedy = "write tokenizer.json beside it: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";
            Fault::unsupported(Place::File, reason, remedy).within(&path)
        })?;
        let older = json::read(&folder.join("added_tokens.json"), MAX_CONFIG)?;
        let older: BTreeMap<String, u32> = older.unwrap_or_default();
        let older = older
            .into_iter()
            .map(|(text, id)| (id, text, TokenKind::UserDefined));
        let added = json::read(&folder.join("tokenizer_config.json"), MAX_CONFIG)?;
        let added: Added = added.unwrap_or_default();
        let added = added.added_tokens_decoder.into_iter().map(|(id, token)| {
            let kind = match token.special {
                true => TokenKind::Control,
                false => TokenKind::UserDefined,
            };
            (id, token.content, kind)
        });
        let all: BTreeMap<u32, (String, TokenKind)> = older
            .chain(added)
            .map(|(id, text, kind)| (id, (text, kind)))
            .collect();
        for (id, (text, kind)) in all {
            let count = model.tokens.len();
            match model.tokens.get_mut(id as usize) {
                // What is unknown stays what stands for it.
                Some((own, TokenKind::Unknown)) if *own == text => {}
                Some(own) => *own = (text, kind),
                None if id as usize == count => {
                    model.tokens.push((text, kind));
                    model.scores.push(0.0);
                }
                None => {
                    let problem =
                        format!("the added token {text:?} has the id {id}, expected {count}");
                    return Err(malformed(problem));
                }
            }
        }
        Ok(model)
    }

    /// Adds the keys of the same tokenizer.
    pub(crate) fn write_gguf(&self, special: &SpecialTokens, writer: &mut GgufWriter) {
        writer.key("tokenizer.ggml.model", &"llama".into());
        writer.key("tokenizer.ggml.pre", &"default".into());
        write_tokens(&self.tokens, writer);
        let scores = self.scores.iter().map(|score| GgufValue::F32(*score));
        let scores = Array::from_values(ValueType::F32, scores);
        writer.key("tokenizer.ggml.scores", &GgufValue::Array(scores));
        write_special(special, writer);
        let prefix = GgufValue::Bool(self.add_space_prefix);
        writer.key("tokenizer.ggml.add_space_prefix", &prefix);
    }

    /// `tokenizer_config.json` beside a `tokenizer.model`.
    pub(crate) fn config(&self, special: &SpecialTokens) -> Value {
        let text = |id: Option<u32>| Some(self.tokens.get(id? as usize)?.0.clone());
        let unknown = self
            .tokens
            .iter()
            .find(|(_, kind)| *kind == TokenKind::Unknown);
        json!({
            "tokenizer_class": "LlamaTokenizer",
            "clean_up_tokenization_spaces": false,
            "legacy": false,
            "add_bos_token": special.add_bos.unwrap_or(true),
            "add_eos_token": false,
            "add_prefix_space": self.add_space_prefix,
            "bos_token": text(special.bos),
            "eos_token": text(special.eos.first().copied()),
            "pad_token": text(special.pad),
            "unk_token": unknown.map(|(text, _)| text),
        })
    }
}
