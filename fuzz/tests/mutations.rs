//! Files of a run with random changes: none makes the program panic, and none is taken for what was written unless it
//! still says the same.
//!
//! `MUTATIONS=5000 cargo test --profile quick --workspace --test mutations` tries so many of each file.

use std::fs;
use std::path::{Path, PathBuf};

use bitnet_data::TokenizerKind;
use bitnet_fuzz::{LABELS, Rng, Trained};
use bitnet_models::Transformer;
use bitnet_train::{Checkpoint, RunDir, load_exported, load_latent};
use burn::module::Module;

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
        let model = trained.go_on(vec![Checkpoint::at(&kept)], false).ok()?;
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
    let labels = LABELS.map(str::to_owned);
    mutations(&path(run, "labels.json"), 1, || {
        run.check_data(Some(&corpus.tokenizer), &labels)
            .ok()
            .map(|()| true)
    });
}
