//! Score against size: how far a model gets on its parameters, and on the bytes of its file.

use super::Figure;
use crate::svg::{ScatterChart, ScatterGroup, ScatterPoint};
use bitnet_results::{Experiment, Variant};

fn caption(experiment: &Experiment) -> &'static str {
    if experiment.variants.iter().any(|v| v.runs.len() > 1) {
        "Means over seeds; bars: ± one standard deviation. Lines join the variants of one kind."
    } else {
        "One seed: no spread known. Lines join the variants of one kind."
    }
}

/// Score against parameters.
pub(crate) fn by_parameters(experiment: &Experiment) -> Option<Figure> {
    let chart = chart(
        experiment,
        "Score and parameters",
        "parameters, log scale",
        |v| v.params,
    );
    Figure::scatter("score-by-parameters.svg", caption(experiment), chart)
}

/// Score against the bytes of the exported file.
pub(crate) fn by_bytes(experiment: &Experiment) -> Option<Figure> {
    let chart = chart(
        experiment,
        "Score and size of the file",
        "bytes of the exported file, log scale",
        |v| v.file_bytes,
    );
    Figure::scatter("score-by-bytes.svg", caption(experiment), chart)
}

fn chart(
    experiment: &Experiment,
    title: &str,
    x_label: &str,
    size: impl Fn(&Variant) -> u64,
) -> ScatterChart {
    let factor = if experiment.metric.percent {
        100.0
    } else {
        1.0
    };
    let mut groups: Vec<ScatterGroup> = Vec::new();
    for variant in &experiment.variants {
        let Some(score) = variant.score().filter(|_| size(variant) > 0) else {
            continue;
        };
        let point = ScatterPoint {
            x: size(variant) as f64,
            y: score.mean * factor,
            error: score.sd.map(|sd| sd * factor),
            label: variant.name.clone(),
        };
        let kind = variant.linear.name();
        match groups.iter_mut().find(|group| group.name == kind) {
            Some(group) => group.points.push(point),
            None => groups.push(ScatterGroup {
                name: kind.to_owned(),
                colour: variant.linear as usize,
                joined: true,
                points: vec![point],
                line: Vec::new(),
            }),
        }
    }
    let percent = if experiment.metric.percent { ", %" } else { "" };
    ScatterChart {
        title: title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: format!("{}{percent}", experiment.metric.words()),
        log_x: true,
        groups,
    }
}
