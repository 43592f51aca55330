//! Every key with every task that claims to read it (`Task::reads`): another value makes another training, or another answer
//! of the trained model. A key that a task accepts and does not heed fails here.

#[path = "keys/changes.rs"]
mod changes;
mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bitnet_config::{Task, json_schema};
use changes::{CHANGES, ELSEWHERE};
use common::Place;
use serde_json::Value;

const TASKS: [Task; 6] = [
    Task::Lm,
    Task::Translate,
    Task::Classify,
    Task::Vectors,
    Task::Synthetic,
    Task::Layer,
];

/// What is alike for all tasks: a training of a few steps.
const TRAIN: &str = "\n[train]\nsteps = 4\nbatch_size = 4\neval_interval = 2\neval_batches = 1\nlog_interval = 1\nwarmup_steps = 1\n\
                     learning_rate = 1e-2\n";

const TRANSFORMER: &str = "[model]\nhidden_size = 16\nintermediate_size = 32\nnum_hidden_layers = 2\nnum_attention_heads = 2\n\
                           max_position_embeddings = 32\n";

/// Settings of a task before anything is changed, and what they read.
fn base(task: Task) -> String {
    let head = format!("task = \"{}\"\n", task.name());
    let data = "validation_examples = 8\ntest_examples = 8\n";
    match task {
        Task::Lm => format!("{head}{TRANSFORMER}[data]\ncharacters = 3000\n{TRAIN}context = 16\n"),
        Task::Translate => {
            format!(
                "{head}{TRANSFORMER}[data]\npath = \"pairs.tsv\"\nmax_length = 20\n{data}{TRAIN}[decode]\nbeam = 2\nmax_length = 8\n"
            )
        }
        Task::Classify => {
            format!(
                "{head}{TRANSFORMER}[data]\npath = \"rows.csv\"\nmax_length = 20\n{data}{TRAIN}"
            )
        }
        Task::Vectors => format!(
            "{head}[model]\nhidden_size = 16\nnum_hidden_layers = 2\n[data]\npath = \"vectors.csv\"\n{data}{TRAIN}"
        ),
        Task::Synthetic => {
            format!(
                "{head}{TRANSFORMER}[data]\nmax_length = 24\nexamples = 40\n{data}{TRAIN}[decode]\nbeam = 2\nmax_length = 8\n"
            )
        }
        Task::Layer => {
            format!(
                "{head}[model]\ninput_size = 8\nnum_labels = 4\n[data]\nexamples = 40\n{data}{TRAIN}"
            )
        }
    }
}

/// Leaves of the schema, by their paths; a key of several parts is one.
fn leaves(prefix: &str, section: &Value, found: &mut Vec<String>) {
    for (name, property) in section["properties"].as_object().unwrap() {
        let key = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        match property.get("properties") {
            Some(_) => leaves(&key, property, found),
            None => found.push(key),
        }
    }
}

/// The settings that change a key; the twins have those of the shared optimiser.
fn change(key: &str) -> Option<Vec<String>> {
    for twin in ["float", "ternary"] {
        if let Some(name) = key.strip_prefix(&format!("train.{twin}.")) {
            let shared = change(&format!("train.{name}"))?.into_iter();
            let own = shared.map(|set| set.replacen("train.", &format!("train.{twin}."), 1));
            return Some(own.chain([format!("model.linear={twin}")]).collect());
        }
    }
    let (_, sets) = CHANGES.iter().find(|(known, _)| *known == key)?;
    Some(sets.iter().map(|set| (*set).to_owned()).collect())
}

/// What a change is compared with: the same without the key itself.
fn without(key: &str, sets: &[String]) -> Vec<String> {
    let own = format!("{key}=");
    let pair = match key {
        // One cannot be without the other: `source` is compared with the file of both, `target` with another one.
        "data.target" => Some("data.target=en"),
        "data.validation_target" => Some("data.validation_target=en"),
        "data.test_target" => Some("data.test_target=en"),
        "data.target_column" => Some("data.target_column=2"),
        "data.source_column" => Some("data.source_column=1"),
        "data.kind" | "data.source" | "data.validation_source" | "data.test_source" => {
            return Vec::new();
        }
        key if key.ends_with("second_learning_rate") => Some("train.second_learning_rate=5e-3"),
        "data.vocab_size" => Some("data.vocab_size=260"),
        _ => None,
    };
    let others = sets.iter().filter(|set| !set.starts_with(&own)).cloned();
    let section = key.rsplit_once('.').map_or("", |(section, _)| section);
    let pair = pair.map(|set| match set.split_once('.') {
        Some(("train", name)) => format!("{section}.{name}"),
        _ => set.to_owned(),
    });
    others.chain(pair).collect()
}

/// What a training did: its losses and rates, scores, checkpoints, and what its model says; without times.
fn trace(place: &Place, task: Task, dir: &str, sets: &[String]) -> Result<String, String> {
    let file = format!("{}.toml", task.name());
    let mut args = vec![
        "train",
        &file,
        "--run-dir",
        dir,
        "--threads",
        "1",
        "-q",
        "-o",
        "json",
    ];
    for set in sets {
        args.extend(["--set", set]);
    }
    let ran = place.run(&args);
    if ran.code != Some(0) {
        return Err(ran.stderr);
    }
    let mut told = Vec::new();
    let metrics = std::fs::read_to_string(place.path(dir).join("metrics.jsonl")).unwrap();
    let results = metrics.lines().chain([ran.stdout.as_str()]);
    told.extend(results.map(|line| timeless(serde_json::from_str(line).unwrap()).to_string()));
    for entry in std::fs::read_dir(place.path(dir).join("checkpoints")).unwrap() {
        told.push(entry.unwrap().file_name().to_string_lossy().into_owned());
    }
    let tokenizer = std::fs::read_to_string(place.path(dir).join("tokenizer.json"));
    told.push(tokenizer.unwrap_or_default());
    // The first evaluation is on the validation split; these are on the test split.
    let score = match task {
        Task::Lm | Task::Layer => vec!["eval", dir, "-o", "json"],
        _ => vec!["eval", dir, "-o", "json", "--predictions", "out.jsonl"],
    };
    let out = format!("{dir}.jsonl");
    let score: Vec<&str> = (score.into_iter())
        .map(|word| if word == "out.jsonl" { &out } else { word })
        .collect();
    let scored = place.run(&[&score[..], &["--threads", "1"]].concat());
    told.push(timeless(serde_json::from_str(&scored.ok().stdout).unwrap()).to_string());
    told.push(std::fs::read_to_string(place.path(&out)).unwrap_or_default());
    let lines = told.join("\n");
    Ok(lines.replace(dir, "RUN"))
}

/// Without what a clock or the memory said.
fn timeless(value: Value) -> Value {
    let measured = |name: &str| {
        ["second", "_ms", "rss", "tps", "time", "energy"]
            .iter()
            .any(|part| name.contains(part))
    };
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| !measured(name))
            .map(|(name, value)| (name, timeless(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(timeless).collect(),
        value => value,
    }
}

fn place() -> Place {
    let place = Place::new();
    for task in TASKS {
        place.write(&format!("{}.toml", task.name()), base(task));
    }
    let lines = |line: &dyn Fn(usize) -> String| (0..60).map(line).collect::<String>();
    let words = ["Ein Haus", "zwei Katzen", "Drei", "vier Hunde und"];
    let word = |i: usize| format!("{} {}", words[i % 4], i % 7);
    let pairs = |i: usize| format!("{}\t{}\n", word(i), word(3 * i + 1));
    let rows = |i: usize| format!("{},{},{}\n", ["a", "b"][i % 2], word(i), word(5 * i + 2));
    let numbers = |i: usize| format!("{},{},{}\n", i % 2, (7 * i) % 13, (5 * i) % 3);
    place.write("pairs.tsv", lines(&pairs));
    place.write("rows.csv", format!("label,text,other\n{}", lines(&rows)));
    place.write("vectors.csv", lines(&numbers));
    place.write("de", lines(&|i| word(i) + "\n"));
    place.write("en", lines(&|i| word(i + 1) + "\n"));
    place.write("text.txt", lines(&|i| word(i) + "\n").repeat(2));
    place.write("tokenizer.json", "{\"kind\":\"byte\"}");
    place
}

/// A file of other data for a task, in the place of `OTHER`.
fn other(place: &Place, task: Task) -> &'static str {
    let (name, content): (_, String) = match task {
        Task::Translate => (
            "other.tsv",
            (0..30).map(|i| format!("Ein {i}\tzwei {i}\n")).collect(),
        ),
        Task::Classify => {
            let rows = (0..30).map(|i| format!("{},Katzen {i},x\n", ["b", "a"][i % 2]));
            (
                "other.csv",
                format!("label,text,other\n{}", rows.collect::<String>()),
            )
        }
        Task::Vectors => (
            "other.csv",
            (0..30)
                .map(|i| format!("{},{},{}\n", i % 2, i % 11, i % 3))
                .collect(),
        ),
        _ => ("other.txt", "Haus 6\nEin Katzen 3\nvier und 1\n".repeat(20)),
    };
    let name = format!("{}-{name}", task.name());
    place.write(&name, content);
    name.leak()
}

#[test]
fn every_key_changes_what_every_task_does_that_reads_it() {
    let place = place();
    let ran = place.run(&[
        "train",
        "lm.toml",
        "--run-dir",
        "teacher",
        "-q",
        "--set",
        "train.seed=9",
    ]);
    ran.ok();
    let mut keys = Vec::new();
    leaves("", &serde_json::to_value(json_schema()).unwrap(), &mut keys);
    let is_elsewhere = |key: &str| ELSEWHERE.iter().any(|(known, _)| *known == key);
    let known = |key: &str| change(key).is_some() != is_elsewhere(key);
    let shared = |key: &str| {
        key.replace("train.float.", "train.")
            .replace("train.ternary.", "train.")
    };
    for key in &keys {
        assert!(
            known(&shared(key)),
            "{key}: say in CHANGES what another value is"
        );
    }
    let mut pairs: Vec<(Task, &str, Vec<String>)> = Vec::new();
    for task in TASKS {
        let other = other(&place, task);
        for key in keys.iter().filter(|key| task.reads(key)) {
            let one = format!("{}: {key}", task.name());
            let Some(mut sets) = change(key).filter(|_| !is_elsewhere(&one)) else {
                continue;
            };
            if key == "data.text_columns" && task == Task::Lm {
                sets.extend(["data.kind=text", "data.path=rows.csv"].map(str::to_owned));
            } else if task == Task::Lm && key.starts_with("data.") && key.ends_with("path") {
                let path = "data.path=text.txt";
                sets.push("data.kind=text".to_owned());
                if key != "data.path" {
                    sets.push(path.to_owned());
                }
            } else if key == "data.max_length" {
                // Some examples fit and some do not.
                let length = match task {
                    Task::Translate => 16,
                    Task::Synthetic => 6,
                    _ => 12,
                };
                sets = vec![format!("data.max_length={length}")];
            } else if task == Task::Layer && key == "model.rms_norm_eps" {
                // A single layer has no norm but its own.
                sets.push("quant.norm=inside".to_owned());
            } else if task == Task::Classify && key == "data.label_column" {
                sets = vec![
                    "data.label_column=other".to_owned(),
                    "data.shuffle=false".to_owned(),
                ];
            }
            let sets = sets.into_iter().map(|set| set.replace("OTHER", other));
            pairs.push((task, key, sets.collect()));
        }
    }
    let traces = Mutex::new(BTreeMap::<(String, Vec<String>), String>::new());
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = |worker: usize| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((task, key, sets)) = pairs.get(at) else {
                return;
            };
            let dir = |what| format!("run-{worker}-{at}-{what}");
            let mut plain = without(key, sets);
            if *task == Task::Lm && *key == "data.path" {
                plain.push("data.path=text.txt".to_owned());
            }
            if *task == Task::Lm && *key == "data.text_columns" {
                plain.push("data.text_columns=[\"text\"]".to_owned());
            }
            let name = (task.name().to_owned(), plain.clone());
            let known = traces.lock().unwrap().get(&name).cloned();
            let before = match known {
                Some(trace) => Ok(trace),
                None => trace(&place, *task, &dir("plain"), &plain),
            };
            let after = trace(&place, *task, &dir("changed"), sets);
            let problem = match (before, after) {
                (Ok(before), Ok(after)) => {
                    let alike = before == after;
                    traces.lock().unwrap().insert(name, before);
                    alike.then(|| "changes nothing".to_owned())
                }
                (Err(error), _) => Some(format!("cannot be compared: {plain:?}: {error}")),
                (_, Err(error)) => Some(format!("cannot be set: {error}")),
            };
            if let Some(problem) = problem {
                let line = format!("{key} of {} ({sets:?}) {problem}", task.name());
                failures.lock().unwrap().push(line);
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            scope.spawn(move || work(worker));
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {}:\n{}",
        failures.len(),
        pairs.len(),
        failures.join("\n")
    );
    println!("{} pairs of a key and a task", pairs.len());
    assert!(pairs.len() > 300, "{}", pairs.len());
}
