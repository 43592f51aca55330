//! `tokenizer.json`: read, and written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ByteLevelBpe, NoForm, Pre, TokenKind, adds_bos, no_form, pre::PreTokenizer, token};
use crate::model::SpecialTokens;

#[derive(Deserialize)]
struct Json {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<Added>,
    pre_tokenizer: Option<PreTokenizer>,
    normalizer: Option<Typed>,
}

#[derive(Deserialize)]
struct Model {
    r#type: Option<String>,
    vocab: BTreeMap<String, u32>,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    ignore_merges: bool,
    #[serde(default)]
    byte_fallback: bool,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

/// Older files have a text with a space between both parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Text(String),
    Pair(String, String),
}

impl ByteLevelBpe {
    /// Reads a file whose ids are below `vocab_size`, the rows of the embedding; ids without a token become unused ones.
    pub(crate) fn from_json(bytes: &[u8], vocab_size: usize) -> Result<Self, NoForm> {
        let json: Json = match serde_json::from_slice(bytes) {
            Ok(json) => json,
            Err(error) => return no_form(format!("tokenizer.json: {error}")),
        };
        let model = json.model;
        if model.r#type.as_deref().unwrap_or("BPE") != "BPE" || model.byte_fallback {
            return no_form("tokenizer.json is not byte-level BPE");
        }
        let pre = Pre::from_json(&json.pre_tokenizer.unwrap_or_default())?;
        if model.ignore_merges != pre.ignores_merges() {
            return no_form(format!(
                "ignore_merges is {}, which the cut {} has not",
                model.ignore_merges,
                pre.name()
            ));
        }
        match json.normalizer {
            Some(normalizer) if normalizer.r#type != "NFC" || !pre.is_normalised() => {
                return no_form(format!(
                    "the normalizer {} has no form in GGUF",
                    normalizer.r#type
                ));
            }
            _ => {}
        }
        let unused = (0..vocab_size).map(|id| (format!("[PAD{id}]"), TokenKind::Unused));
        let mut tokens: Vec<_> = unused.collect();
        let added = json.added_tokens.into_iter().map(|token| {
            let kind = if token.special {
                TokenKind::Control
            } else {
                TokenKind::UserDefined
            };
            (token.id, token.content, kind)
        });
        let normal = model
            .vocab
            .into_iter()
            .map(|(text, id)| (id, text, TokenKind::Normal));
        for (id, text, kind) in normal.chain(added) {
            match tokens.get_mut(id as usize) {
                Some(token) => *token = (text, kind),
                None => return no_form(format!("the token {id} has no row in the embedding")),
            }
        }
        let merges = model.merges.into_iter().map(|merge| match merge {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Text(text) => match text.split_once(' ') {
                Some((left, right)) => Ok((left.into(), right.into())),
                None => no_form(format!("the merge {text:?} has one part")),
            },
        });
        Ok(Self {
            tokens,
            merges: merges.collect::<Result<_, _>>()?,
            pre,
        })
    }

    /// The file of the same tokenizer.
    pub(crate) fn to_json(&self, special: &SpecialTokens) -> Value {
        let ids = || self.tokens.iter().zip(0_u32..);
        // Added tokens too: one that is missing here gets the next free id when the file is loaded, not its own.
        let vocab: serde_json::Map<String, Value> = ids()
            .filter(|((_, kind), _)| *kind != TokenKind::Unused)
            .map(|((text, _), id)| (text.clone(), id.into()))
            .collect();
        let added = ids()
            .filter(|((_, kind), _)| matches!(kind, TokenKind::Control | TokenKind::UserDefined));
        let added: Vec<Value> = added
            .map(|((text, kind), id)| {
                json!({
                    "id": id,
                    "content": text,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": *kind == TokenKind::Control,
                })
            })
            .collect();
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
        let bos = token(self, special.bos).filter(|_| adds_bos(special));
        let post = bos.map_or(bytes.clone(), |bos| {
            let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
            let start = |type_id: u32| json!({"SpecialToken": {"id": bos, "type_id": type_id}});
            json!({
                "type": "TemplateProcessing",
                "single": [start(0), text("A", 0)],
                "pair": [start(0), text("A", 0), start(1), text("B", 1)],
                "special_tokens": {bos: {"id": bos, "ids": [special.bos], "tokens": [bos]}},
            })
        });
        json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": self.pre.is_normalised().then(|| json!({"type": "NFC"})),
            "pre_tokenizer": self.pre.to_json(),
            "post_processor": post,
            "decoder": bytes,
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": self.pre.ignores_merges(),
                "vocab": vocab,
                "merges": self.merges.iter().map(|(left, right)| json!([left, right])).collect::<Vec<_>>(),
            },
        })
    }

    /// `tokenizer_config.json` beside it.
    pub(crate) fn config(&self, special: &SpecialTokens) -> Value {
        json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
            "add_bos_token": adds_bos(special),
            "bos_token": token(self, special.bos),
            "eos_token": token(self, special.eos.first().copied()),
            "pad_token": token(self, special.pad),
        })
    }
}
