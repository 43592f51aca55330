//! The score of every variant with its spread, for experiments with too many variants to compare by curves.

use super::Figure;
use crate::svg::{DotChart, DotRow};
use bitnet_results::{Experiment, Variant};

/// Fewer variants are compared well enough by the table.
const FEWEST: usize = 3;

/// Scores by variant, in the order of the table.
pub(crate) fn by_variant(experiment: &Experiment) -> Option<Figure> {
    if experiment.variants.len() < FEWEST {
        return None;
    }
    let metric = &experiment.metric;
    let (factor, percent) = match metric.percent {
        true => (100.0, ", %"),
        false => (1.0, ""),
    };
    let row = |variant: &Variant| {
        let score = variant.score();
        DotRow {
            name: variant.words().to_owned(),
            colour: variant.linear as usize,
            mean: score.map_or(f64::NAN, |s| s.mean * factor),
            error: score.and_then(|s| s.sd).map(|sd| sd * factor),
            values: variant.runs.iter().map(|r| r.score * factor).collect(),
        }
    };
    let better = match metric.higher_is_better {
        true => "further right is better",
        false => "further left is better",
    };
    let baseline = experiment.baseline();
    let chart = DotChart {
        title: "Score by variant".to_owned(),
        x_label: format!("{}{percent}; {better}", metric.words()),
        reference: baseline.and_then(Variant::score).map(|s| s.mean * factor),
        rows: experiment.variants.iter().map(row).collect(),
    };
    let line = baseline.map_or(String::new(), |v| {
        format!(" Line: the mean of {}.", v.words())
    });
    let caption = format!(
        "Large: mean over seeds, with one standard deviation to each side. Small: single seeds.{line}"
    );
    Figure::dots("score-by-variant.svg", &caption, chart)
}
