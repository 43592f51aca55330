//! What the ternary codes did while training: how many are zero, and how many changed.
//!
//! Shown for the first run of the first ternary variant that has it. Up to eight layers get a line each. Of more layers, a
//! picture names three lines, the mean and the two layers that end lowest and highest, and draws the others pale.

use super::Figure;
use crate::svg::{LineChart, Series};
use bitnet_results::{Experiment, Linear};
use bitnet_results::{HealthPoint, LayerTelemetry};

const EACH: usize = 8;

/// Share of codes that are zero, by layer.
pub(crate) fn zeros(experiment: &Experiment) -> Option<Figure> {
    figure(
        experiment,
        "zeros.svg",
        "Zero codes",
        "share of codes",
        |p| p.health.zeros,
    )
}

/// Share of codes changed per step, by layer.
pub(crate) fn flips(experiment: &Experiment) -> Option<Figure> {
    figure(
        experiment,
        "flips.svg",
        "Codes changed per step",
        "share of codes",
        |p| p.health.flips.unwrap_or(f64::NAN),
    )
}

fn figure(
    experiment: &Experiment,
    file: &'static str,
    title: &str,
    y_label: &str,
    of: impl Fn(&HealthPoint) -> f64,
) -> Option<Figure> {
    let mut ternary = experiment
        .variants
        .iter()
        .filter(|v| v.linear == Linear::Ternary);
    let (variant, run) = ternary.find_map(|variant| {
        let run = variant.runs.first()?;
        (!run.telemetry.is_empty()).then_some((variant, run))
    })?;
    let lines: Vec<(&LayerTelemetry, Vec<(f64, f64)>)> = run
        .telemetry
        .iter()
        .map(|layer| {
            let points = layer.points.iter().map(|p| (p.step as f64, of(p)));
            (layer, points.collect())
        })
        .collect();
    let (series, which) = if lines.len() <= EACH {
        (each(&lines), String::new())
    } else {
        (extremes(&lines), format!("; {} layers, pale", lines.len()))
    };
    let chart = LineChart {
        title: title.to_owned(),
        x_label: "training step".to_owned(),
        y_label: format!("{y_label}{which}"),
        log_y: false,
        from_zero: false,
        series,
    };
    let caption = format!("By layer, for {} with seed {}.", variant.words(), run.seed);
    Figure::lines(file, &caption, chart)
}

type Line<'a> = (&'a LayerTelemetry, Vec<(f64, f64)>);

fn each(lines: &[Line]) -> Vec<Series> {
    let line = |(colour, (layer, points)): (usize, &Line)| Series {
        name: layer.layer.clone(),
        colour,
        points: points.clone(),
        faint: false,
    };
    lines.iter().enumerate().map(line).collect()
}

fn extremes(lines: &[Line]) -> Vec<Series> {
    const MEAN: usize = 1;
    let series = |name: &str, colour, points: &[(f64, f64)], faint| Series {
        name: name.to_owned(),
        colour,
        points: points.to_vec(),
        faint,
    };
    let mut out: Vec<Series> = lines
        .iter()
        .map(|(layer, points)| series(&layer.layer, 6, points, true))
        .collect();
    let end = |line: &Line| {
        let last = line.1.iter().rev().map(|p| p.1).find(|y| y.is_finite());
        last.unwrap_or(f64::NAN)
    };
    let ended = || lines.iter().filter(|line| end(line).is_finite());
    let order = |a: &&Line, b: &&Line| end(a).total_cmp(&end(b));
    if let (Some(low), Some(high)) = (ended().min_by(order), ended().max_by(order)) {
        out.push(series(&low.0.layer, 0, &low.1, false));
        out.push(series(&high.0.layer, 2, &high.1, false));
    }
    out.push(series("mean", MEAN, &mean(lines), false));
    out
}

/// The mean over layers, point by point; layers are recorded at the same steps.
fn mean(lines: &[Line]) -> Vec<(f64, f64)> {
    let shortest = lines.iter().map(|(_, p)| p.len()).min().unwrap_or(0);
    let at = |k: usize| {
        let points = lines.iter().filter_map(|(_, points)| points.get(k));
        let (x, y) = points.fold((f64::NAN, 0.0), |(_, sum), (x, y)| (*x, sum + y));
        (x, y / lines.len() as f64)
    };
    (0..shortest).map(at).collect()
}
