//! What a model scores on a split.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::files::nan_if_null;

/// What a model scores on a split. What a task does not have is `None`, and not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// Tokens predicted.
    #[serde(skip_serializing_if = "is_none")]
    pub tokens: usize,
    /// Examples, where one is a prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Mean loss: cross-entropy in nats per token or example, or the mean squared error.
    #[serde(deserialize_with = "nan_if_null")]
    pub loss: f64,
    /// `exp(loss)`, of text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Cross-entropy in bits per byte of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_byte: Option<f64>,
    /// Share of tokens, or examples, whose likeliest prediction is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Mean over the classes of the harmonic mean of precision and recall.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    /// Accuracy of always answering the commonest class of the training split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub majority_accuracy: Option<f64>,
    /// Accuracy of naive Bayes over the words of the training split.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub naive_bayes_accuracy: Option<f64>,
    /// BLEU of whole outputs, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bleu: Option<f64>,
    /// Share of whole outputs that are right in every character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<f64>,
}

impl Evaluation {
    /// The measures that there are, by their names in JSON.
    pub fn named(&self) -> BTreeMap<String, f64> {
        let Self {
            tokens: _,
            examples: _,
            loss,
            perplexity,
            bits_per_byte,
            accuracy,
            macro_f1,
            majority_accuracy,
            naive_bayes_accuracy,
            bleu,
            exact_match,
        } = *self;
        let all = [
            ("loss", Some(loss)),
            ("perplexity", perplexity),
            ("bits_per_byte", bits_per_byte),
            ("accuracy", accuracy),
            ("macro_f1", macro_f1),
            ("majority_accuracy", majority_accuracy),
            ("naive_bayes_accuracy", naive_bayes_accuracy),
            ("bleu", bleu),
            ("exact_match", exact_match),
        ];
        all.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

fn is_none(tokens: &usize) -> bool {
    *tokens == 0
}
