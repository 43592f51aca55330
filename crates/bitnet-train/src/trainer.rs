//! The training loop: one model, from its first step or a checkpoint to its last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bitnet_config::{OptimConfig, RunConfig};
use bitnet_models::{LinearKind, Network};
use bitnet_results::{Evaluation, MetricsLine, TrainPoint, TrainSummary, ValPoint};
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};

use crate::checkpoint::{self, Checkpoint, State};
use crate::clip::clip_factor;
use crate::energy::Meter;
use crate::evaluate::read;
use crate::memory::peak_rss_bytes;
use crate::numerics;
use crate::optimizer::{Settings, optimizer};
use crate::task::Task;
use crate::telemetry::Telemetry;
use crate::{RunDir, TrainError};

/// What the loop tells while it runs.
pub trait Observer: Send {
    /// A logged step.
    fn step(&mut self, _progress: &Progress) {}
    /// An evaluation on the first `batches` batches of the validation split; with `None` on all of it.
    fn evaluation(&mut self, _step: usize, _evaluation: &Evaluation, _batches: Option<usize>) {}
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

/// Everything a run needs.
pub struct Training<'a, T> {
    /// The resolved configuration, with the sizes that the data decides.
    pub config: &'a RunConfig,
    /// Data and objective.
    pub task: &'a T,
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
pub struct Trained<M> {
    /// The model with its latent weights.
    pub model: M,
    /// What was measured.
    pub summary: TrainSummary,
}

impl<T: Task> Training<'_, T> {
    /// Trains to the last step, or until interrupted; both end with a checkpoint and `summary.json`.
    ///
    /// # Errors
    /// If a file cannot be written, a checkpoint does not fit, or the loss diverges.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Trained<T::Model>, TrainError> {
        let Training {
            config,
            task,
            run,
            device,
            resume,
            interrupt,
        } = self;
        let train = &config.train;
        let optim = train.optim(config.model.linear);
        let numerics = train.numerics();
        numerics::apply(numerics, device)?;
        let autodiff = device.clone().autodiff();
        task.prepare(device)?;
        let mut model = task.model(&autodiff)?;
        let params = model.num_params();
        let warms_up = config.model.linear == LinearKind::Ternary && train.lambda_warmup > 0.0;
        // As it will be used: fully quantised, on the plain device.
        let finished = |model: &T::Model| {
            let mut model = model.valid();
            model.set_lambda(1.0);
            model
        };
        let mut state = State {
            step: 0,
            tokens: 0,
            seconds: 0.0,
            peak_rss_bytes: None,
            initial_val_loss: f64::NAN,
            train_loss: f64::NAN,
        };
        let mut stepper = Stepper::new(&model, optim.clone(), train.steps);
        // What the evaluations on the way read, and the last point of the curve; None is the whole split.
        let part = Some(train.eval_batches).filter(|batches| *batches > 0);
        let mut telemetry = Telemetry::default();
        match &resume {
            Some(checkpoint) => {
                state = checkpoint.state()?;
                model = checkpoint.load_model(model)?.fork(&autodiff).train();
                stepper = Stepper::new(&model, optim.clone(), train.steps);
                stepper.optimizer = checkpoint.load_optimizer(stepper.optimizer)?;
                run.rewind_metrics(state.step)?;
            }
            None => {
                let model = finished(&model);
                let first = task.evaluate(&model, train.eval_batches, device)?;
                state.initial_val_loss = first.loss;
                run.append_metrics(&val_line(&state, &first, part))?;
                observer.evaluation(0, &first, part);
                append_layers(run, &mut telemetry, &model, 0)?;
            }
        }

        let mut saved = resume.map(|_| state.step);
        let mut losses = MeanLoss::default();
        let meter = Meter::start();
        let mut clock = Instant::now();
        while state.step < train.steps && !interrupt.load(Ordering::Relaxed) {
            if warms_up {
                model.set_lambda(train.lambda_at(state.step));
            }
            if let Some(dropout) = model.dropout_state() {
                // Masks are a function of the step, as the batch is.
                let step = (state.step as u64).wrapping_mul(0x2545_f491_4f6c_dd1d);
                dropout.seed(train.seed.wrapping_add(step));
            }
            let batch = task.loss(&model, state.step as u64, &autodiff);
            let loss = batch.mean;
            state.tokens += batch.tokens;
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
                let rate = state.tokens as f64 / state.seconds.max(1e-9);
                let left = (train.steps - state.step) as f64;
                run.append_metrics(&MetricsLine::Train(TrainPoint {
                    step: state.step as u64,
                    loss: state.train_loss,
                    lr: Some(learning_rate),
                    seconds: Some(state.seconds),
                }))?;
                observer.step(&Progress {
                    step: state.step,
                    steps: train.steps,
                    loss: state.train_loss,
                    learning_rate,
                    tokens_per_second: rate,
                    eta_seconds: left * state.seconds / state.step.max(1) as f64,
                });
            }
            if evaluation {
                let model = finished(&model);
                let result = task.evaluate(&model, train.eval_batches, device)?;
                run.append_metrics(&val_line(&state, &result, part))?;
                observer.evaluation(state.step, &result, part);
                append_layers(run, &mut telemetry, &model, state.step)?;
            }
            if save {
                state.peak_rss_bytes = state.peak_rss_bytes.max(peak_rss_bytes());
                let checkpoint = checkpoint::save(run, &state, &model, &stepper.optimizer)?;
                saved = Some(state.step);
                observer.checkpoint(&checkpoint);
            }
            if log || evaluation || save {
                clock = Instant::now();
            }
        }
        state.seconds += clock.elapsed().as_secs_f64();

        state.peak_rss_bytes = state.peak_rss_bytes.max(peak_rss_bytes());
        if saved != Some(state.step) {
            let checkpoint = checkpoint::save(run, &state, &model, &stepper.optimizer)?;
            observer.checkpoint(&checkpoint);
        }
        let energy_joules = meter.joules();
        let model = finished(&model);
        let val = task.evaluate(&model, 0, device)?;
        // The training loss is that of the weights before the last step.
        if !val.loss.is_finite() {
            return Err(TrainError::Diverged {
                step: state.step,
                loss: val.loss,
                learning_rate: optim.learning_rate_at(state.step.saturating_sub(1), train.steps),
            });
        }
        // The summary is of the whole split; the last point of the curve is of the same `eval_batches` as the earlier ones.
        let point = match part {
            None => val,
            Some(batches) => task.evaluate(&model, batches, device)?,
        };
        run.append_metrics(&val_line(&state, &point, part))?;
        if part.is_some() {
            observer.evaluation(state.step, &point, part);
        }
        observer.evaluation(state.step, &val, None);
        append_layers(run, &mut telemetry, &model, state.step)?;
        let summary = TrainSummary {
            run_dir: run.path().display().to_string(),
            interrupted: state.step < train.steps,
            steps: state.step,
            tokens: state.tokens,
            seconds: state.seconds,
            tokens_per_second: state.tokens as f64 / state.seconds.max(1e-9),
            peak_rss_bytes: state.peak_rss_bytes,
            energy_joules,
            arithmetic: numerics::arithmetic(numerics, device),
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

/// Writes the health of the ternary layers, if there are any.
fn append_layers(
    run: &RunDir,
    telemetry: &mut Telemetry,
    model: &impl Network,
    step: usize,
) -> Result<(), TrainError> {
    let layers = telemetry.read(model, step)?;
    match layers.is_empty() {
        true => Ok(()),
        false => run.append_metrics(&MetricsLine::Layers {
            step: step as u64,
            layers,
        }),
    }
}

fn val_line(state: &State, evaluation: &Evaluation, batches: Option<usize>) -> MetricsLine {
    MetricsLine::Val(ValPoint {
        step: state.step as u64,
        loss: evaluation.loss,
        accuracy: evaluation.accuracy,
        seconds: state.seconds,
        batches,
    })
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
pub(crate) struct Stepper {
    optimizer: ModuleOptimizer,
    settings: Settings,
    config: OptimConfig,
    steps: usize,
}

impl Stepper {
    pub fn new(model: &impl Network, config: OptimConfig, steps: usize) -> Self {
        let (optimizer, settings) = optimizer(model, &config);
        Self {
            optimizer,
            settings,
            config,
            steps,
        }
    }

    pub fn learning_rate(&self, step: usize) -> f64 {
        self.config.learning_rate_at(step, self.steps)
    }

    pub fn step<M: Network>(
        &mut self,
        model: M,
        loss: Tensor<1>,
        step: usize,
        learning_rate: f64,
    ) -> M {
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
