//! An experiment: variants × learning rates × seeds, and what came of them.
//!
//! A score that is missing from the file is NaN: zero would be the best loss there is.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ResultError;
use crate::files::{load_json, save_json};
use crate::frontier::Frontier;
use crate::scaling::Scaling;
use crate::variant::{Linear, Variant};

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
    /// Burn backend that trained the variants, its device, runs at a time.
    pub backend: String,
    /// One line on what was learned from.
    pub data: String,
    /// The score by which variants are compared.
    pub metric: Metric,
    /// What was compared, in the order of the report's rows.
    pub variants: Vec<Variant>,
    /// Models of the variants in formats of others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stored: Vec<Variant>,
    /// Name of the variant the others are paired with.
    pub baseline: Option<String>,
    /// Name of the variant whose gap to its baseline those of the others are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
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
    /// Where curves of variants are compared by what they cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontier: Option<Frontier>,
    /// What a law of scaling is fitted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Time that threads had to wait for a core while speeds were measured in turns
    /// ([`Turns::waited`](crate::Turns::waited)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited: Option<f64>,
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

/// The computer an experiment ran on.
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

impl Experiment {
    /// Reads an experiment's `summary.json`.
    ///
    /// # Errors
    ///
    /// Names the file when it cannot be read or is not a summary.
    pub fn load(path: &Path) -> Result<Self, ResultError> {
        load_json(path)
    }

    /// Writes a `summary.json`, atomically.
    ///
    /// # Errors
    ///
    /// Names the file when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ResultError> {
        save_json(self, path)
    }

    /// A variant's models in formats of others.
    pub fn stored_of(&self, variant: &Variant) -> Vec<&Variant> {
        let of = |stored: &&Variant| stored.stored_from.as_ref() == Some(&variant.name);
        self.stored.iter().filter(of).collect()
    }

    /// The variant the others are paired with, where it exists.
    pub fn baseline(&self) -> Option<&Variant> {
        let name = self.baseline.as_deref()?;
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// Whether some variant is paired with this one by its name.
    pub fn is_baseline(&self, variant: &Variant) -> bool {
        let own = self.variants.iter().filter_map(|v| v.baseline.as_ref());
        let mut all = own.chain(&self.baseline);
        all.any(|name| *name == variant.name)
    }

    /// The variant that this one is paired with: the one that it names, or the first float one of its group, where there are
    /// groups.
    pub fn baseline_of(&self, variant: &Variant) -> Option<&Variant> {
        if let Some(own) = &variant.baseline {
            return self.variants.iter().find(|v| v.name == *own);
        }
        if variant.group.is_none() {
            return self.baseline();
        }
        let float = |v: &&Variant| v.group == variant.group && v.linear == Linear::Float;
        self.variants.iter().find(float)
    }

    /// Whether its variants form groups that do not compare with each other.
    pub fn is_grouped(&self) -> bool {
        self.variants.iter().any(|v| v.group.is_some())
    }

    /// Each group as an experiment of its own, with the group's name, in the order of their first variants. One without
    /// groups is its only one.
    pub fn groups(&self) -> Vec<(Option<&str>, Experiment)> {
        let mut names: Vec<Option<&str>> = Vec::new();
        for variant in &self.variants {
            if !names.contains(&variant.group.as_deref()) {
                names.push(variant.group.as_deref());
            }
        }
        if names.is_empty() {
            return vec![(None, self.clone())];
        }
        names
            .into_iter()
            .map(|name| (name, self.group(name)))
            .collect()
    }

    fn group(&self, name: Option<&str>) -> Experiment {
        let of_group = |v: &&Variant| v.group.as_deref() == name;
        let variants: Vec<&Variant> = self.variants.iter().filter(of_group).collect();
        let baseline = variants.first().and_then(|v| self.baseline_of(v));
        Experiment {
            baseline: baseline.map(|v| v.name.clone()),
            // What is left compares with each other.
            variants: variants
                .into_iter()
                .map(|v| Variant {
                    group: None,
                    ..v.clone()
                })
                .collect(),
            title: match name {
                None => self.heading().to_owned(),
                Some(name) => format!("{}: {name}", self.heading()),
            },
            ..self.clone()
        }
    }

    /// The float and the ternary variant of a comparison: two variants that differ in that, with at most one run each.
    pub fn twins(&self) -> Option<(&Variant, &Variant)> {
        let [a, b] = self.variants.as_slice() else {
            return None;
        };
        let alone = a.runs.len() <= 1 && b.runs.len() <= 1;
        match (a.linear, b.linear) {
            (Linear::Float, Linear::Ternary) if alone => Some((a, b)),
            (Linear::Ternary, Linear::Float) if alone => Some((b, a)),
            _ => None,
        }
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
