//! Inference speed: prefill and decode, in tokens per second.

use std::time::Instant;

use bitnet_models::{KvCache, Transformer, token_tensor};
use burn::tensor::Device;

use crate::TrainError;
use crate::evaluate::read;

/// Samples of one timing, one per repetition.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// Prefill: tokens of the prompt per second.
    pub prefill_tps: Vec<f64>,
    /// Decode: new tokens per second, one at a time.
    pub decode_tps: Vec<f64>,
}

/// The middle one, or the mean of the two middle ones; NaN of nothing.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}

/// Times `prompt` through the model, then `decode` greedy tokens after it; the first repetition warms up and does not
/// count.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// If prompt and new tokens together exceed the model's context.
pub fn time_inference(
    model: &Transformer,
    prompt: &[u32],
    decode: usize,
    repetitions: usize,
    device: &Device,
) -> Result<Timing, TrainError> {
    let mut timing = Timing::default();
    let mut cache = KvCache::new(model.config(), 1, prompt.len() + decode, device);
    for repetition in 0..=repetitions {
        cache.clear();
        let start = Instant::now();
        let mut token = next_token(model, prompt, &mut cache, device)?;
        let prefill = prompt.len() as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for _ in 0..decode {
            token = next_token(model, &[token], &mut cache, device)?;
        }
        let decode = decode as f64 / start.elapsed().as_secs_f64();
        if repetition > 0 {
            timing.prefill_tps.push(prefill);
            timing.decode_tps.push(decode);
        }
    }
    Ok(timing)
}

/// The greedy token, which waits for the device.
fn next_token(
    model: &Transformer,
    tokens: &[u32],
    cache: &mut KvCache,
    device: &Device,
) -> Result<u32, TrainError> {
    let logits = model.forward_cached(token_tensor(tokens, device), cache);
    Ok(read(logits.argmax(1).float().reshape([1]))? as u32)
}
