//! What was measured of one model.

use serde::{Deserialize, Deserializer, Serialize};

/// Bytes of the same weights in two float formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatBytes {
    /// At 4 bytes per weight.
    pub f32: u64,
    /// At 2 bytes per weight.
    pub f16: u64,
}

impl FloatBytes {
    /// The bytes of `weights` float weights.
    pub fn of(weights: u64) -> Self {
        Self {
            f32: weights.saturating_mul(4),
            f16: weights.saturating_mul(2),
        }
    }
}

/// What training took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Wall-clock seconds, evaluation excluded.
    #[serde(deserialize_with = "nan_if_null")]
    pub seconds: f64,
    /// Throughput.
    #[serde(deserialize_with = "nan_if_null")]
    pub tokens_per_second: f64,
    /// High-water mark of resident memory.
    pub peak_rss_bytes: Option<u64>,
}

/// Quality on the validation split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Val {
    /// Mean cross-entropy in nats per token.
    #[serde(deserialize_with = "nan_if_null")]
    pub loss: f64,
    /// `exp(loss)`.
    #[serde(deserialize_with = "nan_if_null")]
    pub perplexity: f64,
    /// Share of positions whose most likely token is the right one, 0 to 1.
    #[serde(deserialize_with = "nan_if_null")]
    pub accuracy: f64,
}

/// A ternary model after export to packed codes, evaluated by the integer kernels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Packed {
    /// Validation loss of the exported model: the score that counts.
    #[serde(deserialize_with = "nan_if_null")]
    pub val_loss: f64,
    /// Bytes of the packed ternary weights and their scales.
    pub weight_bytes: u64,
    /// Bytes of the whole model file.
    pub file_bytes: u64,
    /// Whether it picks the same tokens as the fake-quantised model.
    pub token_match: TokenMatch,
}

/// How many greedy tokens agree between the packed and the fake-quantised model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMatch {
    /// Positions looked at.
    pub compared: u64,
    /// Positions where both pick the same token.
    pub equal: u64,
}

/// Inference timings of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inference {
    /// Tokens per second while reading a prompt.
    #[serde(deserialize_with = "nan_if_null")]
    pub prefill_tps: f64,
    /// Tokens per second while writing.
    #[serde(deserialize_with = "nan_if_null")]
    pub decode_tps: f64,
    /// High-water mark of resident memory.
    pub peak_rss_bytes: Option<u64>,
    /// What ran, if it was the CPU engine: kernel, layout of the weights, format of the head.
    #[serde(default)]
    pub engine: Option<String>,
    /// Validation loss of the model as the engine runs it.
    #[serde(default)]
    pub val_loss: Option<f64>,
}

/// Questions with one right answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// Questions asked.
    pub asked: u64,
    /// Questions answered correctly.
    pub right: u64,
}

/// One point of the training curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainPoint {
    /// Optimiser step.
    pub step: u64,
    /// Loss of that step's batch, in nats per token.
    #[serde(deserialize_with = "nan_if_null")]
    pub loss: f64,
    /// Learning rate of that step.
    #[serde(deserialize_with = "nan_if_null")]
    pub lr: f64,
}

/// One point of the validation curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValPoint {
    /// Optimiser steps taken so far.
    pub step: u64,
    /// Training seconds so far.
    #[serde(deserialize_with = "nan_if_null")]
    pub seconds: f64,
    /// Validation loss in nats per token.
    #[serde(deserialize_with = "nan_if_null")]
    pub loss: f64,
}

/// A prompt and what the model wrote after it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The prompt.
    pub prompt: String,
    /// The continuation, without the prompt.
    pub text: String,
}

/// JSON has no NaN; `null` stands for it.
pub(crate) fn nan_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
