//! MODEL: a run, or model files of others.

use std::path::Path;

use anyhow::bail;
use bitnet_load::{Activations, Checkpoint};
use bitnet_models::ActivationQuantizer;
use bitnet_models::engine::Engine;
use bitnet_train::{Backend, RunDir};

use crate::args::{self, EngineArgs};
use crate::{output, setup};

/// What MODEL names.
pub enum Location {
    /// A folder that `bitnet train` made.
    Run(RunDir),
    /// A GGUF file, or a folder of transformers.
    File(Box<Checkpoint>),
}

impl Location {
    /// A folder with `config.toml` is a run, one with `config.json` is transformers', and a file is GGUF.
    ///
    /// # Errors
    /// If there is nothing, or it cannot be read or understood.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let is_file = path.is_file() || path.join("config.json").exists();
        if is_file && !path.join("config.toml").exists() {
            return Ok(Self::File(Box::new(Checkpoint::open(path)?)));
        }
        if path.is_dir() && !path.join("config.toml").exists() {
            bail!(
                "{}: the folder holds neither config.toml (a run of `bitnet train`) nor config.json (a model of transformers)",
                path.display()
            );
        }
        Ok(Self::Run(RunDir::open(path)?))
    }
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
    for warning in &checkpoint.description().warnings {
        output::say(format_args!("warning: {warning}"));
    }
    if checkpoint.activations() == Activations::AssumedInt8 {
        output::say(
            "note: the file does not say how layers treat their inputs: they are rounded to int8 for each token \
             (--activations float does not)",
        );
    }
    let options = setup::engine_options(args, threads)?;
    Ok(checkpoint.engine(options)?)
}

/// Whether a model file runs on a backend: on the CPU engine, which serves flex.
///
/// # Errors
/// If another backend was asked for.
pub fn engine_only(backend: Backend) -> anyhow::Result<bool> {
    if backend != Backend::Flex {
        bail!("model files run on the CPU engine, not on {backend}; leave out --backend");
    }
    Ok(true)
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
