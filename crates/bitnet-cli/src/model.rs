//! MODEL, opened: what runs it, and what its text is.

use std::path::Path;

use anyhow::bail;
use bitnet_config::Task;
use bitnet_formats::ModelFile;
use bitnet_models::{Runner, TensorRunner, Transformer};
use bitnet_text::TextModel;
use bitnet_train::{RunDir, load_exported, load_latent};

use crate::args::{DeviceArgs, DtypeArgs, EngineArgs};
use crate::setup;

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
pub fn open(path: &Path, how: &HowToRun<'_>) -> anyhow::Result<Opened> {
    if as_run(path)?.is_none() {
        bail!(
            "{}: only runs of `bitnet train` are run so far; `bitnet inspect` and `bitnet tokenize` read this model",
            path.display()
        );
    }
    let run = RunDir::open(path)?;
    let task = run.config()?.task;
    if task != Task::Lm {
        bail!(
            "a run with task = \"{}\" continues no text; `bitnet eval` scores it",
            task.name()
        );
    }
    setup::refuse_latent_engine(how.latent, how.engine)?;
    let text = TextModel::from_run(run.tokenizer()?);
    let device = setup::open_device(how.device)?;
    let model: Transformer = if how.latent {
        load_latent(&run, &device)?
    } else {
        load_exported(&run, &device)?
    };
    let model = setup::with_dtype(model, how.activations, how.device.backend, &device)?;
    let runner: Box<dyn Runner> = match how.latent {
        true => Box::new(TensorRunner::new(&model, &device)),
        false => setup::runner(&model, &device, how.device, how.engine)?,
    };
    Ok(Opened { runner, text })
}

/// The text side of a model alone.
pub fn open_text(path: &Path) -> anyhow::Result<TextModel> {
    match as_run(path)? {
        Some(run) => Ok(TextModel::from_run(run.tokenizer()?)),
        None => Ok(TextModel::from_model_file(&ModelFile::open(path)?)?),
    }
}

/// The run at a path; none if it is a model of another program. An error if there is nothing.
pub fn as_run(path: &Path) -> anyhow::Result<Option<RunDir>> {
    let is_other = path.is_file() || path.join("config.json").is_file();
    match is_other {
        true => Ok(None),
        false => Ok(Some(RunDir::open(path)?)),
    }
}
