//! The walk-throughs of the book, run as they stand there: the commands of a page in one shell, with the program on the path
//! and in front of the repository's files. Trainings are cut to a few steps by settings in the environment.
#![cfg(unix)]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::{Place, Ran};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// What the walk-throughs read of the repository.
const READ: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "configs",
    "crates",
    "docs",
];

/// The blocks of shell of a page, one after the other.
fn commands(page: &str) -> String {
    let text = std::fs::read_to_string(Path::new(ROOT).join("docs").join(page)).unwrap();
    let blocks = text.split("\n```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```\n").next().unwrap_or_default());
    blocks.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn walk(page: &str) -> (Place, Ran) {
    walk_with(page, 6)
}

/// A page with trainings of so many steps.
#[track_caller]
fn walk_with(page: &str, steps: u32) -> (Place, Ran) {
    let place = Place::new();
    for name in READ {
        symlink(Path::new(ROOT).join(name), place.path(name)).unwrap();
    }
    std::fs::create_dir(place.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_bitnet"), place.path("bin/bitnet")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    for (name, value) in place.command(&[]).get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .args(["-euo", "pipefail", "-c", &commands(page)])
        .current_dir(place.path("."))
        .env("PATH", format!("{}:{path}", place.path("bin").display()))
        .env("BITNET_TRAIN__STEPS", steps.to_string())
        .env("BITNET_TRAIN__WARMUP_STEPS", "2");
    let ran = Ran::from(shell.output().unwrap());
    assert_eq!(ran.code, Some(0), "{page}: {ran:#?}");
    (place, ran)
}

#[test]
fn ten_minutes_to_the_first_model() {
    let (place, ran) = walk("first-model.md");
    assert!(place.path("try/quickstart/report.html").exists());
    assert!(
        ran.stdout.contains("One morning Tom found "),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_language_model_of_your_text() {
    // `convert --verify` measures by the range of the logits, which a model has to have learned first.
    let (place, ran) = walk_with("language-model.md", 30);
    assert!(place.path("try/text/report.html").exists());
    assert!(place.path("try/text.gguf").exists());
    assert!(ran.stdout.contains("The ternary model "), "{}", ran.stdout);
}

#[test]
fn a_classifier_of_your_rows() {
    let (_place, ran) = walk("classifier.md");
    assert!(ran.stdout.contains("prose"), "{}", ran.stdout);
}

#[test]
fn a_translator_of_your_pairs() {
    let (_place, ran) = walk("translator.md");
    assert!(ran.stdout.contains("BLEU"), "{}", ran.stdout);
}

#[test]
fn a_classifier_of_numbers() {
    let (_place, ran) = walk("vectors.md");
    assert!(ran.stdout.contains("accuracy"), "{}", ran.stdout);
}

#[test]
fn many_runs_one_table() {
    let (place, ran) = walk("sweep.md");
    assert!(
        ran.stdout.contains("Reversing six letters"),
        "{}",
        ran.stdout
    );
    assert!(place.path("try/sweep/report.html").exists());
}

#[test]
fn in_a_program_of_yours() {
    let (place, _ran) = walk("program.md");
    assert!(place.path("try/model.gguf").exists());
}
