//! `[compare]`: what is measured of trained models.

use serde::{Deserialize, Serialize};

/// Samples, agreement, timing and probes of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompareConfig {
    /// Prompts that the models continue in the report; none leaves the samples out.
    pub prompts: Vec<String>,
    /// Tokens generated for each prompt.
    pub sample_tokens: usize,
    /// Tokens on which the packed model's greedy choice is compared with the trained model's.
    pub agreement_tokens: usize,
    /// Sampling temperature of the samples; 0 is greedy.
    pub temperature: f64,
    /// Prompt length of the prefill timing.
    pub prefill_tokens: usize,
    /// Generated length of the decode timing.
    pub decode_tokens: usize,
    /// Turns of the timings, in each of which every model is timed once. Fewer than 6 give no interval, and then no ratio.
    pub repetitions: usize,
    /// Number of question probes (stories only); 0 leaves them out.
    pub probes: usize,
}

impl Default for CompareConfig {
    fn default() -> Self {
        Self {
            prompts: Vec::new(),
            sample_tokens: 120,
            agreement_tokens: 1000,
            temperature: 0.8,
            prefill_tokens: 128,
            decode_tokens: 64,
            repetitions: 9,
            probes: 200,
        }
    }
}
