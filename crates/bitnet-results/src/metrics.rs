//! `metrics.jsonl` of a run, and the curves that are read from it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ResultError;
use crate::files::{nan, nan_if_null};

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum MetricsLine {
    /// A logged training step.
    Train(TrainPoint),
    /// An evaluation on the validation split.
    Val(ValPoint),
    /// The ternary layers at an evaluation.
    Layers {
        /// Optimiser steps done.
        step: u64,
        /// Each layer.
        layers: Vec<NamedLayer>,
    },
    /// What the model wrote at an evaluation.
    Sample(SamplePoint),
}

/// What a model wrote at one step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplePoint {
    /// Optimiser steps done.
    pub step: u64,
    /// What it was to continue.
    pub prompt: String,
    /// How it did.
    pub text: String,
}

/// One point of the training curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainPoint {
    /// Optimiser steps done.
    pub step: u64,
    /// Training loss, the mean of the batches since the last such point.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub loss: f64,
    /// Learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Seconds of training so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// One point of the validation curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValPoint {
    /// Optimiser steps done.
    pub step: u64,
    /// Validation loss.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub loss: f64,
    /// Share of right predictions, where the task predicts something that is right or wrong.
    #[serde(alias = "score", skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Bits per byte of text, of a language model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_byte: Option<f64>,
    /// Seconds of training so far.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub seconds: f64,
    /// Only the first so many batches of the split were read; `None` for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<usize>,
}

/// The health of a ternary layer while it trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerHealth {
    /// Share of the codes that are 0.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub zeros: f64,
    /// Share of the codes that changed in a step, on average since the last reading; `None` at the first.
    pub flips: Option<f64>,
    /// Mean of the scales' reciprocals: the weight that a code of 1 stands for.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub scale: f64,
}

/// One layer at one step, in `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedLayer {
    /// The projection's name.
    pub layer: String,
    /// Its health.
    #[serde(flatten)]
    pub health: LayerHealth,
}

/// One layer over the course of training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerTelemetry {
    /// The projection's name.
    pub layer: String,
    /// By step.
    pub points: Vec<HealthPoint>,
}

/// The health of one layer at one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthPoint {
    /// Optimiser steps done.
    #[serde(default)]
    pub step: u64,
    /// Its health then.
    #[serde(flatten)]
    pub health: LayerHealth,
}

/// What `metrics.jsonl` holds, by kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Validation.
    pub val: Vec<ValPoint>,
    /// Training.
    pub train: Vec<TrainPoint>,
    /// The ternary layers.
    pub layers: Vec<LayerTelemetry>,
    /// What the model wrote on its way.
    pub samples: Vec<SamplePoint>,
}

impl Curves {
    /// Reads a run's `metrics.jsonl`.
    ///
    /// # Errors
    /// Names the file where it cannot be read or a line is none of [`MetricsLine`].
    pub fn read(path: &Path) -> Result<Self, ResultError> {
        let text = std::fs::read_to_string(path).map_err(ResultError::read(path))?;
        let mut curves = Self::default();
        for line in text.lines() {
            curves.add(serde_json::from_str(line).map_err(ResultError::parse(path))?);
        }
        Ok(curves)
    }

    /// Reads a `metrics.jsonl` that may be written at this moment: what is no line yet, or no longer, is left out.
    ///
    /// # Errors
    /// Names the file where it cannot be read.
    pub fn read_growing(path: &Path) -> Result<Self, ResultError> {
        let bytes = std::fs::read(path).map_err(ResultError::read(path))?;
        let mut curves = Self::default();
        let lines = bytes.split(|byte| *byte == b'\n');
        lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .for_each(|line| curves.add(line));
        Ok(curves)
    }

    fn add(&mut self, line: MetricsLine) {
        match line {
            MetricsLine::Train(point) => self.train.push(point),
            MetricsLine::Val(point) => self.val.push(point),
            MetricsLine::Layers { step, layers } => self.add_layers(step, layers),
            MetricsLine::Sample(sample) => self.samples.push(sample),
        }
    }

    fn add_layers(&mut self, step: u64, layers: Vec<NamedLayer>) {
        for NamedLayer { layer, health } in layers {
            let point = HealthPoint { step, health };
            match self.layers.iter_mut().find(|known| known.layer == layer) {
                Some(known) => known.points.push(point),
                None => self.layers.push(LayerTelemetry {
                    layer,
                    points: vec![point],
                }),
            }
        }
    }

    /// The training curve in at most `most` points, each the mean loss of its neighbours at the last one's step.
    pub fn thinned(points: &[TrainPoint], most: usize) -> Vec<TrainPoint> {
        let every = points.len().div_ceil(most.max(1)).max(1);
        let mean = |near: &[TrainPoint]| TrainPoint {
            loss: near.iter().map(|point| point.loss).sum::<f64>() / near.len() as f64,
            ..near[near.len() - 1]
        };
        points.chunks(every).map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_as_curves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let lines = [
            r#"{"kind":"val","step":0,"loss":4.5,"accuracy":0.25,"seconds":0.0,"batches":20}"#,
            r#"{"kind":"layers","step":0,"layers":[{"layer":"a","zeros":0.5,"flips":null,"scale":0.1}]}"#,
            r#"{"kind":"train","step":10,"loss":4.0,"lr":0.001,"seconds":1.5}"#,
            r#"{"kind":"layers","step":10,"layers":[{"layer":"a","zeros":0.25,"flips":0.125,"scale":0.1}]}"#,
            r#"{"kind":"val","step":10,"loss":null,"seconds":1.5}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let curves = Curves::read(&path).unwrap();
        let [first, last] = curves.val[..] else {
            panic!("{curves:?}")
        };
        assert_eq!(
            (first.loss, first.accuracy, first.batches),
            (4.5, Some(0.25), Some(20))
        );
        assert!(last.loss.is_nan() && last.accuracy.is_none() && last.batches.is_none());
        assert_eq!(curves.train[0].lr, Some(0.001));
        let [layer] = &curves.layers[..] else {
            panic!("{curves:?}")
        };
        let flips: Vec<_> = layer
            .points
            .iter()
            .map(|p| (p.step, p.health.zeros, p.health.flips))
            .collect();
        assert_eq!(flips, [(0, 0.5, None), (10, 0.25, Some(0.125))]);

        // What is written is what was read.
        let line = serde_json::to_string(&MetricsLine::Val(first)).unwrap();
        assert_eq!(line, lines[0]);
        std::fs::write(&path, lines[0].to_owned() + "\n{\"kind\":\"val\"").unwrap();
        assert_eq!(Curves::read_growing(&path).unwrap().val.len(), 1);
        assert!(
            Curves::read(&path)
                .unwrap_err()
                .to_string()
                .contains("metrics.jsonl")
        );
    }

    #[test]
    fn a_thinned_curve_keeps_the_mean() {
        let point = |step| TrainPoint {
            step,
            loss: step as f64,
            ..TrainPoint::default()
        };
        let points: Vec<_> = (1..=5).map(point).collect();
        let thinned = Curves::thinned(&points, 3);
        let pairs: Vec<_> = thinned.iter().map(|p| (p.step, p.loss)).collect();
        assert_eq!(pairs, [(2, 1.5), (4, 3.5), (5, 5.0)]);
        assert_eq!(Curves::thinned(&points, 100), points);
        assert!(Curves::thinned(&[], 100).is_empty());
    }
}
