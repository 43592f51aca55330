//! Runs that are taken, changed or damaged are refused and left as they are; a reader that leaves is no error.

mod common;

use std::fs;
use std::io::pipe;
use std::process::Stdio;

use common::{DEBUG, Place};

#[test]
fn a_run_is_neither_overwritten_nor_resumed_as_another() {
    let place = Place::new();
    place.train("run", &[]);
    place.fails(
        &["train", DEBUG, "--run-dir", "run"],
        &["run holds a run already", "--resume auto"],
    );
    for set in [
        "train.batch_size=5",
        "model.linear=\"float\"",
        "data.seed=1",
    ] {
        place.fails(
            &[
                "train",
                DEBUG,
                "--run-dir",
                "run",
                "--resume",
                "auto",
                "--set",
                set,
            ],
            &[
                "cannot resume",
                set.split_once('=').unwrap().1,
                "the run's own config.toml",
            ],
        );
    }
    place.fails(
        &["train", DEBUG, "--run-dir", "run", "--resume", "nowhere"],
        &["nowhere", "is no checkpoint", "auto"],
    );
    fs::remove_dir_all(place.path("run/checkpoints")).unwrap();
    place.fails(
        &["train", DEBUG, "--run-dir", "run", "--resume", "auto"],
        &["run", "checkpoint"],
    );
}

#[test]
fn a_run_is_not_resumed_with_other_data() {
    let place = Place::new();
    let text = "the cat sat on the mat. ".repeat(200);
    place.write("a.txt", &text);
    let data = [
        "--set",
        "data.kind=\"text\"",
        "--set",
        "data.path=\"a.txt\"",
    ];
    place.train("run", &[&data[..], &["--set", "train.steps=4"]].concat());
    place.write("a.txt", text.replace('c', "z"));
    let resume = ["train", DEBUG, "--run-dir", "run", "--resume", "auto"];
    place.fails(
        &[&resume[..], &data, &["--set", "train.steps=6"]].concat(),
        &["run: cannot resume", "other tokens", "restore it"],
    );
}

#[test]
fn truncated_files_are_damaged_files() {
    let place = Place::new();
    place.train("run", &[]);
    let checkpoint = "run/checkpoints/step-00000020";
    let eval: &[&str] = &["eval", "run"];
    let generate: &[&str] = &["generate", "run", "--prompt", "One"];
    let latent: &[&str] = &["eval", "run", "--latent"];
    let write_latent: &[&str] = &["generate", "run", "--prompt", "One", "--latent"];
    let resume: &[&str] = &["train", DEBUG, "--run-dir", "run", "--resume", "auto"];
    for (file, commands) in [
        ("run/packed.bpk".to_owned(), vec![eval, generate]),
        (
            format!("{checkpoint}/model.bpk"),
            vec![latent, write_latent, resume],
        ),
        (format!("{checkpoint}/optimizer.bpk"), vec![resume]),
        (format!("{checkpoint}/state.json"), vec![resume]),
        ("run/tokenizer.json".to_owned(), vec![generate]),
    ] {
        let whole = fs::read(place.path(&file)).unwrap();
        for length in [0, 10, whole.len() / 2, whole.len() - 1] {
            place.write(&file, &whole[..length]);
            let remedy = if file.ends_with("json") && file.contains("tokenizer") {
                "again"
            } else {
                "damaged"
            };
            for command in &commands {
                place.fails(command, &[&file, remedy]);
            }
        }
        place.write(&file, &whole);
    }
    for command in [eval, generate, latent, write_latent, resume] {
        place.run(command).ok();
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new();
    place.train("run", &[]);
    let commands: [&[&str]; 5] = [
        &["completions", "bash"],
        &["generate", "run", "--prompt", "One"],
        &["generate", "run", "--prompt", "One", "-o", "json"],
        &["eval", "run"],
        &["train", DEBUG, "-q", "--print-config"],
    ];
    for args in commands {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = place
            .command(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}
