//! A tiny run that was trained for two steps.

use std::sync::atomic::AtomicBool;

use bitnet_config::{Loader, RunConfig};
use bitnet_data::{Corpus, TokenizerKind};
use bitnet_models::Transformer;
use bitnet_train::{Backend, Checkpoint, LanguageModel, RunDir, TrainError, Training, export};
use burn::tensor::Device;
use tempfile::TempDir;

/// The run, and what it takes to go on with it.
pub struct Trained {
    config: RunConfig,
    /// Its text.
    pub corpus: Corpus,
    /// Where it is trained.
    pub device: Device,
    /// Its folder.
    pub run: RunDir,
    _folder: TempDir,
}

/// The names of its classes, which a language model has no use for.
pub const LABELS: [&str; 2] = ["one", "two"];

impl Trained {
    /// Trains it.
    pub fn new(kind: TokenizerKind) -> Self {
        let mut loader = Loader::new();
        for set in [
            "model.hidden_size=8",
            "model.intermediate_size=16",
            "model.num_hidden_layers=1",
            "model.num_attention_heads=2",
            "model.max_position_embeddings=16",
            "train.context=8",
            "train.batch_size=2",
            "train.steps=2",
            "train.eval_batches=1",
            "train.log_interval=0",
            "data.characters=2000",
        ] {
            loader = loader.set(set).expect("a setting");
        }
        let mut config = loader.finish().expect("a configuration");
        let mut corpus = Corpus::stories(0, 2_000, kind, 0.9).expect("stories");
        corpus.text.validation = corpus.validation.slice(0..20);
        config.model.vocab_size = corpus.tokenizer.vocab_size();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run");
        let labels = LABELS.map(str::to_owned);
        let run = RunDir::create(path, &config, Some(&corpus.tokenizer), &labels, None, None);
        let mut trained = Self {
            config,
            corpus,
            device: Backend::Flex.device(0).expect("a processor"),
            run: run.expect("a run"),
            _folder: folder,
        };
        let model = trained.go_on(Vec::new(), false).expect("a training");
        export(&trained.run, &model, 2).expect("an export");
        trained.config.train.steps = 3;
        trained
    }

    /// Trains from a checkpoint to the third step, or only reads it where it is to `stop` at once.
    ///
    /// # Errors
    /// As [`Training::run`].
    pub fn go_on(&self, resume: Vec<Checkpoint>, stop: bool) -> Result<Transformer, TrainError> {
        let training = Training {
            config: &self.config,
            task: &LanguageModel::new(&self.config, &self.corpus)?,
            run: &self.run,
            device: &self.device,
            others: &[],
            resume,
            interrupt: &AtomicBool::new(stop),
        };
        Ok(training.run(&mut ())?.model)
    }
}
