//! Learning curves, by step and by time.

use super::{Figure, colours};
use crate::curve::{self, Point, Quantity};
use crate::notes::{curve_part, in_part};
use crate::svg::{LineChart, Series};
use bitnet_results::{Experiment, TrainPoint};

fn caption(experiment: &Experiment) -> String {
    let lines = if experiment.variants.iter().any(|v| v.runs.len() > 1) {
        "Bold: mean over seeds. Pale: single seeds."
    } else {
        "One seed: no spread known."
    };
    lines.to_owned() + &in_part(experiment)
}

/// Loss by step.
pub(crate) fn by_step(experiment: &Experiment) -> Option<Figure> {
    let series = series(experiment, Quantity::Loss, |p| p.step as f64);
    let chart = loss_chart(experiment, "", "training step", series);
    Figure::lines("loss.svg", &caption(experiment), chart)
}

/// Loss by training time: a slower variant ends further to the right.
pub(crate) fn by_time(experiment: &Experiment) -> Option<Figure> {
    let runs = experiment.variants.iter().flat_map(|v| &v.runs);
    let longest = runs
        .flat_map(|run| curve::of_run(run, Quantity::Loss))
        .map(|p| p.seconds)
        .filter(|s| s.is_finite())
        .fold(0.0, f64::max);
    // The unit that keeps the axis' numbers small.
    let (unit, per) = match longest {
        s if s >= 7200.0 => ("hours of training", 3600.0),
        s if s >= 180.0 => ("minutes of training", 60.0),
        _ => ("seconds of training", 1.0),
    };
    let series = series(experiment, Quantity::Loss, |p| p.seconds / per);
    let caption = "The same curves by training time: read them along a vertical line to compare after equal time.";
    let chart = loss_chart(experiment, " by time", unit, series);
    Figure::lines("loss-by-time.svg", caption, chart)
}

/// Validation accuracy by step, where accuracy is what the experiment is about. The curves of other tasks carry token
/// accuracy too, which must not pass for their score.
pub(crate) fn score(experiment: &Experiment) -> Option<Figure> {
    if experiment.metric.key != "accuracy" {
        return None;
    }
    let factor = if experiment.metric.percent {
        100.0
    } else {
        1.0
    };
    let mut series = series(experiment, Quantity::Score, |p| p.step as f64);
    for (_, y) in series.iter_mut().flat_map(|s| &mut s.points) {
        *y *= factor;
    }
    let percent = if experiment.metric.percent { ", %" } else { "" };
    let chart = LineChart {
        title: "Validation accuracy".to_owned(),
        x_label: "training step".to_owned(),
        y_label: format!("share of right answers{percent}"),
        log_y: false,
        from_zero: false,
        series,
    };
    Figure::lines("score.svg", &caption(experiment), chart)
}

fn loss_chart(experiment: &Experiment, by: &str, x_label: &str, series: Vec<Series>) -> LineChart {
    // One run without validation points makes the picture one of both losses, and it says so.
    let mut runs = experiment.variants.iter().flat_map(|v| &v.runs);
    let (mut validation, mut training) = (false, false);
    for run in runs.by_ref() {
        let by_training = !run.was_followed() && !run.train_curve.is_empty();
        validation |= !by_training && !run.curve.is_empty();
        training |= by_training;
    }
    let title = match (validation, training) {
        (true, true) => "Loss (training loss where validation is missing)".to_owned(),
        (false, true) => "Training loss".to_owned(),
        _ => match curve_part(experiment) {
            // The table's losses are of the whole split.
            Some(part) => format!("Validation loss, {part}"),
            None => "Validation loss, whole split".to_owned(),
        },
    };
    let unit = match experiment.metric.key.as_str() {
        "loss" if !experiment.metric.unit.is_empty() => format!("{}, ", experiment.metric.unit),
        _ => String::new(),
    };
    LineChart {
        title: format!("{title}{by}"),
        x_label: x_label.to_owned(),
        y_label: format!("{unit}log scale"),
        log_y: true,
        from_zero: false,
        series,
    }
}

/// Training loss by step, of a comparison.
pub(crate) fn training(experiment: &Experiment) -> Option<Figure> {
    let loss = |p: &TrainPoint| Some(p.loss);
    let unit = match experiment.metric.key.as_str() {
        "loss" if !experiment.metric.unit.is_empty() => format!("{}, ", experiment.metric.unit),
        _ => String::new(),
    };
    of_training(
        experiment,
        "train-loss.svg",
        "Training loss",
        format!("{unit}log scale"),
        loss,
    )
}

/// Learning rate by step, of a comparison.
pub(crate) fn learning_rate(experiment: &Experiment) -> Option<Figure> {
    let note = "each variant has its own".to_owned();
    of_training(
        experiment,
        "learning-rate.svg",
        "Learning rate",
        note,
        |p| p.lr,
    )
}

fn of_training(
    experiment: &Experiment,
    file: &'static str,
    title: &str,
    y_label: String,
    of: fn(&TrainPoint) -> Option<f64>,
) -> Option<Figure> {
    let variants = experiment
        .variants
        .iter()
        .zip(colours(&experiment.variants));
    let series = variants.filter_map(|(variant, colour)| {
        let points = variant.runs.first()?.train_curve.iter();
        Some(Series {
            name: variant.name.clone(),
            colour,
            points: points
                .filter_map(|p| Some((p.step as f64, of(p)?)))
                .collect(),
            faint: false,
        })
    });
    let chart = LineChart {
        title: title.to_owned(),
        x_label: "training step".to_owned(),
        y_label,
        log_y: file == "train-loss.svg",
        from_zero: false,
        series: series.collect(),
    };
    Figure::lines(file, "", chart)
}

/// Pale lines for single seeds, then a bold mean on top for every variant.
fn series(experiment: &Experiment, quantity: Quantity, x: impl Fn(&Point) -> f64) -> Vec<Series> {
    let (mut pale, mut bold) = (Vec::new(), Vec::new());
    let colours = colours(&experiment.variants);
    for (variant, colour) in experiment.variants.iter().zip(colours) {
        let line = |points: &[Point], faint: bool| Series {
            name: variant.name.clone(),
            colour,
            points: points.iter().map(|p| (x(p), p.value)).collect(),
            faint,
        };
        let curves = curve::of_runs(variant, quantity);
        if curves.len() > 1 {
            pale.extend(curves.iter().map(|c| line(c, true)));
        }
        bold.push(line(&curve::mean(&curves), false));
    }
    pale.append(&mut bold);
    pale
}
