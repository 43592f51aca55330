//! What the tests of runs share: a small run, a signal at a chosen step, and looking at what is on disk.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bitnet_config::{Loader, RunConfig};
use bitnet_data::{Corpus, TokenizerKind};
use bitnet_models::Transformer;
use bitnet_results::{Evaluation, TrainSummary};
use bitnet_train::{
    Backend, Checkpoint, Interrupt, LanguageModel, Observer, Part, RunDir, StepLoss, Task,
    TrainError, Training,
};
use burn::module::Module;
use burn::tensor::Device;
use serde_json::Value;
use tempfile::TempDir;

/// `configs/train/debug.toml` with other settings, its corpus, and a folder for runs.
pub struct Setup {
    pub config: RunConfig,
    pub corpus: Corpus,
    pub device: Device,
    /// Devices that share the steps.
    pub others: Vec<Device>,
    pub folder: TempDir,
}

/// A task during whose step a signal comes, whatever is logged then, or during whose evaluation, both counted from 1.
pub struct StopAfter<'a> {
    pub task: LanguageModel<'a>,
    pub step: usize,
    pub evaluation: usize,
    pub evaluations: AtomicUsize,
    pub interrupt: &'a AtomicBool,
}

impl Task for StopAfter<'_> {
    type Model = Transformer;

    fn model(&self, device: &Device) -> Result<Transformer, TrainError> {
        self.task.model(device)
    }

    fn prepare(&self, device: &Device) -> Result<(), TrainError> {
        self.task.prepare(device)
    }

    fn loss(&self, model: &Transformer, part: Part, device: &Device) -> Option<StepLoss> {
        if part.step as usize + 1 >= self.step {
            self.interrupt.store(true, Ordering::Relaxed);
        }
        self.task.loss(model, part, device)
    }

    fn evaluate(
        &self,
        model: &Transformer,
        batches: usize,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Evaluation, TrainError> {
        if self.evaluations.fetch_add(1, Ordering::Relaxed) + 1 == self.evaluation {
            self.interrupt.store(true, Ordering::Relaxed);
        }
        self.task.evaluate(model, batches, device, interrupt)
    }

    fn score(&self, model: &Transformer, device: &Device) -> Result<Evaluation, TrainError> {
        self.task.score(model, device)
    }

    fn answerer<'a>(
        &'a self,
        model: &'a Transformer,
        device: &'a Device,
    ) -> Result<bitnet_train::Answerer<'a>, TrainError> {
        self.task.answerer(model, device)
    }

    fn sample(
        &self,
        model: &Transformer,
        step: u64,
        device: &Device,
        interrupt: Interrupt<'_>,
    ) -> Result<Option<(String, String)>, TrainError> {
        self.task.sample(model, step, device, interrupt)
    }

    fn data_checksum(&self) -> String {
        self.task.data_checksum()
    }

    fn description(&self) -> String {
        self.task.description()
    }
}

/// Remembers what it was told.
#[derive(Default)]
pub struct Notes(pub Vec<String>);

impl Observer for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

impl Setup {
    pub fn new(settings: &[&str]) -> Self {
        let debug = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/train/debug.toml");
        let mut loader = Loader::new().file(debug).unwrap();
        for set in ["train.log_interval=1"].iter().chain(settings) {
            loader = loader.set(set).unwrap();
        }
        let mut config = loader.finish().unwrap();
        let corpus = Corpus::stories(0, 20_000, TokenizerKind::Char, 0.9).unwrap();
        config.model.vocab_size = corpus.tokenizer.vocab_size();
        Self {
            config,
            corpus,
            device: Backend::Flex.device(0).unwrap(),
            others: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn create(&self, name: &str) -> RunDir {
        let path = self.folder.path().join(name);
        RunDir::create(
            path,
            &self.config,
            Some(&self.corpus.tokenizer),
            &[],
            None,
            None,
        )
        .unwrap()
    }

    /// Trains in a folder until a signal comes during step `stop`, or to the end.
    pub fn train(
        &self,
        run: &RunDir,
        resume: impl IntoIterator<Item = Checkpoint>,
        stop: usize,
    ) -> Result<(Transformer, TrainSummary), TrainError> {
        let (model, summary, _) = self.train_with_notes(run, resume, stop)?;
        Ok((model, summary))
    }

    pub fn train_with_notes(
        &self,
        run: &RunDir,
        resume: impl IntoIterator<Item = Checkpoint>,
        stop: usize,
    ) -> Result<(Transformer, TrainSummary, Vec<String>), TrainError> {
        self.train_until(run, resume, stop, usize::MAX)
    }

    /// Trains in a folder until a signal comes during step `stop` or the evaluation of this number, or to the end.
    pub fn train_until(
        &self,
        run: &RunDir,
        resume: impl IntoIterator<Item = Checkpoint>,
        stop: usize,
        evaluation: usize,
    ) -> Result<(Transformer, TrainSummary, Vec<String>), TrainError> {
        let interrupt = AtomicBool::new(false);
        let task = StopAfter {
            task: LanguageModel::new(&self.config, &self.corpus).unwrap(),
            step: stop,
            evaluation,
            evaluations: AtomicUsize::new(0),
            interrupt: &interrupt,
        };
        let training = Training {
            config: &self.config,
            task: &task,
            run,
            device: &self.device,
            others: &self.others,
            resume: resume.into_iter().collect(),
            interrupt: &interrupt,
        };
        let mut notes = Notes::default();
        let trained = training.run(&mut notes)?;
        Ok((trained.model, trained.summary, notes.0))
    }
}

/// Every parameter's bits, in the order of the module.
pub fn bits(model: &Transformer) -> Vec<u32> {
    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::Tensor;
    struct Bits(Vec<u32>);
    impl ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values: Vec<f32> = param.val().into_data().try_to_vec().unwrap();
            self.0.extend(values.into_iter().map(f32::to_bits));
        }
    }
    let mut bits = Bits(Vec::new());
    model.visit(&mut bits);
    bits.0
}

/// The metrics of a kind, without the times.
pub fn metrics(run: &RunDir, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(run.metrics_path()).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut lines: Vec<Value> = lines.filter(|line| line["kind"] == kind).collect();
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("seconds");
    }
    lines
}

pub fn steps_on_disk(run: &RunDir) -> Vec<String> {
    let entries = fs::read_dir(run.path().join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
