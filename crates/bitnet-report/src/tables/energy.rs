//! Energy: what is modelled and what was measured, never in one column.

use std::collections::BTreeSet;

use super::{average, label, table};
use crate::format;
use crate::table::{Cell, Table};
use bitnet_results::energy::MODELLED;
use bitnet_results::{Experiment, Variant};

/// Variants by modelled picojoules per token (or example) and measured joules of training. A machine without a meter is
/// said to have none. `None` where nothing was modelled or measured.
pub fn energy_table(experiment: &Experiment) -> Option<Table> {
    let runs = || experiment.variants.iter().flat_map(|v| &v.runs);
    // Of newer summaries, those of 7 nm: the others differ by factors that are the same everywhere.
    let labels = runs().flat_map(|run| run.modelled.keys());
    let labels: BTreeSet<&String> = labels.filter(|label| !label.ends_with("45 nm")).collect();
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
