//! Next-token prediction on one text.

use std::sync::OnceLock;

use bitnet_config::RunConfig;
use bitnet_data::{BatchSampler, Corpus, SplitText, Tokenizer};
use bitnet_models::{Network, Runner, TensorRunner, Transformer};
use bitnet_results::Evaluation;
use bitnet_text::TextModel;
use burn::tensor::Device;

use super::distill::Teacher;
use crate::checksum::Checksum;
use crate::loss::{tensors, token_losses};
use crate::task::{StepLoss, Task};
use crate::{TrainError, evaluate};

/// Predicts the next token of a [`Corpus`]. The score is the loss on the validation split.
pub struct LanguageModel<'a> {
    config: &'a RunConfig,
    corpus: &'a Corpus,
    sampler: BatchSampler<'a>,
    teacher: OnceLock<Teacher>,
}

impl<'a> LanguageModel<'a> {
    /// The task of a configuration whose `model.vocab_size` is that of the corpus.
    ///
    /// # Errors
    /// If the corpus is too short for the context.
    pub fn new(config: &'a RunConfig, corpus: &'a Corpus) -> Result<Self, TrainError> {
        let train = &config.train;
        corpus.check_context(train.context)?;
        let sampler =
            BatchSampler::new(&corpus.train, train.batch_size, train.context, train.seed)?;
        Ok(Self {
            config,
            corpus,
            sampler,
            teacher: OnceLock::new(),
        })
    }
}

impl Task for LanguageModel<'_> {
    type Model = Transformer;

    fn model(&self, device: &Device) -> Result<Transformer, TrainError> {
        let config = self.config;
        Ok(Transformer::new(
            &config.model,
            &config.quant,
            config.train.seed,
            device,
        )?)
    }

    /// Loads the teacher, if there is to be one.
    fn prepare(&self, device: &Device) -> Result<(), TrainError> {
        let train = &self.config.train;
        if let (Some(path), None) = (&train.distill_from, self.teacher.get()) {
            let text = TextModel::from_run(self.corpus.tokenizer.clone());
            let vocab = self.config.model.vocab_size;
            let teacher = Teacher::load(path, train, &text, vocab, device)?;
            self.teacher.get_or_init(|| teacher);
        }
        Ok(())
    }

    fn loss(&self, model: &Transformer, step: u64, device: &Device) -> StepLoss {
        let batch = self.sampler.batch(step);
        let (inputs, targets) = tensors(&batch, device);
        let logits = model.forward(inputs.clone());
        let mean = token_losses(logits.clone(), targets).mean();
        StepLoss {
            mean: match self.teacher.get() {
                Some(teacher) => teacher.loss(mean, logits, inputs, None),
                None => mean,
            },
            tokens: batch.predictions(),
        }
    }

    fn evaluate(
        &self,
        model: &Transformer,
        max_batches: usize,
        device: &Device,
    ) -> Result<Evaluation, TrainError> {
        let context = self.config.train.context;
        evaluate(model, self.corpus.evaluated(), context, max_batches, device)
    }

    /// The last token's likeliest successor, after a window of the validation split.
    fn answer_one(&self, model: &Transformer, device: &Device) -> Result<(), TrainError> {
        let context = self.config.train.context;
        let mut runner = TensorRunner::new(model, device);
        runner.start(context)?;
        runner.read(&self.corpus.validation[..context])?;
        Ok(())
    }

    fn score(&self, model: &Transformer, device: &Device) -> Result<Evaluation, TrainError> {
        self.evaluate(model, 0, device)
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(&self.corpus.tokenizer)
    }

    fn training_size(&self) -> Option<usize> {
        Some(self.corpus.train.len())
    }

    fn data_checksum(&self) -> String {
        let SplitText {
            train, validation, ..
        } = &self.corpus.text;
        Checksum::default().add(train).add(validation).text()
    }

    fn description(&self) -> String {
        let corpus = self.corpus;
        format!(
            "{}: {} training tokens, {} validation tokens, vocabulary {}",
            corpus.name,
            corpus.train.len(),
            corpus.validation.len(),
            corpus.tokenizer.vocab_size()
        )
    }
}
