//! `tokenizer.ggml.…`: read, and written.

use super::{ByteLevelBpe, Kind, NoForm, Pre, no_form};
use crate::{
    gguf::{Array, GgufFile, GgufWriter, Value, ValueType},
    model::{SpecialTokens, TokenizerKind},
};

impl ByteLevelBpe {
    /// Reads the keys of a file. `kind` is what its description says, a concluded cut included.
    pub(crate) fn from_gguf(file: &GgufFile, kind: &TokenizerKind) -> Result<Self, NoForm> {
        let TokenizerKind::GgufBpe { pre } = kind else {
            return no_form("the tokenizer is not byte-level BPE");
        };
        let list = |name: &str| {
            let value = file.get(&format!("tokenizer.ggml.{name}"));
            let items = value.as_ref().and_then(|v| v.as_array());
            items.map(|items| items.iter().map(owned).collect::<Vec<_>>())
        };
        let Some(texts) = list("tokens") else {
            return no_form("tokenizer.ggml.tokens is missing");
        };
        let kinds = list("token_type").unwrap_or_default();
        let kind_of = |index: usize| match kinds.get(index) {
            Some(Item::Number(3)) => Kind::Control,
            Some(Item::Number(4)) => Kind::UserDefined,
            Some(Item::Number(5)) => Kind::Unused,
            _ => Kind::Normal,
        };
        let mut tokens = Vec::with_capacity(texts.len());
        for (index, text) in texts.into_iter().enumerate() {
            match text {
                Item::Text(text) => tokens.push((text, kind_of(index))),
                Item::Number(_) => return no_form("tokenizer.ggml.tokens are not texts"),
            }
        }
        let mut merges = Vec::new();
        for merge in list("merges").unwrap_or_default() {
            match merge {
                Item::Text(text) => match text.split_once(' ') {
                    Some((left, right)) => merges.push((left.into(), right.into())),
                    None => return no_form(format!("the merge {text:?} has one part")),
                },
                Item::Number(_) => return no_form("tokenizer.ggml.merges are not texts"),
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
        let texts = self
            .tokens
            .iter()
            .map(|(text, _)| Value::from(text.as_str()));
        let texts = Array::from_values(ValueType::String, texts);
        writer.key("tokenizer.ggml.tokens", &Value::Array(texts));
        let kinds = self.tokens.iter().map(|(_, kind)| Value::I32(*kind as i32));
        let kinds = Array::from_values(ValueType::I32, kinds);
        writer.key("tokenizer.ggml.token_type", &Value::Array(kinds));
        let merges: Vec<_> = self
            .merges
            .iter()
            .map(|(left, right)| format!("{left} {right}"))
            .collect();
        let merges = merges.iter().map(|merge| Value::from(merge.as_str()));
        let merges = Array::from_values(ValueType::String, merges);
        writer.key("tokenizer.ggml.merges", &Value::Array(merges));
        let eos = &special.eos;
        for (name, id) in [
            ("bos", special.bos),
            ("eos", eos.first().copied()),
            ("eot", eos.get(1).copied()),
            ("padding", special.pad),
        ] {
            if let Some(id) = id {
                writer.key(&format!("tokenizer.ggml.{name}_token_id"), &Value::U32(id));
            }
        }
        if let Some(add_bos) = special.add_bos {
            writer.key("tokenizer.ggml.add_bos_token", &Value::Bool(add_bos));
        }
    }
}

/// An item of a list that outlives the file's value.
enum Item {
    Text(String),
    Number(u64),
}

fn owned(value: Value<'_>) -> Item {
    match value {
        Value::String(text) => Item::Text(text.into_owned()),
        other => Item::Number(other.as_u64().unwrap_or_default()),
    }
}
