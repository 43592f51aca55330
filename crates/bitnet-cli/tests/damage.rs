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
            vec![latent, write_latent],
        ),
        (
            format!("{checkpoint}/state.json"),
            vec![latent, write_latent],
        ),
        ("run/tokenizer.json".to_owned(), vec![generate]),
        ("run/config.toml".to_owned(), vec![eval, generate, resume]),
    ] {
        let whole = fs::read(place.path(&file)).unwrap();
        let remedy = match file.rsplit_once('/').unwrap().1 {
            "tokenizer.json" => "again",
            "config.toml" => "# seal:",
            _ => "damaged",
        };
        let shortest = match remedy {
            // The first line says nothing.
            "# seal:" => 150,
            _ => 0,
        };
        let damages = [shortest, shortest + 10, whole.len() / 2, whole.len() - 1]
            .map(|length| whole[..length].to_vec());
        // One bit of a number, or of a letter.
        let mut flipped = whole.clone();
        flipped[whole.len() - 5] ^= 1;
        for damage in damages.iter().chain([&flipped]) {
            place.write(&file, damage);
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
fn a_damaged_newest_checkpoint_is_passed_over_and_said() {
    let place = Place::new();
    let whole = place.train("whole", &[]);
    for file in ["model.bpk", "optimizer.bpk", "state.json"] {
        place.train(file, &[]);
        let path = format!("{file}/checkpoints/step-00000020/{file}");
        let bytes = fs::read(place.path(&path)).unwrap();
        place.write(&path, &bytes[..bytes.len() - 1]);
        // What is no folder is no checkpoint.
        place.write(&format!("{file}/checkpoints/step-00000015"), "");
        let ran = place
            .run(&["train", DEBUG, "--run-dir", file, "--resume", "auto", "-q"])
            .ok();
        assert!(ran.stderr.contains("step-00000010 instead of"), "{ran:#?}");
        let summary: serde_json::Value =
            serde_json::from_str(&place.read(&format!("{file}/summary.json"))).unwrap();
        assert_eq!(summary["val_loss"], whole["val_loss"]);
        assert_eq!(fs::read(place.path(&path)).unwrap(), bytes_of(&place, file));
    }
}

/// A file of the newest checkpoint of an undamaged run; `state.json` has times in it.
fn bytes_of(place: &Place, file: &str) -> Vec<u8> {
    let run = match file {
        "state.json" => file,
        _ => "whole",
    };
    fs::read(place.path(&format!("{run}/checkpoints/step-00000020/{file}"))).unwrap()
}

#[test]
fn a_tokenizer_with_more_ids_than_the_model_is_refused() {
    let place = Place::new();
    place.train("run", &[]);
    let config = place.read("run/config.toml");
    // Without the seal, which would tell that the file is another.
    place.write("run/config.toml", config.replace("# seal:", "# "));
    place.write("run/tokenizer.json", "{\"kind\":\"byte\"}");
    place.write("t.txt", "abc");
    for command in [
        &["eval", "run", "--data", "t.txt"][..],
        &["eval", "run", "--data", "t.txt", "--head", "int8"],
        &["generate", "run", "--prompt", "One"],
        &["eval", "run", "--latent", "--data", "t.txt"],
    ] {
        place.fails(command, &["tokenizer.json", "256 ids", "model.vocab_size"]);
    }
    let small = ["train", DEBUG, "--set", "model.vocab_size=5", "--set"];
    let text = [&small[..], &["data.kind=stories"]].concat();
    place.fails(&text, &["model.vocab_size", "too small"]);
    place.write(
        "pairs.toml",
        "task = \"synthetic\"\n[model]\nvocab_size = 5\n[data]\nmax_symbols = 4\n",
    );
    place.fails(
        &["train", "pairs.toml"],
        &["model.vocab_size = 5", "too small"],
    );
}

#[test]
fn sizes_beyond_the_machine_are_refused_before_anything_is_made() {
    let place = Place::new();
    place.train("run", &[]);
    let config = place.read("run/config.toml").replace("# seal:", "# ");
    for (key, value) in [
        ("max_position_embeddings = 64", "1000000000000"),
        ("hidden_size = 32", "4294967296"),
        ("num_hidden_layers = 2", "1000000000000"),
        ("vocab_size = 61", "1000000000000"),
        ("intermediate_size = 88", "9223372036854775807"),
        ("num_attention_heads = 2", "1099511627776"),
    ] {
        let name = key.split_once(" = ").unwrap().0;
        assert!(config.contains(key), "{key}");
        place.write(
            "run/config.toml",
            config.replace(key, &format!("{name} = {value}")),
        );
        for command in [
            &["eval", "run"][..],
            &["eval", "run", "--latent"],
            &["generate", "run", "--prompt", "One"],
        ] {
            place.fails(command, &[]);
        }
    }
    for (task, set) in [
        ("lm", "data.characters=1000000000000"),
        ("layer", "data.examples=1000000000000"),
        ("layer", "data.validation_examples=9223372036854775807"),
        ("synthetic", "data.examples=1000000000000"),
        ("synthetic", "data.max_symbols=1000000000000"),
        ("synthetic", "model.num_decoder_layers=1000000007"),
        ("synthetic", "model.num_decoder_layers=9223372036854775807"),
        ("synthetic", "decode.beam=1000000007"),
    ] {
        let sizes = match task {
            "layer" => "[model]\ninput_size = 8\nnum_labels = 4\n",
            _ => "",
        };
        place.write("sizes.toml", format!("task = \"{task}\"\n{sizes}"));
        // It is the size that is refused.
        place.run(&["train", "sizes.toml", "--print-config"]).ok();
        place.fails(&["train", "sizes.toml", "--set", set], &[]);
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new();
    place.train("run", &[]);
    let commands: [&[&str]; 6] = [
        &["completions", "bash"],
        &["man", "man1"],
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
    let page = place.read("man1/bitnet-experiment-run.1");
    assert!(page.contains("executor") && !place.path("man1/bitnet-measure.1").exists());
}
