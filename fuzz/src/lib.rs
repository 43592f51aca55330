//! What arbitrary bytes are handed to: every reader of files from elsewhere, and everything behind it. README.md beside
//! this folder says how libFuzzer drives the targets; `tests/targets.rs` does without it.

pub mod config;
pub mod data;
pub mod experiment;
pub mod folder;
pub mod gguf;
mod mutate;
pub mod prepared;
pub mod run;
pub mod run_tokenizer;
pub mod safetensors;
pub mod template;
pub mod tokenizer;
mod trained;

use std::fs;
use std::path::{Path, PathBuf};

pub use mutate::Rng;
pub use trained::{LABELS, Trained};

/// A reader of bytes. It panics where it finds a fault.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of its program and of its corpus.
    pub name: &'static str,
    /// Reads an input.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 11] = [
    config::TARGET,
    data::TARGET,
    experiment::TARGET,
    folder::TARGET,
    gguf::TARGET,
    prepared::TARGET,
    run::TARGET,
    run_tokenizer::TARGET,
    safetensors::TARGET,
    template::TARGET,
    tokenizer::TARGET,
];

impl Target {
    /// Writes the inputs to begin with into `corpus/NAME`, where `cargo fuzz` looks for them.
    pub fn sow(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(self.name);
        fs::create_dir_all(&folder).expect("a folder for the corpus");
        for (number, seed) in (self.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed).expect("an input");
        }
    }
}

/// The folder of a crate's goldens.
fn goldens(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    root.join(name).join("tests/goldens")
}

/// The files below a folder whose names end so, the small ones, in the order of their names.
fn files(folder: &Path, end: &str) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the goldens") {
            let path = entry.expect("a golden").path();
            match path.is_dir() {
                true => folders.push(path),
                false => paths.push(path),
            }
        }
    }
    paths.retain(|path| path.to_string_lossy().ends_with(end));
    paths.sort();
    let contents = paths.iter().map(|path| fs::read(path).expect("a golden"));
    contents.filter(|content| content.len() <= 60_000).collect()
}

/// An input of parts with a byte 0 between them.
fn parts(data: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let first = parts.next().unwrap_or_default();
    (first, parts.next().unwrap_or_default())
}
