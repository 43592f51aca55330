//! How the authors of a model sample from it: `generation_config.json`, and the keys `general.sampling.…` of GGUF, which say
//! the same.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::TokenIds;
use crate::{
    gguf::{GgufFile, GgufWriter, Value as Key},
    model::SpecialTokens,
};

/// What the keys of GGUF begin with.
pub(crate) const SAMPLING: &str = "general.sampling.";

/// `generation_config.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are transformers' own")]
pub struct GenerationConfig {
    pub bos_token_id: Option<u32>,
    pub eos_token_id: TokenIds,
    pub pad_token_id: Option<i64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u32>,
    pub min_p: Option<f64>,
    pub do_sample: Option<bool>,
    pub repetition_penalty: Option<f64>,
}

impl GenerationConfig {
    /// What the keys of a GGUF file say of sampling.
    pub fn of_gguf(file: &GgufFile) -> GenerationConfig {
        let get = |name: &str| file.get(&format!("{SAMPLING}{name}"));
        let float = |name: &str| get(name)?.as_f64();
        let temperature = float("temp");
        GenerationConfig {
            temperature,
            top_p: float("top_p"),
            top_k: get("top_k").and_then(|k| u32::try_from(k.as_u64()?).ok()),
            min_p: float("min_p"),
            do_sample: temperature.map(|temperature| temperature != 0.0),
            repetition_penalty: float("penalty_repeat"),
            ..GenerationConfig::default()
        }
    }

    /// Writes what it says of sampling as keys of GGUF.
    pub(crate) fn write_gguf(&self, writer: &mut GgufWriter) {
        // Without sampling the highest logit counts, whatever the temperature beside it.
        let temperature = match self.do_sample {
            Some(false) => Some(0.0),
            _ => self.temperature,
        };
        for (name, value) in [
            ("temp", temperature),
            ("top_p", self.top_p),
            ("min_p", self.min_p),
            ("penalty_repeat", self.repetition_penalty),
        ] {
            if let Some(value) = value {
                writer.key(&format!("{SAMPLING}{name}"), &Key::F32(value as f32));
            }
        }
        if let Some(k) = self.top_k.and_then(|k| i32::try_from(k).ok()) {
            writer.key(&format!("{SAMPLING}top_k"), &Key::I32(k));
        }
    }

    /// `generation_config.json`, or nothing where it says nothing of sampling. Readers that find one ask it alone for the
    /// ends of a text, so they are in it.
    pub(crate) fn to_json(&self, special: &SpecialTokens) -> Option<Value> {
        let greedy = self.do_sample == Some(false);
        let float = |value: Option<f64>| value.filter(|value| value.is_finite()).map(decimal);
        let sampling = [
            ("do_sample", self.do_sample.map(Value::from)),
            ("temperature", float(self.temperature).filter(|_| !greedy)),
            ("top_p", float(self.top_p)),
            ("top_k", self.top_k.map(Value::from)),
            ("min_p", float(self.min_p)),
            ("repetition_penalty", float(self.repetition_penalty)),
        ];
        let named = sampling
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)));
        let mut config: Map<String, Value> =
            named.map(|(key, value)| (key.into(), value)).collect();
        if config.is_empty() {
            return None;
        }
        for (key, id) in [("bos_token_id", special.bos), ("pad_token_id", special.pad)] {
            id.map(|id| config.insert(key.into(), id.into()));
        }
        if let ends @ (Value::Number(_) | Value::Array(_)) = end_tokens(special) {
            config.insert("eos_token_id".into(), ends);
        }
        Some(config.into())
    }
}

/// What ends a text, as configurations have it: an id, a list of several, or null.
pub(crate) fn end_tokens(special: &SpecialTokens) -> Value {
    match special.eos[..] {
        [] => Value::Null,
        [one] => one.into(),
        _ => json!(special.eos),
    }
}

/// A number that was an f32 in GGUF, by its shortest decimal.
pub(crate) fn decimal(value: f64) -> Value {
    let short = (value as f32).to_string().parse::<f64>();
    let exact = f64::from(value as f32) == value;
    json!(short.ok().filter(|_| exact).unwrap_or(value))
}
