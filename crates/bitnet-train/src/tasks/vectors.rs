//! Vectors with labels: features of small images and the like.

use std::borrow::Cow;

use bitnet_config::{DataConfig, RunConfig};
use bitnet_data::{EpochSampler, Vectors, majority};
use bitnet_models::float::cross_entropy;
use bitnet_models::{Network, Perceptron, ToEngineError};
use bitnet_results::Evaluation;
use burn::tensor::Device;

use super::{ClassProbabilities, from_data, given, labels, rows};
use crate::answering::{Answering, lock};
use crate::checksum::Checksum;
use crate::evaluate::at_most;
use crate::task::{Answerer, Part, StepLoss, Task};
use crate::{Interrupt, TrainError};

/// The vectors to train, validate and test on, as `[data]` says, with their numbers as the files have them.
///
/// # Errors
/// If a file cannot be read or is not what it should be.
pub fn labelled_vectors(data: &DataConfig) -> Result<[Vectors; 3], TrainError> {
    let label = Some(data.label_column.as_str()).filter(|name| !name.is_empty());
    let read = |path, known: Option<&Vectors>| Vectors::read(given(path), label, known);
    let mut train = read(&data.path, None)?.shuffled(data.seed);
    let test = match &data.test_path {
        Some(_) => read(&data.test_path, Some(&train))?,
        None => train.split_off_last(data.test_examples)?,
    };
    let validation = match &data.validation_path {
        Some(_) => read(&data.validation_path, Some(&train))?,
        None => train.split_off_last(data.validation_examples)?,
    };
    test.check_labels(&train)?;
    validation.check_labels(&train)?;
    Ok([train, validation, test])
}

/// The probabilities of the classes of some vectors, whose numbers are divided by the largest magnitude already.
pub(crate) fn vector_probabilities(
    model: &Answering<'_, Perceptron>,
    values: &[f32],
    width: usize,
    classes: usize,
    batch_size: usize,
    device: &Device,
    interrupt: Interrupt<'_>,
) -> Result<ClassProbabilities, TrainError> {
    let order: Vec<usize> = (0..values.len() / width.max(1)).collect();
    let mut probabilities = ClassProbabilities::new(order.len(), classes);
    let model = match model {
        Answering::Tensors(model) => model,
        Answering::Engine(engine) => {
            let logits = lock(engine).logits(values).map_err(ToEngineError::from)?;
            probabilities.put_floats(&order, &logits);
            return Ok(probabilities);
        }
    };
    for examples in order.chunks(batch_size) {
        interrupt.check()?;
        let x = rows(values, width, examples, device);
        probabilities.put(examples, model.forward(x))?;
    }
    Ok(probabilities)
}

/// Learns the class of a vector. Features are divided by the largest magnitude in the training split. The score is accuracy
/// and macro-F1, with the accuracy of the commonest class beside them.
pub struct ClassifyVectors {
    config: RunConfig,
    train: Vectors,
    validation: Vectors,
    test: Vectors,
    largest: f32,
    sampler: EpochSampler,
}

impl ClassifyVectors {
    /// Reads the vectors, splits them after a shuffle by `data.seed`, and fills in `model.input_size` and
    /// `model.num_labels`.
    ///
    /// # Errors
    /// If a file cannot be read or is not what it should be.
    pub fn new(config: &mut RunConfig) -> Result<Self, TrainError> {
        let [mut train, mut validation, mut test] = labelled_vectors(&config.data)?;
        let largest = train.values.iter().fold(0f32, |top, v| top.max(v.abs()));
        let largest = if largest > 0.0 { largest } else { 1.0 };
        for split in [&mut train, &mut validation, &mut test] {
            split.values.iter_mut().for_each(|value| *value /= largest);
        }
        let model = &mut config.model;
        from_data("model.input_size", &mut model.input_size, train.width)?;
        from_data(
            "model.num_labels",
            &mut model.num_labels,
            train.label_names.len(),
        )?;
        let lengths = vec![1; train.labels.len()];
        let sampler = EpochSampler::new(lengths, config.train.step_sequences(), config.train.seed)?;
        Ok(Self {
            config: config.clone(),
            train,
            validation,
            test,
            largest,
            sampler,
        })
    }

    /// The largest magnitude in the training split, which all numbers are divided by.
    pub fn largest(&self) -> f32 {
        self.largest
    }

    fn evaluate_split(
        &self,
        model: &Answering<'_, Perceptron>,
        split: &Vectors,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let batch = self.config.train.batch_size;
        let first = at_most(max_batches).saturating_mul(batch);
        let first = first.min(split.labels.len());
        let values = &split.values[..first * split.width];
        let classes = split.label_names.len();
        let probabilities = vector_probabilities(
            model,
            values,
            split.width,
            classes,
            batch,
            device,
            interrupt,
        )?;
        let labels = split.labels.iter().copied().take(first).enumerate();
        Ok(probabilities.evaluation(labels))
    }
}

impl Task for ClassifyVectors {
    type Model = Perceptron;

    fn model(&self, device: &Device) -> Result<Perceptron, TrainError> {
        let config = &self.config;
        Ok(Perceptron::new(
            &config.model,
            &config.quant,
            config.train.seed,
            device,
        )?)
    }

    fn loss(&self, model: &Perceptron, part: Part, device: &Device) -> Option<StepLoss> {
        let examples = self.sampler.batch(part.step);
        let examples = part.share(&examples);
        if examples.is_empty() {
            return None;
        }
        let x = rows(&self.train.values, self.train.width, examples, device);
        let truth: Vec<i32> = (examples.iter())
            .map(|i| self.train.labels[*i] as i32)
            .collect();
        Some(StepLoss {
            mean: cross_entropy(model.forward(x), labels(&truth, device)).mean(),
            gradient: None,
            predictions: examples.len(),
            tokens: examples.len(),
        })
    }

    fn evaluate(
        &self,
        model: &Perceptron,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let model = Answering::tensors(model);
        self.evaluate_split(&model, &self.validation, max_batches, device, interrupt)
    }

    fn answerer<'a>(
        &'a self,
        model: &'a Perceptron,
        device: &'a Device,
    ) -> Result<Answerer<'a>, TrainError> {
        let model = Answering::new(Cow::Borrowed(model), &self.config, device)?;
        let kernel = model.kernel();
        let (width, classes) = (self.test.width, self.test.label_names.len());
        let first = &self.test.values[..width];
        let answer = Box::new(move || {
            vector_probabilities(&model, first, width, classes, 1, device, Interrupt::NEVER)
                .map(drop)
        });
        Ok(Answerer { answer, kernel })
    }

    fn score(&self, model: &Perceptron, device: &Device) -> Result<Evaluation, TrainError> {
        let model = Answering::new(Cow::Borrowed(model), &self.config, device)?;
        let most = majority(&self.train.labels, self.train.label_names.len());
        let right = self.test.labels.iter().filter(|label| **label == most);
        let share = right.count() as f64 / self.test.labels.len().max(1) as f64;
        Ok(Evaluation {
            majority_accuracy: Some(share),
            ..self.evaluate_split(&model, &self.test, 0, device, Interrupt::NEVER)?
        })
    }

    fn largest_feature(&self) -> Option<f32> {
        Some(self.largest)
    }

    fn label_names(&self) -> &[String] {
        &self.train.label_names
    }

    fn training_size(&self) -> Option<usize> {
        Some(self.train.labels.len())
    }

    fn validation_batches(&self) -> Option<usize> {
        Some(
            self.validation
                .labels
                .len()
                .div_ceil(self.config.train.batch_size),
        )
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
