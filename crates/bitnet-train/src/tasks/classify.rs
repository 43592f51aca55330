//! Texts with labels.

use std::borrow::Cow;

use bitnet_config::{DataConfig, RunConfig};
use bitnet_data::{
    DataError, EpochSampler, LabelledBatch, NaiveBayes, SequenceVocabulary, Table, Tokenizer,
    at_least_one, majority,
};
use bitnet_models::float::cross_entropy;
use bitnet_models::{Classifier, Network, Sequences, ToEngineError};
use bitnet_results::Evaluation;
use burn::tensor::{Device, Tensor};

use super::{ClassProbabilities, from_data, given, labels};
use crate::answering::{Answering, lock};
use crate::checksum::Checksum;
use crate::evaluate::at_most;
use crate::task::{Answerer, Part, StepLoss, Task};
use crate::{Interrupt, TrainError};

struct Split {
    ids: Vec<Vec<u32>>,
    labels: Vec<usize>,
}

/// The texts to train, validate and test on, as `[data]` says.
///
/// # Errors
/// If a file cannot be read or is not what it should be.
pub fn labelled_texts(data: &DataConfig) -> Result<[Table; 3], TrainError> {
    let label = label_column(data);
    let read = |paths, names: Option<&[String]>| -> Result<Table, DataError> {
        Table::read(given(paths), &data.text_columns, label, names)
    };
    let mut train = read(&data.path, None)?;
    if data.shuffle && (data.test_path.is_none() || data.validation_path.is_none()) {
        train = train.shuffled(data.seed);
    }
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
    Ok([train, validation, test])
}

/// In which order the splits were taken, in words.
pub(crate) fn order(data: &DataConfig) -> String {
    let split = [
        (&data.test_path, &data.test_source),
        (&data.validation_path, &data.validation_source),
    ]
    .iter()
    .any(|(path, source)| path.is_none() && source.is_none());
    match (split, data.shuffle) {
        (true, true) => format!(", split after a shuffle with seed {}", data.seed),
        (true, false) => ", split in the order of the file".to_owned(),
        (false, _) => String::new(),
    }
}

/// The column that holds the label of a text.
pub fn label_column(data: &DataConfig) -> &str {
    match data.label_column.as_str() {
        "" => "label",
        name => name,
    }
}

/// The probabilities of the classes of some texts, `ids` each; texts of similar length share a batch.
pub(crate) fn text_probabilities(
    model: &Answering<'_, Classifier>,
    ids: &[&[u32]],
    classes: usize,
    batch_size: usize,
    device: &Device,
    interrupt: Interrupt<'_>,
) -> Result<ClassProbabilities, TrainError> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    let mut probabilities = ClassProbabilities::new(ids.len(), classes);
    let model = match model {
        Answering::Tensors(model) => model,
        Answering::Engine(engine) => {
            let ids: Vec<&[u32]> = ids.iter().map(|ids| at_least_one(ids)).collect();
            let logits = lock(engine).logits(&ids).map_err(ToEngineError::from)?;
            probabilities.put_floats(&order, &logits);
            return Ok(probabilities);
        }
    };
    order.sort_by_key(|i| ids[*i].len());
    for examples in order.chunks(batch_size) {
        interrupt.check()?;
        let batch = LabelledBatch::new(examples.iter().map(|i| (ids[*i], 0)));
        let (logits, _) = Classify::logits(model, batch, device);
        probabilities.put(examples, logits)?;
    }
    Ok(probabilities)
}

/// Learns the label of a text. The score is accuracy and macro-F1, with the accuracy of the commonest class and of
/// naive Bayes beside them.
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
        let mut tables = labelled_texts(&config.data)?;
        if config.data.lowercase {
            for text in tables.iter_mut().flat_map(|table| &mut table.texts) {
                *text = text.to_lowercase();
            }
        }
        let [train, validation, test] = tables;
        from_data(
            "model.num_labels",
            &mut config.model.num_labels,
            train.label_names.len(),
        )?;
        let data = &config.data;
        let texts: Vec<&str> = train.texts.iter().map(String::as_str).collect();
        let tokenizer = super::tokenizer(data, tokenizer, &texts)?;
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
        let sampler = EpochSampler::new(lengths, config.train.step_sequences(), config.train.seed)?;
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

    fn logits(model: &Classifier, batch: LabelledBatch, device: &Device) -> (Tensor<2>, Vec<i32>) {
        let LabelledBatch { inputs, labels } = batch;
        let sequences = Sequences::new(&inputs.ids, &inputs.lengths, inputs.width, device);
        (model.forward(&sequences), labels)
    }

    fn evaluate_split(
        &self,
        model: &Answering<'_, Classifier>,
        split: &Split,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let batch = self.config.train.batch_size;
        let first = at_most(max_batches).saturating_mul(batch);
        let ids: Vec<&[u32]> = split.ids.iter().map(Vec::as_slice).take(first).collect();
        let classes = self.label_names.len();
        let probabilities = text_probabilities(model, &ids, classes, batch, device, interrupt)?;
        let labels = split.labels.iter().copied().take(first).enumerate();
        Ok(probabilities.evaluation(labels))
    }
}

impl Task for Classify {
    type Model = Classifier;

    fn model(&self, device: &Device) -> Result<Classifier, TrainError> {
        let config = &self.config;
        Ok(Classifier::new(
            &config.model,
            &config.quant,
            config.train.seed,
            device,
        )?)
    }

    fn loss(&self, model: &Classifier, part: Part, device: &Device) -> Option<StepLoss> {
        let examples = self.sampler.batch(part.step);
        let examples = part.share(&examples);
        if examples.is_empty() {
            return None;
        }
        let mut batch = Self::batch(&self.train, examples);
        let train = &self.config.train;
        batch
            .inputs
            .drop_tokens(train.token_dropout, train.seed, part.number());
        let (logits, truth) = Self::logits(model, batch, device);
        Some(StepLoss {
            mean: cross_entropy(logits, labels(&truth, device)).mean(),
            gradient: None,
            predictions: examples.len(),
            tokens: examples.iter().map(|i| self.train.ids[*i].len()).sum(),
        })
    }

    fn evaluate(
        &self,
        model: &Classifier,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let model = Answering::tensors(model);
        self.evaluate_split(&model, &self.validation, max_batches, device, interrupt)
    }

    fn answerer<'a>(
        &'a self,
        model: &'a Classifier,
        device: &'a Device,
    ) -> Result<Answerer<'a>, TrainError> {
        let model = Answering::new(Cow::Borrowed(model), &self.config, device)?;
        let kernel = model.kernel();
        let (ids, classes) = ([self.test.ids[0].as_slice()], self.label_names.len());
        let answer = Box::new(move || {
            text_probabilities(&model, &ids, classes, 1, device, Interrupt::NEVER).map(drop)
        });
        Ok(Answerer { answer, kernel })
    }

    fn score(&self, model: &Classifier, device: &Device) -> Result<Evaluation, TrainError> {
        let model = Answering::new(Cow::Borrowed(model), &self.config, device)?;
        let [train, _, test] = labelled_texts(&self.config.data)?;
        let labels = train.labels.iter().copied();
        let words = NaiveBayes::fit(
            train.texts.iter().map(String::as_str).zip(labels),
            self.label_names.len(),
        );
        let most = majority(&train.labels, self.label_names.len());
        let share = |right: &dyn Fn(usize) -> bool| {
            let right = (0..test.labels.len()).filter(|i| right(*i)).count();
            Some(right as f64 / test.labels.len().max(1) as f64)
        };
        Ok(Evaluation {
            majority_accuracy: share(&|i| test.labels[i] == most),
            naive_bayes_accuracy: share(&|i| test.labels[i] == words.class(&test.texts[i])),
            ..self.evaluate_split(&model, &self.test, 0, device, Interrupt::NEVER)?
        })
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(self.vocabulary.tokenizer())
    }

    fn label_names(&self) -> &[String] {
        &self.label_names
    }

    fn training_size(&self) -> Option<usize> {
        Some(self.train.ids.iter().map(Vec::len).sum())
    }

    fn validation_batches(&self) -> Option<usize> {
        Some(
            self.validation
                .ids
                .len()
                .div_ceil(self.config.train.batch_size),
        )
    }

    fn remarks(&self) -> Vec<String> {
        let longest = self.config.data.max_length;
        let all = self.train.ids.len();
        let cut = self.train.ids.iter().filter(|ids| ids.len() == longest);
        match cut.count() {
            cut if 10 * cut > all => vec![format!(
                "{cut} of {all} texts reach data.max_length = {longest} tokens and lose the rest; raise it"
            )],
            _ => Vec::new(),
        }
    }

    fn data_checksum(&self) -> String {
        let splits = [&self.train, &self.validation, &self.test];
        let all = splits.map(|split| (&split.ids, &split.labels));
        Checksum::default().add(&all).text()
    }

    fn description(&self) -> String {
        format!(
            "{}{}: {} texts to train, {} to validate, {} to test, {} classes, vocabulary {}",
            self.name,
            order(&self.config.data),
            self.train.labels.len(),
            self.validation.labels.len(),
            self.test.labels.len(),
            self.label_names.len(),
            self.vocabulary.size()
        )
    }
}
