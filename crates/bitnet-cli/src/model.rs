//! MODEL, opened: what runs it, and what its text is.

use std::path::Path;

use anyhow::bail;
use bitnet_config::Task;
use bitnet_formats::model::Pooling as Said;
use bitnet_generate::Pooling;
use bitnet_load::Checkpoint;
use bitnet_models::engine::Engine;
use bitnet_models::{EngineRunner, Runner, TensorRunner, Transformer};
use bitnet_text::TextModel;
use bitnet_train::{Location, RunDir, load_exported, load_latent};

use crate::args::{self, DeviceArgs, DtypeArgs, EngineArgs};
use crate::device;
use crate::engine;
use crate::location;
use crate::run_folder;

/// A language model that is ready to run.
pub struct Opened {
    /// What reads tokens and tells what may come next.
    pub runner: Box<dyn Runner>,
    /// Its tokenizer, template and the ends of its answers.
    pub text: TextModel,
}

/// How a model is to run.
pub struct HowToRun<'a> {
    /// With the latent weights of a run.
    pub latent: bool,
    pub device: &'a DeviceArgs,
    pub engine: &'a EngineArgs,
    pub activations: DtypeArgs,
}

/// Opens a language model.
pub fn open(location: Location, how: &HowToRun<'_>) -> anyhow::Result<Opened> {
    match location {
        Location::Run(run) => open_run(&run, how),
        Location::File(checkpoint) => open_file(*checkpoint, how),
    }
}

fn open_run(run: &RunDir, how: &HowToRun<'_>) -> anyhow::Result<Opened> {
    let task = run.config()?.task;
    if task != Task::Lm {
        bail!(
            "a run with task = \"{}\" continues no text; `bitnet predict` asks it about new examples, `bitnet eval` scores it",
            task.name()
        );
    }
    engine::refuse_activations(how.engine)?;
    engine::refuse_latent(how.latent, how.engine)?;
    let text = run.text()?;
    let device = device::open(how.device)?;
    let model: Transformer = if how.latent {
        load_latent(run, &device)?
    } else {
        run_folder::note_of_export(run)?;
        load_exported(run, &device)?
    };
    let model = device::with_dtype(model, how.activations, how.device.backend, &device)?;
    let runner: Box<dyn Runner> = match how.latent {
        true => Box::new(TensorRunner::new(&model, &device)),
        false => engine::runner(&model, &device, how.device, how.engine)?,
    };
    Ok(Opened { runner, text })
}

fn open_file(checkpoint: Checkpoint, how: &HowToRun<'_>) -> anyhow::Result<Opened> {
    if how.latent {
        bail!("--latent is for runs; a model file has the weights that it has");
    }
    let text = TextModel::from_model_file(checkpoint.file())?;
    device::set_threads(how.device.threads)?;
    let checkpoint = location::with_activations(checkpoint, how.engine);
    let backend = how.device.backend;
    let runner: Box<dyn Runner> = match location::on_engine(backend, how.engine)? {
        true => {
            device::refuse_dtype(how.activations, "is for GPUs; the CPU computes in f32")?;
            let engine = location::engine(&checkpoint, how.engine, how.device.threads)?;
            Box::new(EngineRunner::new(engine))
        }
        false => {
            let device = device::open(how.device)?;
            let model = location::transformer(&checkpoint, &device)?;
            let model = device::with_dtype(model, how.activations, backend, &device)?;
            Box::new(TensorRunner::new(&model, &device))
        }
    };
    Ok(Opened { runner, text })
}

/// The text side of a model alone, also of one that does not run here.
pub fn open_text(path: &Path) -> anyhow::Result<TextModel> {
    Ok(location::open(path)?.text()?)
}

/// The engine of a language model, and its text side. `what` says what they are for, in errors.
pub fn open_engine(
    path: &Path,
    args: &EngineArgs,
    threads: usize,
    what: &str,
) -> anyhow::Result<(Engine, TextModel)> {
    let location = location::open(path)?;
    let text = location.text()?;
    let engine = location::any_engine(location, args, threads, what)?;
    Ok((engine, text))
}

/// How the states of a text become its vector: as asked for, or as the model's files say; else the last token's.
///
/// # Errors
/// If the files say what is not done here.
pub fn pooling(asked: Option<args::Pooling>, text: &TextModel) -> Result<Pooling, String> {
    match (asked, &text.pooling) {
        (Some(args::Pooling::Last), _) => Ok(Pooling::Last),
        (Some(args::Pooling::Mean), _) => Ok(Pooling::Mean),
        (None, Said::Mean) => Ok(Pooling::Mean),
        (None, Said::Last | Said::Unsaid) => Ok(Pooling::Last),
        (None, Said::Other(words)) => Err(format!(
            "the model's files say that texts become vectors by {words}, which is not done here; --pooling last or mean \
             makes others"
        )),
    }
}
