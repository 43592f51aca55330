//! Why a model was not loaded.

use bitnet_engine::EngineError;

/// Why a model was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The files cannot be read or understood.
    #[error(transparent)]
    File(#[from] bitnet_formats::Error),
    /// No format of others has such a model.
    #[error(
        "no format of other programs has this model: {reason}; train one with other settings, or keep it as a run"
    )]
    NoFormat {
        /// What it has that none of them has.
        reason: &'static str,
    },
    /// The engine refuses the model or the options.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
