//! FIXTURE. Every number here is made up. What a score costs, and how it falls with size: the pictures, the tables and the
//! sentences of a frontier and of laws of size.

use bitnet_report::tables::frontier_sentences;
use bitnet_report::{charts, index_markdown, report_html, report_markdown};
use bitnet_results::frontier::Frontier;
use bitnet_results::scaling::{Law, Scaling};
use bitnet_results::{Experiment, Linear, Metric, Run, Speed, Variant};

const FLOAT: Law = Law {
    floor: 1.0,
    factor: 60.0,
    exponent: 0.35,
};
const TERNARY: Law = Law {
    floor: 1.02,
    factor: 75.0,
    exponent: 0.35,
};

fn variant(linear: Linear, params: u64, bytes: u64, losses: [f64; 3]) -> Variant {
    let run = |(seed, score): (u64, f64)| Run {
        seed,
        score,
        tokens: 20 * params,
        modelled: [
            ("whole model, FP16, 7 nm".to_owned(), params as f64),
            ("whole model, FP32, 7 nm".to_owned(), 3.0 * params as f64),
        ]
        .into(),
        ..Run::default()
    };
    Variant {
        name: format!("{}-{params}", linear.name()),
        linear,
        params,
        file_bytes: bytes,
        speed: Some(Speed {
            decode_tps: vec![1e9 / params as f64; 9],
            ..Speed::default()
        }),
        runs: (0..).zip(losses).map(run).collect(),
        ..Variant::default()
    }
}

/// Five sizes of two kinds, whose losses lie on their laws but for the seeds' luck.
fn made_up() -> Experiment {
    let sizes = [60_000, 120_000, 240_000, 480_000, 960_000];
    let kind = |linear, law: Law, bits: u64| {
        sizes.map(|n| {
            let losses = [-0.01, 0.002, 0.008].map(|luck| law.at(n as f64) + luck);
            variant(linear, n, n * bits / 8, losses)
        })
    };
    let float = kind(Linear::Float, FLOAT, 32);
    let ternary = kind(Linear::Ternary, TERNARY, 2);
    let stored = float.iter().map(|of| {
        let mut stored = of.clone();
        stored.name += "-q4_0";
        stored.format = Some("q4_0".into());
        stored.stored_from = Some(of.name.clone());
        stored.file_bytes = of.params * 9 / 16;
        stored.runs.iter_mut().for_each(|run| run.score += 0.02);
        stored
    });
    Experiment {
        name: "fixture".into(),
        metric: Metric {
            key: "loss".into(),
            label: "validation loss".into(),
            unit: "nats per token".into(),
            ..Metric::default()
        },
        stored: stored.collect(),
        variants: float.into_iter().chain(ternary).collect(),
        baseline: Some("float-60000".into()),
        seeds: vec![0, 1, 2],
        ..Experiment::default()
    }
}

#[test]
fn nothing_is_there_that_was_not_asked_for() {
    let plain = made_up();
    assert!(charts::figures(&plain).iter().all(|figure| {
        !figure.file.starts_with("frontier") && !figure.file.starts_with("scaling")
    }));
    assert!(!report_markdown(&plain).contains("stored as"));
}

#[test]
fn a_frontier_says_which_is_best_for_what() {
    let mut experiment = made_up();
    experiment.frontier = Some(Frontier {
        bytes: vec![120_000, 10_000_000],
        compute: vec![6.0 * 20.0 * 120_000f64.powi(2)],
    });
    let files = charts::figures(&experiment).into_iter().map(|f| f.file);
    let files: Vec<&str> = files.filter(|f| f.starts_with("frontier")).collect();
    let expected = [
        "frontier-bytes.svg",
        "frontier-decode.svg",
        "frontier-compute.svg",
        "frontier-energy.svg",
    ];
    assert_eq!(files, expected);
    let sentences = frontier_sentences(&experiment);
    // 120 kB are 480,000 ternary weights, or 213,333 of 4.5 bits.
    let (at, share) = (TERNARY.at(480_000.0), (213_333f64 / 120_000.0).log2());
    let q4 = FLOAT.at(120_000.0) + share * (FLOAT.at(240_000.0) - FLOAT.at(120_000.0)) + 0.02;
    assert!(
        sentences[0].starts_with("For 120 kB ternary is best, ")
            && sentences[0].contains(&format!("{at:.2}"))
            && sentences[0].contains(&format!("float q4_0 is {:.4} ± 0.0000", q4 - at)),
        "{at} {q4} {sentences:?}"
    );
    assert!(sentences[1].contains("there is no model"), "{sentences:?}");
    // At equal arithmetic, that of the second size, the rounded float model is ahead by what the two laws are apart.
    let (q4, at) = (FLOAT.at(120_000.0) + 0.02, TERNARY.at(120_000.0));
    assert!(
        sentences[2].contains("operations of training float q4_0 is best")
            && sentences[2].contains(&format!("ternary is {:.4}", at - q4)),
        "{at} {q4} {sentences:?}"
    );
    let report = report_markdown(&experiment) + &report_html(&experiment);
    for part in [
        "What a score costs",
        "files of 120 kB",
        "only from 33.8 kB to 540 kB",
        "stored as",
        "+0.0200",
        "frontier-bytes.svg",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(!report.contains("NaN"));
    // The front page shows the first picture and the answers, behind what a person wrote of all.
    let index = index_markdown(&[experiment], "**In short.** It costs.");
    let at = |part: &str| {
        index
            .find(part)
            .unwrap_or_else(|| panic!("no {part} in {index}"))
    };
    let order = [
        "# Experiments",
        "**In short.** It costs.",
        "## All experiments",
        "| experiment |",
    ];
    assert!(order.map(at).is_sorted(), "{index}");
    assert!(
        at("(fixture/frontier-bytes.svg)") < at("- For 120 kB ternary is best"),
        "{index}"
    );
}

#[test]
fn a_law_is_fitted_to_the_small_and_predicts_the_large() {
    let mut experiment = made_up();
    // Formats would stand for the models that they store.
    experiment.stored.clear();
    experiment.scaling = Some(Scaling {
        fit_until: Some(480_000),
        predict: vec![10_000_000],
    });
    let report = report_markdown(&experiment);
    let row = |begin: &str| {
        let found = report.lines().find(|line| line.starts_with(begin));
        found.unwrap_or_else(|| panic!("no {begin} in {report}"))
    };
    // The means lie on the laws: they are found, and the size that was kept back is where they say.
    let fitted = row("| float | 60.0k, 120k, 240k, 480k |");
    assert!(
        fitted.contains("| 1.000 (") && fitted.contains("| 0.350 ("),
        "{fitted}"
    );
    let predicted = row("| 960k | ternary |");
    let expected = format!("{:.3} (", TERNARY.at(960_000.0));
    assert!(
        predicted.contains(&expected) && predicted.contains("0.0000 |"),
        "{predicted}"
    );
    assert!(row("| 10.0M | float |").contains("not trained"));
    assert!(row("| TriLM, ternary |").contains("185"));
    // The gap of equal luck has no spread.
    let gap = TERNARY.at(120_000.0) - FLOAT.at(120_000.0);
    assert!(
        row("| 120k |").contains(&format!("+{gap:.4} ± 0.0000")),
        "{}",
        row("| 120k |")
    );
    let files: Vec<&str> = (charts::figures(&experiment).iter())
        .map(|figure| figure.file)
        .filter(|file| file.starts_with("scaling"))
        .collect();
    assert_eq!(
        files,
        ["scaling.svg", "scaling-residuals.svg", "scaling-gap.svg"]
    );

    // Of two sizes there is no law, and none of scores of which more is better.
    let mut few = experiment.clone();
    few.scaling = Some(Scaling {
        fit_until: Some(120_000),
        predict: Vec::new(),
    });
    assert!(!report_markdown(&few).contains("law of"));
    experiment.metric.higher_is_better = true;
    assert!(!report_markdown(&experiment).contains("law of"));
}

#[test]
fn what_diverged_or_is_missing_still_renders() {
    let asked = |mut experiment: Experiment| {
        experiment.frontier = Some(Frontier {
            bytes: vec![120_000],
            compute: vec![1e12],
        });
        experiment.scaling = Some(Scaling::default());
        experiment
    };
    let mut diverged = asked(made_up());
    diverged.variants[0].runs[1].score = f64::NAN;
    diverged.stored[2].runs.clear();
    let mut alone = asked(made_up());
    alone.variants.truncate(1);
    alone.stored.clear();
    let mut huge = asked(made_up());
    huge.variants[3].runs[0].score = 1e300;
    for experiment in [asked(Experiment::default()), diverged, alone, huge] {
        let report = report_markdown(&experiment) + &report_html(&experiment);
        let mut words = report.split(|c: char| !c.is_alphanumeric());
        let odd = words.find(|word| ["NaN", "inf"].contains(word));
        assert_eq!(odd, None, "{report}");
    }
}
