//! Inference speed: prefill and decode, in tokens per second.

use std::time::Instant;

use bitnet_models::{Runner, Sampler, Sampling};

use crate::TrainError;

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
/// If the prompt and the new tokens exceed the model's context, or the device fails.
pub fn time_inference(
    model: &mut dyn Runner,
    prompt: &[u32],
    decode: usize,
    repetitions: usize,
) -> Result<Timing, TrainError> {
    let mut timing = Timing::default();
    let mut greedy = Sampler::new(Sampling::default())?;
    for repetition in 0..=repetitions {
        model.start(prompt.len() + decode)?;
        let start = Instant::now();
        let mut token = greedy.sample(model.read(prompt)?, &[]);
        let prefill = prompt.len() as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for _ in 0..decode {
            token = greedy.sample(model.read(&[token])?, &[]);
        }
        let decode = decode as f64 / start.elapsed().as_secs_f64();
        if repetition > 0 {
            timing.prefill_tps.push(prefill);
            timing.decode_tps.push(decode);
        }
    }
    Ok(timing)
}
