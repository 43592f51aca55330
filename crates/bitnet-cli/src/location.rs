//! MODEL: opened, and on what it runs.

use std::path::Path;

use anyhow::bail;
use bitnet_config::Task;
use bitnet_data::Tokenizer;
use bitnet_formats::{ModelFile, hf::HfText, model::Pieces};
use bitnet_load::{Activations, Checkpoint};
use bitnet_models::engine::Engine;
use bitnet_models::{ActivationQuantizer, Transformer};
use bitnet_train::{Backend, Location, RunDir, load_exported};
use burn::tensor::Device;

use crate::args::{self, EngineArgs};
use crate::download::Download;
use crate::{engine, output, run_folder};

/// Opens MODEL.
///
/// # Errors
/// If there is nothing, or it cannot be read or understood.
pub fn open(path: &Path) -> anyhow::Result<Location> {
    if path.to_str().is_some_and(|text| text.contains('@')) && !path.exists() {
        // A run and its checkpoint.
        return Ok(Location::open(path)?);
    }
    let path = bitnet_hub::local(path, &mut Download::default())?;
    Ok(Location::open(&path)?)
}

/// A run's exported model, with all that it knows of text, as files of others describe theirs.
///
/// # Errors
/// If it is no language model, or has what no format of others has.
pub fn model_file(run: &RunDir) -> anyhow::Result<ModelFile> {
    let task = run.config()?.task;
    if task != Task::Lm {
        bail!(
            "{}: task = \"{}\"; other programs have formats for language models",
            run.path().display(),
            task.name()
        );
    }
    run_folder::note_of_export(run)?;
    let model: Transformer = load_exported(run, &Default::default())?;
    let (shape, source) = model.source()?;
    let pieces = match run.origin()? {
        Some(folder) => Pieces::Files(Box::new(HfText::open(folder)?)),
        None => match run.tokenizer()? {
            Tokenizer::Bpe(bpe) => Pieces::Json(bpe.to_json()),
            tokenizer => {
                let ids = 0..tokenizer.vocab_size() as u32;
                Pieces::Bytes(ids.map(|id| tokenizer.decode_bytes(&[id])).collect())
            }
        },
    };
    let pieces = Some(pieces);
    Ok(bitnet_load::export(run.path(), &shape, &source, pieces)?)
}

/// What whoever trains a model further should know of it, on stderr.
pub fn tell_of_training(location: &Location) {
    if let Location::File(checkpoint) = location {
        for warning in &checkpoint.description().warnings {
            output::say(format_args!("warning: {warning}"));
        }
    }
    if let Some(caveat) = location.caveat() {
        output::say(format_args!("note: {caveat}"));
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
    Ok(bitnet_train::transformer(checkpoint, device)?)
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
