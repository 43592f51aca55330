//! The numbers behind the main table: further metrics, and every run.

use std::collections::BTreeSet;

use super::{counted, gap_title, label, none, positive, spread_cell, table};
use crate::format::{self, NONE};
use crate::numbers::{self, Style};
use crate::table::{Cell, Section, Table};
use bitnet_results::Run;
use bitnet_results::statistics::Spread;
use bitnet_results::{Experiment, Variant};

/// Variants by the further metrics any run has; `None` where no run has one.
pub fn metrics_table(experiment: &Experiment) -> Option<Table> {
    let runs = || experiment.variants.iter().flat_map(|v| &v.runs);
    let keys: BTreeSet<&String> = runs().flat_map(|run| run.metrics.keys()).collect();
    if keys.is_empty() {
        return None;
    }
    let header = std::iter::once("variant".to_owned()).chain(keys.iter().map(|k| words(k)));
    let row = |variant: &Variant| -> Vec<Cell> {
        let cells = keys.iter().map(|key| {
            let values = variant.runs.iter().filter_map(|run| run.metrics.get(*key));
            let style = Style::percent(is_share(key));
            Spread::of(values.copied()).map_or_else(none, |s| spread_cell(&style, &s))
        });
        std::iter::once(label(variant)).chain(cells).collect()
    };
    Some(table(
        header.collect(),
        experiment.variants.iter().map(row).collect(),
    ))
}

/// Every run, one section per variant: its score as exported and as trained, and its gap to the baseline's run with the
/// same seed.
pub fn seeds_table(experiment: &Experiment) -> Table {
    let against = gap_title(experiment);
    let has_gaps = against.is_some();
    let mut header: Vec<String> = ["seed", "learning rate"].map(str::to_owned).into();
    header.push(experiment.metric.words().to_owned());
    header.push("as trained".to_owned());
    header.extend(against);
    header.extend(["steps", "tokens", "training time"].map(str::to_owned));
    let style = Style::of(&experiment.metric);
    let row = |variant: &Variant, run: &Run| -> Vec<Cell> {
        let mut row = vec![
            Cell::number(run.seed.to_string(), run.seed as f64),
            Cell::number(numbers::rate(run.learning_rate), run.learning_rate),
            Cell::number(style.single(run.score), run.score),
            run.trained_score
                .map_or_else(none, |s| Cell::number(style.single(s), s)),
        ];
        if has_gaps {
            let baseline = experiment.baseline_of(variant);
            let baseline = baseline.filter(|b| b.name != variant.name);
            let same = baseline.and_then(|b| b.runs.iter().find(|other| other.seed == run.seed));
            row.push(match same {
                Some(same) if (run.score - same.score).is_finite() => {
                    let gap = run.score - same.score;
                    Cell::number(style.difference(gap, same.score), gap)
                }
                _ => none(),
            });
        }
        row.extend([
            counted(run.steps, format::integer),
            counted(run.tokens, format::count),
            positive(run.total_seconds())
                .map_or_else(none, |s| Cell::number(format::seconds(s), s)),
        ]);
        row
    };
    let columns = header.len();
    let sections = experiment.variants.iter().map(|variant| {
        let mut rows: Vec<Vec<Cell>> = variant.runs.iter().map(|run| row(variant, run)).collect();
        if rows.is_empty() {
            rows.push(vec![Cell::text(NONE); columns]);
        }
        Section {
            title: variant.words().to_owned(),
            rows,
        }
    });
    Table {
        sections: sections.collect(),
        header,
    }
}

/// A metric's key as people read it.
pub(crate) fn words(key: &str) -> String {
    match key {
        "bits_per_byte" => "bits per byte".to_owned(),
        "macro_f1" => "macro F1".to_owned(),
        "bleu" => "BLEU".to_owned(),
        "majority_accuracy" => "accuracy of the commonest class alone".to_owned(),
        "naive_bayes_accuracy" => "accuracy of naive Bayes over single words".to_owned(),
        "chrf" => "chrF".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Whether a metric is a share from 0 to 1 that people read as percent.
pub(crate) fn is_share(key: &str) -> bool {
    matches!(
        key,
        "accuracy"
            | "macro_f1"
            | "f1"
            | "exact_match"
            | "token_accuracy"
            | "majority_accuracy"
            | "naive_bayes_accuracy"
    )
}
