//! Model files of others as a run: a folder that everything reads which reads runs, at step 0.

use std::fs;
use std::path::{Path, PathBuf};

use bitnet_config::{LinearKind, Loader, RunConfig};
use burn::tensor::Device;

use crate::checkpoint::{self, Progressing};
use crate::optimizer::Optimizer;
use crate::resume::Identity;
use crate::state::State;
use crate::telemetry::Telemetry;
use crate::window::MeanLoss;
use crate::{Location, RunDir, TrainError, export};

/// Writes a model as a run to `path`, which must not exist; it appears when it is complete. Its configuration names `source`
/// as what it started from.
///
/// # Errors
/// If it is a run already, cannot be read, or cannot be written.
pub fn import(location: &Location, source: &Path, path: &Path) -> Result<RunDir, TrainError> {
    if path.exists() {
        return Err(TrainError::RunExists(path.to_owned()));
    }
    if matches!(location, Location::Run(_)) {
        return Err(TrainError::NoModel {
            path: location.path().to_owned(),
            problem: "it is a run already; copy its folder".into(),
        });
    }
    let config = configuration(location, source, path)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = parent.join(format!(".{name}.partial-{}", std::process::id()));
    let written = write(location, &config, &partial);
    let published = written.and_then(|()| fs::rename(&partial, path).map_err(TrainError::io(path)));
    if let Err(error) = published {
        // The first error is the one worth reporting.
        let _ = fs::remove_dir_all(&partial);
        return Err(error);
    }
    RunDir::open(path)
}

fn configuration(location: &Location, source: &Path, path: &Path) -> Result<RunConfig, TrainError> {
    let decided = location.decided()?;
    let linear = match decided.model.linear {
        LinearKind::Float => "float",
        LinearKind::Ternary => "ternary",
    };
    let quote = |path: &Path| format!("{:?}", path.display().to_string());
    let name = PathBuf::from(path.file_name().unwrap_or("run".as_ref()));
    let config = Loader::new()
        .set(&format!("train.init_from={}", quote(source)))?
        .set(&format!("name={}", quote(&name)))?
        .set(&format!("model.linear={linear}"))?
        .decided(&decided)?;
    Ok(config.finish()?)
}

fn write(location: &Location, config: &RunConfig, path: &Path) -> Result<(), TrainError> {
    let device = Device::default();
    let run = RunDir::create(path, config, None, &[], None, Some(location))?;
    let mut state = State {
        origin: Some(location.checksum()?),
        ..State::default()
    };
    Identity::of(&run, String::new())?.mark(&mut state);
    let model = location.latent(&config.model, &config.quant, &device)?;
    let beside = Progressing {
        optimizer: &Optimizer::new(&config.train.optim(config.model.linear)),
        losses: &MeanLoss::default(),
        telemetry: &Telemetry::default(),
    };
    checkpoint::save(&run, &state, &model, &beside, 1)?;
    drop(model);
    // The codes of the file, not those of the latent weights, whose scales may differ by a rounding.
    export(&run, &location.exported(&device)?, 0)
}
