//! Every target on the inputs that it begins with, and on changes of them.
//!
//! `FUZZ_SECONDS=60 cargo test --profile quick --workspace --test targets` changes them for a minute each, on as many
//! targets at a time as there are cores. libFuzzer, which sees what an input reaches, finds more: README.md.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bitnet_fuzz::{Rng, TARGETS, Target};

/// Longer than any input should take.
const HANG: Duration = Duration::from_secs(30);

fn drive(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seconds = std::env::var("FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(1.0, |seconds| seconds.parse().expect("FUZZ_SECONDS"));
    let seeds = (target.seeds)();
    assert!(seeds.len() > 2, "{} seeds", seeds.len());
    for seed in &seeds {
        one(target, seed);
    }
    let begin = Instant::now();
    let mut rng =
        Rng(std::env::var("FUZZ_SEED").map_or(1, |seed| seed.parse().expect("FUZZ_SEED")));
    let mut runs = 0;
    while begin.elapsed().as_secs_f64() < seconds {
        one(target, &rng.breed(&seeds));
        runs += 1;
    }
    println!("{name}: {} seeds, {runs} changes", seeds.len());
}

/// One input; if it shows a fault, it is kept.
fn one(target: &Target, input: &[u8]) {
    let begin = Instant::now();
    let found = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if found.is_ok() && begin.elapsed() < HANG {
        return;
    }
    let folder = std::env::temp_dir();
    let path = folder.join(format!("fuzz-{}-{}", target.name, std::process::id()));
    std::fs::write(&path, input).unwrap();
    panic!(
        "{}: {} takes {:?}",
        target.name,
        path.display(),
        begin.elapsed()
    );
}

#[test]
fn config() {
    drive("config");
}

#[test]
fn data() {
    drive("data");
}

#[test]
fn experiment() {
    drive("experiment");
}

#[test]
fn folder() {
    drive("folder");
}

#[test]
fn gguf() {
    drive("gguf");
}

#[test]
fn prepared() {
    drive("prepared");
}

#[test]
fn run() {
    drive("run");
}

#[test]
fn run_tokenizer() {
    drive("run_tokenizer");
}

#[test]
fn safetensors() {
    drive("safetensors");
}

#[test]
fn template() {
    drive("template");
}

#[test]
fn tokenizer() {
    drive("tokenizer");
}
