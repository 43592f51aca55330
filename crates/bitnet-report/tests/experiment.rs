//! FIXTURE. Every number here is made up. An experiment's summary, report and index, also where things are missing.

use std::path::Path;

use bitnet_report::{
    charts, headline, index_markdown, render, render_index, report_html, report_markdown, winner,
};
use bitnet_results::{
    Experiment, GridPoint, HealthPoint, LayerHealth, LayerTelemetry, Linear, Metric, Run,
    TrainPoint, ValPoint, Variant,
};

const SEEDS: [u64; 3] = [1, 2, 3];

fn run(seed: u64, score: f64, pace: f64) -> Run {
    let point = |k: u64| ValPoint {
        step: k * 100,
        seconds: k as f64 * pace,
        loss: score + 2.5 / (1.0 + k as f64),
        accuracy: None,
        bits_per_byte: None,
        batches: None,
    };
    Run {
        seed,
        learning_rate: 1e-3,
        score,
        trained_score: Some(score + 0.0001),
        metrics: [("perplexity".to_owned(), score.exp())].into(),
        steps: 1000,
        tokens: 1_000_000,
        seconds: 10.0 * pace,
        tokens_per_second: 1e5 / pace,
        peak_rss_bytes: Some(200_000_000),
        modelled: [("linear layers".to_owned(), 1e6)].into(),
        curve: (0..=10).map(point).collect(),
        train_curve: vec![TrainPoint {
            step: 1,
            loss: 4.0,
            ..TrainPoint::default()
        }],
        ..Run::default()
    }
}

fn variant(
    name: &str,
    linear: Linear,
    params: u64,
    bytes: u64,
    scores: &[f64],
    pace: f64,
) -> Variant {
    let grid = [3e-4, 1e-3].map(|rate| GridPoint {
        learning_rate: rate,
        score: scores[0] + 0.1,
        seed: 1,
    });
    Variant {
        name: name.into(),
        label: Some(format!("{name} model")),
        linear,
        params,
        packed_bytes: bytes / 2,
        file_bytes: bytes,
        grid: grid.into(),
        learning_rate: 1e-3,
        runs: SEEDS
            .iter()
            .zip(scores)
            .map(|(&seed, &score)| run(seed, score, pace))
            .collect(),
        ..Variant::default()
    }
}

fn made_up() -> Experiment {
    let mut ternary = variant(
        "ternary",
        Linear::Ternary,
        800_000,
        400_000,
        &[1.744, 1.751, 1.741],
        1.3,
    );
    ternary.runs[0].telemetry = (0..12)
        .map(|layer| LayerTelemetry {
            layer: format!("blocks.{layer}.query"),
            points: (1..10)
                .map(|k| HealthPoint {
                    step: k * 100,
                    health: LayerHealth {
                        zeros: 0.3 + 0.005 * (k * layer) as f64 / 2.0,
                        flips: Some(0.01 / k as f64),
                        scale: 0.02,
                    },
                })
                .collect(),
        })
        .collect();
    Experiment {
        name: "fixture".into(),
        title: "Float and ternary (made-up numbers)".into(),
        question: "What does it cost?".into(),
        command: "bitnet experiment run experiments/fixture".into(),
        metric: Metric {
            key: "loss".into(),
            label: "validation loss, nats per token".into(),
            unit: "nats".into(),
            ..Metric::default()
        },
        variants: vec![
            variant(
                "float",
                Linear::Float,
                800_000,
                3_300_000,
                &[1.701, 1.709, 1.700],
                1.0,
            ),
            ternary,
            variant(
                "float-wide",
                Linear::Float,
                3_000_000,
                12_000_000,
                &[1.60, 1.61, 1.59],
                2.0,
            ),
            variant(
                "ternary-wide",
                Linear::Ternary,
                3_000_000,
                1_100_000,
                &[1.64, 1.655, 1.63],
                2.5,
            ),
        ],
        baseline: Some("float".into()),
        seeds: SEEDS.into(),
        notes: vec!["Only one text was tried.".into()],
        conclusion: "It costs a little.".into(),
        curves: true,
        scatter: true,
        ..Experiment::default()
    }
}

/// Enough of a reader of XML: tags nest, attributes are quoted, no stray markup in text.
fn well_formed(svg: &str) {
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
    let mut open = Vec::new();
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("every tag ends");
        assert!(
            !text.contains('>') && tag.matches('"').count() % 2 == 0,
            "{piece}"
        );
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name.to_owned()), "{piece}"),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().expect("a name").to_owned()),
        }
    }
    assert!(open.is_empty());
    assert!(!svg.contains("NaN") && !svg.contains("=\"inf"), "{svg}");
}

/// Also the way to look at a report: open the folder this leaves under `target/tmp`.
#[test]
fn the_report_has_the_numbers_and_the_pictures() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("experiment");
    render(&made_up(), &dir).expect("the target folder is writable");
    let report = std::fs::read_to_string(dir.join("report.md")).expect("just written");
    let page = std::fs::read_to_string(dir.join("report.html")).expect("just written");
    for text in [
        "1.7453 ± 0.0051",
        "+0.0420 ± 0.0010",
        "+0.0395 to +0.0445",
        "800k",
        "1.10 MB",
        "made-up numbers",
        "Only one text was tried.",
        "It costs a little.",
        "bitnet experiment run",
        "no meter on this machine",
        "the largest tried",
        "loss after 10.0 s",
        "differs from that as trained by at most 0.0001 nats",
    ] {
        assert!(report.contains(text), "{text} in\n{report}");
        assert!(page.contains(text), "{text} in\n{page}");
    }
    let figures = charts::figures(&made_up());
    assert_eq!(figures.len(), 8);
    for figure in figures {
        assert!(report.contains(&format!("]({})", figure.file)));
        well_formed(&std::fs::read_to_string(dir.join(figure.file)).expect("just written"));
    }
    assert!(
        headline(&made_up())
            .starts_with("Ternary (ternary model) reaches 1.7453 ± 0.0051 against 1.7033 ± 0.0049")
    );
}

/// A model that another taught is not held against one that learned alone, and what the teacher took is counted.
#[test]
fn teachers_are_counted() {
    let mut experiment = made_up();
    let mut taught = experiment.variants[1].clone();
    taught.name = "taught".into();
    taught.label = Some("taught ternary".into());
    taught.teacher = Some(experiment.variants[0].name.clone());
    for run in &mut taught.runs {
        run.score -= 0.1;
        run.teacher_seconds = Some(1000.0);
    }
    experiment.variants.push(taught);
    assert!(headline(&experiment).starts_with("Ternary (ternary model) reaches 1.7453"));
    let report = report_markdown(&experiment);
    assert!(report.contains("taught ternary learned from a trained"));
    let row = |name: &str| {
        let mut lines = report.lines();
        lines
            .find(|line| line.starts_with(&format!("| {name} |")))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        row("taught ternary").contains(" 16 min"),
        "{}",
        row("taught ternary")
    );
    assert!(!row("ternary model").contains(" 16 min"));
}

/// Variants of another group are not compared: gaps, bold scores, sentences and index rows are the group's own.
#[test]
fn groups_do_not_compare() {
    let mut experiment = made_up();
    let mut harder = experiment.variants[..2].to_vec();
    for variant in &mut experiment.variants {
        variant.group = Some("easy".into());
    }
    for variant in &mut harder {
        variant.group = Some("hard".into());
        variant.name.insert_str(0, "hard-");
        variant.label.as_mut().unwrap().insert_str(0, "hard ");
        for run in &mut variant.runs {
            run.score += 1.0;
        }
    }
    let plain = made_up();
    experiment.variants.extend(harder);
    let report = report_markdown(&experiment);
    let row = |report: &str, name: &str| {
        let mut lines = report.lines();
        let found = lines.find(|line| line.starts_with(&format!("| {name} |")));
        let cells = found
            .unwrap_or_else(|| panic!("no row {name}"))
            .split(" | ");
        cells.map(str::to_owned).collect::<Vec<_>>()
    };
    // The harder group's gap is that of the easy one: both were moved by as much. Against the easy one it were 1 more.
    let (easy, hard) = (
        row(&report, "ternary model"),
        row(&report, "hard ternary model"),
    );
    assert_eq!(easy[6..8], hard[6..8]);
    assert_eq!(
        easy[6..8],
        row(&report_markdown(&plain), "ternary model")[6..8]
    );
    let both = headline(&experiment);
    assert_eq!(both.matches("Best is ").count(), 2, "{both}");
    assert!(
        both.starts_with("Easy: ") && both.contains(" Hard: Best is "),
        "{both}"
    );
    let index = index_markdown(&[experiment], "");
    assert!(
        index.contains(": easy |") && index.contains(": hard |"),
        "{index}"
    );
    assert!(!report.contains("After equal time"));
}

/// Two points are no curve, and a curve of a part of the split says so.
#[test]
fn curves_say_what_they_are_of() {
    let whole = report_markdown(&made_up());
    assert!(
        whole.contains("After equal time") && !whole.contains("the first part of the validation")
    );
    let mut part = made_up();
    part.variants[0].runs[0]
        .metrics
        .insert("validation_loss".into(), 9.0);
    assert!(report_markdown(&part).contains("the first part of the validation split"));
    for point in part
        .variants
        .iter_mut()
        .flat_map(|v| &mut v.runs)
        .flat_map(|r| &mut r.curve)
    {
        point.batches = Some(20);
    }
    let report = report_markdown(&part);
    assert!(
        report.contains("![Validation loss, the first 20 batches"),
        "{report}"
    );
    assert!(report.contains("read the first 20 batches of the validation split"));
    let mut ends = made_up();
    for run in ends.variants.iter_mut().flat_map(|v| &mut v.runs) {
        run.curve.truncate(2);
    }
    let report = report_markdown(&ends);
    assert!(report.contains("![Training loss") && !report.contains("After equal time"));
}

#[test]
fn json_round_trip_with_nan() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("summary.json");
    let mut experiment = made_up();
    experiment.save(&path).expect("it is writable");
    assert_eq!(Experiment::load(&path).expect("just written"), experiment);
    experiment.variants[1].runs[0].score = f64::NAN;
    experiment.variants[1].runs[0]
        .metrics
        .insert("bleu".into(), f64::INFINITY);
    experiment.save(&path).expect("it is writable");
    let again = Experiment::load(&path).expect("null stands for NaN");
    assert!(
        again.variants[1].runs[0].score.is_nan()
            && again.variants[1].runs[0].metrics["bleu"].is_nan()
    );
    let bare: Experiment =
        serde_json::from_str(r#"{"variants": [{"runs": [{}]}], "new": 1}"#).expect("defaults");
    assert!(
        bare.variants[0].runs[0].score.is_nan(),
        "a missing score is not the best loss there is"
    );
}

#[test]
fn one_seed_knows_no_spread() {
    let mut experiment = made_up();
    experiment.variants.truncate(3);
    experiment
        .variants
        .iter_mut()
        .for_each(|v| v.runs.truncate(1));
    let report = report_markdown(&experiment);
    assert!(
        report.contains("one seed: no spread known") && !report.contains('±'),
        "{report}"
    );
    experiment.variants.truncate(2);
    let comparison = report_markdown(&experiment);
    assert!(
        comparison.contains("One seed: no spread known") && !comparison.contains('±'),
        "{comparison}"
    );
}

#[test]
fn noise_and_divergence_are_said() {
    let mut experiment = made_up();
    experiment.variants.truncate(2);
    for (run, score) in experiment.variants[1]
        .runs
        .iter_mut()
        .zip([1.68, 1.74, 1.71])
    {
        run.score = score;
    }
    assert!(winner(&experiment).contains("not separable with 3 seeds"));
    experiment.variants[1].runs[2].score = f64::NAN;
    assert!(winner(&experiment).contains("no finite score in 1 of 3 runs"));
    assert!(report_markdown(&experiment).contains("(2 of 3 runs)"));
}

#[test]
fn the_index_links_and_compares_equal_sizes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("experiments/README.md");
    render_index(
        &[made_up(), Experiment::default()],
        "**In short.** It costs.\n",
        &path,
    )
    .expect("it is writable");
    let index = std::fs::read_to_string(path).expect("just written");
    for text in [
        "[float is better](fixture/report.md)",
        "1.7453 ± 0.0051 (ternary)",
        "+0.0420 ± 0.0010",
        "It costs a little.",
        "noise",
        "| – | – | – |",
    ] {
        assert!(index.contains(text), "{text} in\n{index}");
    }
    assert!(index_markdown(&[], "").contains("no experiments yet"));
}

#[test]
fn hostile_and_incomplete_summaries_still_render() {
    let mut broken = made_up();
    for run in broken.variants.iter_mut().flat_map(|v| &mut v.runs) {
        (
            run.score,
            run.seconds,
            run.tokens_per_second,
            run.learning_rate,
        ) = (1e300, f64::INFINITY, -1.0, f64::NAN);
        run.curve
            .iter_mut()
            .for_each(|p| (p.seconds, p.loss) = (f64::NAN, -1e300));
    }
    let mut bare = made_up();
    bare.variants.iter_mut().for_each(|v| {
        *v = Variant {
            name: v.name.clone(),
            ..Variant::default()
        }
    });
    let mut empty_curves = made_up();
    for run in empty_curves.variants.iter_mut().flat_map(|v| &mut v.runs) {
        run.curve.clear();
        run.train_curve.clear();
        run.telemetry.iter_mut().for_each(|l| l.points.clear());
    }
    let mut evil = made_up();
    let text = "</svg><script>alert(1)</script>|`\u{202e}\0";
    (evil.title, evil.variants[0].name, evil.metric.label) =
        (text.into(), text.into(), text.into());
    let mut zero = made_up();
    zero.variants
        .iter_mut()
        .flat_map(|v| &mut v.runs)
        .for_each(|r| r.score = 0.0);
    for experiment in [
        Experiment::default(),
        broken,
        bare,
        empty_curves,
        evil,
        zero,
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        render(&experiment, dir.path()).expect("it is writable");
        for figure in charts::figures(&experiment) {
            well_formed(
                &std::fs::read_to_string(dir.path().join(figure.file)).expect("just written"),
            );
        }
        let report = report_markdown(&experiment)
            + &report_html(&experiment)
            + &index_markdown(&[experiment], "");
        assert!(
            !report.contains("NaN") && !report.contains("<script"),
            "{report}"
        );
    }
}

#[test]
fn changes_of_the_gap_stand_beside_it() {
    let plain = report_markdown(&made_up());
    assert!(!plain.contains("change of the gap"));
    let mut experiment = made_up();
    experiment.reference = Some("ternary".into());
    experiment.variants[3].baseline = Some("float-wide".into());
    let text = report_markdown(&experiment);
    let head = text.lines().find(|line| line.contains("p, Holm"));
    let head = head.unwrap_or_else(|| panic!("no column in {text}"));
    for title in ["gap to its baseline", "change of the gap of ternary"] {
        assert!(head.contains(title), "{head}");
    }
    let row = |name: &str| {
        let begin = format!("| {name} model");
        let found = text.lines().find(|line| line.starts_with(&begin));
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert!(row("ternary").contains("reference"), "{}", row("ternary"));
    // Gaps of 0.040, 0.045, 0.040 against 0.043, 0.042, 0.041.
    let wide = row("ternary-wide");
    assert!(wide.contains("+0.0417 ± 0.0029"), "{wide}");
    assert!(wide.contains("−0.0003 ± 0.0031"), "{wide}");
    // t = −0.189 with 2 degrees of freedom.
    assert!(wide.contains("0.87"), "{wide}");
    assert!(text.contains("Holm"), "{text}");
}
