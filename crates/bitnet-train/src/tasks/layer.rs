//! One linear layer on a regression: what a ternary layer can and cannot express.

use bitnet_config::RunConfig;
use bitnet_data::{EpochSampler, Regression};
use bitnet_models::{Network, SingleLayer};
use bitnet_results::Evaluation;
use burn::tensor::{Device, Tensor};

use super::rows;
use crate::checksum::Checksum;
use crate::evaluate::{at_most, read};
use crate::task::{Answerer, Part, StepLoss, Task};
use crate::{Interrupt, TrainError};

/// Examples of a batch of an evaluation.
const BATCH: usize = 256;

/// Learns a linear map from noisy examples. The score is the mean squared error of an output.
pub struct LayerRegression {
    config: RunConfig,
    train: Regression,
    validation: Regression,
    test: Regression,
    sampler: EpochSampler,
}

impl LayerRegression {
    /// Makes the examples.
    ///
    /// # Errors
    /// If there are none.
    pub fn new(config: &RunConfig) -> Result<Self, TrainError> {
        let (data, model) = (&config.data, &config.model);
        let examples = data.examples + data.validation_examples + data.test_examples;
        let mut train = Regression::linear_teacher(
            model.input_size,
            model.num_labels,
            examples,
            data.noise,
            data.seed,
        );
        let test = train.split_off_last(data.test_examples)?;
        let validation = train.split_off_last(data.validation_examples)?;
        let lengths = vec![1; train.len()];
        let sampler = EpochSampler::new(lengths, config.train.step_sequences(), config.train.seed)?;
        Ok(Self {
            config: config.clone(),
            train,
            validation,
            test,
            sampler,
        })
    }

    /// Squared errors, `[b, outputs]`.
    fn errors(
        model: &SingleLayer,
        split: &Regression,
        examples: &[usize],
        device: &Device,
    ) -> Tensor<2> {
        let rows = |values, width| rows(values, width, examples, device);
        let error = model.forward(rows(&split.x, split.inputs)) - rows(&split.y, split.outputs);
        error.clone() * error
    }

    fn evaluate_split(
        &self,
        model: &SingleLayer,
        split: &Regression,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let order: Vec<usize> = (0..split.len()).collect();
        let (mut loss, mut read_examples) = (0.0, 0);
        for examples in order.chunks(BATCH).take(at_most(max_batches)) {
            interrupt.check()?;
            loss += read(Self::errors(model, split, examples, device).sum())?;
            read_examples += examples.len();
        }
        Ok(Evaluation {
            examples: Some(read_examples),
            loss: loss / (read_examples * split.outputs).max(1) as f64,
            ..Evaluation::default()
        })
    }
}

impl Task for LayerRegression {
    type Model = SingleLayer;

    fn model(&self, device: &Device) -> Result<SingleLayer, TrainError> {
        let config = &self.config;
        Ok(SingleLayer::new(
            &config.model,
            &config.quant,
            config.train.seed,
            device,
        )?)
    }

    fn loss(&self, model: &SingleLayer, part: Part, device: &Device) -> Option<StepLoss> {
        let examples = self.sampler.batch(part.step);
        let examples = part.share(&examples);
        if examples.is_empty() {
            return None;
        }
        Some(StepLoss {
            mean: Self::errors(model, &self.train, examples, device).mean(),
            gradient: None,
            predictions: examples.len(),
            tokens: examples.len(),
        })
    }

    fn evaluate(
        &self,
        model: &SingleLayer,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        self.evaluate_split(model, &self.validation, max_batches, device, interrupt)
    }

    fn answerer<'a>(
        &'a self,
        model: &'a SingleLayer,
        device: &'a Device,
    ) -> Result<Answerer<'a>, TrainError> {
        Ok(Answerer::tensors(move || {
            read(Self::errors(model, &self.test, &[0], device).sum()).map(drop)
        }))
    }

    fn score(&self, model: &SingleLayer, device: &Device) -> Result<Evaluation, TrainError> {
        self.evaluate_split(model, &self.test, 0, device, Interrupt::NEVER)
    }

    fn training_size(&self) -> Option<usize> {
        Some(self.train.len())
    }

    fn validation_batches(&self) -> Option<usize> {
        Some(self.validation.len().div_ceil(BATCH))
    }

    fn data_checksum(&self) -> String {
        let splits = [&self.train, &self.validation, &self.test];
        let add = |sum: Checksum, split: &&Regression| sum.floats(&split.x).floats(&split.y);
        splits.iter().fold(Checksum::default(), add).text()
    }

    fn description(&self) -> String {
        format!(
            "a linear map from {} to {} with noise {}: {} examples to train, {} to validate, {} to test",
            self.train.inputs,
            self.train.outputs,
            self.config.data.noise,
            self.train.len(),
            self.validation.len(),
            self.test.len()
        )
    }
}
