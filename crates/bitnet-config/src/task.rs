//! `task`: what a model is trained to do. It decides which model is built, what `[data]` has to name, and the score.

use serde::{Deserialize, Serialize};

/// What a run trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Next-token prediction on a text, by a decoder-only Transformer. Score: validation loss.
    #[default]
    Lm,
    /// Sentence pairs, by an encoder–decoder Transformer. Score: BLEU on the test pairs.
    Translate,
    /// Texts with labels, by an encoder and a head. Score: accuracy on the test texts.
    Classify,
    /// Vectors with labels, by a multi-layer perceptron. Score: accuracy on the test vectors.
    Vectors,
    /// Copying, reversing, sorting and adding, by an encoder–decoder Transformer. Score: share of outputs that are right in
    /// every token.
    Synthetic,
    /// One linear layer that learns a linear map from noisy examples. Score: mean squared error on the test examples.
    Layer,
}

impl Task {
    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Task::Lm => "lm",
            Task::Translate => "translate",
            Task::Classify => "classify",
            Task::Vectors => "vectors",
            Task::Synthetic => "synthetic",
            Task::Layer => "layer",
        }
    }

    /// Whether the model reads padded sequences of tokens.
    pub fn reads_sequences(self) -> bool {
        matches!(self, Task::Translate | Task::Classify | Task::Synthetic)
    }
}
