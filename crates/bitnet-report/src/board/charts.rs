//! The pictures of a board.

use bitnet_results::{HealthPoint, ValPoint};
use minijinja::{Value, context};

use super::BoardRun;
use crate::svg::{LineChart, Placement, Series};

/// Points of a line: more are not seen.
const POINTS: usize = 600;

/// A measure to read the losses along.
struct Along {
    /// Its class on the page.
    class: &'static str,
    title: &'static str,
    label: &'static str,
    /// Where a step is on it, and the second that it was taken.
    at: fn(&BoardRun, u64, Option<f64>) -> Option<f64>,
}

const ALONG: [Along; 3] = [
    Along {
        class: "by-step",
        title: "",
        label: "training step",
        at: |_, step, _| Some(step as f64),
    },
    Along {
        class: "by-time",
        title: " by time",
        label: "minutes of training",
        at: |_, _, seconds| Some(seconds? / 60.0),
    },
    Along {
        class: "by-text",
        title: " by text",
        label: "megabytes of text read",
        at: |run, step, _| Some(step as f64 * run.tokens_per_step * run.bytes_per_token()? / 1e6),
    },
];

/// The losses along each measure, in both units that they have: of a token, and of a byte of text.
pub(super) fn losses(runs: &[BoardRun]) -> Vec<Value> {
    ALONG
        .iter()
        .map(|along| {
            let figures = [
                validation(runs, along),
                training(runs, along),
                per_byte(runs, along),
            ];
            context! {
                class => along.class,
                figures => safe(figures.into_iter().flatten()),
            }
        })
        .collect()
}

fn validation(runs: &[BoardRun], along: &Along) -> Option<String> {
    let points = |run: &BoardRun| {
        let points = run.curves.val.iter();
        points
            .filter_map(|p| Some(((along.at)(run, p.step, Some(p.seconds))?, p.loss)))
            .collect()
    };
    let units = "nats, log scale";
    lines(runs, ("Validation loss", along), units, Up::Log, points)
}

fn training(runs: &[BoardRun], along: &Along) -> Option<String> {
    let points = |run: &BoardRun| {
        let points = thinned(&run.curves.train, |near| {
            let last = near[near.len() - 1];
            let mean = near.iter().map(|p| p.loss).sum::<f64>() / near.len() as f64;
            (last.step, last.seconds, mean)
        });
        points
            .into_iter()
            .filter_map(|(step, seconds, loss)| Some(((along.at)(run, step, seconds)?, loss)))
            .collect()
    };
    let units = "nats, log scale";
    lines(runs, ("Training loss", along), units, Up::Log, points)
}

fn per_byte(runs: &[BoardRun], along: &Along) -> Option<String> {
    let at = |run: &BoardRun, p: &ValPoint| {
        Some(((along.at)(run, p.step, Some(p.seconds))?, p.bits_per_byte?))
    };
    let points = |run: &BoardRun| run.curves.val.iter().filter_map(|p| at(run, p)).collect();
    let units = "comparable between tokenizers; log scale";
    lines(runs, ("Bits per byte", along), units, Up::Log, points)
}

/// Accuracy and the learning rate.
pub(super) fn others(runs: &[BoardRun]) -> Value {
    let step = &ALONG[0];
    let rate = |run: &BoardRun| {
        let points = thinned(&run.curves.train, |near| near[near.len() - 1]);
        points
            .into_iter()
            .filter_map(|p| Some((p.step as f64, p.lr?)))
            .collect()
    };
    let right = |run: &BoardRun| {
        let points = run.curves.val.iter();
        points
            .filter_map(|p| Some((p.step as f64, p.accuracy?)))
            .collect()
    };
    let figures = [
        lines(runs, ("Learning rate", step), "", Up::FromZero, rate),
        lines(
            runs,
            ("Accuracy", step),
            "share of right predictions",
            Up::Close,
            right,
        ),
    ];
    safe(figures.into_iter().flatten())
}

/// What the ternary codes do: of one run each layer, of several runs their means.
pub(super) fn layers(runs: &[BoardRun]) -> Value {
    type Of = fn(&HealthPoint) -> Option<f64>;
    let kinds: [(&str, &str, Of); 2] = [
        ("Zero codes", "share of codes", |p| Some(p.health.zeros)),
        ("Codes changed per step", "share of codes", |p| {
            p.health.flips
        }),
    ];
    let figures = kinds.into_iter().filter_map(|(title, units, of)| {
        let series: Vec<Series> = match runs {
            [one] => each_layer(one, of),
            runs => (runs.iter().enumerate())
                .map(|(colour, run)| mean_of_layers(run, colour, of))
                .collect(),
        };
        let units = match runs {
            [_] => format!("{units}; bold: the mean of all layers"),
            _ => format!("{units}, the mean of all layers"),
        };
        chart(title.to_owned(), "training step", &units, Up::Close, series)
    });
    safe(figures)
}

fn each_layer(run: &BoardRun, of: fn(&HealthPoint) -> Option<f64>) -> Vec<Series> {
    let mut series: Vec<Series> = (run.curves.layers.iter())
        .map(|layer| Series {
            name: layer.layer.clone(),
            colour: 6,
            points: (layer.points.iter())
                .filter_map(|point| Some((point.step as f64, of(point)?)))
                .collect(),
            faint: true,
        })
        .collect();
    series.push(Series {
        name: "mean".to_owned(),
        ..mean_of_layers(run, 1, of)
    });
    series
}

fn mean_of_layers(run: &BoardRun, colour: usize, of: fn(&HealthPoint) -> Option<f64>) -> Series {
    let layers = &run.curves.layers;
    let readings = layers
        .iter()
        .map(|layer| layer.points.len())
        .min()
        .unwrap_or(0);
    let points = (0..readings).filter_map(|at| {
        let values = layers.iter().map(|layer| of(&layer.points[at]));
        let sum: f64 = values.sum::<Option<f64>>()?;
        Some((layers[0].points[at].step as f64, sum / layers.len() as f64))
    });
    Series {
        name: run.name.clone(),
        colour,
        points: points.collect(),
        faint: false,
    }
}

/// How a vertical axis goes up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Log,
    /// Around the values.
    Close,
    /// So that a schedule looks as it is in its first steps too.
    FromZero,
}

fn lines(
    runs: &[BoardRun],
    (title, along): (&str, &Along),
    units: &str,
    up: Up,
    points: impl Fn(&BoardRun) -> Vec<(f64, f64)>,
) -> Option<String> {
    let series = runs.iter().enumerate().map(|(colour, run)| Series {
        name: run.name.clone(),
        colour,
        points: points(run),
        faint: false,
    });
    let title = format!("{title}{}", along.title);
    chart(title, along.label, units, up, series.collect())
}

fn chart(
    title: String,
    x_label: &str,
    y_label: &str,
    up: Up,
    series: Vec<Series>,
) -> Option<String> {
    let any = series.iter().any(|series| !series.points.is_empty());
    let chart = LineChart {
        title,
        x_label: x_label.to_owned(),
        y_label: y_label.to_owned(),
        log_y: up == Up::Log,
        from_zero: up == Up::FromZero,
        series,
    };
    any.then(|| chart.to_svg(Placement::Inline))
}

/// Neighbours made one, where there are more than are seen.
fn thinned<T, U>(points: &[T], of: impl Fn(&[T]) -> U) -> Vec<U> {
    let every = points.len().div_ceil(POINTS).max(1);
    points.chunks(every).map(of).collect()
}

/// Pictures as a template takes them.
fn safe(figures: impl Iterator<Item = String>) -> Value {
    figures.map(Value::from_safe_string).collect()
}
