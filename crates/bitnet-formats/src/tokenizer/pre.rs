//! How text is cut before pairs are merged: names of llama.cpp and the pre-tokenizers that stand for the same.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{NoForm, no_form};

/// A way of cutting. Names that llama.cpp treats alike are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pre {
    /// GPT-2's expression, which ByteLevel has built in.
    Gpt2,
    /// Each digit alone, then GPT-2's expression.
    SmolLm,
    /// Llama 3: up to three digits together, words without regard to case.
    Llama3,
    /// Qwen 2 and 3: as Llama 3, each digit alone; text is normalised to NFC.
    Qwen2,
    /// As Qwen 2, without the normalisation.
    StableLm2,
    /// As Llama 3, but pieces that are tokens are merged like others.
    Smaug,
    /// Punctuation apart, then GPT-2's expression, then digits by threes.
    Falcon,
    /// DeepSeek V3: digits by threes, Chinese and Japanese apart.
    DeepSeekV3,
    /// DeepSeek Coder: lines, words, punctuation, Chinese, each digit alone.
    DeepSeekCoder,
    /// Mistral's Tekken: words by their capitals, each digit alone.
    Tekken,
    /// GPT-4o: as Tekken, with endings ('s) and digits by threes.
    Gpt4o,
    /// What llama.cpp takes for a file that does not say.
    Default,
}

/// A part of a pre-tokenizer before the bytes are written as characters.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Each match apart, and what is between matches.
    Split(String),
    /// Each digit apart.
    Digits,
    /// GPT-2's expression.
    Gpt2,
}

/// Llama 3's expression, with the number of digits that stay together in place of `N`.
const EXPRESSION: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}N",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Words by their capitals, with their endings in place of `E` and the digits that stay together in place of `N`.
const CAPITALS: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+E|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*E|\p{N}N",
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

const DEEPSEEK_V3: [&str; 3] = [
    r"\p{N}{1,3}",
    "[一-龥\u{3040}-ゟ゠-ヿ]+",
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"##,
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
];

const DEEPSEEK_CODER: [&str; 5] = [
    r"[\r\n]",
    r"\s?\p{L}+",
    r"\s?\p{P}+",
    "[一-龥ࠀ-一가-\u{d7ff}]+",
    r"\p{N}",
];

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
    /// All of them. Of two that cut alike the first is what a `tokenizer.json` is taken for.
    const ALL: [Self; 12] = [
        Self::Gpt2,
        Self::SmolLm,
        Self::Llama3,
        Self::Qwen2,
        Self::StableLm2,
        Self::Smaug,
        Self::Falcon,
        Self::DeepSeekV3,
        Self::DeepSeekCoder,
        Self::Tekken,
        Self::Gpt4o,
        Self::Default,
    ];

    /// The names in GGUF; the first is written.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Gpt2 => &[
                "gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "exaone4", "gigachat",
                "mellum",
            ],
            Self::SmolLm => &[
                "smollm",
                "starcoder",
                "refact",
                "command-r",
                "codeshell",
                "exaone",
            ],
            Self::Llama3 => &[
                "llama-bpe",
                "llama3",
                "llama-v3",
                "falcon3",
                "falcon-h1",
                "pixtral",
                "midm-2.0",
                "lfm2",
            ],
            Self::Qwen2 => &["qwen2", "deepseek-r1-qwen", "kormo"],
            Self::StableLm2 => &["stablelm2", "hunyuan", "solar-open", "grok-2", "megrez"],
            Self::Smaug => &["smaug-bpe", "dbrx", "chatglm-bpe"],
            Self::Falcon => &["falcon"],
            Self::DeepSeekV3 => &["deepseek-v3", "hunyuan-dense", "joyai-llm"],
            Self::DeepSeekCoder => &["deepseek-coder"],
            Self::Tekken => &["tekken"],
            Self::Gpt4o => &["gpt-4o", "llama4", "kanana2"],
            Self::Default => &["default"],
        }
    }

    /// The name in GGUF.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    pub(super) fn from_name(name: &str) -> Result<Self, NoForm> {
        match Self::ALL
            .into_iter()
            .find(|pre| pre.names().contains(&name))
        {
            Some(pre) => Ok(pre),
            None => no_form(format!("the cut {name:?} of tokenizer.ggml.pre is unknown")),
        }
    }

    fn steps(self) -> Vec<Step> {
        let split = |expression: &str| Step::Split(expression.into());
        let llama = |digits: &str| {
            let digits = format!("\\p{{N}}{digits}|");
            vec![Step::Split(EXPRESSION.replace("\\p{N}N|", &digits))]
        };
        let capitals = |ending: &str, digits: &str| {
            let expression = CAPITALS.replace("+E|", &format!("+{ending}|"));
            let expression = expression.replace("*E|", &format!("*{ending}|"));
            let digits = format!("\\p{{N}}{digits}|");
            vec![Step::Split(expression.replace("\\p{N}N|", &digits))]
        };
        match self {
            Self::Gpt2 => vec![Step::Gpt2],
            Self::SmolLm => vec![Step::Digits, Step::Gpt2],
            Self::Llama3 | Self::Smaug => llama("{1,3}"),
            Self::Qwen2 | Self::StableLm2 => llama(""),
            Self::Falcon => vec![
                split(r"[\p{P}\$\+<=>\^~\|`]+"),
                Step::Gpt2,
                split("[0-9][0-9][0-9]"),
            ],
            Self::DeepSeekV3 => DEEPSEEK_V3.map(split).into(),
            Self::DeepSeekCoder => DEEPSEEK_CODER.map(split).into(),
            Self::Tekken => capitals("", ""),
            Self::Gpt4o => capitals("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}"),
            Self::Default => vec![
                split(r"[\p{P}\$\+<=>\^~\|]+"),
                Step::Gpt2,
                split(r"\p{N}+"),
                split("[0-9][0-9][0-9]"),
            ],
        }
    }

    /// Whether a piece that is a token is taken whole, whatever the merges.
    pub fn ignores_merges(self) -> bool {
        matches!(self, Self::Llama3 | Self::Tekken)
    }

    /// Whether text is normalised to NFC before it is cut.
    pub fn is_normalised(self) -> bool {
        self == Self::Qwen2
    }

    /// Whether a text starts with `bos` where the file does not say.
    pub fn adds_bos(self) -> bool {
        matches!(self, Self::Llama3 | Self::Tekken)
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
        let step = |part: &PreTokenizer| match part.r#type.as_str() {
            "Digits" if part.individual_digits => Some(Step::Digits),
            "Split" if part.pattern.regex == GPT2 => Some(Step::Gpt2),
            "Split" => Some(Step::Split(part.pattern.regex.clone())),
            _ => None,
        };
        let own = bytes.use_regex.unwrap_or(true).then_some(Some(Step::Gpt2));
        let steps: Option<Vec<Step>> = before.iter().map(step).chain(own).collect();
        let pre = steps.and_then(|steps| Self::ALL.into_iter().find(|pre| pre.steps() == steps));
        match pre {
            Some(pre) => Ok(pre),
            None => no_form("the pre_tokenizer cuts in a way that is unknown"),
        }
    }

    /// The `pre_tokenizer` of a `tokenizer.json`.
    pub fn to_json(self) -> Value {
        let bytes = |use_regex: bool| {
            let mut bytes =
                json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
            bytes["use_regex"] = use_regex.into();
            bytes
        };
        let mut steps = self.steps();
        let last = steps.pop_if(|step| *step == Step::Gpt2);
        let mut parts: Vec<Value> = steps
            .into_iter()
            .map(|step| match step {
                Step::Digits => json!({"type": "Digits", "individual_digits": true}),
                // Between other steps, where ByteLevel would write the bytes too early.
                Step::Gpt2 => isolated(GPT2),
                Step::Split(expression) => isolated(&expression),
            })
            .collect();
        parts.push(bytes(last.is_some()));
        match parts.len() {
            1 => parts.remove(0),
            _ => json!({"type": "Sequence", "pretokenizers": parts}),
        }
    }
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

fn isolated(expression: &str) -> Value {
    let pattern = json!({"Regex": expression});
    json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false})
}
