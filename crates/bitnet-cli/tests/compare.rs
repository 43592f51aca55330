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

    let again = ["compare", DEBUG, "--run-dir", "cmp"];
    place.fails(
        &again,
        &["cmp holds a comparison already", "another --run-dir"],
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
