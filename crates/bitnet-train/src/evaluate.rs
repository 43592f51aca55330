//! Evaluation over a split of the corpus: every token but the first is predicted exactly once.

use bitnet_data::{Corpus, evaluation_windows};
use bitnet_models::Transformer;
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::loss::{tensors, token_losses};

/// Sequences evaluated at a time. More of them fill the threads better; the results do not depend on it beyond the
/// order of float sums.
const BATCH: usize = 16;

/// What a model scores on a split.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Tokens predicted.
    pub tokens: usize,
    /// Mean cross-entropy, nats per token.
    pub loss: f64,
    /// `exp(loss)`.
    pub perplexity: f64,
    /// Cross-entropy in bits per byte of the text.
    pub bits_per_byte: f64,
    /// Share of tokens whose likeliest prediction is right.
    pub accuracy: f64,
}

/// Evaluates `model` on the validation split, in windows of `context` tokens; `max_batches` of 0 takes the whole split.
///
/// # Errors
/// If the results cannot be read from the device.
pub fn evaluate(
    model: &Transformer,
    corpus: &Corpus,
    context: usize,
    max_batches: usize,
    device: &Device,
) -> Result<Evaluation, TrainError> {
    let limit = if max_batches == 0 {
        usize::MAX
    } else {
        max_batches
    };
    let (mut loss, mut right, mut tokens) = (0f64, 0f64, 0usize);
    for batch in evaluation_windows(&corpus.validation, context, BATCH)?.take(limit) {
        let (inputs, targets) = tensors(&batch, device);
        let logits = model.forward(inputs);
        let hits = logits
            .clone()
            .argmax(2)
            .squeeze_dim::<2>(2)
            .cast(targets.dtype()) // NdArray's indices are i64
            .equal(targets.clone())
            .int()
            .sum();
        let sum = token_losses(logits, targets).sum();
        loss += read(sum)?;
        right += read_int(hits)?;
        tokens += batch.predictions();
    }
    let loss = loss / tokens.max(1) as f64;
    Ok(Evaluation {
        tokens,
        loss,
        perplexity: loss.exp(),
        bits_per_byte: corpus.bits_per_byte(loss),
        accuracy: right / tokens.max(1) as f64,
    })
}

/// One float from the device.
pub(crate) fn read(value: Tensor<1>) -> Result<f64, TrainError> {
    let data = value
        .try_into_data()
        .map_err(|error| TrainError::Device(error.to_string()))?;
    data.iter::<f64>()
        .next()
        .ok_or_else(|| TrainError::Device("an empty tensor where one value was expected".into()))
}

fn read_int(value: Tensor<1, Int>) -> Result<f64, TrainError> {
    read(value.float())
}
