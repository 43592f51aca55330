//! Next-token prediction by a model that starts from another one, with that one's tokenizer: on a text, or on the answers
//! of conversations.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bitnet_config::{DataConfig, DataKind, Paths, RunConfig};
use bitnet_data::{
    BatchSampler, Dialogue, DialogueBatch, Dialogues, EpochSampler, SplitText, Tokenizer, sources,
    stories,
};
use bitnet_models::{Network, Runner, TensorRunner, Transformer};
use bitnet_results::Evaluation;
use bitnet_text::TextModel;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::distill::Teacher;
use super::given;
use crate::by_blocks::by_blocks;
use crate::checksum::Checksum;
use crate::evaluate::{Sums, argmax_hits, at_most, batches_of, rows_at_once};
use crate::loss::{chunked, tensors, token_losses};
use crate::task::{Answerer, Part, StepLoss, Task};
use crate::{Interrupt, Location, TrainError, evaluate};

/// What is learned from, as ids.
pub enum TuningData {
    /// A text, in windows.
    Text(SplitText),
    /// Conversations, whose answers count.
    Chat(Dialogues),
}

impl TuningData {
    /// Reads the data of a configuration with a model's tokenizer and template.
    ///
    /// # Errors
    /// If a file cannot be read, is no text or no conversations, or is too short.
    pub fn read(config: &RunConfig, text: &TextModel) -> Result<Self, TrainError> {
        let (data, context) = (&config.data, config.train.context);
        let name = data.path.as_ref().map_or(String::new(), Paths::to_string);
        match data.kind {
            DataKind::Chat => {
                let read = |paths: &[PathBuf]| -> Result<Vec<Dialogue>, TrainError> {
                    let mut all = Vec::new();
                    for source in sources(paths, None)? {
                        all.extend(text.read_dialogues(&source)?);
                    }
                    Ok(all)
                };
                let train = read(given(&data.path))?;
                let validation = data.validation_path.as_deref().map(read).transpose()?;
                let held_back = data.validation_examples;
                let dialogues = Dialogues::new(name, train, validation, held_back, context)?;
                Ok(Self::Chat(dialogues))
            }
            DataKind::Text => {
                super::check_fields(data)?;
                let whole = |paths| super::text_files(data, paths).text();
                let (content, documents) = whole(given(&data.path))?;
                let Some(held_back) = &data.validation_path else {
                    return Self::of(name, &content, documents, data, text);
                };
                let ids = |text_of: &str| text.encode_prompt(text_of, false);
                let (held_back_text, held_back_documents) = whole(held_back)?;
                let validation = ids(&held_back_text)?;
                Ok(Self::Text(SplitText {
                    name: format!("{name}, validated on {held_back}"),
                    train: ids(&content)?.into(),
                    validation_bytes: bytes_of(text, &validation),
                    validation: validation.into(),
                    documents: documents + held_back_documents,
                }))
            }
            DataKind::Stories => {
                let story = stories::generate(data.seed, data.characters);
                Self::of("the built-in stories".into(), &story, 1, data, text)
            }
        }
    }

    fn of(
        name: String,
        content: &str,
        documents: u64,
        data: &DataConfig,
        text: &TextModel,
    ) -> Result<Self, TrainError> {
        let ids = text.encode_prompt(content, false)?;
        let bytes = |ids: &[u32]| bytes_of(text, ids);
        let split = SplitText::new(name, ids, data.train_fraction, bytes)?;
        Ok(Self::Text(SplitText { documents, ..split }))
    }
}

/// Bytes that some ids stand for.
fn bytes_of(text: &TextModel, ids: &[u32]) -> usize {
    let pieces = ids.iter().filter_map(|id| text.tokenizer.piece(*id));
    pieces.map(<[u8]>::len).sum()
}

/// The order in which steps see the data.
enum Sampler<'a> {
    Text(&'a SplitText, BatchSampler<'a>),
    Chat(&'a Dialogues, EpochSampler),
}

/// Trains a model of `train.init_from` further. The score is the loss on the validation split.
pub struct FineTune<'a> {
    config: &'a RunConfig,
    text: &'a TextModel,
    /// Absent of a run that goes on, or is scored: its weights are in its folder.
    origin: Option<&'a Location>,
    tokenizer: Option<Tokenizer>,
    sampler: Sampler<'a>,
    teacher: OnceLock<Teacher>,
}

impl<'a> FineTune<'a> {
    /// The task of a configuration that has what the model decides. `tokenizer` is that of a model that is a run with a
    /// tokenizer of its own.
    ///
    /// # Errors
    /// If the data is too short for the context.
    pub fn new(
        config: &'a RunConfig,
        text: &'a TextModel,
        tokenizer: Option<Tokenizer>,
        data: &'a TuningData,
        origin: Option<&'a Location>,
    ) -> Result<Self, TrainError> {
        let train = &config.train;
        let sampler = match data {
            TuningData::Text(text) => {
                text.check_context(train.context)?;
                let (rows, seed) = (train.step_sequences(), train.seed);
                let sampler = BatchSampler::new(&text.train, rows, train.context, seed)?;
                Sampler::Text(text, sampler)
            }
            TuningData::Chat(dialogues) => {
                let lengths = dialogues.train.iter().map(|one| one.ids.len()).collect();
                let sampler = EpochSampler::new(lengths, train.step_sequences(), train.seed)?;
                Sampler::Chat(dialogues, sampler)
            }
        };
        Ok(Self {
            config,
            text,
            origin,
            tokenizer,
            sampler,
            teacher: OnceLock::new(),
        })
    }

    /// Evaluates on the answers of the conversations that are held back.
    fn evaluate_answers(
        &self,
        dialogues: &Dialogues,
        model: &Transformer,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let rows = answers_at_once(dialogues, self.config.model.vocab_size);
        let mut sums = Sums::default();
        for chunk in (dialogues.validation.chunks(rows)).take(at_most(max_batches)) {
            interrupt.check()?;
            let batch = DialogueBatch::new(chunk.iter());
            let (inputs, targets, weights) = on_device(&batch, device);
            let logits = model.forward(inputs);
            let hits = argmax_hits(logits.clone(), targets.clone()) * weights.clone();
            let losses = token_losses(logits, targets) * weights;
            sums.add(losses.sum(), hits.sum(), batch.learned())?;
        }
        Ok(sums.evaluation(None))
    }
}

/// Conversations of the validation split that are scored together.
fn answers_at_once(dialogues: &Dialogues, vocab_size: usize) -> usize {
    let longest = dialogues.validation.iter().map(|one| one.ids.len()).max();
    rows_at_once(longest.unwrap_or(1), vocab_size)
}

/// Inputs `[b, t]`, targets `[b, t]` and weights `[b · t]`.
fn on_device(
    batch: &DialogueBatch,
    device: &Device,
) -> (Tensor<2, Int>, Tensor<2, Int>, Tensor<1>) {
    let shape = [batch.rows, batch.width];
    let ids =
        |ids: &[i32]| Tensor::from_data(TensorData::new(ids.to_vec(), shape), (device, DType::I32));
    let weights = TensorData::new(batch.weights.clone(), [batch.rows * batch.width]);
    (
        ids(&batch.inputs),
        ids(&batch.targets),
        Tensor::from_data(weights, device),
    )
}

impl Task for FineTune<'_> {
    type Model = Transformer;

    fn model(&self, device: &Device) -> Result<Transformer, TrainError> {
        let RunConfig { model, quant, .. } = self.config;
        match self.origin {
            Some(origin) => origin.latent(model, quant, device),
            None => Ok(Transformer::new_blank(model, quant, device)?),
        }
    }

    fn prepare(&self, device: &Device) -> Result<(), TrainError> {
        let train = &self.config.train;
        if let (Some(path), None) = (&train.distill_from, self.teacher.get()) {
            let vocab = self.config.model.vocab_size;
            let teacher = Teacher::load(path, train, self.text, vocab, device)?;
            self.teacher.get_or_init(|| teacher);
        }
        Ok(())
    }

    fn loss(&self, model: &Transformer, part: Part, device: &Device) -> Option<StepLoss> {
        let train = &self.config.train;
        let teacher = self.teacher.get().filter(|_| train.is_taught(part.step));
        match &self.sampler {
            Sampler::Text(_, sampler) => {
                let first = part.index * train.batch_size;
                let batch = sampler.rows(part.step, first..first + train.batch_size);
                let (inputs, targets) = tensors(&batch, device);
                let rows = train.loss_rows(self.config.model.vocab_size);
                let objective = |hidden: Tensor<3>| match teacher {
                    Some(teacher) => {
                        let logits = model.logits(hidden);
                        let mean = token_losses(logits.clone(), targets).mean();
                        teacher.loss(mean, logits, inputs.clone(), None)
                    }
                    None if rows < batch.predictions() => {
                        chunked(hidden, model.head(), targets, rows)
                    }
                    None => token_losses(model.logits(hidden), targets).mean(),
                };
                let (mean, gradient) = by_blocks(train, model, inputs.clone(), objective);
                Some(StepLoss {
                    mean,
                    gradient,
                    predictions: batch.predictions(),
                    tokens: batch.predictions(),
                })
            }
            Sampler::Chat(dialogues, sampler) => {
                let chosen = sampler.batch(part.step);
                let chosen = part.share(&chosen);
                if chosen.is_empty() {
                    return None;
                }
                let batch = DialogueBatch::new(chosen.iter().map(|one| &dialogues.train[*one]));
                let learned = batch.learned();
                let (inputs, targets, weights) = on_device(&batch, device);
                let weights = weights.div_scalar(learned.max(1) as f64);
                let objective = |hidden: Tensor<3>| {
                    let logits = model.logits(hidden);
                    let mean = (token_losses(logits.clone(), targets) * weights.clone()).sum();
                    match teacher {
                        Some(teacher) => teacher.loss(mean, logits, inputs.clone(), Some(weights)),
                        None => mean,
                    }
                };
                let (mean, gradient) = by_blocks(train, model, inputs.clone(), objective);
                Some(StepLoss {
                    mean,
                    gradient,
                    predictions: learned,
                    tokens: learned,
                })
            }
        }
    }

    fn evaluate(
        &self,
        model: &Transformer,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        match &self.sampler {
            Sampler::Text(text, _) => {
                let context = self.config.train.context;
                let text = text.evaluated();
                evaluate(model, text, context, max_batches, device, interrupt)
            }
            Sampler::Chat(dialogues, _) => {
                self.evaluate_answers(dialogues, model, max_batches, device, interrupt)
            }
        }
    }

    fn validation_batches(&self) -> Option<usize> {
        let (context, vocab_size) = (self.config.train.context, self.config.model.vocab_size);
        Some(match &self.sampler {
            Sampler::Text(text, _) => batches_of(text.validation.len(), context, vocab_size),
            Sampler::Chat(dialogues, _) => {
                let all = dialogues.validation.len();
                all.div_ceil(answers_at_once(dialogues, vocab_size))
            }
        })
    }

    fn remarks(&self) -> Vec<String> {
        match &self.sampler {
            Sampler::Text(text, _) => super::short_documents(self.config, text),
            // A window is one conversation.
            Sampler::Chat(..) => None,
        }
        .into_iter()
        .collect()
    }

    fn score(&self, model: &Transformer, device: &Device) -> Result<Evaluation, TrainError> {
        self.evaluate(model, 0, device, Interrupt::NEVER)
    }

    /// The last token's likeliest successor, after what a step reads.
    fn answerer<'a>(
        &'a self,
        model: &'a Transformer,
        device: &'a Device,
    ) -> Result<Answerer<'a>, TrainError> {
        Ok(Answerer::tensors(move || {
            let context = self.config.train.context;
            let prompt = match &self.sampler {
                Sampler::Text(text, _) => text.validation.to_vec(0..context),
                Sampler::Chat(dialogues, _) => {
                    let ids = &dialogues.validation[0].ids;
                    ids[..ids.len().min(context)].to_vec()
                }
            };
            let mut runner = TensorRunner::new(model, device);
            runner.start(context)?;
            runner.read(&prompt)?;
            Ok(())
        }))
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    fn origin(&self) -> Option<&Location> {
        self.origin
    }

    fn data_checksum(&self) -> String {
        let checksum = Checksum::default();
        match &self.sampler {
            Sampler::Text(text, _) => checksum.add(&text.train).add(&text.validation),
            Sampler::Chat(dialogues, _) => {
                let all = dialogues.train.iter().chain(&dialogues.validation);
                all.fold(checksum.add(&dialogues.train.len()), |checksum, one| {
                    checksum.add(&one.ids).add(&one.answers)
                })
            }
        }
        .text()
    }

    fn description(&self) -> String {
        let from = self.config.train.init_from.as_deref();
        let from = from.unwrap_or(Path::new("another model")).display();
        match &self.sampler {
            Sampler::Text(text, _) => format!(
                "{}: {} training tokens, {} validation tokens, from {from}",
                text.name,
                text.train.len(),
                text.validation.len(),
            ),
            Sampler::Chat(dialogues, _) => {
                let left_out = match (dialogues.cut, dialogues.left_out) {
                    (0, 0) => String::new(),
                    (cut, left_out) => format!(
                        " ({cut} cut at train.context, {left_out} left out: no answer is before it)"
                    ),
                };
                format!(
                    "{}: {} conversations to train on, {} to validate on{left_out}, from {from}",
                    dialogues.name,
                    dialogues.train.len(),
                    dialogues.validation.len(),
                )
            }
        }
    }
}
