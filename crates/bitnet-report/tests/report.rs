//! The report as a whole: files, escaping, directions, and every summary that is not the expected one.

mod common;

use std::path::Path;

use bitnet_report::energy::MODELLED;
use bitnet_report::{
    Summary, Twin, headline, main_table, render_all, render_html, render_markdown,
};
use common::made_up;

fn edit(summary: &mut Summary, name: &str, change: impl FnOnce(&mut Twin)) {
    change(
        summary
            .twins
            .iter_mut()
            .find(|t| t.name == name)
            .expect("the fixture has both twins"),
    );
}

/// Also the way to look at a report: open the folder this leaves under `target/tmp`.
#[test]
fn writes_every_file_the_reports_refer_to() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report");
    let files = render_all(&made_up(), &dir).expect("the target folder is writable");
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
    let html = render_html(&made_up());
    for forbidden in [
        "<script", "<link", "<img", "src=", "url(", "@import", "http://", "https://",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.matches("<svg").count() == 7 && html.matches("</svg>").count() == 7);
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</pre></script><script>alert(1)</script>\n```\n|x|\u{1b}]0;t\u{7}\u{202e}\0";
    let mut summary = made_up();
    summary.name = evil.into();
    summary.command = evil.into();
    summary.config = evil.into();
    summary.machine.cpu = evil.into();
    summary.data.description = evil.into();
    summary.twins[1].name = evil.into();
    for twin in &mut summary.twins {
        twin.optim = vec![evil.into()];
        twin.samples[0].prompt = evil.into();
        twin.samples[0].text = evil.into();
    }
    let (html, markdown, text) = (
        render_html(&summary),
        render_markdown(&summary),
        main_table(&summary).to_text(),
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
    let mut summary = made_up();
    assert_eq!(
        headline(&summary),
        "The ternary twin’s validation loss is 1.744 against 1.701 (+0.043 nats, +2.5 %), its packed weights take 1/16 \
         of their f32 bytes, it decodes 1.30× as fast, and training took 1.11× as long."
    );
    edit(&mut summary, "ternary", |twin| {
        let packed = twin.packed.as_mut().expect("packed");
        packed.val_loss = 1.6512;
        packed.weight_bytes = 4_000_000;
        twin.inference.as_mut().expect("timed").decode_tps = 805.0;
        twin.train.seconds = 84.1;
    });
    assert_eq!(
        headline(&summary),
        "The ternary twin’s validation loss is 1.651 against 1.701 (−0.050 nats, −2.9 %), its packed weights take 1.25× \
         their f32 bytes, it decodes more slowly, at 0.50× the speed, and training took 0.50× as long."
    );
    edit(&mut summary, "ternary", |twin| {
        twin.packed.as_mut().expect("packed").val_loss = f64::NAN
    });
    assert!(headline(&summary).starts_with("The ternary twin diverged, "));
}

#[test]
fn bold_goes_to_whoever_is_better() {
    let best = |summary: &Summary, label: &str| {
        let table = main_table(summary);
        let rows = table.sections.iter().flat_map(|s| &s.rows);
        let row = rows
            .into_iter()
            .find(|r| r[0].text == label)
            .expect("the row exists")
            .clone();
        (row[1].best, row[2].best)
    };
    let mut summary = made_up();
    assert_eq!(best(&summary, "Decode"), (false, true));
    assert_eq!(best(&summary, "Prefill"), (true, false));
    assert_eq!(
        best(&summary, "Loss of the exported model, nats/token"),
        (true, false)
    );
    edit(&mut summary, "ternary", |twin| {
        twin.inference.as_mut().expect("timed").decode_tps = 1_610.2
    });
    assert_eq!(
        best(&summary, "Decode"),
        (false, false),
        "what reads the same has no winner"
    );
}

#[test]
fn energy_is_labelled_wherever_it_appears() {
    let (html, markdown) = (render_html(&made_up()), render_markdown(&made_up()));
    for document in [html, markdown] {
        assert!(document.matches(MODELLED).count() >= 2);
        assert!(document.contains("no energy meter"));
    }
}

#[test]
fn incomplete_summaries_still_render() {
    let mut summaries = vec![
        Summary::default(),
        Summary {
            twins: vec![Twin::default()],
            ..Summary::default()
        },
    ];
    for name in ["float", "ternary"] {
        let mut one = made_up();
        one.twins.retain(|t| t.name == name);
        summaries.push(one);
    }
    let mut bare = made_up();
    for twin in &mut bare.twins {
        *twin = Twin {
            name: twin.name.clone(),
            ..Twin::default()
        };
    }
    let mut broken = made_up();
    for twin in &mut broken.twins {
        (
            twin.val.loss,
            twin.train.seconds,
            twin.train.tokens_per_second,
        ) = (f64::NAN, f64::INFINITY, -1.0);
        twin.val_curve
            .iter_mut()
            .for_each(|p| (p.seconds, p.loss) = (f64::NAN, f64::INFINITY));
        twin.train_curve
            .iter_mut()
            .for_each(|p| p.loss = if p.step % 2 == 0 { f64::NAN } else { -1e300 });
    }
    let mut single = made_up();
    for twin in &mut single.twins {
        twin.val_curve.truncate(1);
        twin.train_curve.truncate(1);
    }
    let mut three = made_up();
    three.twins.push(Twin {
        name: "ternary, absmedian".into(),
        ..three.twins[1].clone()
    });
    summaries.extend([bare, broken, single, three]);
    for summary in summaries {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for file in render_all(&summary, dir.path()).expect("it is writable") {
            let text = std::fs::read_to_string(&file).expect("just written");
            assert!(
                !text.contains("NaN") && !text.contains("=\"inf"),
                "{}: {text}",
                file.display()
            );
        }
        main_table(&summary).to_text();
    }
}
