//! Tokenizers as model files hold them: a `tokenizer.json`, or the keys `tokenizer.ggml.…` of GGUF.
//!
//! A byte-level BPE has both forms. Tokens and merges are the same texts in both; how text is cut before merging is a
//! regular expression in the one and a name in the other ([`Pre`]); a cut that is not known here has no name, and is refused
//! rather than called `default`. SentencePiece ([`SentencePiece`]) is the keys of GGUF, or a `tokenizer.model`.

mod file;
mod gguf;
mod json;
pub(crate) mod pieces;
mod pre;
mod protobuf;
mod sentencepiece;

pub use file::TokenizerFile;
pub(crate) use gguf::write_special;
pub use pieces::byte_level_bytes;
pub use pre::Pre;
pub use sentencepiece::SentencePiece;

use crate::model::SpecialTokens;

/// The tokens of a vocabulary by id, and how text becomes them.
#[derive(Clone, Debug, PartialEq)]
pub struct ByteLevelBpe {
    /// Byte-level texts of normal tokens, plain texts of the others.
    pub tokens: Vec<(String, TokenKind)>,
    /// Pairs in the order of their rank.
    pub merges: Vec<(String, String)>,
    /// How text is cut before.
    pub pre: Pre,
}

/// What a token is, by its number in GGUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenKind {
    /// A piece of text.
    Normal = 1,
    /// What stands for text that has no token.
    Unknown = 2,
    /// Never a part of text.
    Control = 3,
    /// Found in text before it is cut.
    UserDefined = 4,
    /// An id without a token.
    Unused = 5,
    /// One byte, written `<0x0A>`.
    Byte = 6,
}

/// Why a tokenizer has no other form, as a part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoForm(String);

fn no_form<T>(reason: impl Into<String>) -> Result<T, NoForm> {
    Err(NoForm(reason.into()))
}

/// The token of an id, for templates.
fn token(bpe: &ByteLevelBpe, id: Option<u32>) -> Option<&str> {
    let (text, _) = bpe.tokens.get(id? as usize)?;
    Some(text)
}

/// Whether a text starts with `bos` by itself.
fn adds_bos(tokens: &SpecialTokens) -> bool {
    tokens.add_bos.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        gguf::{GgufFile, GgufWriter},
        model::TokenizerKind,
    };

    /// A file with four tokens and a merge, one id without a token, and two added tokens.
    fn file(pre: Pre) -> Value {
        let normalizer = pre.is_normalised().then(|| json!({"type": "NFC"}));
        json!({
            "added_tokens": [
                {"id": 5, "content": "<|end|>", "special": true},
                {"id": 6, "content": "<tool>", "special": false},
            ],
            "normalizer": normalizer,
            "pre_tokenizer": pre.to_json(),
            "model": {
                "type": "BPE",
                "ignore_merges": pre.ignores_merges(),
                "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3},
                "merges": ["a b"],
            },
        })
    }

    fn read(json: &Value, rows: usize) -> Result<ByteLevelBpe, NoForm> {
        ByteLevelBpe::from_json(json.to_string().as_bytes(), rows)
    }

    /// Those that a `tokenizer.json` is told apart by.
    const ALL: [Pre; 10] = [
        Pre::Gpt2,
        Pre::SmolLm,
        Pre::Llama3,
        Pre::Qwen2,
        Pre::Falcon,
        Pre::DeepSeekV3,
        Pre::DeepSeekCoder,
        Pre::Tekken,
        Pre::Gpt4o,
        Pre::Default,
    ];

    #[test]
    fn both_forms_hold_the_same_tokenizer() {
        let special = SpecialTokens {
            bos: Some(5),
            eos: vec![5, 6],
            pad: None,
            add_bos: Some(true),
        };
        let folder = tempfile::tempdir().unwrap();
        for pre in ALL {
            let bpe = read(&file(pre), 8).unwrap();
            assert_eq!(bpe.tokens.len(), 8);
            assert_eq!(bpe.tokens[3], ("ab".into(), TokenKind::Normal));
            assert_eq!(bpe.tokens[4], ("[PAD4]".into(), TokenKind::Unused));
            assert_eq!(bpe.tokens[6], ("<tool>".into(), TokenKind::UserDefined));
            assert_eq!(
                (bpe.pre, &bpe.merges[..]),
                (pre, &[("a".into(), "b".into())][..])
            );
            assert_eq!(read(&bpe.to_json(&special), 8).unwrap(), bpe);

            let path = folder.path().join(pre.name());
            let mut writer = GgufWriter::default();
            bpe.write_gguf(&special, &mut writer);
            writer.create(&path).unwrap().finish().unwrap();
            let gguf = GgufFile::open(&path).unwrap();
            let name = gguf
                .get("tokenizer.ggml.pre")
                .unwrap()
                .as_str()
                .unwrap()
                .to_string();
            let kind = TokenizerKind::GgufBpe { pre: name };
            assert_eq!(ByteLevelBpe::from_gguf(&gguf, &kind).unwrap(), bpe);
        }
        let json = read(&file(Pre::Llama3), 8).unwrap().to_json(&special);
        assert_eq!(
            json["post_processor"]["special_tokens"]["<|end|>"]["ids"],
            json!([5])
        );
    }

    #[test]
    fn what_has_no_form_is_named() {
        let changed = |pointer: &str, value: Value| {
            let mut file = file(Pre::Llama3);
            *file.pointer_mut(pointer).unwrap() = value;
            read(&file, 8).unwrap_err().0
        };
        for (pointer, value, expected) in [
            ("/model/type", json!("Unigram"), "not byte-level BPE"),
            (
                "/model/ignore_merges",
                json!(false),
                "ignore_merges is false, which the cut llama-bpe has not",
            ),
            (
                "/model/merges",
                json!(["ab"]),
                "the merge \"ab\" has one part",
            ),
            (
                "/model/vocab",
                json!({"a": 8}),
                "the token 8 has no row in the embedding",
            ),
            (
                "/added_tokens/0/id",
                json!(9),
                "the token 9 has no row in the embedding",
            ),
            (
                "/normalizer",
                json!({"type": "Lowercase"}),
                "the normalizer Lowercase has no form",
            ),
            ("/pre_tokenizer", Value::Null, "does not end with ByteLevel"),
            (
                "/pre_tokenizer/pretokenizers/0/pattern/Regex",
                json!("\\d+"),
                "cuts in a way that is unknown",
            ),
            (
                "/pre_tokenizer/pretokenizers/1/add_prefix_space",
                json!(true),
                "without a prefix space",
            ),
        ] {
            let reason = changed(pointer, value);
            assert!(reason.contains(expected), "{pointer}: {reason}");
        }
        assert!(Pre::from_name("deepseek-llm").is_err());
        assert_eq!(Pre::from_name("falcon3").unwrap(), Pre::Llama3);
    }
}
