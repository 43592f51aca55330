use bitnet_results::{HealthPoint, LayerHealth, LayerTelemetry, SamplePoint, TrainPoint, ValPoint};

use super::*;

fn run(name: &str, rate: &str) -> BoardRun {
    let train = (1..=50).map(|at| TrainPoint {
        step: 10 * at,
        loss: 4.0 / (at as f64).sqrt(),
        lr: Some(1e-3),
        seconds: Some(at as f64),
    });
    let val = (0..=5).map(|at| ValPoint {
        step: 100 * at,
        loss: 4.0 - 0.5 * at as f64,
        bits_per_byte: Some((4.0 - 0.5 * at as f64) / 2.0 / std::f64::consts::LN_2),
        seconds: 10.0 * at as f64,
        ..ValPoint::default()
    });
    let health = |zeros| LayerHealth {
        zeros,
        flips: Some(0.01),
        scale: 0.1,
    };
    BoardRun {
        name: name.to_owned(),
        status: Status::Training,
        steps: 1000,
        tokens_per_step: 64.0,
        peak_bytes: Some(1_000_000),
        curves: Curves {
            train: train.collect(),
            val: val.collect(),
            layers: vec![LayerTelemetry {
                layer: "layers.0.mlp.up".to_owned(),
                points: (0..3)
                    .map(|at| HealthPoint {
                        step: 100 * at,
                        health: health(0.3),
                    })
                    .collect(),
            }],
            samples: vec![SamplePoint {
                step: 500,
                prompt: "One <b>".to_owned(),
                text: "day</pre><script>".to_owned(),
            }],
        },
        settings: [("train.learning_rate", rate), ("train.seed", "0")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

#[test]
fn a_page_has_its_curves_by_step_time_and_text_and_what_differs() {
    let page = board(&[run("one", "1e-3"), run("two & three", "2e-3")], true);
    for part in [
        "Validation loss by time",
        "Validation loss by text",
        "Bits per byte",
        "Learning rate",
        "Zero codes",
        "Settings that differ",
        "train.learning_rate",
        "2e-3",
        "two &amp; three",
        "500 of 1,000",
        "One &lt;b&gt;",
        "fetch(",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    assert!(!page.contains("day</pre><script>") && !page.contains("train.seed"));
    assert!(!page.contains("http://") && !page.contains("https://"));
    let file = board(&[run("one", "1e-3")], false);
    assert!(!file.contains("fetch(") && !file.contains("<script"));
    assert!(file.contains("All settings") && file.contains("train.seed"));
    assert!(!file.contains("Settings that differ"));
}

#[test]
fn a_run_without_anything_is_a_row() {
    let empty = BoardRun {
        curves: Curves::default(),
        ..run("new", "1")
    };
    let part = board_part(&[empty]);
    assert!(
        part.contains("0 of 1") && part.contains("Nothing was measured yet"),
        "{part}"
    );
    assert!(board_part(&[]).contains("table"));
}

#[test]
fn what_is_left_goes_by_the_last_pace_and_bytes_by_the_last_evaluation() {
    let run = run("one", "1");
    assert_eq!(run.pace(), Some(10.0));
    assert!((run.bytes_per_token().unwrap() - 2.0).abs() < 1e-9);
    // 500 steps are left, 10 a second.
    assert!(board_part(&[run]).contains(&crate::format::seconds(50.0)));
}
