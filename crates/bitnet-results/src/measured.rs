//! What is measured of trained models: quality, size and memory of one, speed of several in turns.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Machine;
use crate::evaluation::Evaluation;
use crate::train::TrainSummary;

/// `result.json`: everything about one finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// What training it took.
    pub train: TrainSummary,
    /// What was measured of it afterwards.
    pub measured: Measured,
}

/// What `bitnet measure RUN` finds of one run, in a process of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Of the exported model: packed, if ternary.
    pub score: Evaluation,
    /// Of the model as it was trained; `None` for a float one, where it is the same.
    pub trained: Option<Evaluation>,
    /// Trainable parameters.
    pub params: u64,
    /// Of those, the ones that are ternary in the exported model.
    pub ternary_weights: u64,
    /// Bytes of the linear layers as stored.
    pub packed_bytes: u64,
    /// Bytes of the exported file.
    pub file_bytes: u64,
    /// Peak memory of inference with the exported model.
    pub peak_rss_bytes: Option<u64>,
    /// Modelled picojoules for a token or example, by what was modelled.
    pub modelled: BTreeMap<String, f64>,
    /// One line: what was learned from.
    pub data: String,
    /// The kernel of the CPU engine, if that scored the exported model and was timed. Of language models `text` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Of a language model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextMeasures>,
}

/// What `bitnet measure --formats` finds of a run whose model was stored in a format of others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StoredAs {
    /// The format, as in `bitnet convert`, without the container: `q4_0`.
    pub format: String,
    /// Of the file, as the engine runs it.
    pub score: Evaluation,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the matrices of the layers in it.
    pub layer_bytes: u64,
    /// Modelled picojoules for a token, by what was modelled.
    pub modelled: BTreeMap<String, f64>,
    /// Kernel, layout of the weights, formats of head and cache.
    pub engine: String,
}

/// What is measured of language models alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextMeasures {
    /// What generated, if it was the CPU engine: kernel, layout of the weights, formats of head and cache.
    pub engine: Option<String>,
    /// Validation loss of the model as the engine runs it, nats per token.
    pub engine_loss: Option<f64>,
    /// Whether the packed model picks the same tokens as the fake-quantised one; `None` for a float model.
    pub token_match: Option<TokenMatch>,
    /// Questions with one right answer.
    pub probes: Option<Probes>,
    /// Text the model wrote.
    pub samples: Vec<Sample>,
}

/// How many greedy tokens agree between two models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMatch {
    /// Tokens compared.
    pub compared: u64,
    /// Tokens equal.
    pub equal: u64,
}

/// Questions with one right answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Questions asked.
    pub asked: u64,
    /// Questions answered correctly.
    pub right: u64,
}

/// A prompt and what the model wrote after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The prompt.
    pub prompt: String,
    /// The continuation, without the prompt.
    pub text: String,
}

/// What `bitnet measure --turns RUN RUN …` finds: the runs timed in turns by one process, so that whatever else the machine
/// does meets all of them alike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Turns {
    /// Each run's speed, in the order they were given.
    pub speeds: Vec<Speed>,
    /// Time that the process's threads were ready to run but had to wait for a core, over the time of the turns: 0 on an
    /// otherwise idle machine. `None` where the system does not tell.
    pub waited: Option<f64>,
    /// The computer that they were timed on; `None` in what an earlier version wrote.
    #[serde(default)]
    pub machine: Option<Machine>,
}

/// Timings of one model, one a turn; turn `i` of all models was taken within moments. Empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Speed {
    /// Tokens per second while reading a prompt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefill_tps: Vec<f64>,
    /// Tokens per second while writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decode_tps: Vec<f64>,
    /// Milliseconds for the answer to one example.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub latency_ms: Vec<f64>,
    /// Milliseconds of a training step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub step_ms: Vec<f64>,
}
