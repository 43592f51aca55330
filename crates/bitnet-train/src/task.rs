//! What the training loop knows of a task: a model, the loss of a step, an evaluation and a score.

use bitnet_data::Tokenizer;
use bitnet_models::Network;
use bitnet_models::engine::Kernel;
use bitnet_results::Evaluation;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use crate::{Interrupt, Location, TrainError};

/// A part of a step: with gradient accumulation a step learns from several batches, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The step, the first being 0.
    pub step: u64,
    /// Which part of it, the first being 0.
    pub index: usize,
    /// How many a step of the run has at most; one that has fewer leaves out the last ones.
    pub of: usize,
}

impl Part {
    /// A step of one part.
    pub fn whole(step: u64) -> Self {
        let (index, of) = (0, 1);
        Self { step, index, of }
    }

    /// The parts of a step.
    pub fn all(step: u64, of: usize) -> impl Iterator<Item = Self> {
        (0..of).map(move |index| Self { step, index, of })
    }

    /// A number that no other part of a run has.
    pub fn number(self) -> u64 {
        (self.step.wrapping_mul(self.of as u64)).wrapping_add(self.index as u64)
    }

    /// Its share of what the step learns from, which is none where that is too little for all parts.
    pub fn share<T>(self, items: &[T]) -> &[T] {
        let size = items.len().div_ceil(self.of);
        items
            .chunks(size.max(1))
            .nth(self.index)
            .unwrap_or_default()
    }
}

/// The loss of one batch.
pub struct StepLoss {
    /// Mean over what the batch predicts, `[1]`.
    pub mean: Tensor<1>,
    /// Its gradient, where it was taken on the way; else it is asked of `mean`.
    pub gradient: Option<GradientsParams>,
    /// What the mean is over.
    pub predictions: usize,
    /// Tokens, or examples, that the step learns from.
    pub tokens: usize,
}

/// A model ready for one example.
pub struct Answerer<'a> {
    /// Answers the example.
    pub answer: Box<dyn FnMut() -> Result<(), TrainError> + 'a>,
    /// The kernel of the CPU engine, if it answers and scores such a model.
    pub kernel: Option<Kernel>,
}

impl<'a> Answerer<'a> {
    /// On Burn's tensors.
    pub(crate) fn tensors(answer: impl FnMut() -> Result<(), TrainError> + 'a) -> Self {
        Self {
            answer: Box::new(answer),
            kernel: None,
        }
    }
}

/// Data and objective of a run.
pub trait Task: Sync {
    /// What is trained.
    type Model: Network;

    /// A model with the latent weights that training begins with.
    ///
    /// # Errors
    /// If the configuration cannot be built, or weights that it starts from cannot be read.
    fn model(&self, device: &Device) -> Result<Self::Model, TrainError>;

    /// Loads what a step needs besides the data and the model, onto a plain device. Called before the first step, and
    /// before a run's folder is made; a second call does nothing.
    ///
    /// # Errors
    /// If it is not there, or does not fit.
    fn prepare(&self, _device: &Device) -> Result<(), TrainError> {
        Ok(())
    }

    /// The loss of a part of a step; none if there is nothing in it. What it sees is a function of the seed and the step
    /// alone, and all parts together see what a step of one part with as many sequences sees.
    fn loss(&self, model: &Self::Model, part: Part, device: &Device) -> Option<StepLoss>;

    /// Evaluates on the validation split; at most `max_batches` batches, or with 0 all of it.
    ///
    /// # Errors
    /// If the results cannot be read from the device, or it is interrupted between two batches.
    fn evaluate(
        &self,
        model: &Self::Model,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError>;

    /// The result that counts, of a finished model: on the test split, where there is one, with the task's own metric.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    fn score(&self, model: &Self::Model, device: &Device) -> Result<Evaluation, TrainError>;

    /// Makes a model ready for the first example of the test split at batch size 1, to time its latency.
    ///
    /// # Errors
    /// If the model cannot be made ready.
    fn answerer<'a>(
        &'a self,
        model: &'a Self::Model,
        device: &'a Device,
    ) -> Result<Answerer<'a>, TrainError>;

    /// A prompt and what a finished model makes of it, where the task writes. The same weights write the same.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    fn sample(
        &self,
        _model: &Self::Model,
        _step: u64,
        _device: &Device,
        _interrupt: Interrupt<'_>,
    ) -> Result<Option<(String, String)>, TrainError> {
        Ok(None)
    }

    /// What turns text into tokens, if anything does.
    fn tokenizer(&self) -> Option<&Tokenizer> {
        None
    }

    /// The model that training starts from, if its files bring the tokenizer.
    fn origin(&self) -> Option<&Location> {
        None
    }

    /// The names of the classes, if there are any.
    fn label_names(&self) -> &[String] {
        &[]
    }

    /// What the numbers of vectors are divided by, if they are.
    fn largest_feature(&self) -> Option<f32> {
        None
    }

    /// Tokens, or examples, of the training split, counted as [`StepLoss::tokens`] are; `None` of made data without end.
    fn training_size(&self) -> Option<usize> {
        None
    }

    /// Batches that [`Task::evaluate`] reads of the whole validation split; `None` if nobody knows.
    fn validation_batches(&self) -> Option<usize> {
        None
    }

    /// What looks wrong with the data for these settings.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// A checksum of all that is learned from: equal data gives equal ones.
    fn data_checksum(&self) -> String;

    /// One line: what is learned from.
    fn description(&self) -> String;
}
