//! Looking at configurations, and the config files that come with the project.

mod common;

use std::fs;

use common::{DEBUG, Place};

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs");

#[test]
fn looking_at_the_configuration_writes_nothing() {
    let place = Place::new();
    for command in ["train", "compare"] {
        let plan = place.run_unchanged(&[command, DEBUG, "--dry-run"]).ok();
        for part in ["would train", "20 steps", "runs/debug"] {
            assert!(
                plan.stdout.contains(part),
                "{command}: `{part}` is not in {plan:#?}"
            );
        }
        let set = ["--set", "train.steps=7", "--seed", "5"];
        let printed =
            place.run_unchanged(&[&[command, DEBUG, "--print-config"], &set[..]].concat());
        let printed = printed.ok().stdout;
        assert!(
            printed.contains("steps = 7") && printed.contains("seed = 5"),
            "{printed}"
        );
    }
    let builtin = place
        .run_unchanged(&["compare", "--print-config"])
        .ok()
        .stdout;
    let file = format!("{CONFIGS}/compare/quickstart.toml");
    let file = place
        .run_unchanged(&["compare", &file, "--print-config"])
        .ok()
        .stdout;
    assert_eq!(builtin, file);

    // Defaults < file < environment < --set.
    let mut command = place.command(&["train", DEBUG, "--print-config"]);
    let by_env = place
        .unchanged(command.env("BITNET_TRAIN__STEPS", "8"))
        .ok()
        .stdout;
    assert!(by_env.contains("steps = 8"), "{by_env}");
    let by_set = place
        .unchanged(command.args(["--set", "train.steps=9"]))
        .ok()
        .stdout;
    assert!(by_set.contains("steps = 9"), "{by_set}");
}

#[test]
fn every_config_file_is_accepted() {
    let place = Place::new();
    place.write(
        "text.txt",
        "To be, or not to be, that is the question. ".repeat(400),
    );
    let mut seen = 0;
    for command in ["train", "compare"] {
        for entry in fs::read_dir(format!("{CONFIGS}/{command}")).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let path = path.to_str().unwrap();
            let mut args = vec![command, path];
            if text.contains("kind = \"text\"") {
                args.extend(["--set", "data.path=\"text.txt\""]);
                // The prompts are for the file's own text.
                args.extend(["--set", "compare.prompts=[\"To be\"]"]);
            }
            let printed = place
                .run_unchanged(&[&args[..], &["--print-config"]].concat())
                .ok();
            place.write("printed.toml", &printed.stdout);
            let again = place
                .run_unchanged(&[command, "printed.toml", "--print-config"])
                .ok();
            assert!(
                again
                    .stdout
                    .ends_with(printed.stdout.split_once('\n').unwrap().1),
                "{path}"
            );
            let plan = place
                .run_unchanged(&[&args[..], &["--dry-run"]].concat())
                .ok();
            assert!(plan.stdout.contains("would train"), "{path}: {plan:#?}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} config files");
}
