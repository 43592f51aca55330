//! Speeds: prefill and decode in tokens per second, and the time of a training step.
//!
//! What is timed here is one turn. Whoever compares models takes them in turns, several times each, so that whatever
//! else the machine does meets all of them alike.

use std::time::Instant;

use bitnet_config::RunConfig;
use bitnet_models::{Network as _, Runner, Sampler, Sampling};
use burn::tensor::Device;

use crate::TrainError;
use crate::accumulate::Accumulated;
use crate::evaluate::read;
use crate::numerics;
use crate::optimizer::Optimizer;
use crate::stepper::Stepper;
use crate::task::{Part, Task};

/// Times `prompt` through the model, then `decode` greedy tokens after it: prefill and decode, in tokens per second.
///
/// # Errors
/// If the prompt and the new tokens exceed the model's context, or the device fails.
pub fn time_inference(
    model: &mut dyn Runner,
    prompt: &[u32],
    decode: usize,
) -> Result<(f64, f64), TrainError> {
    let mut greedy = Sampler::new(Sampling::default())?;
    model.start(prompt.len() + decode)?;
    let start = Instant::now();
    let mut token = greedy.sample(model.read(prompt)?, &[], 0);
    let prefill_tps = prompt.len() as f64 / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for _ in 0..decode {
        token = greedy.sample(model.read(&[token])?, &[], 0);
    }
    let decode_tps = decode as f64 / start.elapsed().as_secs_f64();
    Ok((prefill_tps, decode_tps))
}

/// Takes training steps of a fresh model, to time them; what they learn is thrown away.
pub struct StepTimer<'a, T: Task> {
    task: &'a T,
    autodiff: Device,
    stepper: Stepper<'a>,
    optimizer: Optimizer,
    model: T::Model,
    config: &'a RunConfig,
    step: usize,
    tokens: usize,
}

impl<'a, T: Task> StepTimer<'a, T> {
    /// Before the first step. `device` is a plain one; the run's numerics become those of the process.
    ///
    /// # Errors
    /// If the model cannot be built, or what the task needs is not there.
    pub fn new(config: &'a RunConfig, task: &'a T, device: &Device) -> Result<Self, TrainError> {
        numerics::apply(config.train.numerics(), device)?;
        task.prepare(device)?;
        let autodiff = device.clone().autodiff();
        let model = task.model(&autodiff)?;
        let optim = config.train.optim(config.model.linear);
        Ok(Self {
            task,
            autodiff,
            optimizer: Optimizer::new(&optim),
            stepper: Stepper::new(config),
            model,
            config,
            step: 0,
            tokens: 0,
        })
    }

    /// Tokens, or examples, of a step, the mean of those that were taken.
    pub fn tokens_per_step(&self) -> usize {
        self.tokens / self.step.max(1)
    }

    /// Milliseconds of a step, the mean of `steps`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn time(mut self, steps: usize) -> Result<(Self, f64), TrainError> {
        let start = Instant::now();
        let mut last = None;
        for _ in 0..steps.max(1) {
            self.model.set_form(self.config.form_at(self.step));
            let parts = self.config.parts_at(self.step);
            let mut accumulated = Accumulated::of(parts);
            let all = Part::all(self.step as u64, self.config.train.most_parts());
            for part in all.take(parts) {
                if let Some(loss) = self.task.loss(&self.model, part, &self.autodiff) {
                    self.tokens += loss.tokens;
                    accumulated.add(&self.model, loss);
                }
            }
            if let Some(gradient) = accumulated.finish() {
                last = Some(gradient.loss.clone());
                let optimizer = &mut self.optimizer;
                self.model = self
                    .stepper
                    .step(optimizer, self.model, gradient, self.step);
            }
            self.step += 1;
        }
        // Reading a value waits for the device.
        last.map(read).transpose()?;
        let ms = 1e3 * start.elapsed().as_secs_f64() / steps.max(1) as f64;
        Ok((self, ms))
    }
}
