//! MODEL: a run, or model files of others.

use std::path::{Path, PathBuf};

use anyhow::bail;
use bitnet_config::Task;
use bitnet_load::{Activations, Checkpoint};
use bitnet_models::engine::Engine;
use bitnet_models::{
    ActivationQuantizer, Granularity, LinearKind, ModelConfig, Purpose, Transformer,
};
use bitnet_train::{Backend, RunDir, load_exported};
use burn::tensor::Device;

use crate::args::{self, EngineArgs};
use crate::{engine, output, run_folder};

/// What MODEL names.
pub enum Location {
    /// A folder that `bitnet train` made.
    Run(RunDir),
    /// A GGUF file, or a folder of transformers.
    File(Box<Checkpoint>),
}

impl Location {
    /// A folder with `config.toml` is a run, one with `config.json` is transformers', and a file is GGUF. A
    /// checkpoint's folder is its run with the model of that step.
    ///
    /// # Errors
    /// If there is nothing, or it cannot be read or understood.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let is_file = path.is_file() || path.join("config.json").exists();
        if is_file && !path.join("config.toml").exists() {
            return Ok(Self::File(Box::new(Checkpoint::open(path)?)));
        }
        if let Some(run) = RunDir::open_at(path)? {
            return Ok(Self::Run(run));
        }
        if path.is_dir() && !path.join("config.toml").exists() {
            let runs = runs_in(path);
            if !runs.is_empty() {
                bail!(
                    "{} holds several models; name one: {}",
                    path.display(),
                    runs.join(", ")
                );
            }
            bail!(
                "{}: the folder holds neither config.toml (a run of `bitnet train`) nor config.json (a model of transformers)",
                path.display()
            );
        }
        Ok(Self::Run(RunDir::open(path)?))
    }
}

/// Runs that a message names.
const NAMED: usize = 8;

/// The runs in a folder of a comparison or an experiment, as far as a message names them.
fn runs_in(folder: &Path) -> Vec<String> {
    let folders = |parent: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        found.sort();
        found
    };
    let (runs, others): (Vec<_>, Vec<_>) =
        (folders(folder).into_iter()).partition(|path| path.join("config.toml").exists());
    let nested = others.iter().flat_map(|variant| folders(variant));
    let nested = nested.filter(|path| path.join("config.toml").exists());
    let mut names: Vec<String> = (runs.into_iter().chain(nested))
        .map(|path| path.display().to_string())
        .collect();
    if names.len() > NAMED {
        names.truncate(NAMED);
        names.push("…".to_owned());
    }
    names
}

/// The engine of a model file. What is assumed about it is told on stderr.
///
/// # Errors
/// If a tensor is not what its type demands, or the engine refuses the options.
pub fn engine(
    checkpoint: &Checkpoint,
    args: &EngineArgs,
    threads: usize,
) -> anyhow::Result<Engine> {
    tell(checkpoint);
    let options = engine::options(args, threads)?;
    Ok(checkpoint.engine(options)?)
}

/// What the file warns of, and what is assumed because it does not say it.
fn tell(checkpoint: &Checkpoint) {
    for warning in &checkpoint.description().warnings {
        output::say(format_args!("warning: {warning}"));
    }
    if checkpoint.activations() == Activations::AssumedInt8 {
        output::say(
            "note: the file does not say how layers treat their inputs: they are rounded to int8 for each token \
             (--activations float does not)",
        );
    }
}

/// Whether a model file runs on the CPU engine, which serves flex; on other backends it runs on Burn's tensors.
///
/// # Errors
/// If one of the engine's flags is given with another backend.
pub fn on_engine(backend: Backend, args: &EngineArgs) -> anyhow::Result<bool> {
    let engine_flags = EngineArgs {
        activations: None,
        ..args.clone()
    };
    engine::asked_for(backend, &engine_flags)?;
    Ok(backend == Backend::Flex)
}

/// The modules of a model file on a device.
///
/// # Errors
/// If the model has no modules, a matrix is larger than the device binds, or a tensor cannot be read.
pub fn transformer(checkpoint: &Checkpoint, device: &Device) -> anyhow::Result<Transformer> {
    tell(checkpoint);
    let (shape, source) = checkpoint.source(false)?;
    let granularity = checkpoint.granularity()?;
    let linear = match granularity {
        Some(_) => LinearKind::Ternary,
        None => LinearKind::Float,
    };
    let granularity = granularity.unwrap_or(Granularity::Tensor);
    let (model, quant) = ModelConfig::of_shape(&shape, linear, granularity)?;
    Ok(Transformer::from_source(
        &model,
        &quant,
        &source,
        Purpose::Inference,
        device,
    )?)
}

/// A model file with the activations that were asked for.
pub fn with_activations(checkpoint: Checkpoint, args: &EngineArgs) -> Checkpoint {
    let checkpoint = match args.head {
        Some(_) => checkpoint.with_chosen_head(),
        None => checkpoint,
    };
    match args.activations {
        None => checkpoint,
        Some(args::Activations::Int8) => checkpoint.with_activations(ActivationQuantizer::Int8),
        Some(args::Activations::Float) => checkpoint.with_activations(ActivationQuantizer::Float),
    }
}

/// The engine of a run's exported model or of a model file, with its flags. `what` says what it is for, in errors.
///
/// # Errors
/// If the run is of another task, or the engine refuses the model or the options.
pub fn any_engine(
    location: Location,
    args: &EngineArgs,
    threads: usize,
    what: &str,
) -> anyhow::Result<Engine> {
    let run = match location {
        Location::File(checkpoint) => {
            return engine(&with_activations(*checkpoint, args), args, threads);
        }
        Location::Run(run) => run,
    };
    engine::refuse_activations(args)?;
    let task = run.config()?.task;
    if task != Task::Lm {
        bail!(
            "{}: task = \"{}\"; {what} language models",
            run.path().display(),
            task.name()
        );
    }
    run_folder::note_of_export(&run)?;
    let model: Transformer = load_exported(&run, &Default::default())?;
    Ok(model.engine(engine::options(args, threads)?)?)
}
