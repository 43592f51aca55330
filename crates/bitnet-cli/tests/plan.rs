//! `bitnet experiment plan`: which runs there are, and what they can tell; and what is told afterwards.

mod common;

use common::experiment::{EXPERIMENT, place};

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
