//! The charts of learning: loss by step and by wall clock, and the learning rate behind it.

use super::{Figure, colour};
use crate::summary::{Summary, TrainPoint, Twin};
use crate::svg::{LineChart, Series};

/// Learning: validation loss by step and by time, training loss, learning rate.
pub(crate) fn learning(summary: &Summary) -> Vec<Figure> {
    let mut figures = Vec::new();
    let nats = "nats per token, log scale";
    if summary.twins.iter().any(|t| !t.val_curve.is_empty()) {
        let longest = summary
            .twins
            .iter()
            .flat_map(|t| &t.val_curve)
            .map(|p| p.seconds)
            .fold(0.0, f64::max);
        let (unit, per) = time_unit(longest);
        figures.push(Figure::lines(
            "loss.svg",
            chart(
                "Validation loss",
                "training step",
                nats,
                true,
                each(summary, |twin| {
                    twin.val_curve
                        .iter()
                        .map(|p| (p.step as f64, p.loss))
                        .collect()
                }),
            ),
        ));
        figures.push(Figure::lines(
            "loss-by-time.svg",
            chart(
                "Validation loss by wall clock",
                unit,
                nats,
                true,
                each(summary, |twin| {
                    twin.val_curve
                        .iter()
                        .map(|p| (p.seconds / per, p.loss))
                        .collect()
                }),
            ),
        ));
    }
    if summary.twins.iter().any(|t| !t.train_curve.is_empty()) {
        let window = summary
            .twins
            .iter()
            .map(|t| t.train_curve.len())
            .max()
            .unwrap_or(0)
            / 50;
        let y_label = match window {
            0 | 1 => nats.to_owned(),
            n => format!("{nats}; bold: mean of {n} points"),
        };
        let mut series = Vec::new();
        if window > 1 {
            series = each(summary, |twin| {
                twin.train_curve
                    .iter()
                    .map(|p| (p.step as f64, p.loss))
                    .collect()
            });
            series.iter_mut().for_each(|s| s.faint = true);
        }
        series.extend(each(summary, |twin| smoothed(&twin.train_curve, window)));
        figures.push(Figure::lines(
            "train-loss.svg",
            chart("Training loss", "training step", &y_label, true, series),
        ));
    }
    if summary
        .twins
        .iter()
        .flat_map(|t| &t.train_curve)
        .any(|p| p.lr > 0.0)
    {
        figures.push(Figure::lines(
            "learning-rate.svg",
            chart(
                "Learning rate",
                "training step",
                "each twin has its own",
                false,
                each(summary, |twin| {
                    twin.train_curve
                        .iter()
                        .map(|p| (p.step as f64, p.lr))
                        .collect()
                }),
            ),
        ));
    }
    figures
}

fn each(summary: &Summary, points: impl Fn(&Twin) -> Vec<(f64, f64)>) -> Vec<Series> {
    let series = summary.twins.iter().enumerate().map(|(i, twin)| Series {
        name: twin.name.clone(),
        colour: colour(twin, i),
        points: points(twin),
        faint: false,
    });
    series.collect()
}

fn chart(title: &str, x_label: &str, y_label: &str, log_y: bool, series: Vec<Series>) -> LineChart {
    LineChart {
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: y_label.to_owned(),
        log_y,
        series,
    }
}

/// The unit that keeps the axis' numbers small, and its seconds.
fn time_unit(longest: f64) -> (&'static str, f64) {
    match longest {
        s if s >= 7200.0 => ("hours of training", 3600.0),
        s if s >= 180.0 => ("minutes of training", 60.0),
        _ => ("seconds of training", 1.0),
    }
}

/// Mean over a window of about `window` points around each, one-sided at the ends; a loss that is not finite breaks
/// the line for the length of the window.
fn smoothed(curve: &[TrainPoint], window: usize) -> Vec<(f64, f64)> {
    let half = window / 2;
    let mean = |i: usize| {
        let around = i.saturating_sub(half)..(i + half + 1).min(curve.len());
        let near = curve.get(around).unwrap_or_default();
        near.iter().map(|p| p.loss).sum::<f64>() / near.len() as f64
    };
    curve
        .iter()
        .enumerate()
        .map(|(i, p)| (p.step as f64, mean(i)))
        .collect()
}
