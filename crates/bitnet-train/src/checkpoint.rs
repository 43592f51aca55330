//! Checkpoints: `checkpoints/step-00000200/{model.bpk, optimizer.bpk, state.json}`.
//!
//! A checkpoint is written beside its final place and renamed, so that a folder named `step-…` is always complete. The
//! batch of a step is a pure function of the step, so the model, the optimiser and the step number resume a run exactly.

use std::fs;
use std::path::{Path, PathBuf};

use bitnet_models::Network;
use burn::module::Module;
use burn::optim::ModuleOptimizer;
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::names::read_record;
use crate::run_dir::{RunDir, write_atomic};

/// Checkpoints that stay on disk; older ones are removed.
const KEPT: usize = 2;

/// Where a run stood.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Steps done.
    pub step: usize,
    /// Tokens trained on.
    #[serde(default)]
    pub tokens: usize,
    /// Seconds spent on them, without evaluation.
    pub seconds: f64,
    /// Validation loss before the first step.
    pub initial_val_loss: f64,
    /// Peak resident memory of all processes that trained the run so far.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
    /// Training loss as last reported.
    pub train_loss: f64,
}

/// One checkpoint on disk.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
}

impl Checkpoint {
    /// The newest checkpoint of a run.
    ///
    /// # Errors
    /// If there is none.
    pub fn latest(run: &RunDir) -> Result<Self, TrainError> {
        match all(run)?.pop() {
            Some((_, path)) => Ok(Self { path }),
            None => Err(TrainError::NoCheckpoint(run.path().to_owned())),
        }
    }

    /// A checkpoint by its folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the run stood.
    ///
    /// # Errors
    /// If `state.json` is missing or damaged.
    pub fn state(&self) -> Result<State, TrainError> {
        let path = self.path.join("state.json");
        let json = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        serde_json::from_str(&json).map_err(|error| damaged(path, &error))
    }

    /// Loads the latent weights into a model of the same shape.
    ///
    /// # Errors
    /// If the file is missing, damaged or of another shape.
    pub fn load_model<M: Module>(&self, model: M) -> Result<M, TrainError> {
        load_record(model, &self.path.join("model.bpk"))
    }

    /// Loads the optimiser's state.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub fn load_optimizer(
        &self,
        optimizer: ModuleOptimizer,
    ) -> Result<ModuleOptimizer, TrainError> {
        let path = self.path.join("optimizer.bpk");
        require(&path)?;
        optimizer.load(&path).map_err(|error| damaged(path, &error))
    }
}

/// Writes a checkpoint and removes those that are no longer kept.
pub(crate) fn save(
    run: &RunDir,
    state: &State,
    model: &impl Network,
    optimizer: &ModuleOptimizer,
) -> Result<Checkpoint, TrainError> {
    let folder = run.checkpoints_path();
    let path = folder.join(format!("step-{:08}", state.step));
    let partial = folder.join(format!("partial-{:08}", state.step));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(TrainError::io(&partial))?;
    }
    fs::create_dir_all(&partial).map_err(TrainError::io(&partial))?;
    save_record(model.valid(), &partial.join("model.bpk"))?;
    let optimizer_path = partial.join("optimizer.bpk");
    optimizer
        .save(&optimizer_path)
        .map_err(|error| TrainError::Damaged {
            path: optimizer_path,
            problem: error.to_string(),
        })?;
    let json = serde_json::to_string(state).map_err(|e| TrainError::io(&partial)(e.into()))?;
    write_atomic(&partial.join("state.json"), json.as_bytes())?;
    if path.exists() {
        fs::remove_dir_all(&path).map_err(TrainError::io(&path))?;
    }
    fs::rename(&partial, &path).map_err(TrainError::io(&path))?;
    let existing = all(run)?;
    for (_, old) in &existing[..existing.len().saturating_sub(KEPT)] {
        fs::remove_dir_all(old).map_err(TrainError::io(old))?;
    }
    Ok(Checkpoint { path })
}

/// Writes a module's parameters whole or not at all (Burn's writer renames).
pub(crate) fn save_record<M: Module>(module: M, path: &Path) -> Result<(), TrainError> {
    module
        .into_record()
        .save(path)
        .map_err(|error| TrainError::Damaged {
            path: path.to_owned(),
            problem: error.to_string(),
        })
}

/// Loads a module's parameters.
pub(crate) fn load_record<M: Module>(module: M, path: &Path) -> Result<M, TrainError> {
    require(path)?;
    read_record(path, &module)
        .and_then(|record| module.try_load_record(record))
        .map_err(|error| damaged(path.to_owned(), &error))
}

/// All checkpoints, oldest first.
fn all(run: &RunDir) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let folder = run.checkpoints_path();
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(TrainError::io(&folder))? {
        let path = entry.map_err(TrainError::io(&folder))?.path();
        let step = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("step-")?.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    found.sort();
    Ok(found)
}

fn require(path: &Path) -> Result<(), TrainError> {
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(source) => Err(TrainError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn damaged(path: PathBuf, error: &dyn std::fmt::Display) -> TrainError {
    TrainError::Damaged {
        path,
        problem: format!("damaged, or of another model: {error}; restore the file, or train again"),
    }
}
