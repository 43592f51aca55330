//! Training on a WGPU adapter beside Flex, and what a model trained on one writes on the other.

#![cfg(all(feature = "wgpu", feature = "flex"))]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bitnet_config::{Loader, RunConfig};
use bitnet_data::{Corpus, TextFiles, TokenizerKind};
use bitnet_models::{Sampler, Sampling, TensorRunner, Transformer, generate};
use bitnet_train::{
    Backend, Checkpoint, LanguageModel, Observer, Progress, RunDir, Training, load_exported,
};
use burn::tensor::Device;
use tempfile::TempDir;

/// The first adapter. A user's machine may have none; the project's own checks may not go without.
fn wgpu() -> Option<Device> {
    let device = Backend::Wgpu.device(0);
    if let Err(error) = &device {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{error}");
        let _ = writeln!(std::io::stderr(), "SKIPPED: {error}");
    }
    device.ok()
}

/// `configs/compare/shakespeare-cpu.toml`, 200 steps of it.
struct Setup {
    config: RunConfig,
    corpus: Corpus,
    folder: TempDir,
}

/// A run of it.
struct Trained {
    run: RunDir,
    /// Mean loss of every ten steps.
    losses: Vec<f64>,
    validation: f64,
}

impl Trained {
    /// The losses of training, and at their end that of validation.
    fn curve(mut self) -> Vec<f64> {
        self.losses.push(self.validation);
        self.losses
    }
}

impl Setup {
    /// On the first characters of the built-in text.
    fn stories(linear: &str, characters: usize) -> Self {
        let corpus = Corpus::stories(0, characters, TokenizerKind::Char, 0.95).unwrap();
        Self::new(linear, corpus)
    }

    /// Half as wide and as deep, with a third of the batch, on Shakespeare: an adapter in software has to train it for
    /// hundreds of steps.
    fn small(linear: &str) -> Self {
        let mut setup = Self::new(linear, text());
        let model = &mut setup.config.model;
        (model.hidden_size, model.intermediate_size) = (64, 172);
        (model.num_hidden_layers, model.num_attention_heads) = (2, 2);
        (setup.config.train.batch_size, setup.config.train.steps) = (4, 100);
        setup
    }

    fn new(linear: &str, corpus: Corpus) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let mut loader = Loader::new()
            .file(root.join("compare/shakespeare-cpu.toml"))
            .unwrap();
        for set in [
            "model.max_position_embeddings=320",
            "train.eval_interval=0",
            "train.eval_batches=1",
            "train.log_interval=10",
            "train.checkpoint_interval=10",
            "train.steps=200",
            &format!("model.linear=\"{linear}\""),
        ] {
            loader = loader.set(set).unwrap();
        }
        let mut config = loader.finish().unwrap();
        config.model.vocab_size = corpus.tokenizer.vocab_size();
        Self {
            config,
            corpus,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The mean curve, and at its end the mean validation loss, of runs that differ by 1e-7 in AdamW's β₂, which is all
    /// that they need to go ways of their own.
    fn mean_curve(&mut self, name: &str, device: &Device, runs: u32) -> Vec<f64> {
        let beta2 = self.config.train.shared.beta2;
        let mut mean = vec![0.0; self.config.train.steps / 10 + 1];
        for run in 0..runs {
            self.config.train.shared.beta2 = beta2 + 1e-7 * f64::from(run);
            let curve = self.train(&format!("{name}-{run}"), device).curve();
            assert_eq!(curve.len(), mean.len());
            for (mean, loss) in mean.iter_mut().zip(curve) {
                *mean += loss / f64::from(runs);
            }
        }
        self.config.train.shared.beta2 = beta2;
        mean
    }

    /// Trains on `device`.
    fn train(&self, name: &str, device: &Device) -> Trained {
        self.run(name, device, None, false)
    }

    /// Ten steps on `device`: from the start, or from a checkpoint on.
    fn ten_steps(&self, name: &str, device: &Device, resume: Option<Checkpoint>) -> f64 {
        let losses = self.run(name, device, resume, true).losses;
        assert_eq!(losses.len(), 1);
        losses[0]
    }

    fn run(
        &self,
        name: &str,
        device: &Device,
        resume: Option<Checkpoint>,
        ten_steps: bool,
    ) -> Trained {
        let path = self.folder.path().join(name);
        let tokenizer = Some(&self.corpus.tokenizer);
        let run = RunDir::create(path.clone(), &self.config, tokenizer, &[], None, None).unwrap();
        // Without its seal the run does not say which it is, and takes the checkpoint of another.
        let config = path.join("config.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("# seal:"));
        std::fs::write(&config, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let interrupt = AtomicBool::new(false);
        let mut observer = Keeper {
            folder: self.kept(name, 0),
            interrupt: ten_steps.then_some(&interrupt),
        };
        let training = Training {
            config: &self.config,
            task: &LanguageModel::new(&self.config, &self.corpus).unwrap(),
            run: &run,
            device,
            others: &[],
            resume: resume.into_iter().collect(),
            interrupt: &interrupt,
        };
        let summary = training.run(&mut observer).unwrap().summary;
        let losses = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap();
        let losses = losses
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|line| line["kind"] == "train")
            .map(|line| line["loss"].as_f64().unwrap())
            .collect();
        Trained {
            run,
            losses,
            validation: summary.val_loss,
        }
    }

    /// Where the checkpoint of a step is kept; all of them with step 0.
    fn kept(&self, name: &str, step: usize) -> PathBuf {
        let folder = self.folder.path().join(format!("kept-{name}"));
        match step {
            0 => folder,
            _ => folder.join(format!("step-{step:08}")),
        }
    }
}

/// Keeps every checkpoint, and ends a run at its next logged step where it has the means to.
struct Keeper<'a> {
    folder: PathBuf,
    interrupt: Option<&'a AtomicBool>,
}

impl Observer for Keeper<'_> {
    fn step(&mut self, _: &Progress) {
        if let Some(interrupt) = self.interrupt {
            interrupt.store(true, Ordering::Relaxed);
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let to = self.folder.join(checkpoint.path().file_name().unwrap());
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(checkpoint.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// The text is short and learnt by heart, so that no two letters are as likely as each other and rounding decides nothing.
#[test]
fn a_trained_ternary_model_writes_what_it_writes_on_flex() {
    let Some(gpu) = wgpu() else { return };
    let setup = Setup::stories("ternary", 3_000);
    let trained = setup.train("flex", &Device::flex());
    let prompt = setup.corpus.train.to_vec(0..16);
    let written = |device: &Device| {
        let model: Transformer = load_exported(&trained.run, device).unwrap();
        let mut greedy = Sampler::new(Sampling::default()).unwrap();
        let mut runner = TensorRunner::new(&model, device);
        generate(&mut runner, &prompt, 256, &mut greedy, |_| true)
            .unwrap()
            .tokens
    };
    let (flex, gpu) = (written(&Device::flex()), written(&gpu));
    assert_eq!(flex.len(), 256);
    let distinct: BTreeSet<_> = flex.iter().collect();
    assert!(distinct.len() > 8, "it repeats itself: {flex:?}");
    assert_eq!(flex, gpu);
}

/// What the configuration is made for: the first quarter of tiny-shakespeare, more than the steps read.
fn text() -> Corpus {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/shakespeare.txt");
    let mut corpus = TextFiles::at(&path)
        .read(TokenizerKind::Char.into(), 0.9)
        .unwrap();
    // A run ends with the loss of all of it.
    corpus.text.validation = corpus.validation.slice(0..5_000);
    corpus
}

/// The distance of two curves at each point, the most of which must be below `bound`.
fn assert_close(what: &str, curve: &[f64], flex: &[f64], bound: f64) {
    assert_eq!(curve.len(), flex.len());
    let distances: Vec<f64> = curve.iter().zip(flex).map(|(a, b)| a - b).collect();
    println!("{what}: {distances:+.6?}");
    assert!(
        distances.iter().all(|d| d.abs() <= bound),
        "{what}: {distances:?}, bound {bound}"
    );
}

/// Every step of the float twin: its curve and its validation loss are Flex's to 1e-5.
#[test]
#[ignore = "minutes on an adapter in software; run with `-- --ignored`"]
fn a_hundred_float_steps_follow_flex() {
    let Some(gpu) = wgpu() else { return };
    let setup = Setup::small("float");
    let flex = setup.train("flex", &Device::flex()).curve();
    assert_eq!(flex.len(), 11);
    assert!(flex[9] < flex[0] - 1.0, "it does not learn");
    let gpu = setup.train("gpu", &gpu).curve();
    assert_close("float", &gpu, &flex, 1e-5);
}

/// Every step of the ternary twin, the adapter beginning every ten anew from Flex's model and optimiser: to 5e-4 at
/// every point.
#[test]
#[ignore = "minutes on an adapter in software; run with `-- --ignored`"]
fn every_ten_ternary_steps_follow_flex() {
    let Some(gpu) = wgpu() else { return };
    let setup = Setup::small("ternary");
    let flex = setup.train("flex", &Device::flex()).losses;
    let gpu: Vec<f64> = (0..100)
        .step_by(10)
        .map(|step| {
            let checkpoint = (step > 0).then(|| Checkpoint::at(setup.kept("flex", step)));
            let name = format!("from-{step}");
            setup.ten_steps(&name, &gpu, checkpoint)
        })
        .collect();
    assert_close("ternary, ten steps at a time", &gpu, &flex, 5e-4);
}

/// The ternary twin left free, 100 steps of it. Where float sums in another order move an activation or a weight over the
/// edge of a code, the loss moves, and at their end two runs on Flex whose β₂ differ by 1e-7 are as far from each other as
/// two runs can be. What can be compared is the mean of several runs, here of eight on Flex and two on the adapter, in
/// windows of 50 steps. Each bound is ten times what was met.
#[test]
#[ignore = "minutes on an adapter in software; run with `-- --ignored`"]
fn a_hundred_ternary_steps_follow_flex_in_the_mean() {
    let Some(gpu) = wgpu() else { return };
    let mut setup = Setup::small("ternary");
    let flex = setup.mean_curve("flex", &Device::flex(), 8);
    assert!(flex[9] < flex[0] - 0.5, "it does not learn");
    let gpu = setup.mean_curve("gpu", &gpu, 2);
    assert_close("ternary, the first fifty", &gpu[..5], &flex[..5], 1e-3);
    let windows = |curve: &[f64]| -> Vec<f64> {
        let windows = curve[..10].chunks(5);
        windows.map(|w| w.iter().sum::<f64>() / 5.0).collect()
    };
    assert_close("ternary, free", &windows(&gpu), &windows(&flex), 2e-3);
    assert_close("ternary, points and validation", &gpu, &flex, 1e-2);
}
