//! `bitnet experiment plan`: which runs there are, and what they can tell; and what is told afterwards.

mod common;

use common::experiment::{EXPERIMENT, place};
use serde_json::Value;

const ARGS: [&str; 5] = ["experiment", "run", "all/one", "-o", "json"];

#[test]
fn a_plan_says_what_there_is_and_what_it_can_tell() {
    let place = place();
    let more = format!(
        "reference = \"ternary\"\n{EXPERIMENT}\n[[variants]]\nname = \"row\"\nset = [\"quant.granularity=row\"]\n"
    );
    place.write("all/one/experiment.toml", &more);
    let args = ["experiment", "plan", "all/one", "-o", "json", "--jobs", "2"];
    let plan = place.run(&args).json();
    // Two rates under the first seed, and two seeds more, of three variants; `row` is compared with `ternary`.
    assert_eq!(
        (plan["runs"].as_u64(), plan["done"].as_u64()),
        (Some(12), Some(0))
    );
    assert_eq!(plan["comparisons"], 1);
    for variant in plan["variants"].as_array().unwrap() {
        assert!(variant["step_ms"].as_f64().unwrap() > 0.0, "{variant}");
        assert_eq!(variant["runs"], 4);
    }
    // t(2) = 4.303 over √3, and nothing to correct for.
    let detectable = plan["detectable"].as_f64().unwrap();
    assert!((detectable - 2.484).abs() < 1e-3, "{detectable}");
    assert_eq!(plan["detectable"], plan["detectable_holm"]);
    assert!(!place.path("runs").exists(), "nothing was trained");

    // What is done is known, and the changes of the gap are in the report.
    place.run(&ARGS).ok();
    let plan = place.run(&args).json();
    assert_eq!(
        (plan["done"].as_u64(), plan["hours"].as_f64()),
        (Some(12), Some(0.0))
    );
    let report = place.read("all/one/report.md");
    assert!(report.contains("change of the gap of ternary"), "{report}");
    assert!(report.contains("p, Holm"), "{report}");
    let text = place.run(&["experiment", "plan", "all/one"]).ok().stdout;
    for part in ["12 runs, 12 of them done", "2.5 standard deviations"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    place.write(
        "all/one/experiment.toml",
        more.replacen("\"ternary\"", "\"none\"", 1),
    );
    place.fails(&["experiment", "plan", "all/one"], &["reference", "none"]);
}

/// A language model of one narrow layer, for two steps.
const TEXT: &str = r#"
task = "lm"

[model]
hidden_size = 64
intermediate_size = 64
num_hidden_layers = 1
num_attention_heads = 2

[quant]
norm = "sub"

[data]
characters = 4000

[train]
steps = 2
batch_size = 2
context = 16
eval_interval = 0
sample_tokens = 0

[compare]
prefill_tokens = 2
decode_tokens = 2
repetitions = 1
probes = 0
agreement_tokens = 1
"#;

/// Its variants, one with a seed less, in formats of others.
const STORED: &str = r#"
config = "text.toml"
baseline = "float"
seeds = [0, 1]

[frontier]
bytes = [60000]

[[variants]]
name = "float"
set = ["model.linear=float"]
formats = ["f32", "q8_0", "q4_0"]

[[variants]]
name = "ternary"
curve = "narrow"
formats = ["q2_0"]
seeds = [0]
"#;

#[test]
fn formats_are_measured_beside_the_runs_that_they_store() {
    let place = place();
    place.write("all/one/text.toml", TEXT);
    place.write("all/one/experiment.toml", STORED.replace("q8_0", "q9_0"));
    place.fails(&ARGS, &["float", "q9_0", "q8_0"]);
    place.write(
        "all/one/experiment.toml",
        STORED.replace("seeds = [0]", "seeds = [2]"),
    );
    place.fails(&ARGS, &["seeds", "[2] of ternary"]);

    place.write("all/one/experiment.toml", STORED);
    let summary = place.run(&ARGS).json();
    let seeds = |variant: &Value| variant["runs"].as_array().unwrap().len();
    let variants = summary["variants"].as_array().unwrap();
    assert_eq!([seeds(&variants[0]), seeds(&variants[1])], [2, 1]);
    let stored = summary["stored"].as_array().unwrap();
    let names: Vec<&str> = stored.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["float-f32", "float-q8_0", "float-q4_0", "ternary-q2_0"]
    );
    let score = |variant: &Value| variant["runs"][0]["score"].as_f64().unwrap();
    let bytes = |at: usize| stored[at]["file_bytes"].as_u64().unwrap();
    // What is not rounded scores the same; int8 nearly, int4 less nearly; codes are kept.
    let change = |at: usize, of: usize| (score(&stored[at]) - score(&variants[of])).abs();
    assert!(change(0, 0) < 1e-4 && change(3, 1) < 1e-2, "{summary}");
    assert!(change(1, 0) < 1e-2 && change(2, 0) < 0.1, "{summary}");
    assert_ne!(score(&stored[2]), score(&variants[0]));
    assert!(bytes(0) > 2 * bytes(1) && bytes(1) > bytes(2) && bytes(2) > bytes(3));
    for (at, variant) in stored.iter().enumerate() {
        assert_eq!(seeds(variant), if at == 3 { 1 } else { 2 });
        assert_eq!(variant["speed"]["decode_tps"].as_array().unwrap().len(), 1);
        let pj = variant["runs"][0]["modelled"]["whole model, FP16, 7 nm"].as_f64();
        assert!(pj.unwrap() > 0.0, "{variant}");
    }
    let report = place.read("all/one/report.md");
    for part in [
        "frontier-bytes.svg",
        "float q4\\_0",
        "narrow q2\\_0",
        "stored as",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }

    // A format more costs its own measurements: nothing is trained.
    let modified = |file: &str| {
        let path = place.path(&format!("runs/experiments/one/float/seed-1/{file}"));
        std::fs::metadata(path).unwrap().modified().unwrap()
    };
    let (trained, formats) = (modified("result.json"), modified("formats.json"));
    place.write(
        "all/one/experiment.toml",
        STORED.replace("\"f32\"", "\"f16\""),
    );
    let summary = place.run(&ARGS).json();
    assert_eq!(summary["stored"][0]["name"], "float-f16");
    assert_eq!(modified("result.json"), trained);
    assert_ne!(modified("formats.json"), formats);
}
