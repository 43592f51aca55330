//! `bitnet bench`: its tests, its keys, its refusals.

mod common;

use std::time::Instant;

use common::{Place, has_keys, number};
use serde_json::Value;

/// A shape that is built and measured within milliseconds.
const TINY: &str = "
[model]
vocab_size = 50
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 64
";

fn place() -> Place {
    let place = Place::new();
    place.write("tiny.toml", TINY);
    place
}

#[test]
fn every_combination_is_measured() {
    let place = place();
    let sweep = [
        "bench",
        "--arch",
        "tiny.toml",
        "-p",
        "16,0",
        "-n",
        "4",
        "-d",
        "0,8",
        "-r",
        "2",
        "-t",
        "1,2",
        "-o",
        "json",
    ];
    let begin = Instant::now();
    let rows = place.run(&sweep).json();
    let wall = begin.elapsed().as_secs_f64();
    let rows = rows.as_array().unwrap();
    let of = |key: &str| -> Vec<String> { rows.iter().map(|row| row[key].to_string()).collect() };
    let tests = ["\"pp16\"", "\"tg4\"", "\"pp16 @ d8\"", "\"tg4 @ d8\""];
    assert_eq!(of("test"), [tests, tests].concat());
    assert_eq!(of("threads").join(""), "11112222");
    let mut measured = 0.0;
    for row in rows {
        has_keys(
            row,
            &[
                "test",
                "n_prompt",
                "n_gen",
                "threads",
                "backend",
                "avg_ts",
                "stddev_ts",
                "samples_ts",
                "model_bytes",
                "peak_rss_bytes",
            ],
        );
        let samples: Vec<f64> = row["samples_ts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s.as_f64().unwrap())
            .collect();
        assert_eq!(samples.len(), 2);
        let mean = samples.iter().sum::<f64>() / 2.0;
        assert!((number(row, "avg_ts") - mean).abs() < 1e-6 * mean);
        let tokens = number(row, "n_prompt") + number(row, "n_gen");
        measured += samples.iter().map(|speed| tokens / speed).sum::<f64>();
        let fraction = number(row, "fraction_of_limit");
        assert!((1e-6..1.5).contains(&fraction), "{row}");
    }
    // What the speeds say that it took was a part of what it took.
    assert!(measured < wall, "{measured} of {wall} s");
}

#[test]
fn kinds_backends_and_runs() {
    let place = place();
    let rows = |args: &[&str]| -> Vec<Value> {
        let short = ["-p", "8", "-n", "2", "-r", "1", "-o", "json"];
        let rows = place.run(&[&["bench"], args, &short].concat()).json();
        rows.as_array().unwrap().clone()
    };
    let float = rows(&["--arch", "tiny.toml", "--linear", "float", "--head", "f32"]);
    let ternary = rows(&[
        "--arch",
        "tiny.toml",
        "--head",
        "f32",
        "--layout",
        "two-bit",
        "--kernel",
        "scalar",
    ]);
    assert_eq!(
        (&float[0]["linear"], &ternary[0]["linear"]),
        (&"float".into(), &"ternary".into())
    );
    assert_eq!(
        ternary[0]["engine"],
        "scalar, dot products, two-bit, f32 head, bf16 cache"
    );
    assert!(number(&float[0], "model_bytes") > number(&ternary[0], "model_bytes"));
    let exact = rows(&["--arch", "tiny.toml", "--kv-cache", "f32"]);
    let engine = exact[0]["engine"].as_str().unwrap();
    assert!(engine.ends_with("int8 head, f32 cache"), "{engine}");
    assert_eq!(
        number(&exact[0], "cache_bytes"),
        2.0 * number(&ternary[0], "cache_bytes")
    );
    let tensors = rows(&["--arch", "tiny.toml", "--backend", "ndarray"]);
    assert_eq!(
        (&tensors[0]["backend"], &tensors[0]["engine"]),
        (&"ndarray".into(), &Value::Null)
    );
    place.train("run", &[]);
    for backend in ["flex", "ndarray"] {
        assert_eq!(rows(&["run", "--backend", backend]).len(), 2);
    }
    let table = place
        .run(&[
            "bench",
            "--arch",
            "tiny.toml",
            "-p",
            "8",
            "-n",
            "0",
            "-r",
            "1",
            "-o",
            "md",
        ])
        .ok();
    assert!(
        table.stdout.starts_with("| test |") && table.stdout.contains("| pp8 |"),
        "{}",
        table.stdout
    );
}

#[test]
fn what_cannot_be_measured() {
    let place = place();
    let bench = |args: &[&str], says: &[&str]| place.fails(&[&["bench"], args].concat(), says);
    bench(&[], &["--arch"]);
    bench(&["run", "--arch", "tiny.toml"], &["cannot be used with"]);
    bench(&["nowhere"], &["nowhere", "there is nothing of that name"]);
    bench(
        &["--arch", "tiny.toml", "-p", "60", "-d", "8", "-n", "0"],
        &["68 tokens", "64"],
    );
    bench(
        &["--arch", "tiny.toml", "-p", "0", "-n", "0"],
        &["nothing to measure"],
    );
    bench(&["--arch", "tiny.toml", "-r", "0"], &["-r", "0"]);
    bench(
        &["--arch", "tiny.toml", "--set", "model.hidden_sise=3"],
        &["hidden_size"],
    );
    bench(
        &["--arch", "tiny.toml", "--set", "model.vocab_size=0"],
        &["model.vocab_size is missing"],
    );
    bench(
        &["--arch", "tiny.toml", "--kernel", "sse9"],
        &["unknown kernel `sse9`"],
    );
    let absent = if cfg!(target_arch = "x86_64") {
        "neon"
    } else {
        "avx2"
    };
    bench(
        &["--arch", "tiny.toml", "--kernel", absent],
        &["cannot run here"],
    );
    bench(
        &[
            "--arch",
            "tiny.toml",
            "--backend",
            "ndarray",
            "--head",
            "f32",
        ],
        &["--head is for the flex backend"],
    );
    bench(
        &["--arch", "tiny.toml", "--backend", "ndarray", "-t", "1,2"],
        &["several --threads"],
    );
    bench(
        &["--arch", "tiny.toml", "--dtype", "f16"],
        &["--dtype f16 is for GPUs"],
    );
    bench(
        &[
            "--arch",
            "tiny.toml",
            "--backend",
            "ndarray",
            "--dtype",
            "f16",
            "-p",
            "8",
            "-n",
            "0",
        ],
        &["--dtype f16 on ndarray"],
    );
}

/// Shapes of encoders, which the CPU engine was asked to run: the setting, the reason and the remedy.
#[test]
fn what_the_engine_does_not_run() {
    let place = Place::new();
    place.write("shape.toml", format!("task = \"synthetic\"\n{TINY}"));
    for (set, reason) in [
        ("model.position=sinusoidal", "it rotates queries and keys"),
        ("model.mlp=plain", "its feed-forward blocks are gated"),
        ("quant.norm=post", "its norms stand before"),
    ] {
        let (field, value) = set.split_once('=').unwrap();
        let shape = ["bench", "--arch", "shape.toml", "--set", set];
        for flag in [["--kernel", "scalar"], ["--head", "f32"]] {
            let setting = format!("{field} = \"{value}\"");
            let remedy = "leave out the engine's flags";
            let says = ["the CPU engine does not run", &setting, reason, remedy];
            place.fails(&[&shape[..], &flag].concat(), &says);
        }
    }
}
