//! The same scores seen fairly in another way: after equal time, and by the bytes of the file.

use super::{counted, label, none, score, table};
use crate::curve::{self, Point, Quantity};
use crate::format;
use crate::numbers::Style;
use crate::table::{Cell, Table};
use bitnet_results::Run;
use bitnet_results::statistics::Spread;
use bitnet_results::{Experiment, Variant};

/// The loss of each variant at the time the fastest one was done, read off the mean curve over seeds; `None` with fewer
/// than two such curves, where a run was not evaluated on its way, or with groups, whose losses do not compare.
pub fn equal_time_table(experiment: &Experiment) -> Option<Table> {
    let mut runs = experiment.variants.iter().flat_map(|v| &v.runs);
    if experiment.is_grouped() || !runs.all(Run::was_followed) {
        return None;
    }
    let timed: Vec<(&Variant, Vec<Point>)> = experiment
        .variants
        .iter()
        .map(|v| (v, curve::mean(&curve::of_runs(v, Quantity::Loss))))
        .collect();
    let ends = timed.iter().filter_map(|(_, c)| curve::end(c));
    let ends: Vec<f64> = ends.map(|p| p.seconds).filter(|s| *s > 0.0).collect();
    if ends.len() < 2 {
        return None;
    }
    let deadline = ends.iter().copied().fold(f64::INFINITY, f64::min);
    let style = Style::percent(false);
    let rows: Vec<Vec<Cell>> = timed
        .iter()
        .map(|(variant, points)| {
            let number = |value: Option<f64>| match value.filter(|v| v.is_finite()) {
                Some(value) => Cell::number(style.single(value), value),
                None => none(),
            };
            let end = curve::end(points);
            vec![
                label(variant),
                end.map_or_else(none, |p| {
                    Cell::number(format::seconds(p.seconds), p.seconds)
                }),
                number(curve::at(points, deadline)),
                number(end.map(|p| p.value)),
            ]
        })
        .collect();
    let header = vec![
        "variant".to_owned(),
        "training time".to_owned(),
        format!("loss after {}", format::seconds(deadline)),
        "loss at its own end".to_owned(),
    ];
    Some(table(header, rows))
}

/// Variants by the bytes of their exported file, smallest first, each with whether it beats everything smaller, in its group
/// if there are groups; `None` with fewer than two known sizes.
pub fn equal_bytes_table(experiment: &Experiment) -> Option<Table> {
    let groups = experiment.groups();
    let rows: Vec<Vec<Cell>> = groups
        .iter()
        .filter_map(|(_, group)| by_bytes(group))
        .flatten()
        .collect();
    let header = vec![
        "variant".to_owned(),
        "file".to_owned(),
        "linear layers".to_owned(),
        "parameters".to_owned(),
        experiment.metric.words().to_owned(),
        "mean beats every smaller file".to_owned(),
    ];
    (!rows.is_empty()).then(|| table(header, rows))
}

fn by_bytes(experiment: &Experiment) -> Option<Vec<Vec<Cell>>> {
    let mut sized: Vec<&Variant> = experiment
        .variants
        .iter()
        .filter(|variant| variant.file_bytes > 0)
        .collect();
    if sized.len() < 2 {
        return None;
    }
    sized.sort_by_key(|variant| variant.file_bytes);
    let metric = &experiment.metric;
    let mut best: Option<f64> = None;
    let mut rows = Vec::new();
    for variant in sized {
        let spread: Option<Spread> = variant.score();
        let beats = match (spread, best) {
            (None, _) => none(),
            (Some(_), None) => Cell::text("smallest"),
            (Some(s), Some(best)) if metric.lead(s.mean, best) > 0.0 => Cell::text("yes"),
            (Some(_), Some(_)) => Cell::text("no"),
        };
        if let Some(s) = spread
            && best.is_none_or(|best| metric.lead(s.mean, best) > 0.0)
        {
            best = Some(s.mean);
        }
        rows.push(vec![
            label(variant),
            counted(variant.file_bytes, format::bytes),
            counted(variant.packed_bytes, format::bytes),
            counted(variant.params, format::count),
            score(experiment, variant),
            beats,
        ]);
    }
    Some(rows)
}
