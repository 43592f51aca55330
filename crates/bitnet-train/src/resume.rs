//! Going on from a checkpoint: which one, whether it is this run's, and what may be another now.

use bitnet_config::{OptimConfig, OptimOverride, RunConfig};
use bitnet_models::Network;
use burn::tensor::Device;

use crate::checkpoint::{Checkpoint, clear_partial, set_aside_from};
use crate::export::withdraw;
use crate::observer::Observer;
use crate::optimizer::Optimizer;
use crate::seal::Seal;
use crate::state::State;
use crate::task::Task;
use crate::telemetry::Telemetry;
use crate::trainer::Moving;
use crate::window::MeanLoss;
use crate::{RunDir, TrainError, Training};

/// Loads the first checkpoint that is whole, and makes the run's folder that of a run that stands there.
///
/// # Errors
/// If none can be loaded, or one is of another run, other data, or another configuration.
pub(crate) fn go_on<T: Task>(
    training: &Training<'_, T>,
    fresh: T::Model,
    autodiff: &Device,
    observer: &mut dyn Observer,
) -> Result<Moving<T::Model>, TrainError> {
    let Training { config, run, .. } = training;
    check_same(run, config)?;
    let before = run.config()?;
    let mut identity = Identity::of(run, training.task.data_checksum())?;
    let optim = config.train.optim(config.model.linear);
    let devices = [training.device, autodiff];
    let (mut now, mut notes) = first_whole(&training.resume, &identity, &optim, &fresh, devices)?;
    let step = now.state.step;
    notes.extend(changes(&before, config, step));
    for name in set_aside_from(run, step + 1)? {
        notes.push(format!(
            "a checkpoint of a later step is now checkpoints/{name}, and not used any more"
        ));
    }
    clear_partial(run)?;
    run.write_config(config)?;
    // The seal is of the new settings now.
    identity = Identity::of(run, identity.data)?;
    identity.mark(&mut now.state);
    let again = now.state.evaluation_due || step >= config.train.steps;
    run.rewind_metrics(step, again)?;
    if step < config.train.steps {
        withdraw(run)?;
    }
    for note in &notes {
        observer.note(note);
    }
    Ok(now)
}

/// Loads the first of some checkpoints that is whole; damaged ones before it are noted.
fn first_whole<M: Network>(
    checkpoints: &[Checkpoint],
    identity: &Identity,
    optim: &OptimConfig,
    fresh: &M,
    devices: [&Device; 2],
) -> Result<(Moving<M>, Vec<String>), TrainError> {
    let mut failures: Vec<(&Checkpoint, TrainError)> = Vec::new();
    for checkpoint in checkpoints {
        match load(checkpoint, identity, optim, fresh.clone(), devices) {
            Ok(now) => {
                let skipped = failures.iter().map(|(skipped, error)| {
                    format!(
                        "{error}: going on from {} instead of {}",
                        checkpoint.path().display(),
                        skipped.path().display()
                    )
                });
                let mut notes: Vec<String> = skipped.collect();
                if now.state.files.is_none() {
                    notes.push(format!(
                        "{} is of an older version and has no checksums; the next one will",
                        checkpoint.path().display()
                    ));
                }
                return Ok((now, notes));
            }
            Err(error @ (TrainError::Damaged { .. } | TrainError::Io { .. })) => {
                failures.push((checkpoint, error));
            }
            Err(error) => return Err(error),
        }
    }
    let first = failures.into_iter().next().map(|(_, error)| error);
    Err(first.unwrap_or_else(|| TrainError::NoCheckpoint(identity.folder.clone())))
}

fn load<M: Network>(
    checkpoint: &Checkpoint,
    identity: &Identity,
    optim: &OptimConfig,
    empty: M,
    [device, autodiff]: [&Device; 2],
) -> Result<Moving<M>, TrainError> {
    let state = checkpoint.state()?;
    identity.check(checkpoint, &state)?;
    let model = checkpoint.load_model(empty)?.fork(autodiff).train();
    let (mut file, path) = checkpoint.open_optimizer(&state)?;
    let optimizer = Optimizer::load(optim, &model, &mut file, state.step, &path)?;
    Ok(Moving {
        losses: MeanLoss::load(&mut file, device),
        telemetry: Telemetry::load(&mut file),
        state,
        model,
        optimizer,
    })
}

/// Which run, of which configuration, on which data.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub folder: std::path::PathBuf,
    pub run: String,
    pub config: String,
    pub data: String,
}

impl Identity {
    /// That of a run's folder. A run without a seal has no word for itself.
    pub fn of(run: &RunDir, data: String) -> Result<Self, TrainError> {
        let seal = run.seal()?.unwrap_or_default();
        let Seal {
            run: word, config, ..
        } = seal;
        Ok(Self {
            folder: run.path().to_owned(),
            run: word,
            config,
            data,
        })
    }

    /// Marks what is about to be saved.
    pub fn mark(&self, state: &mut State) {
        state.run.clone_from(&self.run);
        state.config.clone_from(&self.config);
        state.data.clone_from(&self.data);
    }

    /// Checks that a checkpoint is of this run and of this data, as far as it says.
    fn check(&self, checkpoint: &Checkpoint, state: &State) -> Result<(), TrainError> {
        let refused = |problem: &str| TrainError::Resume {
            path: checkpoint.path().to_owned(),
            problem: problem.to_owned(),
        };
        if !state.run.is_empty() && !self.run.is_empty() && state.run != self.run {
            return Err(refused(
                "it is a checkpoint of another run; give one of this run, or copy the whole folder of that one",
            ));
        }
        if !state.data.is_empty() && state.data != self.data {
            return Err(refused(
                "the data is not what it was trained on; restore it, or begin a new run",
            ));
        }
        Ok(())
    }
}

/// Checks that a run goes on as it began. Its length, its intervals, and how large its steps are may be others.
///
/// # Errors
/// Names the first setting that differs.
pub fn check_same(run: &RunDir, config: &RunConfig) -> Result<(), TrainError> {
    let fixed = |config: &RunConfig| -> Result<String, TrainError> {
        let mut config = config.clone();
        let defaults = RunConfig::default();
        let train = &mut config.train;
        train.steps = defaults.train.steps;
        train.eval_interval = defaults.train.eval_interval;
        train.eval_batches = defaults.train.eval_batches;
        train.stop_after = defaults.train.stop_after;
        train.loss_rows = defaults.train.loss_rows;
        train.checkpoint_activations = defaults.train.checkpoint_activations;
        train.checkpoint_interval = defaults.train.checkpoint_interval;
        train.checkpoint_minutes = defaults.train.checkpoint_minutes;
        train.keep_checkpoints = defaults.train.keep_checkpoints;
        train.log_interval = defaults.train.log_interval;
        train.sample_tokens = defaults.train.sample_tokens;
        let OptimConfig {
            optimizer,
            beta1,
            beta2,
            eps,
            weight_decay,
            weight_decay_until,
            ..
        } = train.shared;
        train.shared = OptimConfig {
            optimizer,
            beta1,
            beta2,
            eps,
            weight_decay,
            weight_decay_until,
            ..OptimConfig::default()
        };
        for own in [&mut train.float, &mut train.ternary] {
            let OptimOverride {
                optimizer,
                beta1,
                beta2,
                eps,
                weight_decay,
                weight_decay_until,
                ..
            } = own.clone();
            *own = OptimOverride {
                optimizer,
                beta1,
                beta2,
                eps,
                weight_decay,
                weight_decay_until,
                ..OptimOverride::default()
            };
        }
        config.compare = defaults.compare;
        config.name = defaults.name;
        Ok(config.to_toml()?)
    };
    let (old, new) = (fixed(&run.config()?)?, fixed(config)?);
    let differing = old
        .lines()
        .zip(new.lines())
        .find(|(old, new)| old != new)
        .map(|(old, new)| format!("it was begun with `{old}`, now `{new}`"));
    let problem = match differing {
        Some(problem) => problem,
        None if old != new => "it was begun with another configuration".to_owned(),
        None => return Ok(()),
    };
    Err(TrainError::Resume {
        path: run.path().to_owned(),
        problem: format!("{problem}; use the run's own config.toml"),
    })
}

/// What is to be said of settings that change at a step.
pub(crate) fn changes(before: &RunConfig, now: &RunConfig, step: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if before.train.steps != now.train.steps {
        notes.push(format!(
            "train.steps was {}, and is {} from step {step} on",
            before.train.steps, now.train.steps
        ));
    }
    let rate = |config: &RunConfig, step: usize| config.rates_at(step).0;
    let (old, new) = (rate(before, step.saturating_sub(1)), rate(now, step));
    let continuous = rate(before, step);
    // A schedule moves by a little from step to step; a seam is what the old one would not have done.
    if step > 0 && (new / continuous - 1.0).abs() > 0.01 {
        notes.push(format!(
            "the learning rate goes from {old:.2e} to {new:.2e} at step {step}: the schedule is that of the new settings, \
             read at this step (--set train.schedule=constant --set train.learning_rate={old:.2e} keeps it where it was)"
        ));
    }
    notes
}
