//! What can go wrong in an experiment.

use std::error::Error;
use std::path::{Path, PathBuf};

use bitnet_config::ConfigError;
use bitnet_results::ResultError;
use bitnet_train::TrainError;

/// An experiment that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A variant's configuration.
    #[error("variant {name}")]
    Variant {
        /// The variant.
        name: String,
        /// What is wrong.
        source: Box<ConfigError>,
    },
    /// Variants that cannot be compared.
    #[error(
        "variants {first} and {other} have the tasks {first_task} and {other_task}, whose scores do not compare; give all the same task"
    )]
    Tasks {
        /// The first variant.
        first: String,
        /// Its task.
        first_task: &'static str,
        /// Another one.
        other: String,
        /// Its task.
        other_task: &'static str,
    },
    /// A folder that holds another run.
    #[error("{} holds {what} of another configuration; remove it, or give another --run-dir", path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
        /// A run or a result.
        what: &'static str,
    },
    /// A result that cannot be read.
    #[error("{} is damaged; remove it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<ResultError>,
    },
    /// Work that was done, without a result.
    #[error("{} is missing though it was to be made now; is the folder the same for all who write to it?", .0.display())]
    Unfinished(PathBuf),
    /// A part of the work that is not there.
    #[error("part {index} is asked for, and {} has {parts}", path.display())]
    Part {
        /// The file of the work.
        path: PathBuf,
        /// Which was asked for.
        index: usize,
        /// How many there are.
        parts: usize,
    },
    /// A file or folder.
    #[error("{}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        source: std::io::Error,
    },
    /// A file of results.
    #[error(transparent)]
    Results(Box<ResultError>),
    /// A run's folder.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// A configuration that cannot be written as TOML.
    #[error(transparent)]
    Config(Box<ConfigError>),
    /// Training or measuring.
    #[error(transparent)]
    Worker(Box<dyn Error + Send + Sync>),
}

impl ExperimentError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

macro_rules! from_boxed {
    ($($variant:ident: $source:ty),+) => {$(
        impl From<$source> for ExperimentError {
            fn from(source: $source) -> Self {
                Self::$variant(Box::new(source))
            }
        }
    )+};
}
from_boxed!(Results: ResultError, Train: TrainError, Config: ConfigError);
