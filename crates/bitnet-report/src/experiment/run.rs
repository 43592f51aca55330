//! One run: a variant, a learning rate and a seed, trained, exported and measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::summary::nan;
use crate::summary::nan_if_null;

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
    /// Milliseconds of one inference.
    pub latency_ms: Option<f64>,
    /// Joules of training, its teacher's included, from the processor's meter (RAPL).
    pub energy_joules: Option<f64>,
    /// Modelled picojoules per token or example, by what was modelled.
    #[serde(deserialize_with = "nans_if_null")]
    pub modelled: BTreeMap<String, f64>,
    /// Validation by step and by time.
    pub curve: Vec<CurvePoint>,
    /// Training loss by step.
    pub train_curve: Vec<LossPoint>,
    /// What the ternary codes did while training, by layer.
    pub telemetry: Vec<LayerTelemetry>,
}

impl Run {
    /// Whether it was evaluated on its way, not only before its first step and after its last: two points are no curve.
    pub fn was_followed(&self) -> bool {
        self.curve.len() > 2
    }

    /// Whether the evaluations on its way read only a part of the validation split: they then end on another loss than that
    /// of the whole.
    pub fn was_followed_in_part(&self) -> bool {
        let whole = self.metrics.get("validation_loss");
        let last = self.curve.last().map(|point| point.loss);
        self.was_followed() && whole.zip(last).is_some_and(|(whole, last)| *whole != last)
    }

    /// Seconds that it took to get this model: its training, and before it that of its teacher.
    pub fn total_seconds(&self) -> f64 {
        self.seconds + self.teacher_seconds.unwrap_or(0.0)
    }
}

/// One point of the validation curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CurvePoint {
    /// Optimiser steps so far.
    pub step: u64,
    /// Training seconds so far.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub seconds: f64,
    /// Validation loss.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub loss: f64,
    /// Validation accuracy; drawn where the experiment's metric is accuracy.
    pub score: Option<f64>,
}

/// One point of the training curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LossPoint {
    /// Optimiser step.
    pub step: u64,
    /// Loss of that step's batch.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub loss: f64,
}

/// The ternary codes of one layer while training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerTelemetry {
    /// Name of the layer.
    pub layer: String,
    /// By step.
    pub points: Vec<TelemetryPoint>,
}

/// The ternary codes of one layer at one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryPoint {
    /// Optimiser steps so far.
    pub step: u64,
    /// Share of codes that are zero.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub zeros: f64,
    /// Share of codes changed per step, since the last point.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub flips: f64,
    /// Scale of the weights.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub scale: f64,
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
