//! `[decode]`: how an encoder–decoder writes its outputs when it is scored.

use serde::{Deserialize, Serialize};

/// Beam search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Unfinished outputs kept for each sentence; 1 is greedy.
    pub beam: usize,
    /// Exponent of the length by which log-probabilities are divided; 0 prefers short outputs.
    pub length_penalty: f64,
    /// Most tokens of an output, its end included.
    pub max_length: usize,
    /// Sentences decoded at a time.
    pub batch_size: usize,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self {
            beam: 5,
            length_penalty: 1.0,
            max_length: 64,
            batch_size: 50,
        }
    }
}
