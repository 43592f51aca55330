//! The types behind an experiment's `summary.json`.
//!
//! The rules are those of a comparison's summary: keys may be added and have defaults, what a platform cannot measure is
//! `None`, and a number that is not finite is written as `null` and read back as NaN. A score that is missing from the
//! file is NaN as well: zero would be the best loss there is.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::run::Run;
use super::statistics::Spread;
use crate::error::SummaryError;
use crate::json;
use crate::summary::{Machine, nan_if_null};

/// Everything one experiment found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Experiment {
    /// Version of the program that wrote the summary.
    pub version: String,
    /// Short name: the folder of its report.
    pub name: String,
    /// Heading of its report.
    pub title: String,
    /// What is asked, in one sentence.
    pub question: String,
    /// The kind of task: language model, translation, classification and so on.
    pub task: String,
    /// When it ran, as text.
    pub date: String,
    /// The command line that reproduces it.
    pub command: String,
    /// The computer.
    pub machine: Machine,
    /// Burn backend that trained the variants.
    pub backend: String,
    /// One line on what was learned from.
    pub data: String,
    /// The score by which variants are compared.
    pub metric: Metric,
    /// What was compared, in the order of the report's rows.
    pub variants: Vec<Variant>,
    /// Name of the variant the others are paired with.
    pub baseline: Option<String>,
    /// The seeds every variant was meant to be run with.
    pub seeds: Vec<u64>,
    /// Limits and negative results, one sentence or paragraph each.
    pub notes: Vec<String>,
    /// What it means, written by a person.
    pub conclusion: String,
    /// The experiment's configuration, as TOML.
    pub config: String,
    /// Whether the report shows loss curves.
    pub curves: bool,
    /// Whether the report shows score against parameters and bytes.
    pub scatter: bool,
}

/// The score by which variants are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// `loss`, `accuracy`, `bleu`, `exact_match` and so on.
    pub key: String,
    /// In words, with the unit: `validation loss, nats per token`.
    pub label: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// Whether scores are shares from 0 to 1 that people read as percent.
    pub percent: bool,
    /// Unit after a number in running text, for instance `nats`; may be empty.
    pub unit: String,
}

/// One way of doing it, with its runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variant {
    /// Short and unique; shown in charts.
    pub name: String,
    /// In words; shown in tables. Empty: the name.
    pub label: String,
    /// [`Variant::FLOAT`] or [`Variant::TERNARY`].
    pub linear: String,
    /// Variants are compared within their group, such as one of several tasks; empty where all are of one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The variant whose runs taught these, if any did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub teacher: String,
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

/// What stands for a score the file does not have.
pub(super) fn nan() -> f64 {
    f64::NAN
}

impl Experiment {
    /// Reads an experiment's `summary.json`.
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

    /// The variant the others are paired with, where it exists.
    pub fn baseline(&self) -> Option<&Variant> {
        let name = self.baseline.as_deref()?;
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// The variant that this one is paired with: the first float one of its group, where there are groups.
    pub(super) fn baseline_of(&self, variant: &Variant) -> Option<&Variant> {
        if variant.group.is_empty() {
            return self.baseline();
        }
        let float = |v: &&Variant| v.group == variant.group && v.linear == Variant::FLOAT;
        self.variants.iter().find(float)
    }

    /// Whether its variants form groups that do not compare with each other.
    pub(super) fn is_grouped(&self) -> bool {
        self.variants.iter().any(|v| !v.group.is_empty())
    }

    /// Each group as an experiment of its own, in the order of their first variants. One without groups is its only one.
    pub(super) fn groups(&self) -> Vec<Experiment> {
        let group = |name: &str| {
            let of_group = |v: &&Variant| v.group == name;
            let variants: Vec<Variant> = self.variants.iter().filter(of_group).cloned().collect();
            let baseline = variants.first().and_then(|v| self.baseline_of(v));
            Experiment {
                baseline: baseline.map(|v| v.name.clone()),
                // What is left compares with each other.
                variants: variants
                    .into_iter()
                    .map(|v| Variant {
                        group: String::new(),
                        ..v
                    })
                    .collect(),
                title: match name {
                    "" => self.heading().to_owned(),
                    name => format!("{}: {name}", self.heading()),
                },
                ..self.clone()
            }
        };
        if self.variants.is_empty() {
            return vec![self.clone()];
        }
        self.group_names().into_iter().map(group).collect()
    }

    /// The names of the [`Experiment::groups`], as they are written in the configuration.
    pub(super) fn group_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for variant in &self.variants {
            if !names.contains(&variant.group.as_str()) {
                names.push(&variant.group);
            }
        }
        names
    }

    /// Its title, or its name where it has none.
    pub fn heading(&self) -> &str {
        match (self.title.as_str(), self.name.as_str()) {
            ("", "") => "Experiment",
            ("", name) => name,
            (title, _) => title,
        }
    }
}

impl Metric {
    /// The metric in words; its key where no words were given.
    pub fn words(&self) -> &str {
        match (self.label.as_str(), self.key.as_str()) {
            ("", "") => "score",
            ("", key) => key,
            (label, _) => label,
        }
    }

    /// Positive where `score` is better than `other`, by as much as the difference.
    pub fn lead(&self, score: f64, other: f64) -> f64 {
        if self.higher_is_better {
            score - other
        } else {
            other - score
        }
    }
}

impl Variant {
    /// Linear layers in float.
    pub const FLOAT: &str = "float";
    /// Linear layers with ternary weights.
    pub const TERNARY: &str = "ternary";

    /// Its label, or its name where it has none.
    pub fn words(&self) -> &str {
        if self.label.is_empty() {
            &self.name
        } else {
            &self.label
        }
    }

    /// Scores of its runs; `None` without a finite one.
    pub fn score(&self) -> Option<Spread> {
        Spread::of(self.runs.iter().map(|run| run.score))
    }
}
