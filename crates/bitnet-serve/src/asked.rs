//! What chats and completions are asked alike.

use std::hash::{BuildHasher, Hasher, RandomState};

use bitnet_generate::Sampling;
use bitnet_text::GenerationDefaults;
use serde_json::Value;

use crate::{
    error::ApiError,
    fields::{Fields, wrong},
    grammar::Format,
};

/// Bytes of the longest stop string.
const STOP_BYTES: usize = 1024;
/// The most choices for a prompt.
const MOST_N: i64 = 128;

/// What a request says of its answer, whatever it answers.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) model: Option<String>,
    pub(crate) stream: bool,
    /// Whether a stream ends with what it took.
    pub(crate) include_usage: bool,
    /// Choices for each prompt.
    pub(crate) n: usize,
    pub(crate) max_tokens: MaxTokens,
    pub(crate) stop: Vec<String>,
    /// How many of the likeliest tokens are told beside each; none without log-probabilities.
    pub(crate) logprobs: Option<usize>,
    pub(crate) format: Option<Format>,
    settings: GenerationDefaults,
    presence_penalty: f32,
    frequency_penalty: f32,
    seed: Option<u64>,
}

/// How many tokens an answer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MaxTokens {
    /// The request does not say.
    Absent,
    /// As many as there is room for: −1.
    Room,
    /// So many, or as many as there is room for.
    At(usize),
}

impl Asked {
    /// Takes the fields that both kinds of request have.
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let settings = GenerationDefaults {
            temperature: fields.float("temperature", (0.0, false, 2.0))?,
            top_k: fields.integer("top_k", 0..=1 << 24)?.map(|k| k as usize),
            top_p: fields.float("top_p", (0.0, true, 1.0))?,
            min_p: fields.float("min_p", (0.0, false, 1.0))?,
            repetition_penalty: fields.float("repetition_penalty", (0.0, true, 10.0))?,
        };
        let asked = Self {
            model: fields.string("model")?,
            stream,
            include_usage: include_usage(fields, stream)?,
            n: fields.integer("n", 1..=MOST_N)?.unwrap_or(1) as usize,
            max_tokens: max_tokens(fields)?,
            stop: stops(fields)?,
            logprobs: None,
            format: Format::take(fields)?,
            settings,
            presence_penalty: penalty(fields, "presence_penalty")?,
            frequency_penalty: penalty(fields, "frequency_penalty")?,
            seed: seed(fields)?,
        };
        // For the one who asks alone, and of no effect on an answer.
        for note in ["user", "safety_identifier", "prompt_cache_key"] {
            fields.string(note)?;
        }
        fields.refuse(&["logit_bias", "service_tier", "store", "metadata"])?;
        Ok(asked)
    }

    /// How the tokens of a choice are drawn: as asked, or else as the model's authors do. Without a seed one is drawn; each
    /// further choice has the next.
    pub(crate) fn sampling(&self, model: GenerationDefaults, choice: usize) -> Sampling {
        let wanted = self.settings.or(model);
        Sampling {
            temperature: wanted.temperature,
            top_k: wanted.top_k,
            top_p: wanted.top_p,
            min_p: wanted.min_p,
            repetition_penalty: wanted.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self
                .seed
                .map_or_else(random, |seed| seed.wrapping_add(choice as u64)),
        }
    }
}

/// A number that nobody foresees.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn penalty(fields: &mut Fields, name: &str) -> Result<f32, ApiError> {
    Ok(fields.float(name, (-2.0, false, 2.0))?.unwrap_or(0.0))
}

fn seed(fields: &mut Fields) -> Result<Option<u64>, ApiError> {
    let Some(value) = fields.take("seed") else {
        return Ok(None);
    };
    let seed = value.as_u64().or(value.as_i64().map(|seed| seed as u64));
    match seed {
        Some(seed) => Ok(Some(seed)),
        None => Err(wrong(
            &fields.name("seed"),
            "a whole number of 64 bits",
            &value,
        )),
    }
}

fn include_usage(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = fields.take("stream_options") else {
        return Ok(false);
    };
    let mut options = Fields::within("stream_options", options)?;
    let include = options.boolean("include_usage")?.unwrap_or(false);
    options.refuse(&["include_obfuscation"])?;
    options.finish()?;
    match stream {
        true => Ok(include),
        false => Err(ApiError::field(
            "stream_options",
            "`stream_options` is for `stream: true` alone",
        )),
    }
}

fn max_tokens(fields: &mut Fields) -> Result<MaxTokens, ApiError> {
    let old = fields.integer("max_tokens", -1..=i64::MAX)?;
    let new = fields.integer("max_completion_tokens", -1..=i64::MAX)?;
    let most = match (old, new) {
        (Some(old), Some(new)) if old != new => {
            return Err(ApiError::field(
                "max_completion_tokens",
                "`max_completion_tokens` and `max_tokens` differ; give one of them",
            ));
        }
        (old, new) => old.or(new),
    };
    Ok(match most {
        None => MaxTokens::Absent,
        Some(-1) => MaxTokens::Room,
        Some(most) => MaxTokens::At(most as usize),
    })
}

fn stops(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let Some(value) = fields.take("stop") else {
        return Ok(Vec::new());
    };
    let texts: Option<Vec<String>> = match &value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => {
            let texts = items.iter().map(|item| item.as_str().map(String::from));
            texts.collect()
        }
        _ => None,
    };
    let fits = |texts: &Vec<String>| {
        let each = |text: &String| (1..=STOP_BYTES).contains(&text.len());
        texts.len() <= 4 && texts.iter().all(each)
    };
    texts.filter(fits).ok_or_else(|| {
        let expected = format!("0 to 4 strings of 1 to {STOP_BYTES} bytes");
        wrong(&fields.name("stop"), &expected, &value)
    })
}
