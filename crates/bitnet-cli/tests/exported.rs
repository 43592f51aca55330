//! Which model of a run a command uses: the exported one, a newer checkpoint in its place, or the one that is asked for.

mod common;

use std::fs;

use common::Place;

/// Every command that takes a run for its model.
const COMMANDS: [&[&str]; 7] = [
    &["eval"],
    &["generate", "--prompt", "One", "--max-new-tokens", "4"],
    &["bench", "-p", "8", "-n", "4", "-r", "1"],
    &["logits", "--tokens", "1,2"],
    &["embed", "lines.txt"],
    &["convert", "out", "--to", "gguf-f16"],
    &["tokenize", "One"],
];

/// A command with its MODEL, and what it says on stderr.
fn says(place: &Place, command: &[&str], model: &str) -> String {
    let mut args = command.to_vec();
    args.insert(1, model);
    let said = place.run(&args).ok().stderr;
    let _ = fs::remove_file(place.path("out"));
    said
}

#[test]
fn an_export_older_than_the_newest_checkpoint_is_told_of_by_every_command() {
    let place = Place::new();
    place.write("lines.txt", "One day\n");
    place.train("run", &["--set", "train.keep_checkpoints=9"]);
    let computes = || COMMANDS.iter().filter(|command| command[0] != "tokenize");
    for command in computes() {
        let said = says(&place, command, "run");
        assert!(
            !said.contains("packed.bpk") && !said.contains("this is the model"),
            "{said}"
        );
    }
    let old = fs::read(place.path("run/packed.bpk")).unwrap();
    let more = [
        "train",
        "run/config.toml",
        "--run-dir",
        "run",
        "--resume",
        "auto",
        "--set",
        "train.steps=30",
    ];
    place.run(&more).ok();
    fs::write(place.path("run/packed.bpk"), old).unwrap();
    for command in computes() {
        let said = says(&place, command, "run");
        assert!(
            said.contains("packed.bpk is older") && said.contains("after 30 steps"),
            "{command:?}: {said}"
        );
    }
    // One that is asked for is used, and said to be.
    for command in computes() {
        let said = says(&place, command, "run@10");
        assert!(
            said.contains("this is the model after 10 steps"),
            "{command:?}: {said}"
        );
    }
    says(&place, COMMANDS[6], "run@best");
    place.fails(
        &["eval", "run@11"],
        &["run", "\"11\"", "@best", "10", "20", "30"],
    );
    place.fails(&["eval", "nowhere@best"], &["nowhere", "no such folder"]);
    let loss = |model: &str| place.run(&["eval", model, "-o", "json"]).json()["loss"].clone();
    assert_ne!(loss("run@10"), loss("run@30"));
    assert_eq!(loss("run@last"), loss("run@30"));
}
