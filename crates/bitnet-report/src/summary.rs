//! The types behind `summary.json`: everything a comparison found, and nothing it merely drew.
//!
//! The keys of the `compare` contract are fixed; the rest is additive and has defaults, so that a summary
//! written by an older version still loads. What a platform cannot measure is `None`, never zero.
//! JSON has no NaN: a loss that diverged is written as `null` and read back as NaN (infinities too).

mod measured;

pub(crate) use measured::nan_if_null;
pub use measured::{
    FloatBytes, Inference, Packed, Probes, Sample, TokenMatch, Train, TrainPoint, Val, ValPoint,
};

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::energy::Energy;
use crate::error::SummaryError;
use crate::json;

/// Everything one comparison found. `name` is the comparison's; each twin has its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Version of the program that wrote the summary.
    pub version: String,
    /// Name of the comparison, for instance the config file's stem.
    pub name: String,
    /// When it ran, as text.
    pub date: String,
    /// The command line that reproduces it.
    pub command: String,
    /// Burn backend that trained the twins.
    pub backend: String,
    /// Device of that backend.
    pub device: String,
    /// The computer.
    pub machine: Machine,
    /// Seed of initialisation and data order.
    pub seed: Option<u64>,
    /// What was learned from.
    pub data: DataInfo,
    /// The models, in the order of the report's columns.
    pub twins: Vec<Twin>,
    /// The resolved configuration, as TOML.
    pub config: String,
    /// Path of the report rendered from this summary.
    pub report: String,
}

/// The computer a comparison ran on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Logical cores the process could use.
    pub cores: usize,
    /// Operating system.
    pub os: String,
    /// Kernel of the operating system, with its version.
    pub kernel: String,
}

/// The data set and its split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataInfo {
    /// One line: what the text is and how it was tokenised.
    pub description: String,
    /// Tokens in the training split.
    pub train_tokens: u64,
    /// Tokens in the validation split.
    pub validation_tokens: u64,
    /// Size of the vocabulary.
    pub vocab: usize,
}

/// One model of the comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Twin {
    /// [`Summary::FLOAT`], [`Summary::TERNARY`], or any other label.
    pub name: String,
    /// Trainable parameters.
    pub params: u64,
    /// Of those, the ones that are ternary in the exported model; 0 for a float twin.
    pub ternary_weights: u64,
    /// Of those, the ones that stay float in the exported model.
    pub float_weights: u64,
    /// What the weights of the *linear layers* (those that are ternary in the ternary twin) take in float.
    pub float_bytes: FloatBytes,
    /// The exported float model file; a ternary twin's file is in [`Packed::file_bytes`].
    pub file_bytes: Option<u64>,
    /// Stored bits per ternary weight, scales included.
    pub bits_per_ternary_weight: Option<f64>,
    /// Learning rate, schedule, weight decay and so on, one free-form line each.
    pub optim: Vec<String>,
    /// Validation loss before the first step, in nats per token.
    pub initial_val_loss: Option<f64>,
    /// What training took.
    pub train: Train,
    /// Median wall-clock milliseconds per training step.
    pub ms_per_step: Option<f64>,
    /// Quality in the form it was trained in (a ternary twin: fake-quantised).
    pub val: Val,
    /// Validation loss in bits per byte of text.
    pub bits_per_byte: Option<f64>,
    /// Questions with one right answer, asked of the finished model.
    pub probes: Option<Probes>,
    /// The exported ternary model; `None` for a float twin.
    pub packed: Option<Packed>,
    /// Inference timings; `None` where they were not taken.
    pub inference: Option<Inference>,
    /// Energy per generated token; `None` where it was not modelled.
    pub energy: Option<Energy>,
    /// Training loss by step.
    pub train_curve: Vec<TrainPoint>,
    /// Validation loss by step and by wall clock.
    pub val_curve: Vec<ValPoint>,
    /// Text the model wrote.
    pub samples: Vec<Sample>,
}

impl Summary {
    /// Name of the float twin.
    pub const FLOAT: &str = "float";
    /// Name of the ternary twin.
    pub const TERNARY: &str = "ternary";

    /// Reads a `summary.json`.
    ///
    /// # Errors
    ///
    /// Names the file when it cannot be read or is not a summary.
    pub fn load(path: &Path) -> Result<Self, SummaryError> {
        json::load(path)
    }

    /// Writes a `summary.json`, atomically.
    ///
    /// # Errors
    ///
    /// Names the file when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SummaryError> {
        json::save(self, path)
    }

    /// The twin called `name`.
    pub fn twin(&self, name: &str) -> Option<&Twin> {
        self.twins.iter().find(|twin| twin.name == name)
    }

    /// The float and the ternary twin, where both are present.
    pub fn pair(&self) -> Option<(&Twin, &Twin)> {
        Some((self.twin(Self::FLOAT)?, self.twin(Self::TERNARY)?))
    }
}

impl Twin {
    /// The loss that counts: of the exported, packed model where there is one.
    pub fn score(&self) -> f64 {
        self.packed
            .as_ref()
            .map_or(self.val.loss, |packed| packed.val_loss)
    }

    /// Bytes of the model file, whichever format it was exported to.
    pub fn exported_bytes(&self) -> Option<u64> {
        self.packed
            .as_ref()
            .map(|packed| packed.file_bytes)
            .or(self.file_bytes)
    }
}
