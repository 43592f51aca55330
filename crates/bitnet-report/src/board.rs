//! One or many runs on a page, while they train or after: losses by step, by time and by bytes of text, the ternary
//! layers, what the models write, and where their settings differ.
//!
//! [`board`] is the whole page, [`board_part`] what of it changes while runs train.

mod charts;
mod settings;

use std::collections::BTreeMap;

use bitnet_results::Curves;
use minijinja::{Value, context, value::Serde};
use serde::Serialize;

use crate::format;
use crate::svg::class_rules;
use crate::table::{Cell, Section, Table};
use crate::templates;

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It trains at this moment.
    Training,
    /// It took its last step.
    Finished,
    /// Its validation loss fell no more.
    StoppedEarly,
    /// It ended before its last step.
    Stopped,
    /// Its loss was no number.
    Diverged,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Finished => "finished",
            Self::StoppedEarly => "stopped early",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
        }
    }
}

/// What is known of a run.
#[derive(Clone, Debug)]
pub struct BoardRun {
    /// What it is called on the page.
    pub name: String,
    /// How it stands.
    pub status: Status,
    /// Steps that it is to take.
    pub steps: u64,
    /// Tokens, or examples, of a step.
    pub tokens_per_step: f64,
    /// Peak memory, where it is known.
    pub peak_bytes: Option<u64>,
    /// What was measured on the way.
    pub curves: Curves,
    /// All settings in force, by dotted path.
    pub settings: BTreeMap<String, String>,
}

impl BoardRun {
    fn step(&self) -> u64 {
        let train = self.curves.train.last().map_or(0, |point| point.step);
        train.max(self.curves.val.last().map_or(0, |point| point.step))
    }

    fn seconds(&self) -> Option<f64> {
        let train = self
            .curves
            .train
            .iter()
            .rev()
            .find_map(|point| point.seconds);
        train.or(self.curves.val.last().map(|point| point.seconds))
    }

    /// Steps a second, of the last tenth of what was logged: what ran before on another machine does not count.
    fn pace(&self) -> Option<f64> {
        let points: Vec<(u64, f64)> = (self.curves.train.iter())
            .filter_map(|point| Some((point.step, point.seconds?)))
            .collect();
        let last = points.last()?;
        let before = points.len().saturating_sub(2.max(points.len() / 10));
        let first = points.get(before).filter(|first| first.0 < last.0);
        let (step, seconds) = first.copied().unwrap_or((0, 0.0));
        let pace = (last.0 - step) as f64 / (last.1 - seconds);
        Some(pace).filter(|pace| pace.is_finite() && *pace > 0.0)
    }

    /// Bytes of text that a token stands for, by the last evaluation that tells both.
    fn bytes_per_token(&self) -> Option<f64> {
        self.curves.val.iter().rev().find_map(|point| {
            let bytes = point.loss / (point.bits_per_byte? * std::f64::consts::LN_2);
            Some(bytes).filter(|bytes| bytes.is_finite() && *bytes > 0.0)
        })
    }
}

/// A sample on the page.
#[derive(Serialize)]
struct Written {
    name: String,
    colour: usize,
    step: u64,
    prompt: String,
    text: String,
}

/// The page; a live one asks for [`board_part`] again while it is looked at.
pub fn board(runs: &[BoardRun], live: bool) -> String {
    let style = class_rules() + templates::STYLE + include_str!("../templates/board.css");
    let script = match live {
        true => include_str!("../templates/board.js"),
        false => "",
    };
    templates::board(
        "board.html",
        context! {
            title => title(runs),
            style => Value::from_safe_string(style),
            script => Value::from_safe_string(script.to_owned()),
            part => Value::from_safe_string(board_part(runs)),
            text => runs.iter().any(|run| run.bytes_per_token().is_some()),
        },
    )
}

/// What of the page changes while runs train.
pub fn board_part(runs: &[BoardRun]) -> String {
    let samples = runs.iter().enumerate().filter_map(|(colour, run)| {
        let last = run.curves.samples.last()?;
        Some(Written {
            name: run.name.clone(),
            colour: colour % 7,
            step: last.step,
            prompt: last.prompt.clone(),
            text: last.text.clone(),
        })
    });
    let samples: Vec<Written> = samples.collect();
    templates::board(
        "board_part.html",
        context! {
            runs => Serde(overview(runs)),
            losses => charts::losses(runs),
            others => charts::others(runs),
            layers => charts::layers(runs),
            samples => Serde(samples),
            settings => Serde(settings::differences(runs)),
            one => (runs.len() == 1).then(|| Serde(settings::all(&runs[0]))),
        },
    )
}

fn title(runs: &[BoardRun]) -> String {
    match runs {
        [one] => one.name.clone(),
        runs => format!("{} runs", runs.len()),
    }
}

/// A row for each run.
fn overview(runs: &[BoardRun]) -> Table {
    let columns = [
        "run",
        "",
        "step",
        "train loss",
        "validation loss",
        "lowest",
        "rate",
        "tokens/s",
        "time",
        "left",
        "memory",
    ];
    let row = |run: &BoardRun| {
        let loss = |loss: Option<f64>| match loss {
            Some(loss) if loss.is_finite() => format::fixed(loss, 4),
            _ => format::NONE.to_owned(),
        };
        let text = |value: Option<String>| value.unwrap_or(format::NONE.to_owned());
        let last = run.curves.train.last();
        let lowest = (run.curves.val.iter().filter(|point| point.step > 0))
            .map(|point| point.loss)
            .filter(|loss| loss.is_finite())
            .min_by(f64::total_cmp);
        let pace = run.pace();
        let left = (run.steps.saturating_sub(run.step())) as f64;
        let trains = run.status == Status::Training;
        let cells = [
            run.status.name().to_owned(),
            format!(
                "{} of {}",
                format::integer(run.step()),
                format::integer(run.steps)
            ),
            loss(last.map(|point| point.loss)),
            loss(run.curves.val.last().map(|point| point.loss)),
            loss(lowest),
            text(
                last.and_then(|point| point.lr)
                    .map(|rate| format!("{rate:.2e}")),
            ),
            text(pace.map(|pace| format::integer((pace * run.tokens_per_step) as u64))),
            text(run.seconds().map(format::seconds)),
            text(
                pace.filter(|_| trains)
                    .map(|pace| format::seconds(left / pace)),
            ),
            text(run.peak_bytes.map(format::bytes)),
        ];
        let name = std::iter::once(run.name.clone());
        name.chain(cells).map(Cell::text).collect()
    };
    plain_table(&columns, runs.iter().map(row).collect())
}

/// A table of one group.
fn plain_table(header: &[&str], rows: Vec<Vec<Cell>>) -> Table {
    Table {
        header: header.iter().map(|title| (*title).to_owned()).collect(),
        sections: vec![Section {
            title: String::new(),
            rows,
        }],
    }
}

#[cfg(test)]
mod tests;
