//! Why a model was not loaded.

use bitnet_engine::EngineError;

/// Why a model was not loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The files cannot be read or understood.
    #[error(transparent)]
    File(#[from] bitnet_formats::Error),
    /// The engine refuses the model or the options.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
