//! Ids that stand for bytes, and no merging: tokenizers of single characters or bytes.
//!
//! In GGUF that is the model `rwkv`: the longest token at each place, tokens written with escapes, and no token with a
//! meaning of its own (other models take some id for the end of a text if the file names none). As `tokenizer.json` single
//! characters are a `WordLevel` of isolated characters, and the 256 bytes a byte-level BPE without merges.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Map, json};

use super::{NoForm, no_form};
use crate::gguf::{Array, GgufFile, GgufWriter, Value, ValueType};

/// Adds the keys of a tokenizer.
pub(crate) fn write_gguf(pieces: &[Vec<u8>], writer: &mut GgufWriter) {
    let texts: Vec<String> = pieces.iter().map(|piece| escaped(piece)).collect();
    writer.key("tokenizer.ggml.model", &"rwkv".into());
    let texts = texts.iter().map(|text| Value::from(text.as_str()));
    let texts = Array::from_values(ValueType::String, texts);
    writer.key("tokenizer.ggml.tokens", &Value::Array(texts));
}

/// The pieces of a file whose `tokenizer.ggml.model` is `rwkv`.
pub(crate) fn from_gguf(file: &GgufFile) -> Result<Vec<Vec<u8>>, NoForm> {
    let value = file.get("tokenizer.ggml.tokens");
    let Some(items) = value.as_ref().and_then(|v| v.as_array()) else {
        return no_form("tokenizer.ggml.tokens is missing");
    };
    let mut pieces = Vec::new();
    for item in items.iter() {
        match item.as_str() {
            Some(text) => pieces.push(unescaped(text)),
            None => return no_form("tokenizer.ggml.tokens are not texts"),
        }
    }
    Ok(pieces)
}

/// `tokenizer.json`.
pub(crate) fn to_json(pieces: &[Vec<u8>]) -> Result<serde_json::Value, NoForm> {
    let characters: Option<Vec<&str>> = pieces
        .iter()
        .map(|piece| std::str::from_utf8(piece).ok())
        .map(|text| text.filter(|text| text.chars().count() == 1))
        .collect();
    let is_bytes = pieces.len() == 256 && pieces.iter().zip(0..=255).all(|(p, b)| p[..] == [b]);
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false});
    let (pre_tokenizer, decoder, model) = if is_bytes {
        let vocab =
            (0..=255u8).map(|byte| (visible(byte).to_string(), serde_json::Value::from(byte)));
        let vocab: Map<String, serde_json::Value> = vocab.collect();
        let model = json!({"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []});
        (byte_level.clone(), byte_level, model)
    } else if let Some(characters) = characters {
        let vocab = characters.iter().zip(0_u32..);
        let vocab: Map<String, serde_json::Value> = vocab
            .map(|(character, id)| ((*character).to_owned(), id.into()))
            .collect();
        let split = json!({"type": "Split", "pattern": {"Regex": "[\\s\\S]"}, "behavior": "Isolated", "invert": false});
        let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "\u{fffd}"});
        (split, json!({"type": "Fuse"}), model)
    } else {
        return no_form("its ids stand for pieces that are neither characters nor the 256 bytes");
    };
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": decoder,
        "model": model,
    }))
}

/// The bytes that a piece of a byte-level tokenizer stands for; none if one of its characters stands for no byte.
pub fn byte_level_bytes(piece: &str) -> Option<Vec<u8>> {
    static BYTES: LazyLock<HashMap<char, u8>> =
        LazyLock::new(|| (0..=255).map(|byte| (visible(byte), byte)).collect());
    piece.chars().map(|c| BYTES.get(&c).copied()).collect()
}

/// The character by which byte-level tokenizers write a byte (GPT-2).
fn visible(byte: u8) -> char {
    let shown = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if shown(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|b| !shown(*b)).count() as u32;
    char::from_u32(256 + rank).unwrap_or('\u{fffd}')
}

fn escaped(piece: &[u8]) -> String {
    let mut text = String::new();
    for byte in piece {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'x') => {
                let digits = [rest.next(), rest.next()];
                let digit = |d: Option<u8>| d.and_then(|d| char::from(d).to_digit(16)).unwrap_or(0);
                bytes.push((16 * digit(digits[0]) + digit(digits[1])) as u8);
            }
            Some(other) => bytes.push(other),
            None => {}
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_from_its_escape() {
        for byte in 0..=255u8 {
            assert_eq!(unescaped(&escaped(&[byte])), [byte]);
        }
        let text = "é\\x41 \n";
        assert_eq!(unescaped(&escaped(text.as_bytes())), text.as_bytes());
    }

    /// The first and last bytes that GPT-2 does not show, and those beside them.
    #[test]
    fn bytes_are_written_as_gpt_2_writes_them() {
        let written: String = [0, 32, 33, 126, 127, 160, 161, 173, 255]
            .map(visible)
            .iter()
            .collect();
        assert_eq!(written, "ĀĠ!~ġł¡Ńÿ");
    }

    #[test]
    fn pieces_of_several_characters_have_no_form() {
        assert!(to_json(&[b"ab".to_vec()]).is_err());
        assert!(to_json(&["é".as_bytes().to_vec()]).is_ok());
    }
}
