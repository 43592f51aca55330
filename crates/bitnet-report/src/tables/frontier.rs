//! What rounding to a format changes, and which curve is best for what it costs.

use bitnet_results::Experiment;
use bitnet_results::frontier::{Cost, Curve, Entry};
use bitnet_results::statistics::gap;

use super::{counted, label, none, over_turns, score, spread_cell, table};
use crate::format;
use crate::numbers::{self, Style};
use crate::table::{Cell, Section, Table};

/// A row for each model in a format of others: its file, its score, and what the format changed; `None` without one.
pub fn formats_table(experiment: &Experiment) -> Option<Table> {
    let style = Style::of(&experiment.metric);
    let rows: Vec<Vec<Cell>> = (experiment.stored.iter())
        .map(|stored| {
            let of = stored.stored_from.as_ref();
            let trained = experiment.variants.iter().find(|v| Some(&v.name) == of);
            let change = trained.and_then(|trained| gap(stored, trained));
            let size = trained.and_then(|v| v.score()).map_or(0.0, |s| s.mean);
            let changed = change.map_or_else(
                || [none(), none()],
                |change| {
                    [
                        Cell::number(style.gap(&change, size, true), change.mean),
                        Cell::text(style.interval(&change, size, true)),
                    ]
                },
            );
            let mut row = vec![
                label(stored),
                counted(stored.params, format::count),
                counted(stored.packed_bytes, format::bytes),
                counted(stored.file_bytes, format::bytes),
                score(experiment, stored),
            ];
            row.extend(changed);
            row.push(over_turns(stored, |speed| &speed.decode_tps, format::rate));
            row
        })
        .collect();
    let header = [
        "stored as",
        "parameters",
        "linear layers",
        "file",
        experiment.metric.words(),
        "change by the format",
        "95 % interval",
        "decode",
    ];
    (!rows.is_empty()).then(|| table(header.map(str::to_owned).into(), rows))
}

/// For each size that was asked for, what every curve scores there, best first; `None` where none was asked for.
pub fn frontier_table(experiment: &Experiment) -> Option<Table> {
    let asked = experiment.frontier.as_ref()?;
    let bytes = asked.bytes.iter().map(|bytes| {
        let title = format!("files of {}", format::bytes(*bytes));
        (title, Cost::Bytes, *bytes as f64)
    });
    let compute = asked.compute.iter().map(|operations| {
        let title = format!("trainings of {operations:.1e} operations");
        (title, Cost::Compute, *operations)
    });
    let sections: Vec<Section> = bytes
        .chain(compute)
        .map(|(title, cost, paid)| section(experiment, title, cost, paid))
        .collect();
    let header = [
        "curve",
        experiment.metric.words(),
        "behind the best",
        "95 % interval",
    ];
    (!sections.is_empty()).then(|| Table {
        header: header.map(str::to_owned).into(),
        sections,
    })
}

fn section(experiment: &Experiment, title: String, cost: Cost, paid: f64) -> Section {
    let curves = Curve::all(experiment);
    let entries = experiment.contest(cost, paid);
    let top = entries
        .first()
        .and_then(Entry::score)
        .map_or(0.0, |s| s.mean);
    let style = Style::of(&experiment.metric);
    let row = |(at, entry): (usize, &Entry)| {
        let Some(score) = entry.score() else {
            let ends = curves.iter().find(|curve| curve.name == entry.curve);
            let points = ends.map(|curve| curve.points(cost)).unwrap_or_default();
            let why = match (points.first(), points.last()) {
                (Some((low, _)), Some((high, _))) => {
                    let write = |x: f64| match cost {
                        Cost::Bytes => format::bytes(x as u64),
                        _ => format!("{x:.1e}"),
                    };
                    format!("only from {} to {}", write(*low), write(*high))
                }
                _ => "not known".to_owned(),
            };
            return vec![Cell::text(&*entry.curve), Cell::text(why), none(), none()];
        };
        let mut scored = spread_cell(&style, &score);
        scored.best = at == 0;
        let behind = match (&entry.behind, at) {
            (_, 0) => [Cell::text("best"), none()],
            (Some(behind), _) => [
                Cell::number(style.gap(behind, top, true), behind.mean),
                Cell::text(style.interval(behind, top, true)),
            ],
            (None, _) => [none(), none()],
        };
        let mut row = vec![Cell::text(&*entry.curve), scored];
        row.extend(behind);
        row
    };
    Section {
        title,
        rows: entries.iter().enumerate().map(row).collect(),
    }
}

/// In words: which curve is best for each size of a file that was asked for, and whether these seeds tell it from the next.
pub fn frontier_sentences(experiment: &Experiment) -> Vec<String> {
    let asked = experiment.frontier.clone().unwrap_or_default();
    let bytes =
        (asked.bytes.iter()).map(|bytes| (format::bytes(*bytes), Cost::Bytes, *bytes as f64));
    let compute = asked.compute.iter().map(|operations| {
        let what = format!("{operations:.1e} operations of training");
        (what, Cost::Compute, *operations)
    });
    let sentence = |(what, cost, paid): (String, Cost, f64)| {
        let entries = experiment.contest(cost, paid);
        let style = Style::of(&experiment.metric);
        let mut reached = entries.iter().filter(|entry| entry.score().is_some());
        let Some((best, score)) = reached.next().and_then(|b| Some((b, b.score()?))) else {
            return format!("For {what} there is no model of any kind.");
        };
        let first = format!(
            "For {what} {} is best, {}",
            best.curve,
            style.spread(&score)
        );
        let Some((next, behind)) = reached.next().and_then(|n| Some((n, n.behind?))) else {
            return format!("{first}; no other kind reaches there.");
        };
        let (unit, by) = (
            numbers::gap_unit(&experiment.metric),
            style.gap(&behind, score.mean, false),
        );
        match behind.excludes_zero() {
            None => format!(
                "{first}; {} is {by}{unit} behind (one seed: open).",
                next.curve
            ),
            Some(true) => format!(
                "{first}; {} is {by}{unit} behind, 95 % interval {}.",
                next.curve,
                style.interval(&behind, score.mean, false)
            ),
            Some(false) => format!(
                "{first}, but it and {} are not separable: {by}{unit}, 95 % interval {}.",
                next.curve,
                style.interval(&behind, score.mean, false)
            ),
        }
    };
    bytes.chain(compute).map(sentence).collect()
}
