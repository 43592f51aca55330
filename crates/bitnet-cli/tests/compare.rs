//! `bitnet compare`: two twins, one report.

mod common;

use std::fs;
use std::path::Path;

use common::{DEBUG, Place, has_keys, number};
use serde_json::Value;

#[test]
fn a_comparison_measures_both_twins_and_writes_a_report() {
    let place = Place::new();
    let ran = place
        .run(&["compare", DEBUG, "--run-dir", "cmp", "-q", "-o", "json"])
        .ok();
    assert_eq!(ran.stderr, "");
    let summary: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        Path::new(summary["report"].as_str().unwrap()),
        Path::new("cmp/report.html")
    );
    let twins = summary["twins"].as_array().unwrap();
    let names: Vec<_> = twins
        .iter()
        .map(|twin| twin["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["float", "ternary"]);
    for twin in twins {
        has_keys(twin, &["name", "params", "packed"]);
        has_keys(
            &twin["train"],
            &[
                "steps",
                "tokens",
                "seconds",
                "tokens_per_second",
                "peak_rss_bytes",
            ],
        );
        has_keys(&twin["val"], &["loss", "perplexity", "accuracy"]);
        has_keys(
            &twin["inference"],
            &["prefill_tps", "decode_tps", "peak_rss_bytes"],
        );
        assert!(twin["energy"].is_object());
        assert_eq!(number(&twin["train"], "steps"), 20.0);
        assert!(number(&twin["inference"], "prefill_tps") > 0.0);
        assert!(number(&twin["inference"], "decode_tps") > 0.0);
        assert!(number(&twin["val"], "loss") < number(twin, "initial_val_loss") - 0.5);
        assert_eq!(
            number(&twin["val"], "perplexity"),
            number(&twin["val"], "loss").exp()
        );
    }
    let [float, ternary] = twins.as_slice() else {
        panic!("not two twins");
    };
    assert!(float["packed"].is_null());
    assert_eq!(float["params"], ternary["params"]);

    let packed = &ternary["packed"];
    has_keys(
        packed,
        &["val_loss", "weight_bytes", "file_bytes", "token_match"],
    );
    let matched = &packed["token_match"];
    assert_eq!(
        (number(matched, "equal"), number(matched, "compared")),
        (64.0, 64.0)
    );
    let apart = number(packed, "val_loss") - number(&ternary["val"], "loss");
    assert!(
        apart.abs() < 1e-9,
        "the packed model's loss is off by {apart}"
    );
    let bits = 8.0 * number(packed, "weight_bytes") / number(ternary, "ternary_weights");
    assert!(
        (1.58..2.2).contains(&bits),
        "{bits} bits per ternary weight"
    );
    let file = fs::metadata(place.path("cmp/ternary/packed.bpk"))
        .unwrap()
        .len();
    assert_eq!(number(packed, "file_bytes"), file as f64);

    // Each twin is a run of its own, and the same as one trained alone.
    for (twin, linear) in [(float, "float"), (ternary, "ternary")] {
        let set = format!("model.linear=\"{linear}\"");
        let alone = place.train(linear, &["--set", &set]);
        assert_eq!(
            number(&twin["val"], "loss"),
            number(&alone, "val_loss"),
            "{linear}"
        );
        let eval = place
            .run(&["eval", &format!("cmp/{linear}"), "-o", "json"])
            .json();
        assert!(
            (number(&eval, "loss") - number(&alone, "val_loss")).abs() < 1e-9,
            "{linear}"
        );
    }

    let saved: Value = serde_json::from_str(&place.read("cmp/summary.json")).unwrap();
    assert_eq!(saved, summary);
    check_report(&place);

    // Given again it changes nothing but the reports, which say the same; another one has no place there.
    let again = ["compare", DEBUG, "--run-dir", "cmp", "-q", "-o", "json"];
    assert_eq!(numbers(place.run(&again).json()), numbers(saved));
    check_report(&place);
    place.fails(
        &["compare", DEBUG, "--run-dir", "cmp", "--seed", "9"],
        &["of another configuration", "another --run-dir"],
    );
}

fn check_report(place: &Place) {
    let markdown = place.read("cmp/report.md");
    let html = place.read("cmp/report.html");
    for text in [&markdown, &html] {
        assert!(text.contains("float") && text.contains("ternary") && text.contains("Perplexity"));
    }
    let svgs: Vec<_> = fs::read_dir(place.path("cmp"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some("svg".as_ref()))
        .collect();
    assert!(svgs.len() >= 3, "{svgs:?}");
    for svg in &svgs {
        let text = fs::read_to_string(svg).unwrap();
        assert!(
            text.starts_with("<svg") && text.trim_end().ends_with("</svg>"),
            "{svg:?}"
        );
        let name = svg.file_name().unwrap().to_str().unwrap();
        assert!(
            markdown.contains(&format!("({name})")),
            "report.md does not show {name}"
        );
    }
    assert!(html.matches("<svg").count() >= 3, "the page holds no plots");
    // Nothing is fetched: links inside the page and data are all that may be referred to.
    for attribute in ["src=", "href=", "url("] {
        for (at, _) in html.match_indices(attribute) {
            let target = html[at + attribute.len()..].trim_start_matches(['"', '\'']);
            assert!(
                target.starts_with('#') || target.starts_with("data:"),
                "the page refers to {}",
                target.chars().take(60).collect::<String>()
            );
        }
    }
    for outside in ["<script src", "<link", "@import", "<iframe"] {
        assert!(!html.contains(outside), "the page has {outside}");
    }
}

#[test]
fn the_table_comes_in_every_format() {
    let place = Place::new();
    let run = |dir: &str, format: &str| {
        let ran = place
            .run(&["compare", DEBUG, "--run-dir", dir, "-q", "-o", format])
            .ok();
        let summary: Value =
            serde_json::from_str(&place.read(&format!("{dir}/summary.json"))).unwrap();
        (ran.stdout, number(&summary["twins"][1]["val"], "loss"))
    };
    let (md, loss) = run("md", "md");
    let lines: Vec<&str> = md.lines().collect();
    assert!(
        lines[0].starts_with("|") && lines[0].contains("| float | ternary |"),
        "{md}"
    );
    assert!(lines[1].starts_with("| ---"), "{md}");
    let bars = |line: &str| line.matches('|').count();
    assert!(
        lines.iter().all(|line| bars(line) == bars(lines[0])),
        "{md}"
    );
    assert!(md.contains(&format!("{loss:.4}")), "{md}");

    let (csv, loss) = run("csv", "csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].contains("float,ternary"), "{csv}");
    assert!(lines.len() > 10, "{csv}");
    assert!(csv.contains(&format!("{loss}")), "{csv}");

    let (text, loss) = run("text", "text");
    assert!(text.contains(&format!("{loss:.4}")), "{text}");
    assert!(
        text.trim_end().ends_with("report: text/report.html"),
        "{text}"
    );
}

/// What a comparison found, without times, memory, the places of files, and what each process measures to be its fastest
/// way to multiply, whose sums are the same.
fn numbers(mut value: Value) -> Value {
    const CIRCUMSTANCES: [&str; 13] = [
        "seconds",
        "tokens_per_second",
        "peak_rss_bytes",
        "inference_peak_rss_bytes",
        "inference",
        "engine",
        "step_ms",
        "speed",
        "waited",
        "command",
        "report",
        "date",
        "lr",
    ];
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|key, _| !CIRCUMSTANCES.contains(&key.as_str()));
            for field in fields.values_mut() {
                *field = numbers(field.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = numbers(item.take());
            }
        }
        _ => {}
    }
    value
}

/// Where two values differ, and how.
fn differences(at: &str, left: &Value, right: &Value) -> Vec<String> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) if left.keys().eq(right.keys()) => left
            .iter()
            .flat_map(|(key, value)| differences(&format!("{at}/{key}"), value, &right[key]))
            .collect(),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs
                .flat_map(|(index, (left, right))| {
                    differences(&format!("{at}/{index}"), left, right)
                })
                .collect()
        }
        _ if left == right => Vec::new(),
        _ => vec![format!("{at}: {left} and {right}")],
    }
}

#[cfg(unix)]
#[test]
fn a_stopped_comparison_goes_on_by_the_same_command() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let args = ["compare", DEBUG, "-q", "--set", "train.steps=80"];
    let summary = |place: &Place| {
        let text = place.read("runs/debug/summary.json");
        numbers(serde_json::from_str(&text).unwrap())
    };
    let whole = Place::new();
    whole.run(&args).ok();
    let expected = summary(&whole);
    assert!(
        expected["twins"][1]["packed"]["val_loss"].is_f64(),
        "{expected}"
    );
    // Training the first, measuring it, training the second, timing both, writing.
    let stages = [
        "float/checkpoints/step-00000020",
        "float/summary.json",
        "ternary/checkpoints/step-00000020",
        "ternary/result.json",
        "summary.json",
    ];
    for signal in ["-INT", "-KILL"] {
        for stage in stages {
            let place = Place::new();
            let mut child = place
                .command(&args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let begun = Instant::now();
            while !place.path(&format!("runs/debug/{stage}")).exists() {
                assert!(
                    begun.elapsed() < Duration::from_secs(300),
                    "{stage} does not come"
                );
                assert!(
                    child.try_wait().unwrap().is_none(),
                    "it ended before {stage}"
                );
                std::thread::sleep(Duration::from_millis(1));
            }
            let told = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(told.unwrap().success());
            let code = child.wait().unwrap().code();
            // The last stage is short: it may be over.
            let expected_code = if signal == "-INT" { Some(130) } else { None };
            assert!(
                code == expected_code || stage == "summary.json",
                "{signal} at {stage}: {code:?}"
            );
            place.run(&args).ok();
            let differing = differences("", &expected, &summary(&place));
            assert!(differing.is_empty(), "{signal} at {stage}: {differing:#?}");
            check_report_files(&place);
            if stage != "summary.json" {
                assert!(!place.path("runs/debug-2").exists(), "{signal} at {stage}");
            }
        }
    }
    // Given again with its folder, a finished one is rendered anew; other settings are refused.
    let before = whole.read("runs/debug/report.html");
    fs::remove_file(whole.path("runs/debug/report.html")).unwrap();
    let again = [&args[..], &["--run-dir", "runs/debug"]].concat();
    whole.run(&again).ok();
    assert_eq!(
        whole.read("runs/debug/report.html").len(),
        before.len() + " --run-dir runs/debug".len()
    );
    let other = [&again[..], &["--set", "train.steps=90"]].concat();
    let ran = whole.run(&other);
    assert_eq!(ran.code, Some(2), "{ran:#?}");
    assert!(ran.stderr.contains("of another configuration"), "{ran:#?}");
}

fn check_report_files(place: &Place) {
    for file in ["report.html", "report.md", "loss.svg"] {
        assert!(place.path(&format!("runs/debug/{file}")).exists(), "{file}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_comparison_says_how_it_goes_on() {
    use std::process::{Command, Stdio};

    let place = Place::new();
    let args = ["compare", DEBUG, "--set", "train.steps=100000"];
    let mut child = place
        .command(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !place
        .path("runs/debug/float/checkpoints/step-00000020")
        .exists()
    {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let told = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(told.unwrap().success());
    let ran = common::Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:#?}");
    assert!(ran.stderr.contains("to go on: bitnet compare "), "{ran:#?}");
    assert!(ran.stderr.contains("--run-dir runs/debug"), "{ran:#?}");
    // What the stopped run has is a model, and it is said which.
    let eval = place.run(&["eval", "runs/debug/float", "-o", "json"]);
    assert!(eval.stderr.contains("of 100000 steps"), "{eval:#?}");
    eval.ok();
}

#[test]
fn a_dry_run_tells_time_and_memory() {
    let place = Place::new();
    let ran = place
        .run_unchanged(&["compare", DEBUG, "--dry-run", "-o", "json"])
        .json();
    for (twin, linear) in ran["twins"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["float", "ternary"])
    {
        assert_eq!(twin["linear"], linear);
        for key in [
            "parameters",
            "step_ms",
            "seconds",
            "peak_rss_bytes",
            "tokens_per_parameter",
            "epochs",
        ] {
            assert!(number(twin, key) > 0.0, "{key}: {twin}");
        }
        assert_eq!(number(twin, "tokens"), 20.0 * 4.0 * 32.0);
    }
    let one = [
        "train",
        DEBUG,
        "--dry-run",
        "--set",
        "train.learning_rate=0.5",
        "--set",
        "data.level=bpe",
    ];
    let ran = place.run_unchanged(&one).ok();
    for part in [
        "would train on",
        "ternary: ",
        "tokens a parameter",
        "a learning rate of 5e-1",
        "a vocabulary of 623",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:#?}");
    }
    let json = place
        .run(&["train", DEBUG, "--print-config", "-o", "json"])
        .json();
    assert_eq!(json["train"]["steps"], 20);
    assert!(json.get("decode").is_none(), "{json}");
    let toml = place.run(&["train", DEBUG, "--print-config"]).ok().stdout;
    for part in [
        "# distill_from is not set: A model that teaches this one",
        "# not set, so as in [train]: beta1",
        "# head_dim is not set",
    ] {
        assert!(toml.contains(part), "{part}: {toml}");
    }
    place.write("printed.toml", &toml);
    assert_eq!(
        place
            .run(&["train", "printed.toml", "--print-config"])
            .ok()
            .stdout,
        toml
    );
}

#[test]
fn a_dry_run_says_where_windows_hold_several_documents() {
    let place = Place::new();
    let line = "{\"text\": \"the dog sat down here\"}\n";
    place.write("short.jsonl", line.repeat(200));
    let plan = |context: &str| {
        let args = [
            "train",
            DEBUG,
            "--dry-run",
            "--set",
            "data.kind=text",
            "--set",
            "data.path=short.jsonl",
            "--set",
            context,
        ];
        place.run(&args).ok().stdout
    };
    let wrong = "a document has 22 on average";
    assert!(plan("train.context=64").contains(wrong));
    assert!(!plan("train.context=32").contains("a document"));
    // One document, however it is cut.
    let long = format!("{{\"text\": \"{}\"}}\n", "the dog sat. ".repeat(200));
    place.write("short.jsonl", long);
    assert!(!plan("train.context=64").contains("a document"));
}
