//! The tables of an experiment's report, each a pure function of the summary.
//!
//! Scores are means over seeds with their sample standard deviation; gaps are paired by seed with the baseline. What is
//! missing is a dash, and a mean over fewer runs than there were says so.

mod detail;
mod energy;
mod frontier;
mod grid;
mod scaling;
mod side;
mod views;

pub use detail::{metrics_table, seeds_table};
pub use energy::energy_table;
pub use frontier::{formats_table, frontier_sentences, frontier_table};
pub use grid::{grid_notes, grid_table};
pub(crate) use scaling::{gaps_table, laws_table, predictions_table};
pub use side::side_by_side;
pub use views::{equal_bytes_table, equal_time_table};

use crate::format::{self, NONE};
use crate::numbers::{self, Style};
use crate::table::{Cell, Section, Table};
use bitnet_results::Run;
use bitnet_results::significance::Change;
use bitnet_results::statistics::{Spread, gap, median};
use bitnet_results::{Experiment, Speed, Variant};

/// The table that an experiment is looked up in: of a comparison [`side_by_side`], of others one row per variant.
pub fn main_table(experiment: &Experiment) -> Table {
    match experiment.twins() {
        Some(_) => side_by_side(experiment),
        None => by_variant(experiment),
    }
}

/// One row per variant: size, learning rate, score, gap to the baseline, and what training and inference took. The best
/// mean is marked.
fn by_variant(experiment: &Experiment) -> Table {
    let metric = &experiment.metric;
    let better = if metric.higher_is_better {
        "higher is better"
    } else {
        "lower is better"
    };
    let mut header: Vec<String> = [
        "variant",
        "parameters",
        "linear layers",
        "file",
        "learning rate",
    ]
    .map(str::to_owned)
    .into();
    header.push(format!("{} ({better})", metric.words()));
    let against = gap_title(experiment);
    let has_gaps = against.is_some();
    if let Some(title) = against {
        header.push(title);
        header.push("95 % interval".to_owned());
    }
    let changes = experiment.changes();
    let compares = changes.iter().any(Option::is_some);
    if compares {
        let reference = experiment.reference.as_deref().unwrap_or_default();
        header.push(format!("change of the gap of {reference}"));
        header.extend(["95 % interval", "p, Holm"].map(str::to_owned));
    }
    let timings = timings(experiment);
    let fixed = [
        "training time",
        "training speed",
        "peak memory, training",
        "peak memory, inference",
    ];
    header.extend(fixed.map(str::to_owned));
    header.extend(timings.iter().map(|timing| timing.title.to_owned()));
    let best: Vec<String> = experiment
        .groups()
        .iter()
        .filter(|(_, group)| group.variants.len() > 1)
        .filter_map(|(_, group)| Some(crate::winner::ranking(group).first()?.0.name.clone()))
        .collect();
    let speed = |rate| format::rate_of(unit(experiment), rate);
    let rows = experiment
        .variants
        .iter()
        .zip(&changes)
        .map(|(variant, change)| {
            let mut row = vec![
                label(variant),
                counted(variant.params, format::count),
                counted(variant.packed_bytes, format::bytes),
                counted(variant.file_bytes, format::bytes),
                Cell::number(numbers::rate(variant.learning_rate), variant.learning_rate),
            ];
            let mut score = score(experiment, variant);
            score.best = best.contains(&variant.name);
            row.push(score);
            if has_gaps {
                row.extend(gap_cells(experiment, variant));
            }
            if compares {
                row.extend(change_cells(experiment, variant, change.as_ref()));
            }
            row.extend([
                average(
                    variant,
                    |run| positive(run.total_seconds()),
                    format::seconds,
                ),
                average(variant, |run| positive(run.tokens_per_second), speed),
                highest(variant, |run| run.peak_rss_bytes),
                highest(variant, |run| run.inference_peak_rss_bytes),
            ]);
            row.extend(timings.iter().map(|timing| (timing.cell)(variant)));
            row
        });
    table(header, rows.collect())
}

/// What a training step reads: tokens, or, in a layer or a perceptron, examples.
fn unit(experiment: &Experiment) -> &'static str {
    match experiment.task.as_str() {
        "vectors" | "layer" => "examples",
        _ => "tok",
    }
}

/// A column of inference speeds.
struct Timing {
    title: &'static str,
    cell: fn(&Variant) -> Cell,
}

/// The columns that some variant has a value for: medians over turns, or, in older summaries, means over runs.
fn timings(experiment: &Experiment) -> Vec<Timing> {
    let all = [
        Timing {
            title: "prefill",
            cell: |v| over_turns(v, |speed| &speed.prefill_tps, format::rate),
        },
        Timing {
            title: "decode",
            cell: |v| over_turns(v, |speed| &speed.decode_tps, format::rate),
        },
        Timing {
            title: "latency",
            cell: |v| match &v.speed {
                None => average(v, |run| run.latency_ms, numbers::milliseconds),
                Some(_) => over_turns(v, |speed| &speed.latency_ms, numbers::milliseconds),
            },
        },
    ];
    let known = |timing: &Timing| {
        experiment
            .variants
            .iter()
            .any(|v| (timing.cell)(v).value.is_some())
    };
    all.into_iter().filter(known).collect()
}

/// The median over turns.
fn over_turns(variant: &Variant, of: fn(&Speed) -> &Vec<f64>, write: fn(f64) -> String) -> Cell {
    let turns = variant
        .speed
        .as_ref()
        .map(of)
        .filter(|turns| !turns.is_empty());
    turns.map_or_else(none, |turns| {
        let middle = median(turns);
        Cell::number(write(middle), middle)
    })
}

/// Heading of the gaps to the baseline, or to that of each group; `None` where there is no baseline.
fn gap_title(experiment: &Experiment) -> Option<String> {
    let points = points(experiment);
    if experiment.is_grouped() {
        return Some(format!("gap to the group’s float{points}"));
    }
    if experiment.variants.iter().any(|v| v.baseline.is_some()) {
        return Some(format!("gap to its baseline{points}"));
    }
    let baseline = experiment.baseline()?;
    Some(format!("gap to {}{points}", baseline.name))
}

fn gap_cells(experiment: &Experiment, variant: &Variant) -> [Cell; 2] {
    let Some(baseline) = experiment.baseline_of(variant) else {
        return [none(), none()];
    };
    if variant.name == baseline.name {
        return [Cell::text("baseline"), none()];
    }
    let Some(gap) = gap(variant, baseline) else {
        return [none(), none()];
    };
    let style = Style::of(&experiment.metric);
    let size = baseline.score().map_or(0.0, |score| score.mean);
    [
        Cell::number(style.gap(&gap, size, true), gap.mean),
        Cell::text(style.interval(&gap, size, true)),
    ]
}

/// By how much a variant changes the reference's gap, and whether that would be an accident among so many.
fn change_cells(experiment: &Experiment, variant: &Variant, change: Option<&Change>) -> [Cell; 3] {
    let Some(change) = change else {
        let reference = experiment.reference.as_ref() == Some(&variant.name);
        let first = if reference {
            Cell::text("reference")
        } else {
            none()
        };
        return [first, none(), none()];
    };
    let style = Style::of(&experiment.metric);
    let size = variant.score().map_or(0.0, |score| score.mean);
    [
        Cell::number(style.gap(&change.gap, size, true), change.gap.mean),
        Cell::text(style.interval(&change.gap, size, true)),
        change
            .holm
            .map_or_else(none, |p| Cell::number(numbers::probability(p), p)),
    ]
}

/// Points are named where scores are shown as percent: a gap of 2 % could be relative.
fn points(experiment: &Experiment) -> &'static str {
    if experiment.metric.percent {
        ", percentage points"
    } else {
        ""
    }
}

fn table(header: Vec<String>, rows: Vec<Vec<Cell>>) -> Table {
    let section = Section {
        title: String::new(),
        rows,
    };
    Table {
        header,
        sections: vec![section],
    }
}

fn none() -> Cell {
    Cell::text(NONE)
}

fn label(variant: &Variant) -> Cell {
    Cell::text(variant.words())
}

/// The score over seeds; says how many runs count where not all do.
fn score(experiment: &Experiment, variant: &Variant) -> Cell {
    match variant.score() {
        Some(score) => spread_cell(&Style::of(&experiment.metric), &score),
        None if variant.runs.is_empty() => none(),
        None => Cell::text(format!("{NONE} (0 of {} runs)", variant.runs.len())),
    }
}

fn spread_cell(style: &Style, spread: &Spread) -> Cell {
    let mut text = style.spread(spread);
    if spread.missing > 0 {
        text.push_str(&format!(
            " ({} of {} runs)",
            spread.n,
            spread.n + spread.missing
        ));
    }
    Cell::number(text, spread.mean)
}

/// A count that is never 0 where it is known.
fn counted(n: u64, write: fn(u64) -> String) -> Cell {
    if n == 0 {
        none()
    } else {
        Cell::number(write(n), n as f64)
    }
}

fn positive(value: f64) -> Option<f64> {
    Some(value).filter(|v| *v > 0.0)
}

/// The mean over the runs that have it.
fn average(
    variant: &Variant,
    of: impl Fn(&Run) -> Option<f64>,
    write: impl Fn(f64) -> String,
) -> Cell {
    let values = variant.runs.iter().filter_map(of);
    Spread::of(values).map_or_else(none, |s| Cell::number(write(s.mean), s.mean))
}

/// The most of any run: memory that has to be there.
fn highest(variant: &Variant, of: impl Fn(&Run) -> Option<u64>) -> Cell {
    let most = variant.runs.iter().filter_map(of).max();
    most.map_or_else(none, |n| Cell::number(format::bytes(n), n as f64))
}
