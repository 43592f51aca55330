//! Checkpoints: `checkpoints/step-00000200/{model.bpk, optimizer.bpk, state.json}`.
//!
//! A checkpoint is written beside its final place, synced and renamed, so that a folder named `step-…` is always complete.
//! `state.json` has the checksums of the other two and one of itself. The batch of a step is a pure function of the step,
//! so the model, what `optimizer.bpk` holds (the optimiser's moments, the losses since the last line of the log, the codes
//! at the last reading of the telemetry) and the step number resume a run exactly.

use std::fs;
use std::path::{Path, PathBuf};

use bitnet_models::Network;
use burn::module::Module;

use crate::TrainError;
use crate::optimizer::Optimizer;
use crate::pack::{NotFinite, Packed, Packing};
use crate::run_dir::{RunDir, sync_folder, write_atomic};
use crate::state::{Files, State};
use crate::telemetry::Telemetry;
use crate::window::MeanLoss;

/// One checkpoint on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
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

    /// All checkpoints of a run, the newest first.
    ///
    /// # Errors
    /// If there is none.
    pub fn newest_first(run: &RunDir) -> Result<Vec<Self>, TrainError> {
        let found = all(run)?.into_iter().rev();
        let found: Vec<Self> = found.map(|(_, path)| Self { path }).collect();
        match found.is_empty() {
            true => Err(TrainError::NoCheckpoint(run.path().to_owned())),
            false => Ok(found),
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
    /// If `state.json` is missing or damaged, or of another step than the folder says.
    pub fn state(&self) -> Result<State, TrainError> {
        let path = self.path.join(STATE);
        let text = fs::read(&path).map_err(TrainError::io(&path))?;
        let damaged = |problem: &str| crate::pack::damaged(&path, &problem);
        let state = State::from_json(&text).map_err(|problem| damaged(&problem))?;
        match step_of(&self.path) {
            Some(step) if step != state.step => Err(damaged("its step is not that of its folder")),
            _ => Ok(state),
        }
    }

    /// Loads the latent weights into a model of the same shape.
    ///
    /// # Errors
    /// If the file is missing, damaged or of another shape.
    pub fn load_model<M: Module>(&self, model: M) -> Result<M, TrainError> {
        let files = self.state()?.files;
        let known = files.as_ref().map(|files| files.model.as_str());
        let (file, path) = self.file(MODEL, known)?;
        file.load(model, &path)
    }

    /// The checksum of its weights.
    ///
    /// # Errors
    /// As [`state`](Self::state), and if it is of a version that wrote none.
    pub(crate) fn checksum(&self) -> Result<String, TrainError> {
        let files = self.state()?.files;
        let missing = || crate::pack::damaged(&self.path, &"it has no checksums");
        files.map(|files| files.model).ok_or_else(missing)
    }

    /// Opens `optimizer.bpk`.
    ///
    /// # Errors
    /// If the file is missing or damaged.
    pub(crate) fn open_optimizer(&self, state: &State) -> Result<(Packed, PathBuf), TrainError> {
        let known = state.files.as_ref().map(|files| files.optimizer.as_str());
        self.file(OPTIMIZER, known)
    }

    /// A file whose checksum is to be `known`, and where it is.
    fn file(&self, name: &str, known: Option<&str>) -> Result<(Packed, PathBuf), TrainError> {
        let path = self.path.join(name);
        let file = Packed::read(&path)?;
        match known {
            Some(known) if file.checksum() != Some(known) => {
                let problem = "it is not the file that state.json was written with";
                Err(crate::pack::damaged(&path, &problem))
            }
            _ => Ok((file, path)),
        }
    }
}

/// What is saved beside the weights.
pub(crate) struct Progressing<'a> {
    pub optimizer: &'a Optimizer,
    pub losses: &'a MeanLoss,
    pub telemetry: &'a Telemetry,
}

/// Writes a checkpoint and removes those that are no longer kept: the newest `keep` stay, and the one whose validation
/// loss is lowest.
///
/// # Errors
/// If a file cannot be written, or a weight is not finite; then nothing has changed.
pub(crate) fn save(
    run: &RunDir,
    state: &State,
    model: &impl Network,
    beside: &Progressing<'_>,
    keep: usize,
) -> Result<Checkpoint, TrainError> {
    let folder = run.checkpoints_path();
    let name = folder_name(state.step);
    let (path, partial) = (folder.join(&name), folder.join(format!("partial-{name}")));
    let written = write(run, state, model, beside, &partial);
    if let Err(error) = written {
        // The first error is the one worth reporting.
        let _ = fs::remove_dir_all(&partial);
        return Err(error);
    }
    // A checkpoint of the same step makes way, and comes back if this one cannot take its place.
    let replaced = folder.join(format!("{REPLACED}{name}"));
    let present = fs::symlink_metadata(&path).is_ok();
    if present {
        remove(&replaced)?;
        fs::rename(&path, &replaced).map_err(TrainError::io(&path))?;
    }
    if let Err(source) = fs::rename(&partial, &path) {
        let _ = fs::rename(&replaced, &path);
        return Err(TrainError::Io { path, source });
    }
    sync_folder(&folder)?;
    if present {
        remove(&replaced)?;
    }
    let checkpoint = Checkpoint { path };
    retain(run, &checkpoint, keep)?;
    Ok(checkpoint)
}

/// Writes the files into a folder of their own.
fn write(
    run: &RunDir,
    state: &State,
    model: &impl Network,
    beside: &Progressing<'_>,
    partial: &Path,
) -> Result<(), TrainError> {
    remove(partial)?;
    fs::create_dir_all(partial).map_err(TrainError::io(partial))?;
    let unfit = |NotFinite(name): NotFinite| TrainError::NotFinite { name };
    let mut packing = Packing::default();
    packing.module(&model.valid()).map_err(unfit)?;
    let model = packing.write(&partial.join(MODEL))?;
    let mut packing = Packing::default();
    beside.optimizer.pack(&mut packing).map_err(unfit)?;
    beside.losses.pack(&mut packing).map_err(unfit)?;
    beside.telemetry.pack(&mut packing).map_err(unfit)?;
    let optimizer = packing.write(&partial.join(OPTIMIZER))?;
    let state = State {
        files: Some(Files { model, optimizer }),
        ..state.clone()
    };
    let path = partial.join(STATE);
    let json = state
        .to_json()
        .map_err(|e| TrainError::io(&path)(e.into()))?;
    write_atomic(&path, json.as_bytes())?;
    run.sync_metrics()?;
    sync_folder(partial)
}

/// Removes the checkpoints that are not kept; the one just written always is.
fn retain(run: &RunDir, written: &Checkpoint, keep: usize) -> Result<(), TrainError> {
    let existing = all(run)?;
    let old = existing.len().saturating_sub(keep.max(1));
    let best = (existing.iter())
        .filter_map(|(_, path)| {
            let state = Checkpoint::at(path).state().ok()?;
            Some((state.val_loss?, path))
        })
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, path)| path);
    for (_, path) in &existing[..old] {
        if *path != written.path && Some(path) != best {
            remove(path)?;
        }
    }
    Ok(())
}

/// Renames what a run leaves behind that goes on from before step `first`: its checkpoints from there on become
/// `aside-…`, and are not looked at any more.
pub(crate) fn set_aside_from(run: &RunDir, first: usize) -> Result<Vec<String>, TrainError> {
    let folder = run.checkpoints_path();
    let mut names = Vec::new();
    for (_, path) in all(run)?.into_iter().filter(|(at, _)| *at >= first) {
        let name = format!("aside-{}", path.file_name().unwrap_or_default().display());
        let aside = folder.join(&name);
        remove(&aside)?;
        fs::rename(&path, &aside).map_err(TrainError::io(&path))?;
        names.push(name);
    }
    if !names.is_empty() {
        sync_folder(&folder)?;
    }
    Ok(names)
}

/// Removes what a kill left half-written, which would stay for good, and puts back what was making way for it.
pub(crate) fn clear_partial(run: &RunDir) -> Result<(), TrainError> {
    // A folder that is not there has nothing in it.
    let entries = fs::read_dir(run.checkpoints_path());
    for entry in entries.into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if name.starts_with("partial-step-") {
            remove(&path)?;
        } else if let Some(place) = name.strip_prefix(REPLACED) {
            let place = path.with_file_name(place);
            match place.exists() {
                true => remove(&path)?,
                false => fs::rename(&path, &place).map_err(TrainError::io(&place))?,
            }
        }
    }
    Ok(())
}

/// All checkpoints, oldest first: the folders named `step-…`, and what was making way for one that is not there.
fn all(run: &RunDir) -> Result<Vec<(usize, PathBuf)>, TrainError> {
    let folder = run.checkpoints_path();
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(TrainError::io(&folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(TrainError::io(&folder))?.path();
        if let Some(step) = step_of(&path).filter(|_| path.is_dir()) {
            found.push((step, path));
        }
    }
    // Of the same step `replaced-…` comes first, and does not count.
    found.sort();
    found.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            std::mem::swap(later, kept);
        }
        same
    });
    Ok(found)
}

/// The step in a folder's name. One that was making way for another of the same step when the process was killed is as good
/// as ever.
fn step_of(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix(REPLACED).unwrap_or(name);
    name.strip_prefix("step-")?.parse().ok()
}

fn folder_name(step: usize) -> String {
    format!("step-{step:08}")
}

/// Removes a file or a folder, if there is one.
fn remove(path: &Path) -> Result<(), TrainError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(TrainError::io(path))
}

/// What the name of a checkpoint begins with that makes way for another of the same step.
const REPLACED: &str = "replaced-";
const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const STATE: &str = "state.json";
