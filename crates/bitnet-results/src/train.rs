//! What a training took, and where it ended.

use serde::{Deserialize, Serialize};

use crate::evaluation::Evaluation;
use crate::files::nan_if_null;

/// `summary.json` of a run, and what `bitnet train` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSummary {
    /// The run's folder.
    pub run_dir: String,
    /// Whether the run was interrupted before its last step.
    pub interrupted: bool,
    /// Whether the loss was no number any more.
    #[serde(default)]
    pub diverged: bool,
    /// Whether it ended before its last step because the validation loss fell no more.
    #[serde(default)]
    pub stopped_early: bool,
    /// The lowest validation loss of all evaluations after the first step, on as much of the split as the curve reads.
    #[serde(default)]
    pub best_val_loss: Option<f64>,
    /// The step of that evaluation.
    #[serde(default)]
    pub best_step: Option<usize>,
    /// Steps done.
    pub steps: usize,
    /// Tokens trained on; of vectors, examples.
    pub tokens: usize,
    /// Seconds spent training, without evaluation and checkpoints.
    pub seconds: f64,
    /// Training throughput.
    pub tokens_per_second: f64,
    /// Peak resident memory of the process; null where it cannot be measured.
    pub peak_rss_bytes: Option<u64>,
    /// Energy of the processor's package while training, joules; null where no meter can be read.
    #[serde(default)]
    pub energy_joules: Option<f64>,
    /// What products of floats and the gradients of ternary layers were computed with; empty on a GPU, where Burn decides.
    #[serde(default)]
    pub arithmetic: String,
    /// Trainable parameters.
    pub params: usize,
    /// Training loss, the mean of the batches since it was reported before.
    #[serde(deserialize_with = "nan_if_null")]
    pub train_loss: f64,
    /// Validation loss before the first step, over as much of the split as the curve reads.
    #[serde(deserialize_with = "nan_if_null")]
    pub initial_val_loss: f64,
    /// Validation loss after the last step, over the whole split.
    #[serde(deserialize_with = "nan_if_null")]
    pub val_loss: f64,
    /// The whole of that evaluation; an interrupted or diverged run has none.
    pub val: Evaluation,
}
