//! Evaluation over a split of the corpus: every token but the first is predicted exactly once.

use bitnet_data::{Evaluated, evaluation_windows};
use bitnet_models::engine::Engine;
use bitnet_models::{GenerateError, Transformer, argmax};
use bitnet_results::Evaluation;
use burn::tensor::{Device, Int, Tensor};

use crate::loss::{tensors, token_losses};
use crate::{Interrupt, TrainError};

/// Sequences evaluated at a time. More of them fill the threads better; the results do not depend on it beyond the
/// order of float sums.
const BATCH: usize = 16;

/// Logits at a time, 256 MB of them. Of vocabularies below 32,768 and contexts of 128 these are more than a batch.
const LOGITS: usize = 1 << 26;

/// Evaluates `model` on a text, in windows of `context` tokens; `max_batches` of 0 takes the whole split.
///
/// # Errors
/// If the results cannot be read from the device, or it is interrupted.
pub fn evaluate(
    model: &Transformer,
    text: Evaluated<'_>,
    context: usize,
    max_batches: usize,
    device: &Device,
    interrupt: Interrupt<'_>,
) -> Result<Evaluation, TrainError> {
    let rows = rows_at_once(context, model.config().vocab_size);
    let mut sums = Sums::default();
    for batch in evaluation_windows(text.tokens, context, rows)?.take(at_most(max_batches)) {
        interrupt.check()?;
        let (inputs, targets) = tensors(&batch, device);
        let logits = model.forward(inputs);
        let hits = argmax_hits(logits.clone(), targets.clone()).sum();
        let loss = token_losses(logits, targets).sum();
        sums.add(loss, hits, batch.predictions())?;
    }
    Ok(sums.evaluation(Some(text)))
}

/// Batches of all windows of `context` tokens that [`evaluate`] makes of a text of `tokens`.
pub(crate) fn batches_of(tokens: usize, context: usize, vocab_size: usize) -> usize {
    let windows = tokens.saturating_sub(1).div_ceil(context.max(1));
    windows.div_ceil(rows_at_once(context, vocab_size))
}

/// Sequences of so many tokens that are evaluated together: fewer where their logits would fill the memory.
pub(crate) fn rows_at_once(context: usize, vocab_size: usize) -> usize {
    let logits = context.saturating_mul(vocab_size).max(1);
    (LOGITS / logits).clamp(1, BATCH)
}

/// Sums over predictions.
#[derive(Default)]
pub(crate) struct Sums {
    loss: f64,
    right: f64,
    tokens: usize,
}

impl Sums {
    /// Adds a batch: the sum of its losses `[1]`, how many predictions were right `[1]`, and of how many.
    pub(crate) fn add(
        &mut self,
        loss: Tensor<1>,
        right: Tensor<1>,
        tokens: usize,
    ) -> Result<(), TrainError> {
        self.loss += read(loss)?;
        self.right += read(right)?;
        self.tokens += tokens;
        Ok(())
    }

    /// The means; bits per byte of a text.
    pub(crate) fn evaluation(&self, text: Option<Evaluated<'_>>) -> Evaluation {
        let tokens = self.tokens.max(1) as f64;
        let loss = self.loss / tokens;
        Evaluation {
            tokens: self.tokens,
            loss,
            perplexity: Some(loss.exp()),
            bits_per_byte: text.map(|text| text.bits_per_byte(loss)),
            accuracy: Some(self.right / tokens),
            ..Evaluation::default()
        }
    }
}

/// [`evaluate`] by the CPU engine: the same windows, the same predictions.
///
/// # Errors
/// If `context` exceeds the model's, or a token is unknown to it.
pub fn evaluate_engine(
    engine: &mut Engine,
    text: Evaluated<'_>,
    context: usize,
) -> Result<Evaluation, TrainError> {
    let mut sums = Sums::default();
    let mut session = engine.session(context).map_err(GenerateError::from)?;
    for batch in evaluation_windows(text.tokens, context, 1)? {
        let inputs: Vec<u32> = batch.inputs.iter().map(|id| *id as u32).collect();
        session.truncate(0);
        let score = |index: usize, logits: &[f32]| {
            let (target, likeliest) = (batch.targets[index] as usize, argmax(logits) as usize);
            sums.loss += loss_of(logits, likeliest, target);
            sums.right += f64::from(u8::from(likeliest == target));
        };
        let scored = engine.score(&mut session, &inputs, score);
        scored.map_err(GenerateError::from)?;
        sums.tokens += batch.predictions();
    }
    Ok(sums.evaluation(Some(text)))
}

/// The cross-entropy of a target, nats, by the logits of all tokens.
pub(crate) fn loss_of(logits: &[f32], likeliest: usize, target: usize) -> f64 {
    let top = f64::from(logits[likeliest]);
    let sum: f64 = logits.iter().map(|y| (f64::from(*y) - top).exp()).sum();
    sum.ln() + top - f64::from(logits[target])
}

/// 1 where the likeliest token is the target, else 0: logits `[b, t, v]`, targets `[b, t]` → `[b · t]`.
pub(crate) fn argmax_hits(logits_btv: Tensor<3>, targets_bt: Tensor<2, Int>) -> Tensor<1> {
    let [batch, time, _] = logits_btv.dims();
    logits_btv
        .argmax(2)
        .squeeze_dim::<2>(2)
        .cast(targets_bt.dtype()) // NdArray's indices are i64
        .equal(targets_bt)
        .float()
        .reshape([batch * time])
}

/// A limit on batches, where 0 stands for none.
pub(crate) fn at_most(max_batches: usize) -> usize {
    match max_batches {
        0 => usize::MAX,
        n => n,
    }
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
