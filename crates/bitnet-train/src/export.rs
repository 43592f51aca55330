//! The model of a run for inference: the packed one of a ternary run, the trained one of a float run.

use std::path::PathBuf;

use bitnet_models::{LinearKind, Network};
use burn::tensor::Device;

use crate::checkpoint::{Checkpoint, load_record, save_record};
use crate::{RunDir, TrainError};

/// Packs a trained ternary model and writes it to the run's `packed.bpk`; a float model needs no export.
///
/// # Errors
/// If the file cannot be written.
pub fn export(run: &RunDir, model: &impl Network) -> Result<(), TrainError> {
    match run.config()?.model.linear {
        LinearKind::Ternary => save_record(model.pack(), &run.packed_path()),
        LinearKind::Float => Ok(()),
    }
}

/// A run's model as it is used: packed if ternary.
///
/// # Errors
/// If the run has no such model, or a file is damaged or of another shape.
pub fn load_exported<M: Network>(run: &RunDir, device: &Device) -> Result<M, TrainError> {
    let config = run.config()?;
    if config.model.linear == LinearKind::Float {
        return load_latent(run, device);
    }
    if !run.packed_path().exists() {
        // The run was interrupted before its last step: pack what its last checkpoint holds.
        return Ok(load_latent::<M>(run, device)?.pack());
    }
    let empty = M::new_packed(&config.model, &config.quant, device)?;
    let model = load_record(empty, &run.packed_path())?;
    model.check().map_err(|(name, error)| TrainError::Damaged {
        path: run.packed_path(),
        problem: format!("{name}: {error}"),
    })?;
    Ok(model)
}

/// A run's model with its latent weights, from the newest checkpoint.
///
/// # Errors
/// If there is no checkpoint, or it is damaged or of another shape.
pub fn load_latent<M: Network>(run: &RunDir, device: &Device) -> Result<M, TrainError> {
    let config = run.config()?;
    let empty = M::new(&config.model, &config.quant, config.train.seed, device)?;
    Checkpoint::latest(run)?.load_model(empty)
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
