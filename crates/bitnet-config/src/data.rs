//! `[data]`: the corpus and how it is cut into tokens.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the text comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// The built-in synthetic stories: no file needed.
    #[default]
    Stories,
    /// A text file, at `data.path`.
    Text,
}

/// What one token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A character: the vocabulary is the set of characters that occur.
    #[default]
    Char,
    /// A byte: 256 token ids, any text can be encoded.
    Byte,
}

/// The corpus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// `stories` or `text`.
    pub kind: DataKind,
    /// The text file; a relative path starts at the current directory, not at the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `char` or `byte`.
    pub level: Level,
    /// Leading share of the text that is trained on; the rest is the validation split.
    pub train_fraction: f64,
    /// Length of the generated text (stories only).
    pub characters: usize,
    /// Seed of the generated text (stories only).
    pub seed: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            kind: DataKind::Stories,
            path: None,
            level: Level::Char,
            train_fraction: 0.9,
            characters: 1_000_000,
            seed: 0,
        }
    }
}
