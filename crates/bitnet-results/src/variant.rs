//! One way of doing it, with its runs.

use serde::{Deserialize, Serialize};

use crate::files::{nan, nan_if_null};
use crate::measured::Speed;
use crate::run::Run;
use crate::statistics::Spread;

/// What the weights of the linear layers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Linear {
    /// Floats.
    #[default]
    Float,
    /// −1, 0 and 1, with scales.
    Ternary,
}

impl Linear {
    /// Its name in files and texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Ternary => "ternary",
        }
    }
}

/// One way of doing it, with its runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variant {
    /// Short and unique; shown in charts.
    pub name: String,
    /// In words; shown in tables, where the name is not enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The kind of its linear layers.
    pub linear: Linear,
    /// Variants are compared within their group, such as one of several tasks; `None` where all are of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The variant whose runs taught these, if any did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// The variant that it is paired with, where that is not the experiment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The curve that it is a point of, where models of several sizes are compared; `None` is that of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<String>,
    /// What its model is stored as; `None` is the program's own export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The variant whose models these are in another format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_from: Option<String>,
    /// The settings that make it, as given to `--set`.
    pub settings: Vec<String>,
    /// Trainable parameters.
    pub params: u64,
    /// Of those, the ones that are ternary in the exported model.
    pub ternary_weights: u64,
    /// Bytes of the linear layers as stored.
    pub packed_bytes: u64,
    /// Bytes of the exported file.
    pub file_bytes: u64,
    /// The learning rates tried, with their scores on validation.
    pub grid: Vec<GridPoint>,
    /// The learning rate chosen.
    #[serde(deserialize_with = "nan_if_null")]
    pub learning_rate: f64,
    /// Optimiser, schedule, weight decay and so on, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optim: Vec<String>,
    /// Speed of the first run's model, timed in turns with those of the other variants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
    /// The runs at that rate, one per seed.
    pub runs: Vec<Run>,
}

/// One learning rate tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GridPoint {
    /// The rate.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub learning_rate: f64,
    /// Its score on validation.
    #[serde(default = "nan", deserialize_with = "nan_if_null")]
    pub score: f64,
    /// The seed it was run with.
    pub seed: u64,
}

impl Variant {
    /// Its label, or its name where it has none.
    pub fn words(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.name)
    }

    /// What its curve is called: `ternary`, `float q4_0`.
    pub fn curve_name(&self) -> String {
        let curve = self.curve.as_deref().unwrap_or(self.linear.name());
        match &self.format {
            Some(format) => format!("{curve} {format}"),
            None => curve.to_owned(),
        }
    }

    /// Scores of its runs; `None` without a finite one.
    pub fn score(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().map(|run| run.score))
    }
}
