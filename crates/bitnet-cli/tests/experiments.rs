//! `bitnet experiment`: what is done is kept, what is missing is run, reports come from the summary alone.

mod common;

use std::fs;

use common::experiment::{EXPERIMENT, RUN, place};
use common::{Place, has_keys};
use serde_json::Value;

const ARGS: [&str; 5] = ["experiment", "run", "all/one", "-o", "json"];

fn written(place: &Place) -> Vec<(String, std::time::SystemTime)> {
    let snapshot = place.snapshot();
    let results = snapshot.keys().filter(|path| path.ends_with("result.json"));
    results
        .map(|path| {
            (
                path.display().to_string(),
                fs::metadata(path).unwrap().modified().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_whole_experiment() {
    let place = place();
    let summary = place.run(&ARGS).json();
    has_keys(
        &summary,
        &["variants", "metric", "seeds", "machine", "command", "data"],
    );
    let variants = summary["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 2);
    for variant in variants {
        // Both rates under the first seed, the better one under the others.
        assert_eq!(variant["grid"].as_array().unwrap().len(), 2);
        let runs = variant["runs"].as_array().unwrap();
        let seeds: Vec<u64> = runs
            .iter()
            .map(|run| run["seed"].as_u64().unwrap())
            .collect();
        assert_eq!(seeds, [0, 1, 2]);
        let best = variant["grid"].as_array().unwrap().iter().min_by(|a, b| {
            a["score"]
                .as_f64()
                .unwrap()
                .total_cmp(&b["score"].as_f64().unwrap())
        });
        assert_eq!(variant["learning_rate"], best.unwrap()["learning_rate"]);
        assert!(
            runs.iter()
                .all(|run| run["learning_rate"] == variant["learning_rate"])
        );
        assert!(
            runs.iter()
                .all(|run| run["curve"].as_array().unwrap().len() > 3)
        );
    }
    let ternary = &variants[1]["runs"][0];
    assert_eq!(
        ternary["score"], ternary["trained_score"],
        "packed and trained"
    );
    let health = &ternary["telemetry"][0];
    assert_eq!(health["layer"], "proj");
    let zeros = health["points"][0]["zeros"].as_f64().unwrap();
    assert!((0.05..0.7).contains(&zeros), "{zeros}");
    let bytes = |i: usize| variants[i]["packed_bytes"].as_f64().unwrap();
    assert!(bytes(0) > 5.0 * bytes(1)); // half of each word is padding at eight inputs
    let report = place.read("all/one/report.md");
    for part in [
        "A test",
        "Does it run?",
        "loss.svg",
        "experiment run all/one",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }

    // Again: nothing is trained, the same is written.
    let before = written(&place);
    assert_eq!(before.len(), 8);
    assert_eq!(place.run(&ARGS).json()["variants"], summary["variants"]);
    assert_eq!(written(&place), before);

    // A new variant costs its own runs.
    let more =
        format!("{EXPERIMENT}\n[[variants]]\nname = \"row\"\nset = [\"quant.granularity=row\"]\n");
    place.write("all/one/experiment.toml", &more);
    place.run(&[&ARGS[..], &["--jobs", "2"]].concat()).ok();
    let after = written(&place);
    assert_eq!(after.len(), 12);
    assert!(before.iter().all(|old| after.contains(old)));

    // The reports come from the summaries: without runs, with the words as they are now.
    fs::remove_dir_all(place.path("runs")).unwrap();
    place.write(
        "all/one/experiment.toml",
        format!("conclusion = \"It does.\"\n{more}"),
    );
    place.run(&["experiment", "render", "all"]).ok();
    assert!(place.read("all/one/report.md").contains("It does."));
    let index = place.read("all/README.md");
    assert!(
        index.contains("one/report.md") && index.contains("It does."),
        "{index}"
    );
    let summary: Value = serde_json::from_str(&place.read("all/one/summary.json")).unwrap();
    assert_eq!(summary["conclusion"], "It does.");
}

#[test]
fn an_interrupted_run_goes_on() {
    let place = place();
    let whole = place.run(&ARGS).json();
    let run = "runs/experiments/one/float/lr-1e-2-seed-0";
    // As if it had been stopped after its first checkpoint.
    for name in ["result.json", "summary.json", "checkpoints/step-00000020"] {
        let path = place.path(&format!("{run}/{name}"));
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    assert!(
        place
            .path(&format!("{run}/checkpoints/step-00000010"))
            .exists()
    );
    let again = place.run(&ARGS).json();
    assert_eq!(again["variants"][0]["grid"], whole["variants"][0]["grid"]);
    // As if it had been stopped before.
    fs::remove_file(place.path(&format!("{run}/result.json"))).unwrap();
    fs::remove_dir_all(place.path(&format!("{run}/checkpoints"))).unwrap();
    fs::create_dir(place.path(&format!("{run}/checkpoints"))).unwrap();
    let again = place.run(&ARGS).json();
    assert_eq!(again["variants"][0]["grid"], whole["variants"][0]["grid"]);
}

/// A rate that diverges is a result: the worst there is.
#[test]
fn a_rate_that_diverges_is_recorded_and_blocks_nothing() {
    let place = place();
    // A decay that is larger than the weights at the higher rate, and takes all of them away at the lower one.
    let decays = "set = [\"train.weight_decay=100\"]\nlearning_rates = ";
    let with_rates = |rates: &str| {
        EXPERIMENT.replace(
            "learning_rates = [1e-3, 1e-2]",
            &(decays.to_owned() + rates),
        )
    };
    let diverging = with_rates("[10, 1e-2]");
    place.write("all/one/experiment.toml", &diverging);
    let summary = place.run(&ARGS).json();
    for variant in summary["variants"].as_array().unwrap() {
        let grid = variant["grid"].as_array().unwrap();
        assert!(
            grid[0]["score"].is_null() && grid[1]["score"].is_number(),
            "{grid:?}"
        );
        assert_eq!(variant["learning_rate"], 1e-2);
        assert_eq!(variant["runs"].as_array().unwrap().len(), 3);
        assert!(variant["speed"].is_object(), "{variant:#}");
    }
    let diverged = place.read("runs/experiments/one/float/lr-1e1-seed-0/summary.json");
    let diverged: Value = serde_json::from_str(&diverged).unwrap();
    assert_eq!(diverged["diverged"], true);
    let before = written(&place);
    place.run(&ARGS).ok();
    assert_eq!(written(&place), before, "it is not tried again");
    // Where all diverge there is nothing to choose, and that is said too.
    place.write("all/one/experiment.toml", with_rates("[10, 9]"));
    let ran = place.run(&[&ARGS[..], &["--run-dir", "other"]].concat());
    let summary = ran.json();
    let runs = summary["variants"][1]["runs"].as_array().unwrap();
    assert!(runs.iter().all(|run| run["score"].is_null()), "{runs:?}");
}

/// What an experiment's process has started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let listed = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let listed: String = listed.collect();
    listed
        .split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_child_a_second_copy_and_a_signal_do_no_harm() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let place = place();
    // Long enough to be met in the middle.
    place.write(
        "all/one/run.toml",
        RUN.replace("steps = 20", "steps = 2000")
            .replace("checkpoint_interval = 10", "checkpoint_interval = 100"),
    );
    place.write(
        "all/one/experiment.toml",
        EXPERIMENT.replace("[0, 1, 2]", "[0]"),
    );
    let whole = place
        .run(&[&ARGS[..], &["--run-dir", "whole"]].concat())
        .json();
    let start = || {
        let child = place
            .command(&ARGS)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let saved = place.path("runs/experiments/one/float");
        let trains = || {
            let runs = fs::read_dir(&saved).into_iter().flatten().flatten();
            runs.into_iter().any(|run| {
                let saved = fs::read_dir(run.path().join("checkpoints"));
                saved.is_ok_and(|mut all| all.next().is_some())
            })
        };
        while !trains() || children(child.id()).is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it does not begin"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        child
    };
    let send = |signal: &str, process: u32| {
        let sent = Command::new("kill")
            .args([signal, &process.to_string()])
            .stderr(Stdio::null())
            .status();
        assert!(sent.is_ok());
    };
    // A child that the system kills.
    let child = start();
    children(child.id())
        .into_iter()
        .for_each(|id| send("-KILL", id));
    let ran = common::Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("was killed"), "{ran:#?}");
    // A second copy, and then a signal to the first alone: its children are told.
    let child = start();
    let second = place.run(&ARGS);
    assert_eq!(second.code, Some(2), "{second:#?}");
    assert!(second.stderr.contains("in use"), "{second:#?}");
    let told = children(child.id());
    send("-TERM", child.id());
    let ran = common::Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    assert!(
        told.iter()
            .all(|id| !std::path::Path::new(&format!("/proc/{id}")).exists()),
        "they go on"
    );
    let again = place.run(&ARGS).json();
    for (variant, expected) in [0, 1].map(|i| (&again["variants"][i], &whole["variants"][i])) {
        assert_eq!(variant["grid"], expected["grid"]);
        assert_eq!(variant["runs"][0]["score"], expected["runs"][0]["score"]);
    }
}

/// What Kubernetes would do with the manifests: a pod for each index, one manifest after the other.
#[test]
fn the_pods_of_manifests_do_the_whole_experiment() {
    let place = place();
    let to_pods = format!(
        "{EXPERIMENT}\n[executor]\nimage = \"bitnet\"\nvolume = \"work\"\ncpus = 1\nmemory = \"2G\"\n\
         time = \"1:00:00\"\ngpus = 1\nat_once = 3\n"
    );
    place.write("all/one/experiment.toml", to_pods);
    let manifest = ["experiment", "manifest", "all/one"];
    let mut rounds = Vec::new();
    loop {
        let ran = place.run(&manifest);
        if ran.code == Some(2) {
            assert!(ran.stderr.contains("nothing is missing"), "{ran:#?}");
            break;
        }
        place.write("job.json", &ran.stdout);
        check_schema(&place);
        let job = ran.json();
        let (spec, pods) = (&job["spec"], job["spec"]["completions"].as_u64().unwrap());
        assert_eq!(spec["completionMode"], "Indexed");
        assert_eq!(spec["parallelism"], pods.min(3));
        assert_eq!(spec["template"]["spec"]["activeDeadlineSeconds"], 3600);
        let container = &spec["template"]["spec"]["containers"][0];
        assert_eq!(
            container["resources"]["limits"],
            serde_json::json!({ "cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "1" })
        );
        let args = container["args"].as_array().unwrap();
        let args: Vec<&str> = args.iter().map(|arg| arg.as_str().unwrap()).collect();
        for index in 0..pods {
            let mut pod = place.command(&args);
            let ran = pod.env("JOB_COMPLETION_INDEX", index.to_string()).output();
            common::Ran::from(ran.unwrap()).ok();
        }
        rounds.push(pods);
    }
    assert_eq!(rounds, [4, 4, 1], "rates, the other seeds, speeds");
    let before = written(&place);
    let pods = place.run(&ARGS).json();
    assert_eq!(written(&place), before, "only the report was missing");
    let here = place
        .run(&[&ARGS[..], &["--run-dir", "here"]].concat())
        .json();
    for (one, other) in [0, 1].map(|i| (&pods["variants"][i], &here["variants"][i])) {
        assert_eq!(one["grid"], other["grid"]);
        assert_eq!(one["runs"][2]["score"], other["runs"][2]["score"]);
    }
    place.write("all/one/experiment.toml", EXPERIMENT);
    place.fails(&manifest, &["executor.image", "executor.volume"]);
}

/// Against Kubernetes' own schema, where the program that knows it is installed.
fn check_schema(place: &Place) {
    let checked = std::process::Command::new("kubernetes-validate")
        .args(["--strict", "--kubernetes-version", "1.29"])
        .arg(place.path("job.json"))
        .output();
    match checked {
        Ok(said) => assert!(said.status.success(), "{said:?}"),
        Err(_) => println!("SKIPPED: kubernetes-validate is not installed (PyPI)"),
    }
}

#[test]
fn mistakes_are_named() {
    let place = place();
    place.fails(&["experiment", "run", "all/two"], &["all/two"]);
    place.fails(&["experiment", "render", "all"], &["all", "experiment run"]);
    place.write("file", "");
    let to_file = [&ARGS[..], &["--out", "file"]].concat();
    place.fails(&to_file, &["--out file", "give a folder"]);
    let jobs = [&ARGS[..], &["--executor", "slurm", "--jobs", "2"]].concat();
    place.fails(&jobs, &["--jobs", "executor.at_once"]);
    let crowded = [&ARGS[..], &["--threads", "1025"]].concat();
    place.fails(&crowded, &["--threads", "from 0 to 1024"]);
    for (from, to, says) in [
        ("seeds", "sedes", "sedes"),
        ("[0, 1, 2]", "[0, 0]", "all different"),
        ("baseline = \"float\"", "baseline = \"flat\"", "\"flat\""),
        ("\"ternary\"\n", "\"float\"\n", "twice"),
        ("config = \"run.toml\"", "", "config"),
        ("[1e-3, 1e-2]", "[1e-3, 1e-3]", "all be different"),
        (
            "[\"model.linear=ternary\"]",
            "[\"model.linear=ternary\", \"task=synthetic\"]",
            "not read by task = \"synthetic\"",
        ),
        ("run.toml", "gone.toml", "gone.toml"),
        (
            "model.linear=ternary",
            "model.linaer=ternary",
            "model.linear",
        ),
        (
            "model.linear=ternary",
            "model.num_labels=1000000000000",
            "GB of memory",
        ),
        (
            "set = [\"model.linear=ternary\"]",
            "learning_rates = [1e-3]",
            "as many as",
        ),
        ("[[v", "[executor]\ntime = \"4h\"\n[[v", "no time limit"),
        ("[[v", "[executor]\nmemory = \"1 GB\"\n[[v", "as in 16G"),
        (
            "[[v",
            "[executor]\ntime = \"1\"\n[[v",
            "less than executor.time",
        ),
        ("[[v", "[executor]\nqueue = \"a\"\n[[v", "queue"),
    ] {
        place.write("all/one/experiment.toml", EXPERIMENT.replacen(from, to, 1));
        place.fails(&ARGS[..3], &[says]);
    }
    place.write("all/one/any.toml", "[train]\nsteps = 20\n");
    let layer = "\"task=layer\", \"model.input_size=8\", \"model.num_labels=4\"]";
    let two_tasks = EXPERIMENT
        .replace("run.toml", "any.toml")
        .replace("linear=float\"]", &format!("linear=float\", {layer}"))
        .replace("linear=ternary\"]", "linear=ternary\", \"task=synthetic\"]");
    place.write("all/one/experiment.toml", two_tasks);
    place.fails(&ARGS[..3], &["do not compare"]);
    place.write("all/one/experiment.toml", EXPERIMENT);
    place.run(&ARGS).ok();
    place.write("all/one/run.toml", RUN.replace("steps = 20", "steps = 24"));
    place.fails(&ARGS[..3], &["another configuration", "--run-dir"]);
}

#[test]
fn only_experiments_are_rendered_and_only_over_their_own_index() {
    let place = Place::new();
    let render = &["experiment", "render", "all"];
    fs::create_dir_all(place.path("all/one")).unwrap();
    place.write("all/one/summary.json", "{}");
    place.fails(render, &["all/one/summary.json", "no variants"]);
    place.write(
        "all/one/summary.json",
        r#"{"title": "One", "variants": [{"name": "a"}]}"#,
    );
    place.write("all/README.md", "My own notes.");
    place.fails(render, &["all/README.md", "move it"]);
    // A run beside them is left alone.
    fs::remove_file(place.path("all/README.md")).unwrap();
    place.train("all/run", &["--set", "train.steps=2"]);
    place.run(render).ok();
    assert!(place.read("all/README.md").contains("One"));
    assert!(!place.path("all/run/report.md").exists());
    place.run(render).ok();
}
