//! The training loop: one model, from its first step or a checkpoint to its last.

use std::iter;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use bitnet_config::{RunConfig, TrainConfig};
use bitnet_models::{Network, TrainingForm};
use bitnet_results::{Evaluation, MetricsLine, SamplePoint, TrainPoint, TrainSummary, ValPoint};
use burn::module::Module;
use burn::tensor::Device;

use crate::checkpoint::{self, Checkpoint, Progressing};
use crate::energy::Meter;
use crate::memory::peak_rss_bytes;
use crate::observer::{Observer, Progress};
use crate::optimizer::Optimizer;
use crate::parallel::{self, Devices};
use crate::resume::{self, Identity};
use crate::schedule::{one_evaluation, scored_batches};
use crate::state::State;
use crate::stepper::Stepper;
use crate::task::Task;
use crate::telemetry::Telemetry;
use crate::window::MeanLoss;
use crate::{Interrupt, Location, RunDir, TrainError, numerics};

/// Everything a run needs.
pub struct Training<'a, T> {
    /// The resolved configuration, with the sizes that the data decides.
    pub config: &'a RunConfig,
    /// Data and objective.
    pub task: &'a T,
    /// Where metrics, checkpoints and the summary go.
    pub run: &'a RunDir,
    /// A plain (not autodiff) device: it has the model and the optimiser.
    pub device: &'a Device,
    /// Devices that take parts of each step beside it, each on a thread of its own. With those of a CPU backend among them
    /// call [`run`](Self::run) outside rayon's pool, which they compute on.
    pub others: &'a [Device],
    /// Where to go on, if not from the start: the first of these that is whole.
    pub resume: Vec<Checkpoint>,
    /// Becomes true when the run should save and end.
    pub interrupt: &'a AtomicBool,
}

/// The trained model, on the plain device, and the run's summary. An interrupted run has no evaluation in it.
pub struct Trained<M> {
    /// The model with its latent weights.
    pub model: M,
    /// What was measured.
    pub summary: TrainSummary,
}

/// What a step changes: all that a checkpoint holds.
pub(crate) struct Moving<M> {
    pub state: State,
    pub model: M,
    pub optimizer: Optimizer,
    pub losses: MeanLoss,
    pub telemetry: Telemetry,
}

impl<'a, T: Task> Training<'a, T> {
    /// Trains to the last step, evaluates and writes `summary.json`; or, when interrupted, saves and ends at once, in the
    /// middle of an evaluation too. A run that goes on makes it then.
    ///
    /// # Errors
    /// If a file cannot be written, no checkpoint fits, or the loss diverges.
    pub fn run(self, observer: &mut dyn Observer) -> Result<Trained<T::Model>, TrainError> {
        thread::scope(|scope| self.train(scope, observer))
    }

    fn train<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        observer: &mut dyn Observer,
    ) -> Result<Trained<T::Model>, TrainError>
    where
        'a: 'scope,
    {
        let Self {
            config,
            task,
            run,
            device,
            ..
        } = self;
        let (train, interrupt) = (&config.train, Interrupt::when(self.interrupt));
        parallel::check_devices(config, 1 + self.others.len())?;
        for device in iter::once(device).chain(self.others) {
            numerics::apply(train.numerics(), device)?;
        }
        task.prepare(device)?;
        let meter = Meter::start();
        let autodiff = device.clone().autodiff();
        let mut devices = Devices::start(scope, task, train.seed, interrupt, device, self.others);
        let fresh = task.model(&autodiff)?;
        let params = fresh.num_params();
        let resumed = !self.resume.is_empty();
        let mut now = match resumed {
            true => resume::go_on(&self, fresh, &autodiff, observer)?,
            false => self.begin(fresh)?,
        };
        if !self.others.is_empty() {
            let count = 1 + self.others.len();
            observer.note(&format!(
                "{count} devices share the parts of a step, which moves up to {:.1} MB between them",
                parallel::bytes_moved(params, count) as f64 / 1e6
            ));
        }
        let stepper = Stepper::new(config);
        let interval = Duration::try_from_secs_f64(60.0 * train.checkpoint_minutes);
        let interval = interval.ok().filter(|interval| !interval.is_zero());
        let mut saved = resumed.then_some(now.state.step);
        let mut last_save = Instant::now();
        let summary = |state: &State, loss: f64, val: Evaluation| TrainSummary {
            run_dir: run.path().display().to_string(),
            interrupted: false,
            stopped_early: state.step < train.steps && is_over(state, train),
            best_val_loss: state.best_val_loss,
            best_step: state.best_step,
            diverged: false,
            steps: state.step,
            tokens: state.tokens,
            seconds: state.seconds,
            tokens_per_second: state.tokens as f64 / state.seconds.max(1e-9),
            peak_rss_bytes: state.peak_rss_bytes,
            energy_joules: meter.joules(),
            arithmetic: numerics::arithmetic(train.numerics(), device),
            params,
            train_loss: loss,
            initial_val_loss: state.initial_val_loss.unwrap_or(f64::NAN),
            val_loss: val.loss,
            val,
        };
        let diverged = |state: &State, loss: f64, learning_rate: f64| {
            let summary = TrainSummary {
                diverged: true,
                ..summary(state, loss, NO_EVALUATION)
            };
            run.write_summary(&summary)?;
            Err(TrainError::Diverged {
                step: state.step,
                loss,
                learning_rate,
                resumable: self.last_good(&autodiff),
                summary: Box::new(summary),
            })
        };
        let stopped = |now: &Moving<T::Model>, loss: f64| {
            let summary = TrainSummary {
                interrupted: true,
                ..summary(&now.state, loss, NO_EVALUATION)
            };
            run.write_summary(&summary)?;
            let model = finished(&now.model);
            Ok(Trained { model, summary })
        };
        // That before the first step, or one that an interrupt left out.
        let mut batch_seconds = 0.0;
        if now.state.evaluation_due
            && now.state.step < train.steps
            && let Some(seconds) = unless_interrupted(self.evaluate(&mut now, observer))?
        {
            batch_seconds = seconds;
            if resumed {
                self.save(&mut now, observer)?;
            }
        }
        let mut clock = Instant::now();
        while !is_over(&now.state, train) && !interrupt.is_asked() {
            let step = now.state.step;
            now.model.set_form(config.form_at(step));
            let (parts, most) = (config.parts_at(step), train.most_parts());
            let found = devices.gradients(&now.model, step, parts, most);
            let Some((accumulated, tokens)) = found else {
                break;
            };
            now.state.tokens += tokens;
            let learning_rate = stepper.learning_rate(step);
            if let Some(gradient) = accumulated.finish() {
                now.losses.add(gradient.loss.clone());
                now.model = stepper.step(&mut now.optimizer, now.model, gradient, step);
            }
            let step = step + 1;
            (now.state.step, now.state.val_loss) = (step, None);

            let due = |interval: usize| interval > 0 && step.is_multiple_of(interval);
            let last = step == train.steps;
            let stops = last || interrupt.is_asked();
            let log = due(train.log_interval) || last;
            now.state.evaluation_due = due(train.eval_interval);
            let evaluation = now.state.evaluation_due && !last;
            let by_time = interval.is_some_and(|interval| last_save.elapsed() >= interval);
            let save = (due(train.checkpoint_interval) || by_time) && !stops;
            if !(log || evaluation || save || stops) {
                continue;
            }
            let loss = now.losses.mean()?.unwrap_or(f64::NAN);
            now.state.seconds += clock.elapsed().as_secs_f64();
            if !loss.is_finite() {
                return diverged(&now.state, loss, learning_rate);
            }
            if log {
                now.losses.clear();
                now.state.train_loss = Some(loss);
                run.append_metrics(&MetricsLine::Train(TrainPoint {
                    step: step as u64,
                    loss,
                    lr: Some(learning_rate),
                    seconds: Some(now.state.seconds),
                }))?;
                let whole = task.validation_batches();
                // That of this step is still to come.
                let due = if evaluation {
                    one_evaluation(train, whole)
                } else {
                    0
                };
                let batches = due + scored_batches(train, step, whole);
                let evaluations = batches as f64 * batch_seconds;
                let progress =
                    Progress::at(&now.state, train.steps, loss, learning_rate, evaluations);
                observer.step(&progress);
            }
            let mut improved = false;
            if evaluation {
                let Some(seconds) = unless_interrupted(self.evaluate(&mut now, observer))? else {
                    break;
                };
                batch_seconds = seconds;
                improved = train.stop_after > 0 && now.state.best_step == Some(step);
            }
            if save || improved {
                match self.save(&mut now, observer) {
                    Err(TrainError::NotFinite { .. }) => {
                        return diverged(&now.state, f64::NAN, learning_rate);
                    }
                    written => written?,
                }
                (saved, last_save) = (Some(step), Instant::now());
            }
            clock = Instant::now();
        }

        let learning_rate = stepper.learning_rate(now.state.step.saturating_sub(1));
        if saved != Some(now.state.step) {
            match self.save(&mut now, observer) {
                Err(TrainError::NotFinite { .. }) => {
                    return diverged(&now.state, f64::NAN, learning_rate);
                }
                written => written?,
            }
        }
        let loss = match now.losses.mean()? {
            Some(loss) => loss,
            None => now.state.train_loss.unwrap_or(f64::NAN),
        };
        if !is_over(&now.state, train) {
            return stopped(&now, loss);
        }
        if now.state.step < train.steps {
            observer.note(&early(&now.state));
        }
        let model = finished(&now.model);
        observer.scoring(task.validation_batches());
        let whole = unless_interrupted(task.evaluate(&model, 0, device, interrupt))?;
        let Some(val) = whole else {
            return stopped(&now, loss);
        };
        // The training loss is that of the weights before the last step.
        if !val.loss.is_finite() {
            return diverged(&now.state, val.loss, learning_rate);
        }
        // The summary is of the whole split; the last point of the curve is of the same `eval_batches` as the earlier ones.
        if now.state.val_loss.is_some() && now.state.step < train.steps {
            // It stopped at an evaluation, which is in the curve.
            observer.evaluation(now.state.step, &val, None);
        } else if train.eval_batches > 0 {
            if unless_interrupted(self.evaluate(&mut now, observer))?.is_none() {
                return stopped(&now, loss);
            }
            observer.evaluation(now.state.step, &val, None);
        } else {
            run.append_metrics(&val_line(&now.state, &val, None))?;
            observer.evaluation(now.state.step, &val, None);
            append_layers(run, &mut now.telemetry, &model, now.state.step, observer)?;
        }
        let summary = summary(&now.state, loss, val);
        run.write_summary(&summary)?;
        Ok(Trained { model, summary })
    }

    /// A run before its first step, which is to be evaluated.
    fn begin(&self, model: T::Model) -> Result<Moving<T::Model>, TrainError> {
        let mut state = State {
            evaluation_due: true,
            origin: self.task.origin().map(Location::checksum).transpose()?,
            ..State::default()
        };
        Identity::of(self.run, self.task.data_checksum())?.mark(&mut state);
        let optim = self.config.train.optim(self.config.model.linear);
        Ok(Moving {
            state,
            model,
            optimizer: Optimizer::new(&optim),
            losses: MeanLoss::default(),
            telemetry: Telemetry::default(),
        })
    }

    /// A point of the validation curve: the first `eval_batches` batches, and what the ternary layers do. One that is
    /// interrupted leaves nothing. Returns the seconds of a batch.
    fn evaluate(
        &self,
        now: &mut Moving<T::Model>,
        observer: &mut dyn Observer,
    ) -> Result<f64, TrainError> {
        let batches = self.config.train.eval_batches;
        // None is the whole split.
        let part = Some(batches).filter(|batches| *batches > 0);
        let model = finished(&now.model);
        let (device, interrupt) = (self.device, Interrupt::when(self.interrupt));
        let begun = Instant::now();
        let result = self.task.evaluate(&model, batches, device, interrupt)?;
        let scored = one_evaluation(&self.config.train, self.task.validation_batches());
        let batch_seconds = begun.elapsed().as_secs_f64() / scored.max(1) as f64;
        let step = now.state.step;
        let sample = (self.task).sample(&model, step as u64, device, interrupt)?;
        self.run
            .append_metrics(&val_line(&now.state, &result, part))?;
        observer.evaluation(step, &result, part);
        append_layers(self.run, &mut now.telemetry, &model, step, observer)?;
        if let Some((prompt, text)) = sample {
            let sample = SamplePoint {
                step: step as u64,
                prompt,
                text,
            };
            observer.sample(&sample);
            self.run.append_metrics(&MetricsLine::Sample(sample))?;
        }
        let state = &mut now.state;
        state.evaluation_due = false;
        state.val_loss = Some(result.loss).filter(|loss| loss.is_finite());
        if step == 0 {
            state.initial_val_loss = state.val_loss;
        } else {
            match state.best_val_loss.is_none_or(|best| result.loss < best) {
                true => {
                    (state.best_val_loss, state.best_step) = (state.val_loss, Some(step));
                    state.evaluations_since_best = 0;
                }
                false => state.evaluations_since_best += 1,
            }
        }
        Ok(batch_seconds)
    }

    /// The newest checkpoint whose weights give a loss; those after it are set aside. Weights may be finite and still be
    /// too large to compute with.
    fn last_good(&self, autodiff: &Device) -> Option<PathBuf> {
        let gives_a_loss = |checkpoint: &Checkpoint| -> Result<bool, TrainError> {
            let model = checkpoint.load_model(self.task.model(autodiff)?)?;
            let (model, never) = (finished(&model), Interrupt::NEVER);
            let loss = self.task.evaluate(&model, 1, self.device, never)?.loss;
            Ok(loss.is_finite())
        };
        let all = Checkpoint::newest_first(self.run).ok()?;
        let good = all
            .into_iter()
            .find(|checkpoint| gives_a_loss(checkpoint).unwrap_or(false));
        let step = good
            .as_ref()
            .and_then(|good| good.state().ok())
            .map(|state| state.step);
        // With none that is good, all are set aside.
        let after = step.map_or(0, |step| step + 1);
        let _ = checkpoint::set_aside_from(self.run, after);
        good.map(|good| good.path().to_owned())
    }

    fn save(
        &self,
        now: &mut Moving<T::Model>,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let state = &mut now.state;
        state.peak_rss_bytes = state.peak_rss_bytes.max(peak_rss_bytes());
        let beside = Progressing {
            optimizer: &now.optimizer,
            losses: &now.losses,
            telemetry: &now.telemetry,
        };
        let keep = self.config.train.keep_checkpoints;
        let checkpoint = checkpoint::save(self.run, state, &now.model, &beside, keep)?;
        observer.checkpoint(&checkpoint);
        Ok(())
    }
}

/// A model as it will be used: fully quantised, on the plain device.
fn finished<M: Network>(model: &M) -> M {
    let mut model = model.valid();
    model.set_form(TrainingForm::default());
    model
}

/// None of what was interrupted.
fn unless_interrupted<R>(result: Result<R, TrainError>) -> Result<Option<R>, TrainError> {
    match result {
        Err(TrainError::Interrupted) => Ok(None),
        result => result.map(Some),
    }
}

/// Whether a run has taken its last step, or would learn no more.
fn is_over(state: &State, train: &TrainConfig) -> bool {
    let stale = train.stop_after > 0 && state.evaluations_since_best >= train.stop_after;
    state.step >= train.steps || stale
}

/// What is to be said of a run that ended before its last step.
fn early(state: &State) -> String {
    let best = match (state.best_val_loss, state.best_step) {
        (Some(loss), Some(step)) => {
            format!("{loss:.4} at step {step}, whose checkpoint is kept (RUN@best)")
        }
        _ => "none".to_owned(),
    };
    format!(
        "stopped early at step {}: {} evaluations without a lower validation loss; the lowest is {best}",
        state.step, state.evaluations_since_best
    )
}

/// What stands for an evaluation that was not made.
const NO_EVALUATION: Evaluation = Evaluation {
    tokens: 0,
    examples: None,
    loss: f64::NAN,
    perplexity: None,
    bits_per_byte: None,
    accuracy: None,
    macro_f1: None,
    majority_accuracy: None,
    naive_bayes_accuracy: None,
    bleu: None,
    exact_match: None,
};

/// Writes the health of the ternary layers, if there are any.
fn append_layers(
    run: &RunDir,
    telemetry: &mut Telemetry,
    model: &impl Network,
    step: usize,
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    let layers = telemetry.read(model, step)?;
    observer.layers(step, &layers);
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
        bits_per_byte: evaluation.bits_per_byte,
        seconds: state.seconds,
        batches,
    })
}
