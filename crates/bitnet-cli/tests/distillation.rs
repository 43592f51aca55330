//! Distillation: a trained run teaches another, in `train` and in an experiment, where its cost is counted.

mod common;

use std::fs;

use common::{DEBUG, Place};
use serde_json::Value;

const EXPERIMENT: &str = r#"
title = "A test"
config = "CONFIG"
baseline = "float"
seeds = [0, 1]
set = ["train.steps=12", "train.eval_interval=4"]

[[variants]]
name = "distilled"
set = ["model.linear=ternary"]
teacher = "float"
learning_rates = [3e-3, 1e-3]

[[variants]]
name = "float"
set = ["model.linear=float"]
learning_rates = [1e-3, 2e-3]
"#;

fn loss(summary: &Value) -> f64 {
    summary["val_loss"].as_f64().unwrap()
}

#[test]
fn a_run_teaches_another() {
    let place = Place::new();
    place.train("teacher", &["--set", "model.linear=float"]);
    let taught = |dir: &str, more: &[&str]| {
        let from = ["--set", "train.distill_from=teacher"];
        loss(&place.train(dir, &[&from, more].concat()))
    };
    let plain = loss(&place.train("plain", &[]));
    // A teacher without weight changes nothing; with weight it does, the more the more it has.
    assert_eq!(
        plain,
        taught("silent", &["--set", "train.distill_weight=0"])
    );
    let half = taught("half", &[]);
    let whole = taught(
        "whole",
        &[
            "--set",
            "train.distill_weight=1",
            "--set",
            "train.distill_temperature=2",
        ],
    );
    assert!(plain != half && half != whole, "{plain} {half} {whole}");
    assert!(half < 3.5 && whole < 3.5, "{half} {whole}");
    // A resumed run is taught on.
    let short = ["--set", "train.steps=6", "--set", "train.warmup_steps=2"];
    let from = ["--set", "train.distill_from=teacher"];
    let whole = ["--set", "train.checkpoint_interval=3"];
    let one = loss(&place.train("one", &[&short[..], &from, &whole].concat()));
    fs::remove_dir_all(place.path("one/checkpoints/step-00000006")).unwrap();
    let again = place.train(
        "one",
        &[&short[..], &from, &whole, &["--resume", "auto"]].concat(),
    );
    assert_eq!(one, loss(&again));
}

#[test]
fn who_cannot_teach() {
    let place = Place::new();
    place.train("bytes", &["--set", "data.level=byte"]);
    let short = [
        "model.max_position_embeddings=24",
        "train.context=24",
        "compare.decode_tokens=4",
        "compare.prefill_tokens=8",
    ];
    let short: Vec<&str> = short.iter().flat_map(|set| ["--set", set]).collect();
    place.train("short", &short);
    let fails = |set: &str, says: &[&str]| {
        let args = ["train", DEBUG, "--run-dir", "new", "--set", set];
        place.fails(&args, says);
        assert!(!place.path("new").exists(), "{set}");
    };
    fails(
        "train.distill_from=nowhere",
        &["nowhere", "nothing of that name"],
    );
    fails(
        "train.distill_from=bytes",
        &["bytes", "other tokens", "data.level"],
    );
    fails("train.distill_from=short", &["short", "train.context"]);
    fails("train.distill_weight=1.5", &["train.distill_weight", "1.5"]);
    fails(
        "train.distill_temperature=0",
        &["train.distill_temperature"],
    );
    place.write(
        "layer.toml",
        "task = \"layer\"\n[train]\ndistill_from = \"bytes\"\n",
    );
    place.fails(&["train", "layer.toml"], &["train.distill_from", "lm"]);
}

#[test]
fn an_experiment_counts_the_teacher() {
    let place = Place::new();
    fs::create_dir(place.path("one")).unwrap();
    let experiment = EXPERIMENT.replace("CONFIG", DEBUG);
    place.write("one/experiment.toml", &experiment);
    let summary = place
        .run(&["experiment", "run", "one", "-q", "-o", "json"])
        .json();
    let [distilled, float] = summary["variants"].as_array().unwrap().as_slice() else {
        panic!("{summary}");
    };
    assert_eq!(distilled["teacher"], "float");
    let rate = float["learning_rate"].as_f64().unwrap();
    for (taught, teacher) in [0, 1].map(|i| (&distilled["runs"][i], &float["runs"][i])) {
        assert_eq!(taught["seed"], teacher["seed"]);
        assert_eq!(taught["teacher_seconds"], teacher["seconds"]);
        assert!(teacher.get("teacher_seconds").is_none());
        // The teacher is the float run of the same seed, at the rate that was chosen.
        let (own, seed) = (taught["learning_rate"].as_f64().unwrap(), &taught["seed"]);
        let config = format!("runs/experiments/one/distilled/lr-{own:e}-seed-{seed}/config.toml");
        let from = format!("distill_from = \"runs/experiments/one/float/lr-{rate:e}-seed-{seed}\"");
        assert!(place.read(&config).contains(&from), "{from}");
    }
    assert!(
        place
            .read("one/report.md")
            .contains("learned from a trained float too")
    );
    for teacher in ["distilled", "nobody"] {
        let wrong = format!("teacher = \"{teacher}\"");
        place.write(
            "one/experiment.toml",
            experiment.replace("teacher = \"float\"", &wrong),
        );
        place.fails(
            &["experiment", "run", "one"],
            &["variants.teacher", teacher],
        );
    }
}

#[test]
fn a_teacher_has_the_learners_vocabulary() {
    let place = Place::new();
    place.train(
        "teacher",
        &["--set", "model.vocab_size=300", "--set", "train.steps=2"],
    );
    place.fails(
        &["train", DEBUG, "--set", "train.distill_from=teacher"],
        &["teacher", "model.vocab_size"],
    );
}

#[test]
fn a_teacher_that_diverges_is_a_result_of_its_pupils_too() {
    let place = Place::new();
    fs::create_dir(place.path("one")).unwrap();
    let experiment = EXPERIMENT
        .replace("CONFIG", DEBUG)
        .replace("[1e-3, 2e-3]", "[10, 9]")
        // A decay that is larger than the weights.
        .replace(
            "[\"model.linear=float\"]",
            "[\"model.linear=float\", \"train.weight_decay=100\"]",
        );
    place.write("one/experiment.toml", experiment);
    let run = || {
        place
            .run(&["experiment", "run", "one", "-q", "-o", "json"])
            .json()
    };
    let summary = run();
    for variant in summary["variants"].as_array().unwrap() {
        for run in variant["runs"].as_array().unwrap() {
            assert!(run["score"].is_null(), "{run}");
        }
    }
    assert!(place.read("one/report.md").contains("diverged"));
    // It is recorded: nothing is trained again.
    let result = "runs/experiments/one/distilled/lr-3e-3-seed-0/result.json";
    let before = fs::metadata(place.path(result))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(run()["variants"], summary["variants"]);
    assert_eq!(
        fs::metadata(place.path(result))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
}
