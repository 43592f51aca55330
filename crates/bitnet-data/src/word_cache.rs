//! Ids of words, remembered: most of a text is words that were met before, and looking one up is ten times as fast as
//! cutting it.
//!
//! It needs a tokenizer that looks at words one by one, so that a text can be cut before a space after a visible character
//! ([`cut::words`]) without changing its ids.

use std::sync::{Mutex, PoisonError};

use ahash::AHashMap;
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::DataError;
use crate::documents::cut;

/// Longest word that is remembered, in bytes.
const LONGEST: usize = 32;
/// Words that are remembered by a thread.
const MOST: usize = 1 << 18;

/// Regular expressions that begin a word at a single space after a visible character: those of GPT-2, GPT-4, Llama 3 and
/// Qwen 2 all have this alternative for letters, and no other that passes over such a space.
const LETTERS: [&str; 2] = [r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?\p{L}+"];

/// Whether a tokenizer looks at words one by one.
pub(crate) fn applies(tokenizer: &Tokenizer) -> bool {
    let normalizer = match tokenizer.get_normalizer() {
        None | Some(NormalizerWrapper::NFC(_)) => true,
        Some(_) => false,
    };
    let mut added = tokenizer.get_added_tokens_decoder().into_values();
    normalizer
        && tokenizer.get_pre_tokenizer().is_some_and(cuts_words)
        && added.all(|token| {
            let alone = token.lstrip || token.rstrip || token.single_word;
            !alone && !token.content.contains(' ')
        })
}

fn cuts_words(cut: &PreTokenizerWrapper) -> bool {
    match cut {
        PreTokenizerWrapper::ByteLevel(byte_level) => byte_level.use_regex,
        PreTokenizerWrapper::Split(_) => {
            // The pattern is private; what is written is not.
            let written = serde_json::to_value(cut).unwrap_or_default();
            let pattern = written["pattern"]["Regex"].as_str().unwrap_or_default();
            written["behavior"] == "Isolated"
                && written["invert"] == false
                && LETTERS.iter().any(|letters| {
                    let mut alternatives = pattern.split('|');
                    alternatives.any(|alternative| alternative == *letters)
                })
        }
        PreTokenizerWrapper::Sequence(parts) => parts.as_ref().first().is_some_and(cuts_words),
        _ => false,
    }
}

type Words = AHashMap<Box<str>, Box<[u32]>>;

/// What threads remember; each takes one set of words while it works.
#[derive(Debug, Default)]
pub(crate) struct WordCache(Mutex<Vec<Words>>);

impl WordCache {
    /// The ids of a text whose words `whole` can cut.
    pub(crate) fn encode(
        &self,
        text: &str,
        whole: impl Fn(&str) -> Result<Vec<u32>, DataError>,
    ) -> Result<Vec<u32>, DataError> {
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = free().pop().unwrap_or_default();
        let ids = encode(&mut known, text, whole);
        free().push(known);
        ids
    }
}

fn encode(
    known: &mut Words,
    text: &str,
    whole: impl Fn(&str) -> Result<Vec<u32>, DataError>,
) -> Result<Vec<u32>, DataError> {
    let mut ids = Vec::with_capacity(text.len() / 3);
    for word in cut::words(text) {
        if let Some(found) = known.get(word) {
            ids.extend_from_slice(found);
            continue;
        }
        let found = whole(word)?;
        ids.extend_from_slice(&found);
        if word.len() <= LONGEST {
            if known.len() == MOST {
                known.clear();
            }
            known.insert(word.into(), found.into());
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use crate::Bpe;

    const LLAMA: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// The small encoding of a few texts, with the cut of GPT-2 and of Llama 3.
    static CUTS: LazyLock<[Bpe; 2]> = LazyLock::new(|| {
        let text = crate::stories::generate(1, 20_000) + " ... ,\n\n ö é 123 456.\r\n don't  'll";
        let gpt2 = Bpe::train(&[&text], 500).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&gpt2.to_json()).unwrap();
        json["pre_tokenizer"] = serde_json::json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
        ]});
        json["normalizer"] = serde_json::json!({"type": "NFC"});
        [gpt2, Bpe::from_json(&json.to_string()).unwrap()]
    });

    #[test]
    fn a_tokenizer_that_does_not_look_at_words_has_none() {
        let [gpt2, llama] = &*CUTS;
        assert!(gpt2.remembers_words() && llama.remembers_words());
        let mut json: serde_json::Value = serde_json::from_str(&gpt2.to_json()).unwrap();
        json["pre_tokenizer"]["use_regex"] = false.into();
        assert!(!Bpe::from_json(&json.to_string()).unwrap().remembers_words());
        let mut json: serde_json::Value = serde_json::from_str(&gpt2.to_json()).unwrap();
        json["added_tokens"] = serde_json::json!([{
            "id": gpt2.vocab_size(), "content": "a b", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true
        }]);
        assert!(!Bpe::from_json(&json.to_string()).unwrap().remembers_words());
    }

    proptest! {
        #[test]
        fn ids_are_those_of_the_text_at_once(text in "([a-z ]{1,4}|[ \n\r\t.,'é1\u{301}😀ö<|>-]{1,3}| the |don't){0,24}") {
            for bpe in &*CUTS {
                prop_assert_eq!(bpe.encode(&text).unwrap(), bpe.encode_whole(&text).unwrap());
            }
        }
    }
}
