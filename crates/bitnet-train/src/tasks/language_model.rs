//! Next-token prediction on one text.

use std::sync::OnceLock;

use bitnet_config::RunConfig;
use bitnet_data::{BatchSampler, Corpus, SplitText, Tokenizer};
use bitnet_models::{
    GenerateError, Limits, Network, PrefixCache, Runner, Sampler, Sampling, TensorRunner,
    Transformer, Vocabulary,
};
use bitnet_results::Evaluation;
use bitnet_text::TextModel;
use burn::tensor::{Device, Tensor};

use super::distill::Teacher;
use crate::by_blocks::by_blocks;
use crate::checksum::Checksum;
use crate::evaluate::batches_of;
use crate::loss::{chunked, tensors, token_losses};
use crate::task::{Answerer, Part, StepLoss, Task};
use crate::{Interrupt, TrainError, evaluate};

/// Tokens of a sample's prompt.
const PROMPT: usize = 16;

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
        let rows = train.step_sequences();
        let sampler = BatchSampler::new(&corpus.train, rows, train.context, train.seed)?;
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

    fn loss(&self, model: &Transformer, part: Part, device: &Device) -> Option<StepLoss> {
        let train = &self.config.train;
        let teacher = self.teacher.get().filter(|_| train.is_taught(part.step));
        let first = part.index * train.batch_size;
        let batch = self
            .sampler
            .rows(part.step, first..first + train.batch_size);
        let (inputs, targets) = tensors(&batch, device);
        let rows = train.loss_rows(self.config.model.vocab_size);
        let objective = |hidden: Tensor<3>| match teacher {
            Some(teacher) => {
                let logits = model.logits(hidden);
                let mean = token_losses(logits.clone(), targets).mean();
                teacher.loss(mean, logits, inputs.clone(), None)
            }
            None if rows < batch.predictions() => chunked(hidden, model.head(), targets, rows),
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

    fn evaluate(
        &self,
        model: &Transformer,
        max_batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        let context = self.config.train.context;
        let text = self.corpus.evaluated();
        evaluate(model, text, context, max_batches, device, interrupt)
    }

    /// The last token's likeliest successor, after a window of the validation split.
    fn answerer<'a>(
        &'a self,
        model: &'a Transformer,
        device: &'a Device,
    ) -> Result<Answerer<'a>, TrainError> {
        Ok(Answerer::tensors(move || {
            let context = self.config.train.context;
            let mut runner = TensorRunner::new(model, device);
            runner.start(context)?;
            runner.read(&self.corpus.validation.to_vec(0..context))?;
            Ok(())
        }))
    }

    fn score(&self, model: &Transformer, device: &Device) -> Result<Evaluation, TrainError> {
        self.evaluate(model, 0, device, Interrupt::NEVER)
    }

    /// How the model goes on after the beginning of the validation split.
    fn sample(
        &self,
        model: &Transformer,
        step: u64,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<(String, String)>, TrainError> {
        let (train, corpus) = (&self.config.train, self.corpus);
        if train.sample_tokens == 0 {
            return Ok(None);
        }
        let mut runner = TensorRunner::new(model, device);
        let length = PROMPT
            .min(runner.context() / 2)
            .max(1)
            .min(corpus.validation.len());
        let prompt = corpus.validation.to_vec(0..length);
        let mut sampler = Sampler::new(Sampling {
            temperature: 0.8,
            seed: train.seed.wrapping_add(step),
            ..Sampling::default()
        })?;
        let capacity = runner
            .context()
            .min(length.saturating_add(train.sample_tokens));
        let vocabulary = Vocabulary::new(corpus.tokenizer.vocab_size(), []);
        let limits = Limits {
            vocabulary: Some(&vocabulary),
            interrupted: interrupt.flag(),
            ..Limits::tokens(train.sample_tokens)
        };
        let mut written = PrefixCache::new(&mut runner, capacity)?;
        let written = written.generate(&prompt, limits, &mut sampler, |_| true);
        interrupt.check()?;
        match written {
            Ok(written) => Ok(Some((
                corpus.tokenizer.decode(&prompt),
                corpus.tokenizer.decode(&written.tokens),
            ))),
            // Whether training goes on, the loss says.
            Err(GenerateError::NotFinite { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn tokenizer(&self) -> Option<&Tokenizer> {
        Some(&self.corpus.tokenizer)
    }

    fn training_size(&self) -> Option<usize> {
        Some(self.corpus.train.len())
    }

    fn validation_batches(&self) -> Option<usize> {
        let (context, vocab_size) = (self.config.train.context, self.config.model.vocab_size);
        Some(batches_of(
            self.corpus.validation.len(),
            context,
            vocab_size,
        ))
    }

    fn remarks(&self) -> Vec<String> {
        super::short_documents(self.config, &self.corpus.text)
            .into_iter()
            .collect()
    }

    fn data_checksum(&self) -> String {
        let SplitText {
            train, validation, ..
        } = &self.corpus.text;
        match &self.corpus.checksum {
            // Of all tokens, made when the folder was opened.
            Some(checksum) => (Checksum::default().add(checksum))
                .add(&[train.len(), validation.len()])
                .text(),
            None => Checksum::default().add(train).add(validation).text(),
        }
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
