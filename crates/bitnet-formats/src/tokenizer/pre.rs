//! How text is cut before pairs are merged: names of llama.cpp and the pre-tokenizers that stand for the same.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{NoForm, no_form};

/// A way of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pre {
    /// GPT-2's expression, which ByteLevel has built in.
    Gpt2,
    /// Each digit alone, then GPT-2's expression.
    SmolLm,
    /// Llama 3: up to three digits together, words without regard to case.
    Llama3,
    /// Qwen 2 and 3: as Llama 3, each digit alone; text is normalised to NFC.
    Qwen2,
}

/// Llama 3's expression, with the number of digits that stay together in place of `N`.
const EXPRESSION: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}N",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// `pre_tokenizer` of a `tokenizer.json`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PreTokenizer {
    r#type: String,
    pretokenizers: Vec<PreTokenizer>,
    pattern: Pattern,
    individual_digits: bool,
    add_prefix_space: bool,
    use_regex: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pattern {
    #[serde(rename = "Regex")]
    regex: String,
}

impl Pre {
    const ALL: [Self; 4] = [Self::Gpt2, Self::SmolLm, Self::Llama3, Self::Qwen2];

    /// The name in GGUF.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt-2",
            Self::SmolLm => "smollm",
            Self::Llama3 => "llama-bpe",
            Self::Qwen2 => "qwen2",
        }
    }

    pub(super) fn from_name(name: &str) -> Result<Self, NoForm> {
        match Self::ALL.into_iter().find(|pre| pre.name() == name) {
            Some(pre) => Ok(pre),
            None => no_form(format!("the cut {name:?} of tokenizer.ggml.pre is unknown")),
        }
    }

    fn expression(self) -> Option<String> {
        match self {
            Self::Gpt2 | Self::SmolLm => None,
            Self::Llama3 => Some(EXPRESSION.replace("\\p{N}N|", "\\p{N}{1,3}|")),
            Self::Qwen2 => Some(EXPRESSION.replace("\\p{N}N|", "\\p{N}|")),
        }
    }

    /// Whether a piece that is a token is taken whole, whatever the merges.
    pub(super) fn ignores_merges(self) -> bool {
        self == Self::Llama3
    }

    pub(super) fn is_normalised(self) -> bool {
        self == Self::Qwen2
    }

    pub(super) fn from_json(found: &PreTokenizer) -> Result<Self, NoForm> {
        let parts = match found.r#type.as_str() {
            "Sequence" => &found.pretokenizers[..],
            _ => std::slice::from_ref(found),
        };
        let Some((bytes, before)) = parts.split_last() else {
            return no_form("the pre_tokenizer is empty");
        };
        if bytes.r#type != "ByteLevel" || bytes.add_prefix_space {
            return no_form("the pre_tokenizer does not end with ByteLevel without a prefix space");
        }
        let own_regex = bytes.use_regex.unwrap_or(true);
        let pre = match before {
            [] if own_regex => Some(Self::Gpt2),
            [digits] if own_regex && digits.r#type == "Digits" && digits.individual_digits => {
                Some(Self::SmolLm)
            }
            [split] if !own_regex && split.r#type == "Split" => {
                let expression =
                    |pre: &Self| pre.expression().as_deref() == Some(&split.pattern.regex);
                Self::ALL.into_iter().find(expression)
            }
            _ => None,
        };
        match pre {
            Some(pre) => Ok(pre),
            None => no_form("the pre_tokenizer cuts in a way that is unknown"),
        }
    }

    pub(super) fn to_json(self) -> Value {
        let bytes = |use_regex: bool| {
            let mut bytes =
                json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
            bytes["use_regex"] = use_regex.into();
            bytes
        };
        match (self, self.expression()) {
            (Self::SmolLm, _) => json!({
                "type": "Sequence",
                "pretokenizers": [{"type": "Digits", "individual_digits": true}, bytes(true)],
            }),
            (_, None) => bytes(true),
            (_, Some(expression)) => {
                let pattern = json!({"Regex": expression});
                let split = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
                json!({"type": "Sequence", "pretokenizers": [split, bytes(false)]})
            }
        }
    }
}
