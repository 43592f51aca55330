//! What a loss costs: score against bytes, time to decode, arithmetic of training and modelled energy, a line for each kind
//! of weights and format.

use bitnet_results::Experiment;
use bitnet_results::energy::MODELLED;
use bitnet_results::frontier::{Cost, Curve};

use super::Figure;
use crate::svg::{ScatterChart, ScatterGroup, ScatterPoint};

/// A picture for each cost that is known of two models or more; none where no frontier was asked for.
pub(crate) fn figures(experiment: &Experiment) -> Vec<Figure> {
    match experiment.frontier {
        None => Vec::new(),
        Some(_) => Cost::ALL
            .into_iter()
            .filter_map(|cost| figure(experiment, cost))
            .collect(),
    }
}

/// Name of the file, heading, axis, and what its unit is in that of [`Cost::of`].
fn words(cost: Cost) -> (&'static str, &'static str, String, f64) {
    match cost {
        Cost::Bytes => (
            "frontier-bytes.svg",
            "Score for the bytes of a file",
            "bytes of the file, log scale".to_owned(),
            1.0,
        ),
        Cost::Decode => (
            "frontier-decode.svg",
            "Score for the time to write a token",
            "microseconds for a token, log scale".to_owned(),
            1e6,
        ),
        Cost::Compute => (
            "frontier-compute.svg",
            "Score for the arithmetic of training",
            "10¹² operations: 6 × parameters × tokens, log scale".to_owned(),
            1e-12,
        ),
        Cost::Energy => (
            "frontier-energy.svg",
            "Score for the energy of a token",
            format!("nanojoules at 7 nm, {MODELLED}, log scale"),
            1e-3,
        ),
    }
}

fn figure(experiment: &Experiment, cost: Cost) -> Option<Figure> {
    let (file, title, x_label, unit) = words(cost);
    let percent = experiment.metric.percent;
    let factor = if percent { 100.0 } else { 1.0 };
    let curves = Curve::all(experiment);
    let groups = curves.iter().zip(colours(&curves)).map(|(curve, colour)| {
        let points = curve.points(cost).into_iter().filter_map(|(x, variant)| {
            let score = variant.score()?;
            Some(ScatterPoint {
                x: x * unit,
                y: score.mean * factor,
                error: score.sd.map(|sd| sd * factor),
                label: String::new(),
            })
        });
        ScatterGroup {
            name: curve.name.clone(),
            colour,
            joined: true,
            points: points.collect(),
            line: Vec::new(),
        }
    });
    let chart = ScatterChart {
        title: title.to_owned(),
        x_label,
        y_label: format!(
            "{}{}",
            experiment.metric.words(),
            if percent { ", %" } else { "" }
        ),
        log_x: true,
        groups: groups.collect(),
    };
    let points = chart.groups.iter().map(|group| group.points.len());
    if points.sum::<usize>() < 2 {
        return None;
    }
    let seeds = experiment.variants.iter().map(|v| v.runs.len()).max();
    let caption = match seeds {
        Some(2..) => {
            "Means over seeds; bars: ± one standard deviation. Lines join the sizes of one kind."
        }
        _ => "One seed: no spread known. Lines join the sizes of one kind.",
    };
    Figure::scatter(file, caption, chart)
}

/// The first float and the first ternary curve have the colours that these kinds have everywhere.
pub(crate) fn colours(curves: &[Curve]) -> Vec<usize> {
    let firsts = curves.iter().filter_map(|curve| curve.variants.first());
    let firsts: Vec<_> = firsts.map(|first| (*first).clone()).collect();
    super::colours(&firsts)
}
