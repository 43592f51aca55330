//! Training: what is written, and that it is the same again and after an interruption.

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{DEBUG, Place, has_keys, losses, number, untimed};
use serde_json::Value;

/// Everything in a summary that must not depend on chance or on threads.
fn outcome(summary: &Value) -> [f64; 4] {
    ["steps", "train_loss", "initial_val_loss", "val_loss"].map(|key| number(summary, key))
}

#[test]
fn a_training_run_learns_and_leaves_a_run_directory() {
    let place = Place::new();
    let ran = place
        .run(&["train", DEBUG, "--run-dir", "run", "-o", "json"])
        .ok();
    assert!(ran.stderr.contains("20/20"), "no progress: {ran:#?}");
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    has_keys(
        &summary,
        &[
            "run_dir",
            "steps",
            "tokens",
            "seconds",
            "tokens_per_second",
            "peak_rss_bytes",
            "train_loss",
            "val_loss",
        ],
    );
    assert_eq!(summary["run_dir"], "run");
    assert_eq!(outcome(&summary)[0], 20.0);
    assert_eq!(number(&summary, "tokens"), 20.0 * 4.0 * 32.0);
    // Guessing evenly among the 61 characters costs ln 61 = 4.11.
    assert!(
        (number(&summary, "initial_val_loss") - 4.11).abs() < 0.1,
        "{summary:#}"
    );
    assert!(number(&summary, "val_loss") < 3.5, "{summary:#}");

    for file in [
        "config.toml",
        "tokenizer.json",
        "packed.bpk",
        "metrics.jsonl",
    ] {
        assert!(place.path("run").join(file).is_file(), "{file} is missing");
    }
    for step in ["step-00000010", "step-00000020"] {
        assert!(
            place.path("run/checkpoints").join(step).is_dir(),
            "{step} is missing"
        );
    }
    assert!(
        place
            .snapshot()
            .keys()
            .all(|path| path.extension() != Some("tmp".as_ref()))
    );
    let saved: Value = serde_json::from_str(&place.read("run/summary.json")).unwrap();
    assert_eq!(saved, summary);
    let steps: Vec<_> = losses(&place.read("run/metrics.jsonl"))
        .into_iter()
        .map(|(kind, step, _)| (kind, step))
        .collect();
    let expected = [
        ("val", 0),
        ("train", 5),
        ("train", 10),
        ("val", 10),
        ("train", 15),
        ("train", 20),
        ("val", 20),
    ];
    assert_eq!(steps, expected.map(|(kind, step)| (kind.to_owned(), step)));

    let printed = place
        .run_unchanged(&["train", "run/config.toml", "--print-config"])
        .ok();
    let config = place.read("run/config.toml");
    let (seal, settings) = config.split_at(config.find("name =").unwrap());
    let told = |text: &str| -> Vec<String> {
        let lines = text.lines();
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(told(&printed.stdout), told(settings));
    assert!(seal.lines().all(|line| line.starts_with('#')), "{seal}");
}

/// With twelve blocks, what one block keeps for the way back is a small part of what all keep.
#[test]
fn blocks_computed_anew_take_less_memory() {
    let place = Place::new();
    let peak = |dir: &str, anew: &str| {
        let sets = [
            "train.steps=1",
            "train.batch_size=8",
            "train.context=64",
            "train.eval_batches=1",
            "train.sample_tokens=0",
            "model.num_hidden_layers=12",
            "model.hidden_size=64",
            "model.intermediate_size=512",
            anew,
        ];
        let args = sets.iter().flat_map(|set| ["--set", set]);
        let summary = place.train(dir, &args.collect::<Vec<_>>());
        (
            number(&summary, "peak_rss_bytes"),
            number(&summary, "val_loss"),
        )
    };
    let (whole, loss) = peak("whole", "train.checkpoint_activations=false");
    let (anew, same) = peak("anew", "train.checkpoint_activations=true");
    assert_eq!(loss, same);
    // Of 512 tokens a block keeps 2 to 5 MB: 78 MB and 50 MB where this was measured.
    assert!(anew + 15e6 < whole, "{anew} and {whole} bytes");
}

#[test]
fn runs_get_folders_of_their_own() {
    let place = Place::new();
    for folder in ["runs/debug", "runs/debug-2"] {
        let ran = place.run(&["train", DEBUG]).ok();
        assert!(
            ran.stdout.contains(&format!("{folder}: 20 steps")),
            "{ran:#?}"
        );
        assert!(place.path(folder).join("packed.bpk").exists());
    }
    let ran = place.run_unchanged(&["train", DEBUG, "--dry-run"]).ok();
    assert!(ran.stdout.contains("runs/debug-3"), "{ran:#?}");
}

#[test]
fn the_seed_decides_and_the_threads_do_not() {
    let place = Place::new();
    let first = place.train("a", &[]);
    for (dir, more) in [
        ("b", &[][..]),
        ("c", &["--threads", "1"]),
        ("d", &["--threads", "2"]),
        ("e", &["--seed", "0"]),
    ] {
        assert_eq!(
            outcome(&place.train(dir, more)),
            outcome(&first),
            "{more:?}"
        );
        let metrics = |dir: &str| untimed(&place.read(&format!("{dir}/metrics.jsonl")));
        assert_eq!(metrics(dir), metrics("a"), "{more:?}");
        for file in [
            "packed.bpk",
            "checkpoints/step-00000020/model.bpk",
            "checkpoints/step-00000020/optimizer.bpk",
        ] {
            let bytes = |dir: &str| fs::read(place.path(dir).join(file)).unwrap();
            assert!(bytes(dir) == bytes("a"), "{file}, {more:?}");
        }
    }
    let other = place.train("f", &["--seed", "1"]);
    assert_ne!(number(&other, "val_loss"), number(&first, "val_loss"));
    assert_ne!(
        number(&other, "initial_val_loss"),
        number(&first, "initial_val_loss")
    );
}

#[test]
fn resuming_gives_what_one_go_gives() {
    let place = Place::new();
    for linear in ["ternary", "float"] {
        let set = format!("model.linear=\"{linear}\"");
        let dir = linear;
        let first = place.train(dir, &["--set", &set]);
        let metrics = losses(&place.read(&format!("{dir}/metrics.jsonl")));
        let model = format!("{dir}/checkpoints/step-00000020/model.bpk");
        let weights = fs::read(place.path(&model)).unwrap();

        let step = |n| format!("{dir}/checkpoints/step-000000{n}");
        for from in ["auto", &step(10)] {
            fs::remove_dir_all(place.path(&step(20))).unwrap();
            fs::remove_file(place.path(dir).join("summary.json")).unwrap();
            let again = place.train(dir, &["--set", &set, "--resume", from]);
            assert_eq!(outcome(&again), outcome(&first), "{linear}, {from}");
            assert_eq!(
                losses(&place.read(&format!("{dir}/metrics.jsonl"))),
                metrics
            );
            assert!(
                fs::read(place.path(&model)).unwrap() == weights,
                "{linear}: other weights"
            );
        }
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_run_goes_on() {
    let place = Place::new();
    let long = [
        "train",
        DEBUG,
        "--run-dir",
        "run",
        "--set",
        "train.steps=1000000",
        "-o",
        "json",
    ];
    let child = place
        .command(&long)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !fs::read_to_string(place.path("run/metrics.jsonl")).is_ok_and(|m| m.lines().count() > 3)
    {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the run does not begin"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    // Twice at once is once: a scheduler tells every process, and a parent tells its children too.
    let signals = format!("kill -INT {0} && kill -TERM {0}", child.id());
    let sent = Command::new("sh").args(["-c", &signals]).status().unwrap();
    assert!(sent.success());
    let ran = common::Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    assert!(ran.stderr.contains("interrupted"), "{ran:#?}");
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(summary["interrupted"], true);
    let step = summary["steps"].as_u64().unwrap();
    assert!((1..1_000_000).contains(&step), "{summary:#}");
    assert!(
        place
            .path(&format!("run/checkpoints/step-{step:08}/model.bpk"))
            .exists()
    );

    // Saved, not scored: the validation split may be large, and somebody waits for the process to end.
    assert!(summary["val_loss"].is_null(), "{summary:#}");
    let eval = place.run(&["eval", "run", "-o", "json"]).json();
    assert!(number(&eval, "loss") < 4.11, "{eval:#}");

    let steps = format!("train.steps={}", step + 7);
    let resumed = place.train("run", &["--resume", "auto", "--set", &steps]);
    assert_eq!(resumed["interrupted"], false);
    assert_eq!(resumed["steps"].as_u64(), Some(step + 7));
    assert!(place.path("run/packed.bpk").exists());
    let metrics = losses(&place.read("run/metrics.jsonl"));
    assert!(metrics.is_sorted_by_key(|(_, at, _)| *at), "{metrics:?}");
    assert_eq!(metrics.last().map(|(_, at, _)| *at), Some(step + 7));
}
