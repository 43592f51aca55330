//! The training loop: one model, from its first step or a checkpoint to its last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bitnet_config::{OptimConfig, RunConfig};
use bitnet_data::{BatchSampler, Corpus};
use bitnet_models::Transformer;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, Checkpoint, State};
use crate::clip::clip_factor;
use crate::evaluate::{Evaluation, evaluate, read};
use crate::loss::{tensors, token_losses};
use crate::memory::peak_rss_bytes;
use crate::optimizer::{Settings, optimizer};
use crate::{RunDir, TrainError};

/// What the loop tells while it runs.
pub trait Observer: Send {
    /// A logged step.
    fn step(&mut self, _progress: &Progress) {}
    /// An evaluation on the validation split.
    fn evaluation(&mut self, _step: usize, _evaluation: &Evaluation) {}
    /// A checkpoint on disk.
    fn checkpoint(&mut self, _checkpoint: &Checkpoint) {}
}

/// Observes nothing.
impl Observer for () {}

/// A logged step.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps of the run.
    pub steps: usize,
    /// Training loss, the mean of the batches since it was last reported, nats per token.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Training throughput since the start, without evaluation.
    pub tokens_per_second: f64,
    /// Seconds that the remaining steps will take at this rate.
    pub eta_seconds: f64,
}

/// `summary.json` of a run, and what `bitnet train` prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainSummary {
    /// The run's folder.
    pub run_dir: String,
    /// Whether the run was interrupted before its last step.
    pub interrupted: bool,
    /// Steps done.
    pub steps: usize,
    /// Tokens trained on.
    pub tokens: usize,
    /// Seconds spent training, without evaluation and checkpoints.
    pub seconds: f64,
    /// Training throughput.
    pub tokens_per_second: f64,
    /// Peak resident memory of the process; null where it cannot be measured.
    pub peak_rss_bytes: Option<u64>,
    /// Trainable parameters.
    pub params: usize,
    /// Training loss, the mean of the batches since it was reported before.
    pub train_loss: f64,
    /// Validation loss before the first step.
    pub initial_val_loss: f64,
    /// Validation loss after the last step, over the whole split.
    pub val_loss: f64,
    /// The whole of that evaluation.
    pub val: Evaluation,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Metric {
    /// A logged training step.
    Train {
        /// Steps done.
        step: usize,
        /// Training loss, the mean of the batches since the last such line.
        loss: f64,
        /// Learning rate.
        lr: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
    /// An evaluation.
    Val {
        /// Steps done.
        step: usize,
        /// Validation loss.
        loss: f64,
        /// Share of right predictions.
        accuracy: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
}

/// Everything a run needs.
pub struct Training<'a> {
    /// The resolved configuration; `model.vocab_size` is that of the corpus.
    pub config: &'a RunConfig,
    /// The text.
    pub corpus: &'a Corpus,
    /// Where metrics, checkpoints and the summary go.
    pub run: &'a RunDir,
    /// A plain (not autodiff) device.
    pub device: &'a Device,
    /// Where to go on, if not from the start.
    pub resume: Option<Checkpoint>,
    /// Becomes true when the run should save and end.
    pub interrupt: &'a AtomicBool,
}

/// The trained model, on the plain device, and the run's summary.
pub struct Trained {
    /// The model with its latent weights.
    pub model: Transformer,
    /// What was measured.
    pub summary: TrainSummary,
}

impl Training<'_> {
    /// Trains to the last step, or until interrupted; both end with a checkpoint and `summary.json`.
    ///
    /// # Errors
    /// If the corpus is too short, a file cannot be written, a checkpoint does not fit, or the loss diverges.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Trained, TrainError> {
        let Training {
            config,
            corpus,
            run,
            device,
            resume,
            interrupt,
        } = self;
        let train = &config.train;
        let optim = train.optim(config.model.linear);
        corpus.check_context(train.context)?;
        let sampler =
            BatchSampler::new(&corpus.train, train.batch_size, train.context, train.seed)?;
        let autodiff = device.clone().autodiff();
        let mut model = Transformer::new(&config.model, &config.quant, train.seed, &autodiff)?;
        let params = model.num_params();
        let mut state = State {
            step: 0,
            seconds: 0.0,
            initial_val_loss: f64::NAN,
            train_loss: f64::NAN,
        };
        let mut stepper = Stepper::new(&model, &optim, train.steps);
        match &resume {
            Some(checkpoint) => {
                state = checkpoint.state()?;
                model = checkpoint.load_model(model)?.fork(&autodiff).train();
                stepper = Stepper::new(&model, &optim, train.steps);
                stepper.optimizer = checkpoint.load_optimizer(stepper.optimizer)?;
                run.rewind_metrics(state.step)?;
            }
            None => {
                let first = evaluate(
                    &model.valid(),
                    corpus,
                    train.context,
                    train.eval_batches,
                    device,
                )?;
                state.initial_val_loss = first.loss;
                run.append_metrics(&val_metric(&state, &first))?;
                observer.evaluation(0, &first);
            }
        }

        let tokens_per_step = train.batch_size * train.context;
        let mut saved = resume.map(|_| state.step);
        let mut losses = MeanLoss::default();
        let mut clock = Instant::now();
        while state.step < train.steps && !interrupt.load(Ordering::Relaxed) {
            let (inputs, targets) = tensors(&sampler.batch(state.step as u64), &autodiff);
            let loss = token_losses(model.forward(inputs), targets).mean();
            let learning_rate = optim.learning_rate_at(state.step, train.steps);
            losses.add(loss.clone().inner());
            model = stepper.step(model, loss, state.step, learning_rate);
            state.step += 1;

            let due = |interval: usize| interval > 0 && state.step.is_multiple_of(interval);
            let last = state.step == train.steps;
            let log = due(train.log_interval) || last;
            let evaluation = due(train.eval_interval) && !last;
            let save = due(train.checkpoint_interval) && !last;
            if log || evaluation || save {
                state.train_loss = losses.take()?;
                state.seconds += clock.elapsed().as_secs_f64();
                clock = Instant::now();
                if !state.train_loss.is_finite() {
                    return Err(TrainError::Diverged {
                        step: state.step,
                        loss: state.train_loss,
                        learning_rate,
                    });
                }
            }
            if log {
                let done = (state.step * tokens_per_step) as f64;
                let rate = done / state.seconds.max(1e-9);
                run.append_metrics(&Metric::Train {
                    step: state.step,
                    loss: state.train_loss,
                    lr: learning_rate,
                    seconds: state.seconds,
                })?;
                observer.step(&Progress {
                    step: state.step,
                    steps: train.steps,
                    loss: state.train_loss,
                    learning_rate,
                    tokens_per_second: rate,
                    eta_seconds: ((train.steps - state.step) * tokens_per_step) as f64 / rate,
                });
            }
            if evaluation {
                let result = evaluate(
                    &model.valid(),
                    corpus,
                    train.context,
                    train.eval_batches,
                    device,
                )?;
                run.append_metrics(&val_metric(&state, &result))?;
                observer.evaluation(state.step, &result);
            }
            if save {
                let checkpoint = checkpoint::save(run, &state, &model, &stepper.optimizer)?;
                saved = Some(state.step);
                observer.checkpoint(&checkpoint);
            }
            if log || evaluation || save {
                clock = Instant::now();
            }
        }
        state.seconds += clock.elapsed().as_secs_f64();

        if saved != Some(state.step) {
            let checkpoint = checkpoint::save(run, &state, &model, &stepper.optimizer)?;
            observer.checkpoint(&checkpoint);
        }
        let peak_rss_bytes = peak_rss_bytes();
        let model = model.valid();
        let val = evaluate(&model, corpus, train.context, 0, device)?;
        run.append_metrics(&val_metric(&state, &val))?;
        observer.evaluation(state.step, &val);
        let tokens = state.step * tokens_per_step;
        let summary = TrainSummary {
            run_dir: run.path().display().to_string(),
            interrupted: state.step < train.steps,
            steps: state.step,
            tokens,
            seconds: state.seconds,
            tokens_per_second: tokens as f64 / state.seconds.max(1e-9),
            peak_rss_bytes,
            params,
            train_loss: state.train_loss,
            initial_val_loss: state.initial_val_loss,
            val_loss: val.loss,
            val,
        };
        run.write_summary(&summary)?;
        Ok(Trained { model, summary })
    }
}

fn val_metric(state: &State, evaluation: &Evaluation) -> Metric {
    Metric::Val {
        step: state.step,
        loss: evaluation.loss,
        accuracy: evaluation.accuracy,
        seconds: state.seconds,
    }
}

/// The mean loss of the batches since it was last taken; it stays on the device until then.
#[derive(Default)]
struct MeanLoss {
    sum: Option<Tensor<1>>,
    steps: usize,
}

impl MeanLoss {
    fn add(&mut self, loss: Tensor<1>) {
        self.steps += 1;
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
    }

    fn take(&mut self) -> Result<f64, TrainError> {
        let Self { sum, steps } = std::mem::take(self);
        match sum {
            Some(sum) => Ok(read(sum)? / steps as f64),
            None => Ok(f64::NAN),
        }
    }
}

/// AdamW, its weight decay's schedule and gradient clipping.
struct Stepper<'a> {
    optimizer: ModuleOptimizer,
    settings: Settings,
    config: &'a OptimConfig,
    steps: usize,
}

impl<'a> Stepper<'a> {
    fn new(model: &Transformer, config: &'a OptimConfig, steps: usize) -> Self {
        let (optimizer, settings) = optimizer(model, config);
        Self {
            optimizer,
            settings,
            config,
            steps,
        }
    }

    fn step(
        &mut self,
        model: Transformer,
        loss: Tensor<1>,
        step: usize,
        learning_rate: f64,
    ) -> Transformer {
        let decay = self.config.weight_decay_at(step, self.steps) as f32;
        self.settings.weight_decay.set(decay);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        if self.config.grad_clip > 0.0 {
            let factor = clip_factor(&model, &grads, self.config.grad_clip);
            self.settings.factor.set(factor);
        }
        self.optimizer.step(learning_rate, model, grads)
    }
}
