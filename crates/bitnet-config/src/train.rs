//! `[train]`: steps, batches, intervals, and the optimiser of each twin.

use std::path::PathBuf;

use bitnet_models::LinearKind;
use bitnet_models::float::{GradientPieces, Numerics, Precision};
use serde::{Deserialize, Serialize};

use crate::{OptimConfig, OptimOverride};

/// Logits that are in memory at a time, unless a run says otherwise: 256 MB.
const MOST_LOGITS: usize = 1 << 26;

/// How a model is trained.
///
/// The shared optimiser keys stand directly in `[train]` (`serde(flatten)`). Serde cannot combine that with
/// `deny_unknown_fields`; the [`Loader`](crate::Loader) rejects unknown keys before serde sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Optimiser steps.
    pub steps: usize,
    /// Sequences in a step.
    pub batch_size: usize,
    /// Batches that a step learns from, one after the other, as from one of `batch_size × accumulate` sequences; memory is
    /// that of one.
    pub accumulate: usize,
    /// As `accumulate`, from the fraction `late_from` of the steps on, where it is more: less noise in the gradient when the
    /// rate is low. The data of a step is that of a run without it, and then more.
    pub late_accumulate: usize,
    /// Fraction of the steps from which `late_accumulate` counts.
    pub late_from: f64,
    /// Tokens in a sequence (task `lm`).
    pub context: usize,
    /// Tokens whose logits are in memory at a time (task `lm`); 0 takes all of a batch where that is at most 256 MB, and
    /// otherwise as many as are. A teacher needs all of them.
    pub loss_rows: usize,
    /// Whether the way back computes each block anew, so that the activations of one are in memory and not of all (task
    /// `lm`): the same gradient, for a pass forward more in each step.
    pub checkpoint_activations: bool,
    /// Seed of the initial weights and of the order of the data.
    pub seed: u64,
    /// Steps between two evaluations; 0 evaluates only at the end.
    pub eval_interval: usize,
    /// Evaluations in a row without a lower validation loss after which training ends early; 0 never does.
    pub stop_after: usize,
    /// Batches of an evaluation during training; 0 is the whole validation split, as the last evaluation always is.
    pub eval_batches: usize,
    /// Tokens that the model writes at an evaluation, after the beginning of the validation split (task `lm`); 0 none.
    pub sample_tokens: usize,
    /// Steps between two checkpoints; 0 writes one at the end, and by time.
    pub checkpoint_interval: usize,
    /// Minutes after which a checkpoint is written whatever the step; 0 writes none by time.
    pub checkpoint_minutes: f64,
    /// Newest checkpoints that stay on disk; the one with the lowest validation loss stays besides.
    pub keep_checkpoints: usize,
    /// Steps between two lines of the log; 0 logs only evaluations.
    pub log_interval: usize,
    /// Fraction of the steps over which a ternary model goes from float to quantised: `λ` rises linearly from 0 to 1 in
    /// `w + λ(ŵ − w)`, activations alike; 0 is quantised from the start. The float twin has none.
    pub lambda_warmup: f64,
    /// Share of the target that is spread over the vocabulary (tasks with an encoder); 0 is plain cross-entropy.
    pub label_smoothing: f64,
    /// Share of the tokens that training replaces by an unknown one, in every step others (task `classify`).
    pub token_dropout: f64,
    /// The model that training starts from (task `lm`): a run, a `.gguf` file, a folder of transformers or `hf://…`. Its
    /// sizes, its norms and its tokenizer are the run's then: `[model]` says only whether it becomes `ternary` or `float`.
    /// Absent draws weights from the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<PathBuf>,
    /// A model that teaches this one (task `lm`): a run, or files as of `init_from`, with the same tokenizer; none learns
    /// from the text alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill_from: Option<PathBuf>,
    /// Share of the teacher in the loss, 0 to 1: `(1 − α) · cross-entropy + α · T² · KL(teacher ‖ model)`.
    pub distill_weight: f64,
    /// Fraction of the steps from which the teacher has a say; before, the model learns from the text alone.
    pub distill_start: f64,
    /// Temperature `T` that both distributions are softened by.
    pub distill_temperature: f64,
    /// `f32` or `bf16`: what products of two floats are computed from, in the float twin's layers and in the head of
    /// both. `bf16` rounds their operands and needs Intel AMX and a CPU backend.
    pub precision: Precision,
    /// bf16 pieces of the output's gradient, 1 to 3, that the backward products of ternary layers take; 3 is all of it.
    /// Fewer need Intel AMX and a CPU backend.
    pub backward_pieces: usize,
    /// The optimiser keys of both twins.
    #[serde(flatten)]
    pub shared: OptimConfig,
    /// Keys that only the float twin has.
    pub float: OptimOverride,
    /// Keys that only the ternary twin has.
    pub ternary: OptimOverride,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch_size: 12,
            accumulate: 1,
            late_accumulate: 1,
            late_from: 0.75,
            context: 128,
            loss_rows: 0,
            checkpoint_activations: false,
            seed: 0,
            eval_interval: 100,
            stop_after: 0,
            eval_batches: 16,
            sample_tokens: 48,
            checkpoint_interval: 0,
            checkpoint_minutes: 10.0,
            keep_checkpoints: 2,
            log_interval: 10,
            lambda_warmup: 0.0,
            label_smoothing: 0.0,
            token_dropout: 0.0,
            init_from: None,
            distill_from: None,
            distill_weight: 0.5,
            distill_start: 0.0,
            distill_temperature: 1.0,
            precision: Precision::F32,
            backward_pieces: 3,
            shared: OptimConfig::default(),
            float: OptimOverride::default(),
            ternary: OptimOverride::default(),
        }
    }
}

impl TrainConfig {
    /// The keys that one twin sets for itself.
    pub fn overrides(&self, linear: LinearKind) -> &OptimOverride {
        match linear {
            LinearKind::Float => &self.float,
            LinearKind::Ternary => &self.ternary,
        }
    }

    /// Batches that a step learns from where they are most.
    pub fn most_parts(&self) -> usize {
        self.accumulate.max(self.late_accumulate)
    }

    /// Sequences that a step learns from where they are most.
    pub fn step_sequences(&self) -> usize {
        self.batch_size.saturating_mul(self.most_parts())
    }

    /// Whether the teacher, if there is one, has a say in a step, the first being 0.
    pub fn is_taught(&self, step: u64) -> bool {
        step as f64 >= self.distill_start * self.steps as f64
    }

    /// Rows of logits of a vocabulary that are in memory at a time.
    pub fn loss_rows(&self, vocab_size: usize) -> usize {
        match self.loss_rows {
            0 => (MOST_LOGITS / vocab_size.max(1)).max(1),
            rows => rows,
        }
    }

    /// `λ` of a step, the first being 0.
    pub fn lambda_at(&self, step: usize) -> f32 {
        let rise = self.lambda_warmup * self.steps as f64;
        match rise > 0.0 {
            true => (step as f64 / rise).min(1.0) as f32,
            false => 1.0,
        }
    }

    /// How exact the products of a step are.
    pub fn numerics(&self) -> Numerics {
        Numerics {
            precision: self.precision,
            gradient_pieces: match self.backward_pieces {
                1 => GradientPieces::One,
                2 => GradientPieces::Two,
                _ => GradientPieces::Three,
            },
        }
    }

    /// The optimiser of one twin: its own keys over the shared ones.
    pub fn optim(&self, linear: LinearKind) -> OptimConfig {
        self.overrides(linear).over(&self.shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_win_over_shared_ones() {
        let train: TrainConfig = toml::from_str(
            "learning_rate = 1e-3\nsecond_learning_rate = 4e-4\nbeta2 = 0.99\n\
             [ternary]\nlearning_rate = 5e-3\nweight_decay_until = 0.5\nschedule = \"two-stage\"",
        )
        .unwrap();
        let float = train.optim(LinearKind::Float);
        assert_eq!(float, train.shared);
        let ternary = train.optim(LinearKind::Ternary);
        let expected = OptimConfig {
            learning_rate: 5e-3,
            weight_decay_until: 0.5,
            schedule: crate::Schedule::TwoStage,
            ..float
        };
        assert_eq!(ternary, expected);
    }
}
