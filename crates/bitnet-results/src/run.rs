//! One run: a variant, a learning rate and a seed, trained, exported and measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::evaluation::Evaluation;
use crate::files::{nan, nan_if_null};
use crate::measured::TextMeasures;
use crate::metrics::{LayerTelemetry, TrainPoint, ValPoint};

/// What one run found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Seed of initialisation and data order.
    pub seed: u64,
    /// Peak learning rate.
    #[serde(deserialize_with = "nan_if_null")]
    pub learning_rate: f64,
    /// Score of the exported, packed model: the one that counts.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub score: f64,
    /// Score as trained (ternary: fake-quantised).
    pub trained_score: Option<f64>,
    /// Evaluation after the last step, on the whole validation split, as trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub val: Option<Evaluation>,
    /// Validation loss before the first step, over as much of the split as the curve reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_val_loss: Option<f64>,
    /// Further measures of the exported model. `accuracy`, `macro_f1` and `exact_match` are shares from 0 to 1.
    #[serde(deserialize_with = "nans_if_null")]
    pub metrics: BTreeMap<String, f64>,
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens (or examples) seen.
    pub tokens: u64,
    /// Wall-clock seconds of training, evaluation excluded.
    #[serde(deserialize_with = "nan_if_null")]
    pub seconds: f64,
    /// Wall-clock seconds that the training of its teacher took, if it had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_seconds: Option<f64>,
    /// Throughput of training.
    #[serde(deserialize_with = "nan_if_null")]
    pub tokens_per_second: f64,
    /// High-water mark of resident memory in training.
    pub peak_rss_bytes: Option<u64>,
    /// High-water mark of resident memory in inference.
    pub inference_peak_rss_bytes: Option<u64>,
    /// Milliseconds for the answer to one example, timed right after this run was trained (summaries of older versions):
    /// not in turns with other runs, so no ratio is taken of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Joules of training, its teacher's included, from the processor's meter (RAPL).
    pub energy_joules: Option<f64>,
    /// Modelled picojoules per token or example, by what was modelled.
    #[serde(deserialize_with = "nans_if_null")]
    pub modelled: BTreeMap<String, f64>,
    /// The kernel of the CPU engine, if that scored the exported model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Of a language model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextMeasures>,
    /// Validation by step and by time.
    pub curve: Vec<ValPoint>,
    /// Training loss by step.
    pub train_curve: Vec<TrainPoint>,
    /// What the ternary codes did while training, by layer.
    pub telemetry: Vec<LayerTelemetry>,
}

impl Run {
    /// Whether it was evaluated on its way, not only before its first step and after its last: two points are no curve.
    pub fn was_followed(&self) -> bool {
        self.curve.len() > 2
    }

    /// The part of the validation split that the curve reads, in words; `None` where that is all of it.
    ///
    /// Older summaries do not say how many batches were read; there a curve that ends on another loss than that of the whole
    /// split gives it away.
    pub fn curve_part(&self) -> Option<String> {
        let last = self.curve.last().filter(|_| self.was_followed())?;
        match (last.batches, self.metrics.get("validation_loss")) {
            (Some(1), _) => Some("the first batch".to_owned()),
            (Some(batches), _) => Some(format!("the first {batches} batches")),
            (None, Some(whole)) if *whole != last.loss => Some("the first part".to_owned()),
            (None, _) => None,
        }
    }

    /// Seconds that it took to get this model: its training, and before it that of its teacher.
    pub fn total_seconds(&self) -> f64 {
        self.seconds + self.teacher_seconds.unwrap_or(0.0)
    }
}

fn nans_if_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let map = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    let numbers = map
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or(f64::NAN)));
    Ok(numbers.collect())
}
