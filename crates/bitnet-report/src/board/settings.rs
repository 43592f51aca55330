//! Where the settings of runs differ.

use std::collections::BTreeSet;

use super::{BoardRun, plain_table};
use crate::format::NONE;
use crate::table::{Cell, Table};

/// A row for each setting that not all runs share; none where there is one run, or no difference.
pub(super) fn differences(runs: &[BoardRun]) -> Option<Table> {
    let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.settings.keys()).collect();
    let differs = |key: &&&String| {
        let mut values = runs.iter().map(|run| run.settings.get(**key));
        let first = values.next();
        values.any(|value| Some(value) != first)
    };
    let rows: Vec<Vec<Cell>> = (keys.iter().filter(differs))
        .map(|key| {
            let values = runs.iter().map(|run| run.settings.get(*key));
            let values = values.map(|value| value.map_or(NONE, String::as_str));
            let label = std::iter::once(key.as_str());
            label.chain(values).map(Cell::text).collect()
        })
        .collect();
    let names = runs.iter().map(|run| run.name.as_str());
    let header: Vec<&str> = std::iter::once("setting").chain(names).collect();
    (!rows.is_empty()).then(|| plain_table(&header, rows))
}

/// All settings of a run.
pub(super) fn all(run: &BoardRun) -> Table {
    let rows = run
        .settings
        .iter()
        .map(|(key, value)| vec![Cell::text(key), Cell::text(value)]);
    plain_table(&["setting", "value"], rows.collect())
}
