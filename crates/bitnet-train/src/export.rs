//! The model of a run for inference: the packed one of a ternary run, the trained one of a float run.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;

use bitnet_models::{LinearKind, Network};
use burn::tensor::Device;

use crate::checkpoint::Checkpoint;
use crate::memory::check_loading;
use crate::pack::{NotFinite, Packed, Packing, remarks};
use crate::{RunDir, TrainError};

/// The remark that tells after how many steps a model was packed.
const STEP: &str = "step";

/// The remark with the checksum of the `model.bpk` that it was packed from.
const MODEL: &str = "model";

/// Packs a ternary model that was trained for `step` steps and writes it to the run's `packed.bpk`; a float model needs no
/// export.
///
/// # Errors
/// If the file cannot be written.
pub fn export(run: &RunDir, model: &impl Network, step: usize) -> Result<(), TrainError> {
    if run.config()?.model.linear == LinearKind::Float {
        return Ok(());
    }
    let mut packing = Packing::default();
    packing
        .module(&model.pack())
        .map_err(|NotFinite(name)| TrainError::NotFinite { name })?;
    packing.remark(STEP, step.to_string());
    if let Ok(state) = Checkpoint::latest(run).and_then(|newest| newest.state())
        && let Some(files) = state.files.filter(|_| state.step == step)
    {
        packing.remark(MODEL, files.model);
    }
    packing.write(&run.packed_path()).map(drop)
}

/// Removes an export that a run is about to train past: until the next one its model is that of its newest checkpoint.
pub(crate) fn withdraw(run: &RunDir) -> Result<(), TrainError> {
    let path = run.packed_path();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::io(path)(error))
        }
        _ => Ok(()),
    }
}

/// A run's model as it is used: packed if ternary. An export that is older than the newest checkpoint is not used; the
/// checkpoint is packed instead.
///
/// # Errors
/// If the run has no such model, or a file is damaged or of another shape.
pub fn load_exported<M: Network>(run: &RunDir, device: &Device) -> Result<M, TrainError> {
    let config = run.config()?;
    if config.model.linear == LinearKind::Float {
        return load_latent(run, device);
    }
    let path = run.packed_path();
    if !path.exists() || run.chosen_checkpoint().is_some() {
        // A checkpoint was asked for, or the run was interrupted before its last step: pack what its last checkpoint holds.
        return Ok(load_latent::<M>(run, device)?.pack());
    }
    check_loading(&config, device)?;
    let file = Packed::read(&path)?;
    match newness(run, file.remarks()) {
        Newness::Stale => return Ok(load_latent::<M>(run, device)?.pack()),
        Newness::Foreign => {
            return Err(TrainError::Damaged {
                path,
                problem:
                    "it was not packed from this run's checkpoint; copy the whole folder of its run"
                        .into(),
            });
        }
        Newness::Current => {}
    }
    let empty = M::new_packed(&config.model, &config.quant, device)?;
    let model = file.load(empty, &path)?;
    model.check().map_err(|(name, error)| TrainError::Damaged {
        path,
        problem: format!("{name}: {error}"),
    })?;
    Ok(model)
}

/// How an export stands to the newest checkpoint.
#[derive(PartialEq, Eq)]
enum Newness {
    /// Packed from it, or nothing says otherwise: older versions did not write what from.
    Current,
    /// Packed from an earlier one.
    Stale,
    /// Packed from another of the same step.
    Foreign,
}

fn newness(run: &RunDir, remarks: &BTreeMap<String, String>) -> Newness {
    let packed: Option<usize> = remarks.get(STEP).and_then(|step| step.parse().ok());
    let newest = Checkpoint::latest(run).and_then(|newest| newest.state());
    let (Some(packed), Ok(newest)) = (packed, newest) else {
        return Newness::Current;
    };
    let known = newest.files.map(|files| files.model);
    match newest.step.cmp(&packed) {
        Ordering::Greater => Newness::Stale,
        Ordering::Equal if known.is_some() && known.as_ref() != remarks.get(MODEL) => {
            Newness::Foreign
        }
        _ => Newness::Current,
    }
}

/// What a user of the run's model should know: that its export is missing or older than its newest checkpoint, and
/// which step is used instead.
///
/// # Errors
/// If the export is damaged.
pub fn export_note(run: &RunDir) -> Result<Option<String>, TrainError> {
    if let Some(chosen) = run.chosen_checkpoint() {
        let state = Checkpoint::at(chosen).state()?;
        let loss = state
            .val_loss
            .map_or(String::new(), |loss| format!(", validation loss {loss:.4}"));
        return Ok(Some(format!(
            "this is the model after {} steps{loss}",
            state.step
        )));
    }
    let config = run.config()?;
    if config.model.linear == LinearKind::Float {
        let newest = Checkpoint::latest(run).and_then(|newest| newest.state());
        let stopped = newest.ok().filter(|state| state.step < config.train.steps);
        return Ok(stopped.map(|state| {
            format!(
                "the run is not finished: this is the model after {} of {} steps",
                state.step, config.train.steps
            )
        }));
    }
    let path = run.packed_path();
    let missing = !path.exists();
    if !missing && newness(run, &remarks(&path)?) != Newness::Stale {
        return Ok(None);
    }
    let Ok(step) = Checkpoint::latest(run).and_then(|newest| newest.state()) else {
        return Ok(None);
    };
    let why = match missing {
        true => "the run is not finished",
        false => "packed.bpk is older than the newest checkpoint",
    };
    Ok(Some(format!(
        "{why}: this is the model after {} steps",
        step.step
    )))
}

/// A run's model with its latent weights, from the checkpoint that it was opened at or the newest one.
///
/// # Errors
/// If there is no checkpoint, or it is damaged or of another shape.
pub fn load_latent<M: Network>(run: &RunDir, device: &Device) -> Result<M, TrainError> {
    let config = run.config()?;
    check_loading(&config, device)?;
    latent_into(run, M::new_blank(&config.model, &config.quant, device)?)
}

/// [`load_latent`] into a model of the run's shape.
pub(crate) fn latent_into<M: Network>(run: &RunDir, empty: M) -> Result<M, TrainError> {
    let newest = match run.chosen_checkpoint() {
        Some(path) => Checkpoint::at(path),
        None => Checkpoint::latest(run)?,
    };
    let state = newest.state()?;
    let run_word = run.seal()?.unwrap_or_default().run;
    if !state.run.is_empty() && !run_word.is_empty() && state.run != run_word {
        return Err(TrainError::Damaged {
            path: newest.path().to_owned(),
            problem:
                "it is a checkpoint of another run; remove it, or copy the whole folder of that run"
                    .into(),
        });
    }
    newest.load_model(empty)
}

/// Size of the file that [`load_exported`] reads.
///
/// # Errors
/// If there is no such file.
pub fn exported_bytes(run: &RunDir) -> Result<u64, TrainError> {
    let path: PathBuf = match run.config()?.model.linear {
        LinearKind::Ternary => run.packed_path(),
        LinearKind::Float => Checkpoint::latest(run)?.path().join("model.bpk"),
    };
    let metadata = std::fs::metadata(&path).map_err(TrainError::io(&path))?;
    Ok(metadata.len())
}
