//! Models of examples as they answer: on the CPU engine where they run on Flex, else on Burn's tensors.
//!
//! The engine runs exported models: packed ones and float ones. A latent one is scored as it is trained.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bitnet_config::RunConfig;
use bitnet_models::engine::sequence::{ClassifierEngine, SequenceEngine};
use bitnet_models::engine::{DenseFormat, FloatFormat, Kernel, Options, PerceptronEngine};
use bitnet_models::{Classifier, EncoderDecoder, Network, Perceptron, Projection, ToEngineError};
use burn::tensor::Device;

use crate::{TrainError, device};

/// A model that the CPU engine runs.
pub trait OnEngine: Network {
    /// The engine.
    type Engine;

    /// The model for the engine.
    ///
    /// # Errors
    /// If the engine does not run it, or the weights cannot be read.
    fn on_engine(
        &self,
        config: &RunConfig,
        options: Options,
    ) -> Result<Self::Engine, ToEngineError>;
}

impl OnEngine for Classifier {
    type Engine = ClassifierEngine;

    fn on_engine(
        &self,
        config: &RunConfig,
        options: Options,
    ) -> Result<Self::Engine, ToEngineError> {
        self.engine(&config.quant, options)
    }
}

impl OnEngine for EncoderDecoder {
    type Engine = SequenceEngine;

    fn on_engine(
        &self,
        config: &RunConfig,
        options: Options,
    ) -> Result<Self::Engine, ToEngineError> {
        self.engine(&config.quant, options)
    }
}

impl OnEngine for Perceptron {
    type Engine = PerceptronEngine;

    fn on_engine(
        &self,
        config: &RunConfig,
        options: Options,
    ) -> Result<Self::Engine, ToEngineError> {
        self.engine(&config.model, &config.quant, options)
    }
}

/// A model that answers.
pub enum Answering<'a, M: OnEngine> {
    /// On Burn's tensors.
    Tensors(Cow<'a, M>),
    /// On the CPU engine.
    Engine(Mutex<M::Engine>),
}

impl<'a, M: OnEngine> Answering<'a, M> {
    /// On the engine, if it runs the model and the device is Flex.
    ///
    /// # Errors
    /// If the weights cannot be read.
    pub fn new(model: Cow<'a, M>, config: &RunConfig, device: &Device) -> Result<Self, TrainError> {
        let latent = |projection: &Projection| matches!(projection, Projection::Ternary(_));
        let trains = model.projections().iter().any(|(_, one)| latent(one));
        if trains || !device::is_flex(device) {
            return Ok(Self::Tensors(model));
        }
        match model.on_engine(config, options()) {
            Ok(engine) => Ok(Self::Engine(Mutex::new(engine))),
            Err(ToEngineError::Model(_)) => Ok(Self::Tensors(model)),
            Err(error) => Err(error.into()),
        }
    }

    /// The kernel of the CPU engine, if it answers.
    pub fn kernel(&self) -> Option<Kernel> {
        match self {
            Self::Tensors(_) => None,
            Self::Engine(_) => Some(options().kernel),
        }
    }

    /// On Burn's tensors.
    pub(crate) fn tensors(model: &'a M) -> Self {
        Self::Tensors(Cow::Borrowed(model))
    }
}

/// Heads and caches are small here, and floats in 32 bits make the score that of Burn's tensors but for the order of sums.
fn options() -> Options {
    Options {
        threads: rayon::current_num_threads(),
        head: DenseFormat::F32,
        cache: FloatFormat::F32,
        ..Options::default()
    }
}

/// An engine to use; a panic elsewhere leaves nothing in it that counts.
pub(crate) fn lock<T>(engine: &Mutex<T>) -> MutexGuard<'_, T> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}
