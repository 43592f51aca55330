//! Vectors with labels: features of small images and the like.

use bitnet_config::RunConfig;
use bitnet_data::{EpochSampler, Vectors};
use bitnet_models::float::cross_entropy;
use bitnet_models::{ConfigError, Network, Perceptron};
use bitnet_results::Evaluation;
use burn::tensor::{Device, Tensor};

use super::{argmax, from_data, given, labels, rows};
use crate::TrainError;
use crate::checksum::Checksum;
use crate::evaluate::{at_most, read};
use crate::task::{StepLoss, Task};

/// Learns the class of a vector. Features are divided by the largest magnitude in the training split. The score is accuracy
/// and macro-F1.
pub struct ClassifyVectors {
    config: RunConfig,
    train: Vectors,
    validation: Vectors,
    test: Vectors,
    sampler: EpochSampler,
}

impl ClassifyVectors {
    /// Reads the vectors, splits them after a shuffle by `data.seed`, and fills in `model.input_size` and
    /// `model.num_labels`.
    ///
    /// # Errors
    /// If a file cannot be read or is not what it should be.
    pub fn new(config: &mut RunConfig) -> Result<Self, TrainError> {
        let data = &config.data;
        let label = Some(data.label_column.as_str()).filter(|name| !name.is_empty());
        let read = |path, known: Option<&Vectors>| Vectors::read(given(path), label, known);
        let mut train = read(&data.path, None)?.shuffled(data.seed);
        let mut test = match &data.test_path {
            Some(_) => read(&data.test_path, Some(&train))?,
            None => train.split_off_last(data.test_examples)?,
        };
        let mut validation = match &data.validation_path {
            Some(_) => read(&data.validation_path, Some(&train))?,
            None => train.split_off_last(data.validation_examples)?,
        };
        test.check_labels(&train)?;
        validation.check_labels(&train)?;
        let largest = train.values.iter().fold(0f32, |top, v| top.max(v.abs()));
        if largest > 0.0 {
            for split in [&mut train, &mut validation, &mut test] {
                split.values.iter_mut().for_each(|value| *value /= largest);
            }
        }
        let model = &mut config.model;
        from_data("model.input_size", &mut model.input_size, train.width)?;
        from_data(
            "model.num_labels",
            &mut model.num_labels,
            train.label_names.len(),
        )?;
        let lengths = vec![1; train.labels.len()];
        let sampler = EpochSampler::new(lengths, config.train.batch_size, config.train.seed)?;
        Ok(Self {
            config: config.clone(),
            train,
            validation,
            test,
            sampler,
        })
    }

    fn scores(
        model: &Perceptron,
        split: &Vectors,
        examples: &[usize],
        device: &Device,
    ) -> (Tensor<2>, Vec<i32>) {
        let x = rows(&split.values, split.width, examples, device);
        let labels = examples.iter().map(|i| split.labels[*i] as i32).collect();
        (model.forward(x), labels)
    }

    fn evaluate_split(
        &self,
        model: &Perceptron,
        split: &Vectors,
        max_batches: usize,
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        let order: Vec<usize> = (0..split.labels.len()).collect();
        let (mut loss, mut predicted) = (0.0, Vec::new());
        for examples in order
            .chunks(self.config.train.batch_size)
            .take(at_most(max_batches))
        {
            let (scores, truth) = Self::scores(model, split, examples, device);
            loss += read(cross_entropy(scores.clone(), labels(&truth, device)).sum())?;
            predicted.extend(argmax(scores)?);
        }
        let right = &split.labels[..predicted.len()];
        Ok(super::classify::of_classes(
            loss,
            &predicted,
            right,
            split.label_names.len(),
        ))
    }
}

impl Task for ClassifyVectors {
    type Model = Perceptron;

    fn model(&self, device: &Device) -> Result<Perceptron, ConfigError> {
        let config = &self.config;
        Perceptron::new(&config.model, &config.quant, config.train.seed, device)
    }

    fn loss(&self, model: &Perceptron, step: u64, device: &Device) -> StepLoss {
        let examples = self.sampler.batch(step);
        let (scores, truth) = Self::scores(model, &self.train, &examples, device);
        StepLoss {
            mean: cross_entropy(scores, labels(&truth, device)).mean(),
            tokens: examples.len(),
        }
    }

    fn evaluate(
        &self,
        model: &Perceptron,
        max_batches: usize,
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        self.evaluate_split(model, &self.validation, max_batches, device)
    }

    fn answer_one(&self, model: &Perceptron, device: &Device) -> Result<(), TrainError> {
        let (scores, _) = Self::scores(model, &self.test, &[0], device);
        argmax(scores).map(drop)
    }

    fn score(&self, model: &Perceptron, device: &Device) -> Result<Evaluation, TrainError> {
        self.evaluate_split(model, &self.test, 0, device)
    }

    fn label_names(&self) -> &[String] {
        &self.train.label_names
    }

    fn data_checksum(&self) -> String {
        let splits = [&self.train, &self.validation, &self.test];
        let add = |sum: Checksum, split: &&Vectors| sum.floats(&split.values).add(&split.labels);
        splits.iter().fold(Checksum::default(), add).text()
    }

    fn description(&self) -> String {
        format!(
            "{}: {} vectors of {} to train, {} to validate, {} to test, {} classes",
            self.train.name,
            self.train.labels.len(),
            self.train.width,
            self.validation.labels.len(),
            self.test.labels.len(),
            self.train.label_names.len()
        )
    }
}
