//! `tokenizer.ggml.…`: read, and written.

use super::{ByteLevelBpe, NoForm, Pre, TokenKind, no_form};
use crate::{
    gguf::{Array, END_TOKENS, GgufFile, GgufWriter, Value, ValueType},
    model::{SpecialTokens, TokenizerKind},
};

impl ByteLevelBpe {
    /// Reads the keys of a file. `kind` is what its description says, a concluded cut included.
    pub(crate) fn from_gguf(file: &GgufFile, kind: &TokenizerKind) -> Result<Self, NoForm> {
        let TokenizerKind::GgufBpe { pre } = kind else {
            return no_form("the tokenizer is not byte-level BPE");
        };
        let tokens = texts(file)?.into_iter().zip(kinds(file));
        // A token for what is unknown never comes of bytes, all of which are known.
        let tokens = tokens.map(|(text, kind)| match kind {
            TokenKind::Unknown => (text, TokenKind::Control),
            kind => (text, kind),
        });
        let tokens = tokens.collect();
        let mut merges = Vec::new();
        for merge in list(file, "merges").unwrap_or_default() {
            match merge {
                Item::Text(text) => match text.split_once(' ') {
                    Some((left, right)) => merges.push((left.into(), right.into())),
                    None => return no_form(format!("the merge {text:?} has one part")),
                },
                _ => return no_form("tokenizer.ggml.merges are not texts"),
            }
        }
        let pre = Pre::from_name(pre)?;
        Ok(Self {
            tokens,
            merges,
            pre,
        })
    }

    /// Adds the keys of the same tokenizer.
    pub(crate) fn write_gguf(&self, special: &SpecialTokens, writer: &mut GgufWriter) {
        writer.key("tokenizer.ggml.model", &"gpt2".into());
        writer.key("tokenizer.ggml.pre", &self.pre.name().into());
        write_tokens(&self.tokens, writer);
        let merges: Vec<_> = self
            .merges
            .iter()
            .map(|(left, right)| format!("{left} {right}"))
            .collect();
        let merges = merges.iter().map(|merge| Value::from(merge.as_str()));
        let merges = Array::from_values(ValueType::String, merges);
        writer.key("tokenizer.ggml.merges", &Value::Array(merges));
        write_special(special, writer);
    }
}

/// Adds the ids with a meaning.
pub(crate) fn write_special(special: &SpecialTokens, writer: &mut GgufWriter) {
    let ends = END_TOKENS.into_iter().zip(special.eos.iter().copied());
    let others = [("bos", special.bos), ("padding", special.pad)];
    let others = others
        .into_iter()
        .filter_map(|(name, id)| Some((name, id?)));
    for (name, id) in ends.chain(others) {
        writer.key(&format!("tokenizer.ggml.{name}_token_id"), &Value::U32(id));
    }
    if let Some(add_bos) = special.add_bos {
        writer.key("tokenizer.ggml.add_bos_token", &Value::Bool(add_bos));
    }
}

/// Adds the tokens and what they are.
pub(super) fn write_tokens(tokens: &[(String, TokenKind)], writer: &mut GgufWriter) {
    let texts = tokens.iter().map(|(text, _)| Value::from(text.as_str()));
    let texts = Array::from_values(ValueType::String, texts);
    writer.key("tokenizer.ggml.tokens", &Value::Array(texts));
    let kinds = tokens.iter().map(|(_, kind)| Value::I32(*kind as i32));
    let kinds = Array::from_values(ValueType::I32, kinds);
    writer.key("tokenizer.ggml.token_type", &Value::Array(kinds));
}

/// The tokens' texts.
pub(super) fn texts(file: &GgufFile) -> Result<Vec<String>, NoForm> {
    let Some(items) = list(file, "tokens") else {
        return no_form("tokenizer.ggml.tokens is missing");
    };
    let text = |item| match item {
        Item::Text(text) => Ok(text),
        _ => no_form("tokenizer.ggml.tokens are not texts"),
    };
    items.into_iter().map(text).collect()
}

/// What the tokens are; normal after the end of the list, or without one.
pub(super) fn kinds(file: &GgufFile) -> impl Iterator<Item = TokenKind> {
    let kind = |item| match item {
        Item::Number(2.0) => TokenKind::Unknown,
        Item::Number(3.0) => TokenKind::Control,
        Item::Number(4.0) => TokenKind::UserDefined,
        Item::Number(5.0) => TokenKind::Unused,
        Item::Number(6.0) => TokenKind::Byte,
        _ => TokenKind::Normal,
    };
    let kinds = list(file, "token_type").unwrap_or_default();
    let rest = std::iter::repeat(TokenKind::Normal);
    kinds.into_iter().map(kind).chain(rest)
}

/// An item of a list that outlives the file's value.
pub(super) enum Item {
    Text(String),
    Number(f64),
}

/// A list of `tokenizer.ggml`.
pub(super) fn list(file: &GgufFile, name: &str) -> Option<Vec<Item>> {
    let value = file.get(&format!("tokenizer.ggml.{name}"))?;
    Some(value.as_array()?.iter().map(owned).collect())
}

fn owned(value: Value<'_>) -> Item {
    match value {
        Value::String(text) => Item::Text(text.into_owned()),
        other => {
            let number = other.as_u64().map(|number| number as f64);
            Item::Number(number.or(other.as_f64()).unwrap_or_default())
        }
    }
}
