//! Texts with labels.

use bitnet_config::RunConfig;
use bitnet_data::{
    DataError, EpochSampler, LabelledBatch, SequenceVocabulary, Table, Tokenizer, scores,
};
use bitnet_models::float::cross_entropy;
use bitnet_models::{Classifier, ConfigError, Network, Sequences};
use bitnet_results::Evaluation;
use burn::tensor::{Device, Tensor};

use super::{argmax, from_data, given, labels, tokenizer_kind};
use crate::TrainError;
use crate::checksum::Checksum;
use crate::evaluate::{at_most, read};
use crate::task::{StepLoss, Task};

struct Split {
    ids: Vec<Vec<u32>>,
    labels: Vec<usize>,
}

/// Learns the label of a text. The score is accuracy and macro-F1.
pub struct Classify {
    config: RunConfig,
    name: String,
    vocabulary: SequenceVocabulary,
    label_names: Vec<String>,
    train: Split,
    validation: Split,
    test: Split,
    sampler: EpochSampler,
}

impl Classify {
    /// Reads the table, makes the vocabulary, and fills in `model.vocab_size` and `model.num_labels`.
    ///
    /// # Errors
    /// If a file cannot be read or is not what it should be.
    pub fn new(config: &mut RunConfig, tokenizer: Option<Tokenizer>) -> Result<Self, TrainError> {
        let data = &config.data;
        let label = match data.label_column.as_str() {
            "" => "label",
            name => name,
        };
        let read = |path, names: Option<&[String]>| -> Result<Table, DataError> {
            let mut table = Table::read(given(path), &data.text_columns, label, names)?;
            if data.lowercase {
                table
                    .texts
                    .iter_mut()
                    .for_each(|text| *text = text.to_lowercase());
            }
            Ok(table)
        };
        let mut train = read(&data.path, None)?;
        let test = match &data.test_path {
            Some(_) => read(&data.test_path, Some(&train.label_names))?,
            None => train.split_off_last(data.test_examples)?,
        };
        let validation = match &data.validation_path {
            Some(_) => read(&data.validation_path, Some(&train.label_names))?,
            None => train.split_off_last(data.validation_examples)?,
        };
        test.check_labels(&train)?;
        validation.check_labels(&train)?;
        from_data(
            "model.num_labels",
            &mut config.model.num_labels,
            train.label_names.len(),
        )?;
        let data = &config.data;
        let tokenizer = match tokenizer {
            Some(tokenizer) => tokenizer,
            None => {
                let texts: Vec<&str> = train.texts.iter().map(String::as_str).collect();
                Tokenizer::for_texts(tokenizer_kind(data), &texts)?
            }
        };
        let vocabulary = SequenceVocabulary::new(tokenizer);
        let longest = data.max_length;
        let split = |table: &Table| Split {
            ids: table
                .texts
                .iter()
                .map(|text| {
                    let mut ids = vocabulary.encode(text);
                    ids.truncate(longest);
                    ids
                })
                .collect(),
            labels: table.labels.clone(),
        };
        let (train_split, validation, test) = (split(&train), split(&validation), split(&test));
        super::vocabulary(&mut config.model.vocab_size, vocabulary.size())?;
        let lengths = train_split.ids.iter().map(Vec::len).collect();
        let sampler = EpochSampler::new(lengths, config.train.batch_size, config.train.seed)?;
        Ok(Self {
            config: config.clone(),
            name: train.name,
            label_names: train.label_names,
            vocabulary,
            train: train_split,
            validation,
            test,
            sampler,
        })
    }

    fn batch(split: &Split, examples: &[usize]) -> LabelledBatch {
        let chosen = examples
            .iter()
            .map(|i| (split.ids[*i].as_slice(), split.labels[*i]));
        LabelledBatch::new(chosen)
    }

    fn scores(model: &Classifier, batch: LabelledBatch, device: &Device) -> (Tensor<2>, Vec<i32>) {
        let LabelledBatch { inputs, labels } = batch;
        let sequences = Sequences::new(&inputs.ids, &inputs.lengths, inputs.width, device);
        (model.forward(&sequences), labels)
    }

    fn evaluate_split(
        &self,
        model: &Classifier,
        split: &Split,
        max_batches: usize,
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        let mut order: Vec<usize> = (0..split.labels.len()).collect();
        if max_batches == 0 {
            order.sort_by_key(|i| split.ids[*i].len());
        }
        let (mut loss, mut predicted, mut right) = (0.0, Vec::new(), Vec::new());
        for examples in order
            .chunks(self.config.train.batch_size)
            .take(at_most(max_batches))
        {
            let (scores, truth) = Self::scores(model, Self::batch(split, examples), device);
            loss += read(cross_entropy(scores.clone(), labels(&truth, device)).sum())?;
            predicted.extend(argmax(scores)?);
            right.extend(examples.iter().map(|i| split.labels[*i]));
        }
        Ok(of_classes(loss, &predicted, &right, self.label_names.len()))
    }
}

impl Task for Classify {
    type Model = Classifier;

    fn model(&self, device: &Device) -> Result<Classifier, ConfigError> {
        let config = &self.config;
        Classifier::new(&config.model, &config.quant, config.train.seed, device)
    }

    fn loss(&self, model: &Classifier, step: u64, device: &Device) -> StepLoss {
        let examples = self.sampler.batch(step);
        let mut batch = Self::batch(&self.train, &examples);
        let train = &self.config.train;
        batch
            .inputs
            .drop_tokens(train.token_dropout, train.seed, step);
        let (scores, truth) = Self::scores(model, batch, device);
        StepLoss {
            mean: cross_entropy(scores, labels(&truth, device)).mean(),
            tokens: examples.iter().map(|i| self.train.ids[*i].len()).sum(),
        }
    }

    fn evaluate(
        &self,
        model: &Classifier,
        max_batches: usize,
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        self.evaluate_split(model, &self.validation, max_batches, device)
    }

    fn answer_one(&self, model: &Classifier, device: &Device) -> Result<(), TrainError> {
        let (scores, _) = Self::scores(model, Self::batch(&self.test, &[0]), device);
        argmax(scores).map(drop)
    }

    fn score(&self, model: &Classifier, device: &Device) -> Result<Evaluation, TrainError> {
        self.evaluate_split(model, &self.test, 0, device)
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(self.vocabulary.tokenizer())
    }

    fn label_names(&self) -> &[String] {
        &self.label_names
    }

    fn data_checksum(&self) -> String {
        let splits = [&self.train, &self.validation, &self.test];
        let all = splits.map(|split| (&split.ids, &split.labels));
        Checksum::default().add(&all).text()
    }

    fn description(&self) -> String {
        format!(
            "{}: {} texts to train, {} to validate, {} to test, {} classes, vocabulary {}",
            self.name,
            self.train.labels.len(),
            self.validation.labels.len(),
            self.test.labels.len(),
            self.label_names.len(),
            self.vocabulary.size()
        )
    }
}

/// Of the summed loss of some examples, and what was predicted for them.
pub(crate) fn of_classes(
    loss: f64,
    predicted: &[usize],
    labels: &[usize],
    classes: usize,
) -> Evaluation {
    Evaluation {
        tokens: labels.len(),
        loss: loss / labels.len().max(1) as f64,
        accuracy: Some(scores::accuracy(predicted, labels)),
        macro_f1: Some(scores::macro_f1(predicted, labels, classes)),
        ..Evaluation::default()
    }
}
