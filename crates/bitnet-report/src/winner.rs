//! Which variant is best, and whether these seeds can tell.
//!
//! Variants are ranked by the mean of their final scores; one that diverged with any seed is named and not ranked, since
//! its mean would be that of its lucky seeds. The best is then compared with the runner-up, paired by seed.

use crate::headline::of_groups;
use crate::numbers::{self, Style};
use bitnet_results::statistics::{Spread, gap};
use bitnet_results::{Experiment, Metric, Variant};

/// The variants with their scores, best first. A variant with a score that is not finite is left out.
pub(crate) fn ranking(experiment: &Experiment) -> Vec<(&Variant, Spread)> {
    let mut ranked: Vec<(&Variant, Spread)> = experiment
        .variants
        .iter()
        .filter_map(|variant| Some((variant, variant.score()?)))
        .filter(|(_, score)| score.missing == 0)
        .collect();
    // Stable, so that a tie keeps the order of the summary.
    ranked.sort_by(|(_, a), (_, b)| {
        if experiment.metric.higher_is_better {
            b.mean.total_cmp(&a.mean)
        } else {
            a.mean.total_cmp(&b.mean)
        }
    });
    ranked
}

/// In words: which variant is best, and whether its paired interval against the runner-up excludes 0. Groups have theirs one
/// after the other.
pub fn winner(experiment: &Experiment) -> String {
    if experiment.is_grouped() {
        return of_groups(experiment, winner);
    }
    let metric = &experiment.metric;
    let style = Style::of(metric);
    let ranked = ranking(experiment);
    let mut text = match ranked.as_slice() {
        [] => "No variant has a finite score in every run.".to_owned(),
        [(only, score)] => format!(
            "Only {} can be ranked, with {}.",
            only.words(),
            scored(metric, score)
        ),
        [(best, score), (second, other), ..] => {
            let lead = gap(second, best).map(|gap| Spread {
                mean: metric.lead(0.0, gap.mean),
                ..gap
            });
            let size = score.mean.abs().max(other.mean.abs());
            let first = format!("Best is {} with {}", best.words(), scored(metric, score));
            let second = second.words();
            match lead {
                None => format!(
                    "{first}, before {second}; the two share no seed, so nothing can be paired."
                ),
                Some(lead) => {
                    let unit = numbers::gap_unit(metric);
                    let size_of_lead = format!("{}{unit}", style.gap(&lead, size, false));
                    let interval = style.interval(&lead, size, false);
                    let n = numbers::seeds(lead.n);
                    match lead.interval() {
                        None => format!(
                            "{first}; its lead over the runner-up, {second}, is {size_of_lead} ({n}, so whether it \
                             would hold again is open)."
                        ),
                        Some((low, _)) if low > 0.0 => format!(
                            "{first}; its lead over the runner-up, {second}, is {size_of_lead}, paired by seed \
                             (95 % interval {interval}), which excludes 0."
                        ),
                        Some(_) => format!(
                            "{first}, but it and the runner-up, {second}, are not separable with {n}: the lead is \
                             {size_of_lead}, paired by seed (95 % interval {interval}), which includes 0."
                        ),
                    }
                }
            }
        }
    };
    for sentence in unranked(experiment) {
        text.push(' ');
        text.push_str(&sentence);
    }
    text
}

/// `a validation loss of 1.700 ± 0.010 over 3 seeds`.
fn scored(metric: &Metric, score: &Spread) -> String {
    // What follows a comma in a label is its unit, which the sentence does not need.
    let words = metric.words();
    let words = words.split(',').next().unwrap_or(words).trim();
    let article = match words.chars().next() {
        Some('a' | 'e' | 'i' | 'o' | 'u' | 'A' | 'E' | 'I' | 'O') => "an",
        _ => "a",
    };
    let value = Style::of(metric).spread(score);
    match score.n {
        1 => format!("{article} {words} of {value} (one seed: no spread known)"),
        n => format!("{article} {words} of {value} over {n} seeds"),
    }
}

/// One sentence per variant that is not ranked.
pub(crate) fn unranked(experiment: &Experiment) -> Vec<String> {
    let sentences = experiment.variants.iter().filter_map(|variant| {
        let (runs, name) = (variant.runs.len(), variant.words());
        let bad = variant
            .runs
            .iter()
            .filter(|run| !run.score.is_finite())
            .count();
        match (runs, bad) {
            (0, _) => Some(format!("{name} has no runs and is not ranked.")),
            (_, 0) => None,
            _ => Some(format!(
                "{name} has no finite score in {bad} of {runs} runs (diverged, or not measured) and is not ranked."
            )),
        }
    });
    sentences.collect()
}
