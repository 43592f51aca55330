//! What can go wrong in a run.

use std::path::PathBuf;

use bitnet_data::DataError;
use bitnet_models::{ConfigError, GenerateError, SamplingError};

use bitnet_results::TrainSummary;

use crate::DeviceError;

/// A run that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The corpus.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model's shape.
    #[error(transparent)]
    Model(#[from] ConfigError),
    /// The run's configuration.
    #[error(transparent)]
    Config(#[from] bitnet_config::ConfigError),
    /// The backend or device.
    #[error(transparent)]
    Backend(#[from] DeviceError),
    /// A prompt.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A sampling setting.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// `train.precision` or `train.backward_pieces` asks for what cannot be computed here.
    #[error("{reason}; leave train.precision at \"f32\" and train.backward_pieces at 3")]
    Numerics {
        /// Why not.
        reason: String,
    },
    /// Values could not be read back.
    #[error("the device failed: {0}")]
    Device(String),
    /// Somebody asked to end, in the middle of an evaluation; what was trained is saved.
    #[error("interrupted")]
    Interrupted,
    /// The loss is not a number any more.
    #[error(
        "the loss is {loss} at step {step}; lower train.learning_rate (now {learning_rate:.2e}) or set train.grad_clip{}",
        go_on(resumable.as_ref())
    )]
    Diverged {
        /// Step at which it was seen.
        step: usize,
        /// The loss.
        loss: f64,
        /// The learning rate of that step.
        learning_rate: f64,
        /// The newest checkpoint, from before.
        resumable: Option<PathBuf>,
        /// What was done until then.
        summary: Box<TrainSummary>,
    },
    /// A weight or a moment is not a number any more.
    #[error("{name} holds values that are not finite")]
    NotFinite {
        /// Its path in the model.
        name: String,
    },
    /// A model by name.
    #[error(transparent)]
    Hub(#[from] bitnet_hub::HubError),
    /// A model's files.
    #[error(transparent)]
    Load(Box<bitnet_load::LoadError>),
    /// A model's files, written.
    #[error(transparent)]
    Formats(Box<bitnet_formats::Error>),
    /// A model's tokenizer or template.
    #[error(transparent)]
    Text(Box<bitnet_text::TextError>),
    /// A model's weights as modules.
    #[error(transparent)]
    FromSource(Box<bitnet_models::FromSourceError>),
    /// A model's modules as weights.
    #[error(transparent)]
    ToEngine(#[from] bitnet_models::ToEngineError),
    /// A search on the CPU engine.
    #[error(transparent)]
    Beam(#[from] bitnet_models::BeamError),
    /// MODEL names none.
    #[error("{}: {problem}", path.display())]
    NoModel {
        /// What was given.
        path: PathBuf,
        /// What shows it.
        problem: String,
    },
    /// A run cannot keep the tokenizer of the model that it starts from.
    #[error("{}: a run cannot keep its tokenizer: {problem}; start from a folder with tokenizer.json", path.display())]
    NoText {
        /// The model.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The machine is too small.
    #[error(
        "{what} takes at least {needed:.1} GB of memory, this machine has {present:.1} GB; {remedy}"
    )]
    Memory {
        /// What for.
        what: String,
        /// GB at least.
        needed: f64,
        /// GB of the machine.
        present: f64,
        /// What to do.
        remedy: &'static str,
    },
    /// Several devices cannot share a run.
    #[error("--devices: {problem}")]
    Devices {
        /// Why not, and the remedy.
        problem: String,
    },
    /// No pair can be trained on.
    #[error("{name}: no pair fits into data.max_length = {max_length} tokens; raise it")]
    TooLong {
        /// The pairs.
        name: String,
        /// The limit.
        max_length: usize,
    },
    /// The model that is to teach another cannot.
    #[error("train.distill_from = {}: {problem}", path.display())]
    Teacher {
        /// The teacher's run.
        path: PathBuf,
        /// Why it cannot teach, and the remedy.
        problem: String,
    },
    /// A file of the run.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of the run does not hold what it should.
    #[error("{path}: {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the remedy.
        problem: String,
    },
    /// A file of the run cannot be written.
    #[error("cannot write {}: {problem}", path.display())]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// What the writer says.
        problem: String,
    },
    /// Another process trains in the folder.
    #[error(
        "{0} is in use: another process trains there; wait for it, or choose another --run-dir"
    )]
    InUse(PathBuf),
    /// The folder holds another run.
    #[error(
        "{0} holds a run already; choose another --run-dir, continue it with --resume auto, or remove it"
    )]
    RunExists(PathBuf),
    /// The folder is no run.
    #[error("{} is not a run directory ({problem}); give the folder that `bitnet train` wrote", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// What shows it.
        problem: &'static str,
    },
    /// The run has no checkpoint to load or resume.
    #[error(
        "{0} holds no checkpoint yet; begin it (`bitnet train CONFIG --run-dir {0}`, without --resume)"
    )]
    NoCheckpoint(PathBuf),
    /// A run has checkpoints, but not the one that was asked for.
    #[error("{run} has no checkpoint {which:?}: use {best}@last, or one of these steps: {steps}")]
    NoSuchCheckpoint {
        /// The run.
        run: PathBuf,
        /// What was asked for.
        which: String,
        /// How to ask for the best, if it was not asked for: of a run that has none, no checkpoint was evaluated.
        best: &'static str,
        /// The steps that there are.
        steps: String,
    },
    /// The checkpoint belongs to another configuration, or the data is not what it was.
    #[error("{path}: cannot resume: {problem}")]
    Resume {
        /// The run.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
}

/// How to go on after a divergence.
fn go_on(resumable: Option<&PathBuf>) -> String {
    resumable.map_or(String::new(), |path| {
        format!(
            "; {} is from before, and --resume auto with --set train.learning_rate=… goes on from it",
            path.display()
        )
    })
}

impl TrainError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| TrainError::Io { path, source }
    }
}

/// Errors that are larger than a result should carry around.
macro_rules! boxed {
    ($($variant:ident($error:ty);)*) => {
        $(
            impl From<$error> for TrainError {
                fn from(error: $error) -> Self {
                    Self::$variant(Box::new(error))
                }
            }
        )*
    };
}

boxed! {
    Load(bitnet_load::LoadError);
    Formats(bitnet_formats::Error);
    Text(bitnet_text::TextError);
    FromSource(bitnet_models::FromSourceError);
}
