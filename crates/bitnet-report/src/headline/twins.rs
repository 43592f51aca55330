//! A comparison in words: the ternary variant against the float one. Every sentence is computed, its direction
//! included: ternary may win or lose.

use bitnet_results::statistics::median;
use bitnet_results::{Experiment, Speed, Variant};
use serde::Serialize;

use crate::format;
use crate::numbers::{self, Style};
use crate::speeds::{Compared, compared, range};

/// A number worth showing large.
#[derive(Serialize)]
pub(crate) struct Tile {
    pub label: &'static str,
    pub value: String,
    pub detail: String,
}

/// The result in one sentence: score, bytes, decoding speed (or latency) and training time of the ternary variant
/// against the float one.
pub(crate) fn sentence(experiment: &Experiment, float: &Variant, ternary: &Variant) -> String {
    let mut clauses = vec![score_clause(experiment, score(float), score(ternary))];
    if let Some(r) = weight_ratio(ternary) {
        clauses.push(match r {
            r if r <= 0.52 => format!("its packed weights take {} of their f32 bytes", fraction(r)),
            r => format!(
                "its packed weights take {} their f32 bytes",
                format::ratio(r)
            ),
        });
    }
    let pair = (float, ternary);
    let step = compared(experiment, pair, |s| &s.step_ms);
    let speeds = [
        (
            "it decodes",
            compared(experiment, pair, |s| &s.decode_tps),
            false,
        ),
        (
            "it answers",
            compared(experiment, pair, |s| &s.latency_ms),
            true,
        ),
    ];
    if speeds
        .iter()
        .any(|(_, c, _)| matches!(c, Some(Compared::Busy)))
        || matches!(step, Some(Compared::Busy))
    {
        clauses.push(
            "speeds are not compared, because other programs kept the processor busy meanwhile"
                .to_owned(),
        );
        return join(clauses);
    }
    for (subject, outcome, is_time) in speeds {
        clauses.extend(outcome.map(|outcome| match outcome {
            Compared::Known(ratio, interval) => {
                // A time is turned into a speed.
                let (ratio, (low, high)) = match is_time {
                    true => (1.0 / ratio.median, (1.0 / interval.1, 1.0 / interval.0)),
                    false => (ratio.median, interval),
                };
                let (r, within) = (format::ratio(ratio), range((low, high)));
                match ratio > 1.0 {
                    true => format!("{subject} {r} as fast ({within})"),
                    false => format!("{subject} more slowly, at {r} the speed ({within})"),
                }
            }
            Compared::Alike(_) => format!("{subject} about as fast"),
            _ => format!("how fast {subject} is open: its timings were too unsteady"),
        }));
    }
    clauses.extend(step.map(|outcome| match outcome {
        Compared::Known(ratio, interval) => format!(
            "a training step takes {} as long ({})",
            format::ratio(ratio.median),
            range(interval)
        ),
        Compared::Alike(_) => "a training step takes about as long".to_owned(),
        _ => "how long a training step takes beside the other’s is open".to_owned(),
    }));
    join(clauses)
}

fn join(mut clauses: Vec<String>) -> String {
    let last = clauses.pop().unwrap_or_default();
    match clauses.len() {
        0 => format!("{last}."),
        1 => format!("{}, and {last}.", clauses.concat()),
        _ => format!("{}, and {last}.", clauses.join(", ")),
    }
}

/// The score of the exported model; NaN without a run.
fn score(variant: &Variant) -> f64 {
    variant.runs.first().map_or(f64::NAN, |run| run.score)
}

fn score_clause(experiment: &Experiment, float: f64, ternary: f64) -> String {
    let metric = &experiment.metric;
    let words = metric.words().split(',').next().unwrap_or_default();
    let style = Style::of(metric);
    let write = |score| match metric.percent {
        true => style.single(score),
        false => format::fixed(score, 3),
    };
    let difference = ternary - float;
    match (float.is_finite(), ternary.is_finite()) {
        (true, true) if write(ternary) == write(float) => {
            format!(
                "The ternary model’s {words} equals the float one’s, {}",
                write(ternary)
            )
        }
        (true, true) => {
            let gap = match metric.percent {
                true => style.difference(difference, float),
                false => format::signed(difference, 3),
            };
            let relative = match metric.percent || float == 0.0 {
                true => String::new(),
                false => format!(", {} %", format::signed(100.0 * difference / float, 1)),
            };
            format!(
                "The ternary model’s {words} is {} against {} ({gap}{}{relative})",
                write(ternary),
                write(float),
                numbers::gap_unit(metric)
                    .split(" per ")
                    .next()
                    .unwrap_or_default()
            )
        }
        (true, false) => format!(
            "The ternary model diverged, the float model’s {words} is {}",
            write(float)
        ),
        (false, true) => format!(
            "The float model diverged, the ternary model’s {words} is {}",
            write(ternary)
        ),
        (false, false) => "Both models diverged".to_owned(),
    }
}

/// Packed bytes over the f32 bytes of the same weights.
fn weight_ratio(ternary: &Variant) -> Option<f64> {
    (ternary.packed_bytes > 0 && ternary.ternary_weights > 0)
        .then(|| ternary.packed_bytes as f64 / (4.0 * ternary.ternary_weights as f64))
}

/// `1/15`, `1/7.6`.
fn fraction(ratio: f64) -> String {
    let inverse = 1.0 / ratio;
    let decimals = usize::from(inverse < 9.95 && (inverse - inverse.round()).abs() >= 0.05);
    format!("1/{}", format::fixed(inverse, decimals))
}

/// The headline's numbers, one by one; none without a float and a ternary variant.
pub(crate) fn tiles(experiment: &Experiment) -> Vec<Tile> {
    let Some((float, ternary)) = experiment.twins() else {
        return Vec::new();
    };
    let (f, t) = (score(float), score(ternary));
    let metric = &experiment.metric;
    let style = Style::of(metric);
    let mut tiles = vec![Tile {
        label: "Score",
        value: match (t - f).is_finite() {
            true if metric.percent => format!("{} points", style.difference(t - f, f)),
            true => {
                let unit = numbers::gap_unit(metric);
                format::signed(t - f, 3) + unit.split(" per ").next().unwrap_or_default()
            }
            false => format::NONE.to_owned(),
        },
        detail: format!(
            "{}: {} vs {}",
            metric.words(),
            style.single(t),
            style.single(f)
        ),
    }];
    if let Some(r) = weight_ratio(ternary) {
        let in_f32 = format::bytes(4 * ternary.ternary_weights);
        tiles.push(Tile {
            label: "Packed weights",
            value: if r <= 0.52 {
                fraction(r)
            } else {
                format::ratio(r)
            },
            detail: format!("{} vs {in_f32} in f32", format::bytes(ternary.packed_bytes)),
        });
    }
    type Turns = fn(&Speed) -> &Vec<f64>;
    type Written = fn(f64) -> String;
    let timed: [(&str, Turns, Written); 3] = [
        ("Decoding speed", |s| &s.decode_tps, format::rate),
        (
            "Time of an answer",
            |s| &s.latency_ms,
            numbers::milliseconds,
        ),
        (
            "Time of a training step",
            |s| &s.step_ms,
            numbers::milliseconds,
        ),
    ];
    for (label, of, write) in timed {
        let Some(outcome) = compared(experiment, (float, ternary), of) else {
            continue;
        };
        let middle = |variant: &Variant| variant.speed.as_ref().map_or(f64::NAN, |s| median(of(s)));
        let values = format!("{} vs {}", write(middle(ternary)), write(middle(float)));
        let (value, detail) = match outcome {
            Compared::Known(ratio, interval) => (
                format::ratio(ratio.median),
                format!("{}: {values}", range(interval)),
            ),
            Compared::Alike(interval) => (
                "about even".to_owned(),
                format!("{}: {values}", range(interval)),
            ),
            Compared::Open => (
                "open".to_owned(),
                "timings too unsteady to compare".to_owned(),
            ),
            Compared::Busy => (
                "not compared".to_owned(),
                "other programs were running".to_owned(),
            ),
        };
        tiles.push(Tile {
            label,
            value,
            detail,
        });
    }
    tiles
}
