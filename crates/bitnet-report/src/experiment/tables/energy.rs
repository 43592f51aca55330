//! Energy: what is modelled and what was measured, never in one column.

use std::collections::BTreeSet;

use super::super::summary::{Experiment, Variant};
use super::{average, label, table};
use crate::energy::MODELLED;
use crate::format;
use crate::table::{Cell, Table};

/// Variants by modelled picojoules per token (or example) and measured joules of training. A machine without a meter is
/// said to have none. `None` where nothing was modelled or measured.
pub fn energy_table(experiment: &Experiment) -> Option<Table> {
    let runs = || experiment.variants.iter().flat_map(|v| &v.runs);
    let labels: BTreeSet<&String> = runs().flat_map(|run| run.modelled.keys()).collect();
    if labels.is_empty() && runs().all(|run| run.energy_joules.is_none()) {
        return None;
    }
    let mut header = vec!["variant".to_owned()];
    header.extend(labels.iter().map(|label| format!("{label} ({MODELLED})")));
    header.push("training, measured".to_owned());
    let row = |variant: &Variant| -> Vec<Cell> {
        let mut row = vec![label(variant)];
        row.extend(labels.iter().map(|label| {
            average(
                variant,
                |run| run.modelled.get(*label).copied(),
                format::picojoules,
            )
        }));
        row.push(
            if variant.runs.iter().any(|run| run.energy_joules.is_some()) {
                average(
                    variant,
                    |run| run.energy_joules,
                    |joules| format::picojoules(joules * 1e12),
                )
            } else {
                Cell::text("no meter on this machine")
            },
        );
        row
    };
    Some(table(header, experiment.variants.iter().map(row).collect()))
}
