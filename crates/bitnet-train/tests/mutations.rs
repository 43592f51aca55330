//! Files of a run with random changes: none makes the program panic, and none is taken for what was written unless it
//! still says the same.
//!
//! `MUTATIONS=5000 cargo test --profile quick --workspace --test mutations` tries so many of each file.

#![cfg(feature = "flex")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use bitnet_config::{Loader, RunConfig};
use bitnet_data::{Corpus, TokenizerKind};
use bitnet_models::Transformer;
use bitnet_train::{
    Backend, Checkpoint, LanguageModel, RunDir, Training, export, load_exported, load_latent,
};
use burn::module::Module;
use burn::tensor::Device;
use tempfile::TempDir;

/// A tiny run that was trained for two steps.
struct Trained {
    config: RunConfig,
    corpus: Corpus,
    device: Device,
    run: RunDir,
    _folder: TempDir,
}

impl Trained {
    fn new(kind: TokenizerKind) -> Self {
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
            loader = loader.set(set).unwrap();
        }
        let mut config = loader.finish().unwrap();
        let mut corpus = Corpus::stories(0, 2_000, kind, 0.9).unwrap();
        corpus.text.validation = corpus.validation.slice(0..20);
        config.model.vocab_size = corpus.tokenizer.vocab_size();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let tokenizer = Some(&corpus.tokenizer);
        let labels = ["one".to_owned(), "two".to_owned()];
        let run = RunDir::create(path, &config, tokenizer, &labels, None, None).unwrap();
        let mut trained = Self {
            config,
            corpus,
            device: Backend::Flex.device(0).unwrap(),
            run,
            _folder: folder,
        };
        let model = trained.go_on(Vec::new()).unwrap();
        export(&trained.run, &model, 2).unwrap();
        trained.config.train.steps = 3;
        trained
    }

    fn go_on(&self, resume: Vec<Checkpoint>) -> Result<Transformer, bitnet_train::TrainError> {
        let training = Training {
            config: &self.config,
            task: &LanguageModel::new(&self.config, &self.corpus).unwrap(),
            run: &self.run,
            device: &self.device,
            resume,
            interrupt: &AtomicBool::new(false),
        };
        Ok(training.run(&mut ())?.model)
    }
}

fn bytes(model: Transformer) -> Vec<u8> {
    model.into_record().into_bytes().unwrap().to_vec()
}

/// The values of a model; the random numbers that Burn gives to its parameters are no part of them.
fn values(model: Transformer) -> Vec<Vec<u8>> {
    let bytes = burn_pack::Bytes::from_bytes_vec(bytes(model));
    let tensors = burn_pack::Reader::from_bytes(bytes)
        .unwrap()
        .into_tensors()
        .unwrap();
    tensors
        .into_iter()
        .map(|tensor| tensor.to_bytes().unwrap().to_vec())
        .collect()
}

/// Numbers that are the same every time.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end.max(1)
    }

    /// One change: of a bit, a byte, a stretch; more or fewer bytes.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        let (at, length) = (self.below(bytes.len()), 1 + self.below(40));
        let end = (at + length).min(bytes.len());
        match self.below(8) {
            0..3 => changed[at] ^= 1 << self.below(8),
            3 => changed[at] = self.below(256) as u8,
            4 => changed[at..end]
                .iter_mut()
                .for_each(|byte| *byte = self.below(256) as u8),
            5 => drop(changed.drain(at..end)),
            6 => {
                let (from, again) = (self.below(bytes.len()), changed[at..end].to_vec());
                changed.splice(from..from, again);
            }
            _ => changed.truncate(at),
        }
        changed
    }
}

/// Changes a file again and again. `same` is whether what was read from it, if anything, is what was written.
fn mutations(path: &Path, share: usize, mut same: impl FnMut() -> Option<bool>) {
    let wanted = std::env::var("MUTATIONS")
        .ok()
        .and_then(|count| count.parse().ok());
    let count = wanted.unwrap_or(400 / share);
    let whole = fs::read(path).unwrap();
    assert_eq!(same(), Some(true), "{}", path.display());
    let mut rng = Rng(whole.len() as u64);
    let mut refused = 0;
    for round in 0..count {
        let changed = rng.mutate(&whole);
        fs::write(path, &changed).unwrap();
        match same() {
            None => refused += 1,
            Some(same) => assert!(
                same,
                "{}, round {round}: it says something else",
                path.display()
            ),
        }
    }
    fs::write(path, whole).unwrap();
    println!("{}: {refused} of {count} refused", path.display());
    assert!(
        refused > count / 2,
        "{}: {refused} of {count} refused",
        path.display()
    );
}

#[test]
fn models() {
    let trained = Trained::new(TokenizerKind::Char);
    let (run, device) = (&trained.run, &trained.device);
    let newest = Checkpoint::latest(run).unwrap();
    let model = values(load_latent(run, device).unwrap());
    mutations(&newest.path().join("model.bpk"), 1, || {
        Some(values(load_latent(run, device).ok()?) == model)
    });
    let packed = values(load_exported(run, device).unwrap());
    mutations(&run.packed_path(), 1, || {
        Some(values(load_exported(run, device).ok()?) == packed)
    });
}

/// The next step tells whether the state is what it was.
#[test]
fn the_state_of_a_training() {
    let trained = Trained::new(TokenizerKind::Char);
    let saved = Checkpoint::latest(&trained.run).unwrap();
    let kept = trained.run.path().join("kept");
    fs::rename(saved.path(), &kept).unwrap();
    let next = || -> Option<Vec<Vec<u8>>> {
        let model = trained.go_on(vec![Checkpoint::at(&kept)]).ok()?;
        Some(values(model))
    };
    let expected = next().unwrap();
    mutations(&kept.join("optimizer.bpk"), 4, || Some(next()? == expected));
    let state = Checkpoint::at(&kept).state().unwrap();
    mutations(&kept.join("state.json"), 1, || {
        Some(Checkpoint::at(&kept).state().ok()? == state)
    });
}

#[test]
fn settings_and_tokenizers() {
    let path = |run: &RunDir, name: &str| -> PathBuf { run.path().join(name) };
    for kind in [
        TokenizerKind::Byte,
        TokenizerKind::Char,
        TokenizerKind::Bpe { vocab_size: 300 },
    ] {
        let Trained { run, corpus, .. } = &Trained::new(kind);
        let tokenizer = &corpus.tokenizer;
        mutations(&path(run, "tokenizer.json"), 1, || {
            Some(run.tokenizer().ok()? == *tokenizer)
        });
    }
    let Trained { run, corpus, .. } = &Trained::new(TokenizerKind::Char);
    let config = run.config().unwrap();
    mutations(&path(run, "config.toml"), 1, || {
        Some(run.config().ok()? == config)
    });
    let labels = ["one".to_owned(), "two".to_owned()];
    mutations(&path(run, "labels.json"), 1, || {
        run.check_data(Some(&corpus.tokenizer), &labels)
            .ok()
            .map(|()| true)
    });
}
