//! The files of a run. The first byte of an input names the file, and whether the run has checksums or is of a version
//! before them, whose files can say anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bitnet_data::TokenizerKind;
use bitnet_models::Transformer;
use bitnet_train::{Checkpoint, RunDir, load_exported, load_latent};
use burn_pack::{Reader, Writer};
use serde_json::Value;

use crate::Target;
use crate::trained::Trained;

/// The target.
pub const TARGET: Target = Target {
    name: "run",
    run,
    seeds,
};

const FILES: [&str; 7] = [
    "model.bpk",
    "optimizer.bpk",
    "state.json",
    "packed.bpk",
    "config.toml",
    "tokenizer.json",
    "labels.json",
];

/// The folder of its checkpoint.
const STEP: &str = "step-00000002";

/// Weights of a model that is worth loading here.
const FEW: f64 = 1e6;

/// A run with checksums and one without, and what their files say.
static RUNS: LazyLock<[(Trained, Vec<Vec<u8>>); 2]> = LazyLock::new(|| {
    [false, true].map(|aged| {
        let trained = Trained::new(TokenizerKind::Char);
        if aged {
            age(&trained.run);
        }
        let contents =
            FILES.map(|name| fs::read(path(&trained.run, name)).expect("a file of a run"));
        (trained, contents.into())
    })
});

/// Takes the checksums off a run.
fn age(run: &RunDir) {
    let read = |path: &Path| fs::read_to_string(path).expect("a file of a run");
    let path = path(run, "config.toml");
    let owned = read(&path);
    let owned = owned.lines().filter(|line| !line.starts_with("# seal:"));
    fs::write(&path, owned.collect::<Vec<_>>().join("\n")).expect("a configuration");
    for name in ["model.bpk", "optimizer.bpk", "packed.bpk"] {
        let path = self::path(run, name);
        let reader = Reader::from_file_exact(&path).expect("tensors");
        let (numbers, remarks) = (reader.scalars().clone(), reader.metadata().clone());
        let mut writer = Writer::new(reader.into_tensors().expect("tensors")).overwrite(true);
        for (name, number) in &numbers {
            writer = writer.with_scalar(name, *number);
        }
        for (name, remark) in remarks.iter().filter(|(name, _)| *name != "blake3") {
            writer = writer.with_metadata(name, remark);
        }
        writer.write_to_file(&path).expect("tensors");
    }
    let path = self::path(run, "state.json");
    let mut state: Value = serde_json::from_str(&read(&path)).expect("a state");
    let state = state.as_object_mut().expect("an object");
    state.retain(|key, _| !["checksum", "files", "run", "config", "data"].contains(&key.as_str()));
    let state = serde_json::to_string(state).expect("a state");
    fs::write(&path, state).expect("a state");
}

/// Where a file of a run is.
fn path(run: &RunDir, name: &str) -> PathBuf {
    match name {
        "model.bpk" | "optimizer.bpk" | "state.json" => {
            run.path().join("checkpoints").join(STEP).join(name)
        }
        _ => run.path().join(name),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (of, (_, contents)) in (0..).zip(RUNS.iter()) {
        for (number, content) in (0..).zip(contents) {
            seeds.push([&[number << 1 | of], content.as_slice()].concat());
        }
    }
    seeds
}

fn run(data: &[u8]) {
    let [first, content @ ..] = data else { return };
    let (trained, contents) = &RUNS[usize::from(first & 1)];
    let (run, device) = (&trained.run, &trained.device);
    // A training puts aside what it does not take, and saves anew.
    let checkpoints = run.path().join("checkpoints");
    fs::remove_dir_all(&checkpoints).expect("checkpoints");
    fs::create_dir_all(checkpoints.join(STEP)).expect("a checkpoint");
    for (name, content) in FILES.iter().zip(contents) {
        fs::write(path(run, name), content).expect("a file of a run");
    }
    let name = FILES[usize::from(first >> 1) % FILES.len()];
    fs::write(path(run, name), content).expect("a file of a run");
    match name {
        "model.bpk" => drop(load_latent::<Transformer>(run, device)),
        "packed.bpk" => drop(load_exported::<Transformer>(run, device)),
        "tokenizer.json" => drop(run.tokenizer()),
        "labels.json" => drop(run.label_names()),
        "config.toml" => {
            if let Ok(config) = run.config()
                && config.model.matrix_weights() < FEW
            {
                let _ = load_exported::<Transformer>(run, device);
                let _ = load_latent::<Transformer>(run, device);
            }
        }
        _ => {
            let saved = Checkpoint::latest(run).expect("a checkpoint");
            let _ = trained.go_on(vec![saved], true);
        }
    }
}
