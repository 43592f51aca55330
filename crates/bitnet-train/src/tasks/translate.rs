//! Sequence to sequence: translation, and the synthetic tasks.

use std::borrow::Cow;

use bitnet_config::{DataConfig, RunConfig, Synthetic, Task as Kind};
use bitnet_data::{
    EpochSampler, PairBatch, PairColumns, Pairs, SequenceVocabulary, SyntheticTask, Tokenizer,
    scores, synthetic,
};
use bitnet_models::{EncoderDecoder, Network, Sequences};
use bitnet_results::Evaluation;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::given;
use super::writing::{teacher_forced, translate};
use crate::answering::Answering;
use crate::checksum::Checksum;
use crate::loss::{smoothed, token_losses};
use crate::task::{Answerer, Part, StepLoss, Task};
use crate::{Interrupt, TrainError};

/// Sentence pairs as token ids.
pub(super) struct Split {
    pub pairs: Pairs,
    pub source: Vec<Vec<u32>>,
    pub target: Vec<Vec<u32>>,
}

/// Learns to write the target of a source. The score is BLEU and the share of outputs that are right in every token.
pub struct Translate {
    config: RunConfig,
    vocabulary: SequenceVocabulary,
    train: Split,
    validation: Split,
    test: Split,
    sampler: EpochSampler,
    left_out: usize,
}

impl Translate {
    /// Reads or makes the pairs, makes the vocabulary, and fills in `model.vocab_size`. With `tokenizer`, that of an earlier
    /// run, the ids are those of its model.
    ///
    /// # Errors
    /// If a file cannot be read or is not what it should be.
    pub fn new(config: &mut RunConfig, tokenizer: Option<Tokenizer>) -> Result<Self, TrainError> {
        let [train, validation, test] = sentence_pairs(config)?;
        let texts = train.source.iter().chain(&train.target);
        let texts: Vec<&str> = texts.map(String::as_str).collect();
        let tokenizer = super::tokenizer(&config.data, tokenizer, &texts)?;
        let vocabulary = SequenceVocabulary::new(tokenizer);
        super::vocabulary(&mut config.model.vocab_size, vocabulary.size())?;
        let longest = config.data.max_length;
        let before = train.len();
        let mut train = Split::new(train, &vocabulary);
        train.retain_shorter(longest);
        if train.pairs.is_empty() {
            return Err(TrainError::TooLong {
                name: train.pairs.name.clone(),
                max_length: longest,
            });
        }
        let left_out = before - train.pairs.len();
        let lengths = (0..train.pairs.len())
            .map(|i| train.source[i].len() + train.target[i].len())
            .collect();
        let sampler = EpochSampler::new(lengths, config.train.step_sequences(), config.train.seed)?;
        Ok(Self {
            validation: Split::new(validation, &vocabulary).cut(longest - 1),
            test: Split::new(test, &vocabulary).cut(longest - 1),
            config: config.clone(),
            vocabulary,
            train,
            sampler,
            left_out,
        })
    }

    /// The best output for each text.
    ///
    /// # Errors
    /// If the device fails.
    fn translate(
        &self,
        model: &Answering<'_, EncoderDecoder>,
        texts: &[&str],
        device: &Device,
    ) -> Result<Vec<String>, TrainError> {
        translate(model, &self.vocabulary, &self.config, texts, device)
    }
}

pub(super) fn batch(split: &Split, examples: &[usize]) -> PairBatch {
    PairBatch::new(
        examples
            .iter()
            .map(|i| (split.source[*i].as_slice(), split.target[*i].as_slice())),
    )
}

/// Losses of the target tokens, padding 0, `[b · t]`; the logits; the targets; which count.
pub(super) fn forward(
    model: &EncoderDecoder,
    batch: &PairBatch,
    smoothing: f64,
    device: &Device,
) -> Scored {
    let source = &batch.source;
    let source = Sequences::new(&source.ids, &source.lengths, source.width, device);
    let inputs = &batch.target_inputs;
    let shape = [inputs.rows, inputs.width];
    let ints = |ids: &[i32]| -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(ids.to_vec(), shape), (device, DType::I32))
    };
    let targets = ints(&batch.target_outputs);
    let logits = model.forward(&source, ints(&inputs.ids));
    let counts: Vec<f32> = inputs
        .lengths
        .iter()
        .flat_map(|length| (0..inputs.width).map(move |t| f32::from(u8::from(t < *length))))
        .collect();
    let rows = counts.len();
    let counts = Tensor::<1>::from_data(TensorData::new(counts, [rows]), device);
    let losses = token_losses(logits.clone(), targets.clone());
    let losses = smoothed(losses, &logits, &targets, smoothing) * counts.clone();
    Scored {
        losses,
        logits,
        targets,
        counts,
    }
}

/// Loss, BLEU and exact match of a split, and what was written for each source.
fn scored(
    model: &Answering<'_, EncoderDecoder>,
    vocabulary: &SequenceVocabulary,
    config: &RunConfig,
    split: &Split,
    device: &Device,
) -> Result<(Evaluation, Vec<String>), TrainError> {
    let batch = config.train.batch_size;
    let mut evaluation = teacher_forced(model, split, batch, 0, device, Interrupt::NEVER)?;
    let texts: Vec<&str> = split.pairs.source.iter().map(String::as_str).collect();
    let outputs = translate(model, vocabulary, config, &texts, device)?;
    let references = &split.pairs.target;
    evaluation.examples = Some(split.pairs.len());
    evaluation.exact_match = Some(scores::exact_match(&outputs, references));
    if config.task == Kind::Translate {
        evaluation.bleu = Some(scores::bleu(&outputs, references).score);
    }
    Ok((evaluation, outputs))
}

/// [`scored`] of pairs that are not encoded yet.
pub(crate) fn score_pairs(
    model: &Answering<'_, EncoderDecoder>,
    vocabulary: &SequenceVocabulary,
    config: &RunConfig,
    pairs: &Pairs,
    device: &Device,
) -> Result<(Evaluation, Vec<String>), TrainError> {
    let split = Split::new(pairs.clone(), vocabulary).cut(config.data.max_length - 1);
    scored(model, vocabulary, config, &split, device)
}

pub(super) struct Scored {
    pub losses: Tensor<1>,
    pub logits: Tensor<3>,
    pub targets: Tensor<2, Int>,
    pub counts: Tensor<1>,
}

impl Split {
    /// Encodes pairs.
    fn new(pairs: Pairs, vocabulary: &SequenceVocabulary) -> Self {
        let encode = |texts: &[String]| texts.iter().map(|text| vocabulary.encode(text)).collect();
        Self {
            source: encode(&pairs.source),
            target: encode(&pairs.target),
            pairs,
        }
    }

    /// Keeps the pairs whose two sequences have fewer than `limit` tokens.
    fn retain_shorter(&mut self, limit: usize) {
        let keep: Vec<bool> = (self.source.iter().zip(&self.target))
            .map(|(source, target)| source.len() < limit && target.len() < limit)
            .collect();
        for side in [&mut self.source, &mut self.target] {
            let mut keep = keep.iter();
            side.retain(|_| keep.next() == Some(&true));
        }
        self.pairs.retain(&keep);
    }

    /// Cuts longer sequences.
    fn cut(mut self, longest: usize) -> Self {
        for ids in self.source.iter_mut().chain(&mut self.target) {
            ids.truncate(longest);
        }
        self
    }
}

impl Task for Translate {
    type Model = EncoderDecoder;

    fn model(&self, device: &Device) -> Result<EncoderDecoder, TrainError> {
        let config = &self.config;
        Ok(EncoderDecoder::new(
            &config.model,
            &config.quant,
            config.train.seed,
            device,
        )?)
    }

    fn loss(&self, model: &EncoderDecoder, part: Part, device: &Device) -> Option<StepLoss> {
        let examples = self.sampler.batch(part.step);
        let examples = part.share(&examples);
        if examples.is_empty() {
            return None;
        }
        let batch = batch(&self.train, examples);
        let scored = forward(model, &batch, self.config.train.label_smoothing, device);
        Some(StepLoss {
            mean: scored
                .losses
                .sum()
                .mul_scalar(1.0 / batch.tokens.max(1) as f64),
            gradient: None,
            predictions: batch.tokens,
            tokens: batch.tokens,
        })
    }

    fn evaluate(
        &self,
        model: &EncoderDecoder,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let (model, batch) = (Answering::tensors(model), self.config.train.batch_size);
        teacher_forced(
            &model,
            &self.validation,
            batch,
            max_batches,
            device,
            interrupt,
        )
    }

    fn answerer<'a>(
        &'a self,
        model: &'a EncoderDecoder,
        device: &'a Device,
    ) -> Result<Answerer<'a>, TrainError> {
        let model = Answering::new(Cow::Borrowed(model), &self.config, device)?;
        let kernel = model.kernel();
        let first = self.test.pairs.source.first().map_or("", String::as_str);
        let answer = Box::new(move || self.translate(&model, &[first], device).map(drop));
        Ok(Answerer { answer, kernel })
    }

    fn score(&self, model: &EncoderDecoder, device: &Device) -> Result<Evaluation, TrainError> {
        let Self {
            vocabulary,
            config,
            test,
            ..
        } = self;
        let model = Answering::new(Cow::Borrowed(model), config, device)?;
        scored(&model, vocabulary, config, test, device).map(|(evaluation, _)| evaluation)
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(self.vocabulary.tokenizer())
    }

    fn training_size(&self) -> Option<usize> {
        // A target ends with one token more.
        Some(self.train.target.iter().map(|ids| ids.len() + 1).sum())
    }

    fn validation_batches(&self) -> Option<usize> {
        Some(
            self.validation
                .pairs
                .len()
                .div_ceil(self.config.train.batch_size),
        )
    }

    fn remarks(&self) -> Vec<String> {
        let all = self.left_out + self.train.pairs.len();
        match self.left_out {
            left_out if 10 * left_out > all => vec![format!(
                "{left_out} of {all} pairs are longer than data.max_length = {} tokens and are left out; raise it",
                self.config.data.max_length
            )],
            _ => Vec::new(),
        }
    }

    fn data_checksum(&self) -> String {
        let splits = [&self.train, &self.validation, &self.test];
        let all = splits.map(|split| (&split.pairs.source, &split.pairs.target));
        Checksum::default().add(&all).text()
    }

    fn description(&self) -> String {
        let left_out = match self.left_out {
            0 => String::new(),
            n => format!(" ({n} longer than data.max_length left out)"),
        };
        format!(
            "{}{}: {} pairs to train{left_out}, {} to validate, {} to test, vocabulary {}",
            self.train.pairs.name,
            match self.config.task {
                Kind::Synthetic => String::new(),
                _ => super::classify::order(&self.config.data),
            },
            self.train.pairs.len(),
            self.validation.pairs.len(),
            self.test.pairs.len(),
            self.vocabulary.size()
        )
    }
}

/// The pairs to train, validate and test on, read or made as `[data]` says.
///
/// # Errors
/// If a file cannot be read or is not what it should be.
pub fn sentence_pairs(config: &RunConfig) -> Result<[Pairs; 3], TrainError> {
    match config.task {
        Kind::Synthetic => synthetic_splits(&config.data),
        _ => files(&config.data),
    }
}

/// The columns of sources and targets in a table.
pub fn pair_columns(data: &DataConfig) -> PairColumns {
    PairColumns {
        source: data.source_column.clone(),
        target: data.target_column.clone(),
    }
}

fn files(data: &DataConfig) -> Result<[Pairs; 3], TrainError> {
    let columns = pair_columns(data);
    let read = |source, target, path: &Option<_>| -> Result<Option<Pairs>, TrainError> {
        Ok(match (source, target, path) {
            (&Some(_), &Some(_), _) => Some(Pairs::read_parallel(given(source), given(target))?),
            (_, _, Some(_)) => Some(Pairs::read(given(path), &columns)?),
            _ => None,
        })
    };
    let mut train = read(&data.source, &data.target, &data.path)?.unwrap_or_default();
    let whole = |path: &Option<_>, source: &Option<_>| path.is_none() && source.is_none();
    if data.shuffle
        && (whole(&data.test_path, &data.test_source)
            || whole(&data.validation_path, &data.validation_source))
    {
        train = train.shuffled(data.seed);
    }
    let test = read(&data.test_source, &data.test_target, &data.test_path)?;
    let test = match test {
        Some(test) => test,
        None => train.take_last(data.test_examples)?,
    };
    let validation = read(
        &data.validation_source,
        &data.validation_target,
        &data.validation_path,
    )?;
    let validation = match validation {
        Some(validation) => validation,
        None => train.take_last(data.validation_examples)?,
    };
    Ok([train, validation, test])
}

fn synthetic_splits(data: &DataConfig) -> Result<[Pairs; 3], TrainError> {
    let task = match data.synthetic {
        Synthetic::Copy => SyntheticTask::Copy,
        Synthetic::Reverse => SyntheticTask::Reverse,
        Synthetic::Sort => SyntheticTask::Sort,
        Synthetic::Addition => SyntheticTask::Addition,
    };
    let sizes = [data.examples, data.validation_examples, data.test_examples];
    let lengths = data.min_symbols..=data.max_symbols;
    Ok(synthetic::splits(task, sizes, lengths, data.seed)?)
}
