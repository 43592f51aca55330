//! A comparison: an experiment of two variants and one seed, its sentences, table and page.

mod common;

use std::path::Path;

use bitnet_report::tables::{energy_table, main_table};
use bitnet_report::{headline, render, report_html, report_markdown};
use bitnet_results::energy::MODELLED;
use bitnet_results::{Experiment, Linear, Metric, Variant};
use common::{made_up, speed};

fn ternary_of(experiment: &mut Experiment) -> &mut Variant {
    &mut experiment.variants[1]
}

fn cells(experiment: &Experiment, section: &str, label: &str) -> Vec<(String, bool)> {
    let table = main_table(experiment);
    let section = table
        .sections
        .iter()
        .find(|s| s.title.starts_with(section))
        .expect("the section exists");
    let row = section
        .rows
        .iter()
        .find(|row| row[0].text == label)
        .expect("the row exists");
    row[1..]
        .iter()
        .map(|cell| (cell.text.clone(), cell.best))
        .collect()
}

/// Also the way to look at a report: open the folder this leaves under `target/tmp`.
#[test]
fn writes_every_file_the_reports_refer_to() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("comparison");
    let files = render(&made_up(), &dir).expect("the target folder is writable");
    let markdown = std::fs::read_to_string(dir.join("report.md")).expect("just written");
    let mut charts = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("just written");
        assert!(
            !text.contains("NaN") && !text.contains("inf\""),
            "{}",
            file.display()
        );
        if file.extension().is_some_and(|e| e == "svg") {
            let name = file
                .file_name()
                .and_then(|n| n.to_str())
                .expect("ASCII names");
            assert!(
                markdown.contains(&format!("]({name})")),
                "report.md does not show {name}"
            );
            charts += 1;
        }
    }
    assert_eq!(charts, 7);
    assert!(files[0].ends_with("report.html"));
}

#[test]
fn the_page_needs_nothing_and_runs_nothing() {
    let html = report_html(&made_up());
    for forbidden in [
        "<script", "<link", "<img", "src=", "url(", "@import", "http://", "https://",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.matches("<svg").count() == 7 && html.matches("</svg>").count() == 7);
}

#[test]
fn the_numbers_are_in_the_table_and_on_the_page() {
    let experiment = made_up();
    let row = |section: &str, label: &str| {
        cells(&experiment, section, label)
            .into_iter()
            .map(|(text, _)| text)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row(
            "Quality",
            "Validation loss, whole split, nats/token, exported model"
        ),
        ["1.7012", "1.7438", "+0.0426"]
    );
    assert_eq!(
        row(
            "Quality",
            "Validation loss, whole split, nats/token, as trained"
        ),
        ["1.7012", "1.7438", "+0.0426"]
    );
    assert_eq!(
        row(
            "Quality",
            "Validation loss before training, the first 20 batches, nats/token"
        ),
        ["4.1930", "4.1930", "0.0000"]
    );
    assert_eq!(row("Size", "Bits per ternary weight"), ["–", "2.06", ""]);
    assert_eq!(
        row("Size", "Linear-layer weights (float: f32)"),
        ["3.21 MB", "207 kB", "0.064×"]
    );
    assert_eq!(
        row("Size", "Linear-layer weights (float: f16)"),
        ["1.61 MB", "207 kB", "0.13×"]
    );
    // The middle turn, the slowest and the fastest; the ratio is the same in each turn.
    let decode = [
        "1.61k tok/s ± 1.6 %",
        "2.09k tok/s ± 1.6 %",
        "1.30× (1.30× to 1.30×)",
    ];
    assert_eq!(row("Inference", "Decode"), decode);
    assert_eq!(
        row("Training", "Time of a step")[2],
        "1.11× (1.11× to 1.11×)"
    );
    // Trained one after the other: times, but no ratio of them.
    assert_eq!(
        row("Training", "Time, whole training"),
        ["2 min 48 s", "3 min 07 s", ""]
    );
    for document in [report_html(&experiment), report_markdown(&experiment)] {
        for text in [
            "1.7012",
            "+0.0426",
            "2.09k tok/s",
            "1.30×",
            "4,094 of 4,096 positions (2 differ)",
            "Validation loss, the first 20 batches",
            "0.4 %",
        ] {
            assert!(document.contains(text), "{text} in\n{document}");
        }
    }
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</pre></script><script>alert(1)</script>\n```\n|x|\u{1b}]0;t\u{7}\u{202e}\0";
    let mut experiment = made_up();
    for text in [
        &mut experiment.title,
        &mut experiment.command,
        &mut experiment.config,
        &mut experiment.machine.cpu,
        &mut experiment.data,
        &mut experiment.conclusion,
        &mut experiment.question,
        &mut experiment.variants[1].name,
    ] {
        *text = evil.into();
    }
    experiment.notes = vec![evil.into()];
    for variant in &mut experiment.variants {
        variant.optim = vec![evil.into()];
        let sample = &mut variant.runs[0]
            .text
            .as_mut()
            .expect("a language model")
            .samples[0];
        (sample.prompt, sample.text) = (evil.into(), evil.into());
    }
    let (html, markdown, text) = (
        report_html(&experiment),
        report_markdown(&experiment),
        main_table(&experiment).to_text(),
    );
    assert!(!html.contains("<script") && !html.contains("</script"));
    for document in [&html, &markdown, &text] {
        let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!document.chars().any(odd));
    }
    // Outside fences, Markdown holds no raw tag either; the fences are longer than the three backticks inside.
    assert!(markdown.contains("````toml\n</pre>"), "{markdown}");
    let mut open = None;
    for line in markdown.lines() {
        match (&open, line.trim_start_matches('`')) {
            (None, rest) if line.starts_with("```") => open = Some(line.len() - rest.len()),
            (Some(ticks), "") if line.len() >= *ticks => open = None,
            (None, _) => assert!(!line.contains("<script"), "{line}"),
            _ => {}
        }
    }
    assert_eq!(open, None);
}

#[test]
fn the_headline_follows_the_numbers() {
    let mut experiment = made_up();
    assert_eq!(
        headline(&experiment),
        "The ternary model’s validation loss is 1.744 against 1.701 (+0.043 nats, +2.5 %), its packed weights take 1/16 of their \
         f32 bytes, it decodes 1.30× as fast (1.30× to 1.30×), and a training step takes 1.11× as long (1.11× to 1.11×)."
    );
    let ternary = ternary_of(&mut experiment);
    ternary.runs[0].score = 1.6512;
    ternary.packed_bytes = 4_014_080;
    ternary.speed = Some(speed(805.0, 19_320.0, 42.05));
    assert_eq!(
        headline(&experiment),
        "The ternary model’s validation loss is 1.651 against 1.701 (−0.050 nats, −2.9 %), its packed weights take 1.25× their \
         f32 bytes, it decodes more slowly, at 0.50× the speed (0.50× to 0.50×), and a training step takes 0.50× as long \
         (0.50× to 0.50×)."
    );
    ternary_of(&mut experiment).runs[0].score = f64::NAN;
    assert!(headline(&experiment).starts_with("The ternary model diverged, "));
}

/// What was seen beside another program: one model's timings collapse, the other's do not.
#[test]
fn noise_is_not_a_headline() {
    let mut experiment = made_up();
    let collapsed = experiment.variants[0].speed.as_mut().expect("timed");
    for (turn, factor) in [1.0, 0.02, 0.5, 0.05, 0.8, 0.02, 1.0, 0.04, 0.3]
        .iter()
        .enumerate()
    {
        collapsed.decode_tps[turn] *= factor;
    }
    let text = headline(&experiment);
    assert!(text.contains("how fast it decodes is open"), "{text}");
    assert!(
        !text.contains("decodes 1") && !text.contains("× as fast"),
        "{text}"
    );
    assert_eq!(cells(&experiment, "Inference", "Decode")[2].0, "open");
    assert!(
        cells(&experiment, "Inference", "Decode")
            .iter()
            .all(|(_, best)| !best)
    );

    // However even the turns, a busy machine is no place to compare.
    let mut busy = made_up();
    busy.waited = Some(0.3);
    let text = headline(&busy);
    assert!(
        text.contains("speeds are not compared")
            && !text.contains("as fast")
            && !text.contains("as long"),
        "{text}"
    );
    assert_eq!(cells(&busy, "Inference", "Decode")[2].0, "machine busy");
    assert!(report_html(&busy).contains("not compared"));

    // Turns that disagree about who is faster.
    let mut alike = made_up();
    let float = alike.variants[0].speed.clone();
    ternary_of(&mut alike).speed = float;
    assert!(
        headline(&alike).contains("it decodes about as fast"),
        "{}",
        headline(&alike)
    );
}

#[test]
fn other_tasks_have_sentences_of_their_own() {
    let mut experiment = made_up();
    experiment.task = "classify".into();
    experiment.metric = Metric {
        key: "accuracy".into(),
        label: "test accuracy".into(),
        higher_is_better: true,
        percent: true,
        unit: "%".into(),
    };
    for (variant, score) in experiment.variants.iter_mut().zip([0.885, 0.8725]) {
        variant.runs[0].score = score;
        variant.runs[0].text = None;
        let speed = variant.speed.as_mut().expect("timed");
        (speed.prefill_tps, speed.decode_tps) = (Vec::new(), Vec::new());
        speed.latency_ms = vec![
            if variant.linear == Linear::Float {
                2.0
            } else {
                1.0
            };
            9
        ];
    }
    let text = headline(&experiment);
    assert!(text.starts_with("The ternary model’s test accuracy is 87.25 % against 88.50 % (−1.25 percentage points),"), "{text}");
    assert!(
        text.contains("it answers 2.00× as fast (2.00× to 2.00×)"),
        "{text}"
    );
    assert_eq!(
        cells(&experiment, "Quality", "Test accuracy, exported model")[0],
        ("88.50 %".to_owned(), true)
    );
    assert!(!report_markdown(&experiment).contains("Next token"));
}

#[test]
fn bold_goes_to_whoever_is_better() {
    let best = |experiment: &Experiment, section: &str, label: &str| {
        let row = cells(experiment, section, label);
        (row[0].1, row[1].1)
    };
    let mut experiment = made_up();
    assert_eq!(best(&experiment, "Inference", "Decode"), (false, true));
    assert_eq!(best(&experiment, "Inference", "Prefill"), (true, false));
    assert_eq!(
        best(
            &experiment,
            "Quality",
            "Validation loss, whole split, nats/token, exported model"
        ),
        (true, false)
    );
    ternary_of(&mut experiment).runs[0].score = 1.701_21;
    let row = best(
        &experiment,
        "Quality",
        "Validation loss, whole split, nats/token, exported model",
    );
    assert_eq!(row, (false, false), "what reads the same has no winner");
}

#[test]
fn energy_is_labelled_wherever_it_appears() {
    let (html, markdown) = (report_html(&made_up()), report_markdown(&made_up()));
    for document in [html, markdown] {
        assert!(document.matches(MODELLED).count() >= 2);
        assert!(document.contains("no energy meter"));
    }
    let table = energy_table(&made_up()).expect("modelled");
    assert!(
        table
            .header
            .iter()
            .any(|title| title == "whole model, FP16, 7 nm (modelled, not measured)"),
        "{:?}",
        table.header
    );
}

#[test]
fn incomplete_summaries_still_render() {
    let mut experiments = vec![Experiment::default()];
    for keep in [Linear::Float, Linear::Ternary] {
        let mut one = made_up();
        one.variants.retain(|v| v.linear == keep);
        experiments.push(one);
    }
    let mut bare = made_up();
    for variant in &mut bare.variants {
        *variant = Variant {
            name: variant.name.clone(),
            linear: variant.linear,
            ..Variant::default()
        };
    }
    let mut broken = made_up();
    for run in broken.variants.iter_mut().flat_map(|v| &mut v.runs) {
        (run.score, run.seconds, run.tokens_per_second) = (f64::NAN, f64::INFINITY, -1.0);
        run.curve
            .iter_mut()
            .for_each(|p| (p.seconds, p.loss) = (f64::NAN, f64::INFINITY));
        run.train_curve
            .iter_mut()
            .for_each(|p| p.loss = if p.step % 40 == 0 { f64::NAN } else { -1e300 });
    }
    for variant in &mut broken.variants {
        variant.speed.as_mut().expect("timed").decode_tps[3] = f64::NAN;
    }
    let mut single = made_up();
    for run in single.variants.iter_mut().flat_map(|v| &mut v.runs) {
        run.curve.truncate(1);
        run.train_curve.truncate(1);
    }
    let mut three = made_up();
    three.variants.push(Variant {
        name: "ternary, absmedian".into(),
        ..three.variants[1].clone()
    });
    experiments.extend([bare, broken, single, three]);
    for experiment in experiments {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for file in render(&experiment, dir.path()).expect("it is writable") {
            let text = std::fs::read_to_string(&file).expect("just written");
            assert!(
                !text.contains("NaN") && !text.contains("=\"inf"),
                "{}: {text}",
                file.display()
            );
        }
        main_table(&experiment).to_text();
    }
}
