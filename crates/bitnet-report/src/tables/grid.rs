//! Learning rates: which were tried, which was chosen, and whether the grid was wide enough.

use super::{label, none, spread_cell, table};
use crate::numbers::{self, Style, same_rate};
use crate::table::{Cell, Table};
use bitnet_results::statistics::Spread;
use bitnet_results::{Experiment, Variant};

/// Variants by learning rates, with the scores on validation; the chosen rate is marked. `None` where no rate was
/// compared.
pub fn grid_table(experiment: &Experiment) -> Option<Table> {
    let rates = sorted(experiment.variants.iter());
    if rates.is_empty() {
        return None;
    }
    let style = Style::of(&experiment.metric);
    let header =
        std::iter::once("variant".to_owned()).chain(rates.iter().map(|r| numbers::rate(*r)));
    let row = |variant: &Variant| -> Vec<Cell> {
        let cells = rates.iter().map(|&rate| {
            let tried = variant
                .grid
                .iter()
                .filter(|point| same_rate(point.learning_rate, rate));
            let scores: Vec<f64> = tried.map(|point| point.score).collect();
            let mut cell = match Spread::of(scores.iter().copied()) {
                Some(spread) => spread_cell(&style, &spread),
                None if scores.is_empty() => none(),
                None => Cell::text("diverged"),
            };
            cell.best = !scores.is_empty() && same_rate(rate, variant.learning_rate);
            cell
        });
        std::iter::once(label(variant)).chain(cells).collect()
    };
    let rows = experiment.variants.iter().map(row);
    Some(table(header.collect(), rows.collect()))
}

/// What a reader should know of the grid: rates chosen at its edge or outside it, and grids of one rate.
pub fn grid_notes(experiment: &Experiment) -> Vec<String> {
    let notes = experiment.variants.iter().filter_map(|variant| {
        let rates = sorted(std::iter::once(variant));
        let (name, chosen) = (variant.words(), variant.learning_rate);
        let text = numbers::rate(chosen);
        let (&low, &high) = (rates.first()?, rates.last()?);
        if !rates.iter().any(|rate| same_rate(*rate, chosen)) {
            Some(format!(
                "{name}: the chosen rate {text} is not one of those on the grid."
            ))
        } else if rates.len() == 1 {
            Some(format!("{name}: {text} is the only rate that was tried."))
        } else if same_rate(low, chosen) {
            Some(format!(
                "{name}: the chosen rate {text} is the smallest tried, at the grid’s edge; a smaller one might do better."
            ))
        } else if same_rate(high, chosen) {
            Some(format!(
                "{name}: the chosen rate {text} is the largest tried, at the grid’s edge; a larger one might do better."
            ))
        } else {
            None
        }
    });
    notes.collect()
}

/// The rates tried, ascending, each once.
fn sorted<'a>(variants: impl Iterator<Item = &'a Variant>) -> Vec<f64> {
    let mut rates: Vec<f64> = variants
        .flat_map(|variant| &variant.grid)
        .map(|point| point.learning_rate)
        .filter(|rate| rate.is_finite())
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup_by(|a, b| same_rate(*a, *b));
    rates
}
