//! Runs on disk: what the loop writes, where it goes on from, and what a folder refuses.

#![cfg(feature = "flex")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bitnet_config::{Loader, RunConfig};
use bitnet_data::{Corpus, Tokenizer, TokenizerKind};
use bitnet_models::Transformer;
use bitnet_results::TrainSummary;
use bitnet_train::{
    Backend, Checkpoint, LanguageModel, Observer, Progress, RunDir, TrainError, Training, export,
    load_exported, load_latent,
};
use burn::module::Module;
use burn::tensor::Device;
use serde_json::Value;
use tempfile::TempDir;

/// `configs/train/debug.toml` with other settings, its corpus, and a folder for runs.
struct Setup {
    config: RunConfig,
    corpus: Corpus,
    device: Device,
    folder: TempDir,
}

/// Ends a run after a step.
struct StopAfter<'a> {
    step: usize,
    interrupt: &'a AtomicBool,
}

impl Observer for StopAfter<'_> {
    fn step(&mut self, progress: &Progress) {
        if progress.step >= self.step {
            self.interrupt.store(true, Ordering::Relaxed);
        }
    }
}

impl Setup {
    fn new(settings: &[&str]) -> Self {
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
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn create(&self, name: &str) -> RunDir {
        let path = self.folder.path().join(name);
        RunDir::create(path, &self.config, Some(&self.corpus.tokenizer), &[]).unwrap()
    }

    /// Trains in a folder until `stop` steps are logged, or to the end.
    fn train(
        &self,
        run: &RunDir,
        resume: Option<Checkpoint>,
        stop: usize,
    ) -> Result<(Transformer, TrainSummary), TrainError> {
        let interrupt = AtomicBool::new(false);
        let training = Training {
            config: &self.config,
            task: &LanguageModel::new(&self.config, &self.corpus).unwrap(),
            run,
            device: &self.device,
            resume,
            interrupt: &interrupt,
        };
        let mut observer = StopAfter {
            step: stop,
            interrupt: &interrupt,
        };
        let trained = training.run(&mut observer)?;
        Ok((trained.model, trained.summary))
    }
}

/// Every parameter's bits, in the order of the module.
fn bits(model: &Transformer) -> Vec<u32> {
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
fn metrics(run: &RunDir, kind: &str) -> Vec<Value> {
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

fn steps_on_disk(run: &RunDir) -> Vec<String> {
    let entries = fs::read_dir(run.path().join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn one_seed_gives_one_model_and_another_seed_another() {
    for linear in ["ternary", "float"] {
        let set = format!("model.linear=\"{linear}\"");
        let setup = Setup::new(&["train.steps=6", &set]);
        let (first, _) = setup
            .train(&setup.create("first"), None, usize::MAX)
            .unwrap();
        let (second, _) = setup
            .train(&setup.create("second"), None, usize::MAX)
            .unwrap();
        assert!(bits(&first) == bits(&second), "{linear}");
        let other = Setup::new(&["train.steps=6", "train.seed=7", &set]);
        let (third, _) = other
            .train(&other.create("third"), None, usize::MAX)
            .unwrap();
        assert!(bits(&first) != bits(&third), "{linear}");
    }
}

#[test]
fn an_interrupted_run_goes_on_as_if_it_had_not_been() {
    let setup = Setup::new(&[
        "train.steps=12",
        "train.checkpoint_interval=0",
        "train.eval_interval=5",
        "model.dropout=0.1",
    ]);
    let whole = setup.create("whole");
    let (expected, summary) = setup.train(&whole, None, usize::MAX).unwrap();
    assert_eq!((summary.steps, summary.interrupted), (12, false));
    // Neither at a checkpoint nor at an evaluation.
    for stop in [1, 7] {
        let run = setup.create(&format!("stopped-{stop}"));
        let (_, stopped) = setup.train(&run, None, stop).unwrap();
        assert_eq!((stopped.steps, stopped.interrupted), (stop, true));
        let checkpoint = Checkpoint::latest(&run).unwrap();
        assert_eq!(checkpoint.state().unwrap().step, stop);
        let (model, finished) = setup.train(&run, Some(checkpoint), usize::MAX).unwrap();
        assert!(bits(&model) == bits(&expected), "stopped after {stop}");
        assert_eq!(finished.val_loss.to_bits(), summary.val_loss.to_bits());
        assert_eq!(
            finished.initial_val_loss.to_bits(),
            summary.initial_val_loss.to_bits()
        );
        assert_eq!(finished.tokens, summary.tokens);
        assert_eq!(metrics(&run, "train"), metrics(&whole, "train"));
    }
}

#[test]
fn the_two_newest_checkpoints_stay() {
    let setup = Setup::new(&["train.steps=9", "train.checkpoint_interval=2"]);
    let run = setup.create("run");
    let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
    assert_eq!(steps_on_disk(&run), ["step-00000008", "step-00000009"]);
    let latest = Checkpoint::latest(&run).unwrap();
    assert_eq!(latest.path().file_name().unwrap(), "step-00000009");
    assert_eq!(latest.state().unwrap().step, 9);
    let loaded: Transformer = load_latent(&run, &setup.device).unwrap();
    assert!(bits(&loaded) == bits(&model));
}

#[test]
fn the_export_of_a_ternary_run_is_its_packed_model() {
    let setup = Setup::new(&["train.steps=3"]);
    let run = setup.create("run");
    let (model, _) = setup.train(&run, None, usize::MAX).unwrap();
    let packed: Transformer = load_exported(&run, &setup.device).unwrap();
    export(&run, &model).unwrap();
    let exported: Transformer = load_exported(&run, &setup.device).unwrap();
    assert!(
        bits(&exported) == bits(&packed),
        "packed from the checkpoint, and from the file"
    );
    assert!(bits(&exported) != bits(&model));
}

#[test]
fn a_rate_beyond_reason_is_called_divergence() {
    let setup = Setup::new(&[
        "train.steps=20",
        "train.learning_rate=1e30",
        "train.warmup_steps=0",
    ]);
    let error = setup
        .train(&setup.create("run"), None, usize::MAX)
        .err()
        .unwrap();
    let TrainError::Diverged {
        step,
        learning_rate,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(*step <= 20 && *learning_rate > 1e29, "{error}");
    assert!(
        error.to_string().contains("lower train.learning_rate"),
        "{error}"
    );
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let setup = Setup::new(&["train.steps=2"]);
    let run = setup.create("run");
    setup.train(&run, None, usize::MAX).unwrap();
    let checkpoint = Checkpoint::latest(&run).unwrap();
    for file in ["state.json", "model.bpk", "optimizer.bpk"] {
        let path = checkpoint.path().join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = setup
            .train(&run, Some(checkpoint.clone()), usize::MAX)
            .err()
            .unwrap();
        assert!(error.to_string().contains(file), "{error}");
        fs::write(&path, whole).unwrap();
    }
    assert!(setup.train(&run, Some(checkpoint), usize::MAX).is_ok());
    let empty = setup.create("empty");
    let error = Checkpoint::latest(&empty).err().unwrap();
    assert!(matches!(error, TrainError::NoCheckpoint(_)), "{error}");
}

#[test]
fn a_folder_holds_one_run() {
    let setup = Setup::new(&[]);
    let run = setup.create("run");
    let again = RunDir::create(run.path(), &setup.config, None, &[])
        .err()
        .unwrap();
    assert!(matches!(again, TrainError::RunExists(_)), "{again}");
    assert_eq!(
        RunDir::open(run.path()).unwrap().config().unwrap(),
        setup.config
    );
    let file = setup.folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (path, problem) in [
        (setup.folder.path().join("nothing"), "no such folder"),
        (file, "it is a file"),
        (setup.folder.path().to_owned(), "config.toml is missing"),
    ] {
        let error = RunDir::open(path).err().unwrap();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn other_data_is_refused() {
    let setup = Setup::new(&[]);
    let run = setup.create("run");
    let own = Some(&setup.corpus.tokenizer);
    let spam = ["spam".to_owned()];
    assert!(run.check_data(own, &[]).is_ok());
    let other = Tokenizer::for_text(TokenizerKind::Byte, "").unwrap();
    for (tokenizer, labels, what) in [
        (Some(&other), &[][..], "other tokens"),
        (None, &[], "other tokens"),
        (own, &spam, "other classes"),
    ] {
        let error = run.check_data(tokenizer, labels).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn rewinding_drops_later_and_torn_lines() {
    let setup = Setup::new(&[]);
    let run = setup.create("run");
    run.rewind_metrics(3).unwrap();
    assert!(!run.metrics_path().exists(), "nothing to rewind");
    for step in [0, 2, 3, 4, 3] {
        run.append_metrics(&serde_json::json!({ "kind": "train", "step": step }))
            .unwrap();
    }
    let whole = fs::read_to_string(run.metrics_path()).unwrap();
    fs::write(run.metrics_path(), whole + "{\"kind\": \"tra").unwrap();
    run.rewind_metrics(3).unwrap();
    let steps: Vec<_> = metrics(&run, "train")
        .iter()
        .map(|line| line["step"].as_u64())
        .collect();
    assert_eq!(steps, [Some(0), Some(2), Some(3), Some(3)]);
}
