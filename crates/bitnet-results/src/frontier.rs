//! What a loss costs: which kind of weights is best for a number of bytes, a time, a training.
//!
//! Models of one kind and several sizes are a *curve*. What its kind would score between two of its sizes is read off a
//! straight line between them, over the logarithm of what is paid and seed by seed, so that the difference of two curves is
//! paired like that of two variants ([`Spread::interval`]). Beyond its ends a curve says nothing.

use serde::{Deserialize, Serialize};

use crate::energy::{FloatWidth, Process, WHOLE_MODEL, label};
use crate::experiment::Experiment;
use crate::statistics::{Spread, median};
use crate::variant::{Linear, Variant};

/// Where the curves of an experiment are compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Frontier {
    /// Sizes of a file.
    pub bytes: Vec<u64>,
    /// Amounts of arithmetic of a training, in floating-point operations.
    pub compute: Vec<f64>,
}

/// What is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Bytes of the file.
    Bytes,
    /// Seconds for a token that is written, the median over turns.
    Decode,
    /// Floating-point operations of the training: 6 for each parameter and token, whatever the weights are.
    Compute,
    /// Modelled picojoules of a token in the whole model at 7 nm, what stays float in the width of the file's floats.
    Energy,
}

impl Cost {
    /// Each of them.
    pub const ALL: [Cost; 4] = [Cost::Bytes, Cost::Decode, Cost::Compute, Cost::Energy];

    /// What a variant costs; `None` where that is not known.
    pub fn of(self, variant: &Variant) -> Option<f64> {
        let first = variant.runs.first();
        let cost = match self {
            Cost::Bytes => variant.file_bytes as f64,
            Cost::Decode => 1.0 / median(&variant.speed.as_ref()?.decode_tps),
            Cost::Compute => 6.0 * variant.params as f64 * first?.tokens as f64,
            Cost::Energy => {
                let width = match (variant.linear, variant.format.as_deref()) {
                    (Linear::Float, None | Some("f32")) => FloatWidth::Fp32,
                    _ => FloatWidth::Fp16,
                };
                *first?
                    .modelled
                    .get(&label(WHOLE_MODEL, width, Process::Nm7))?
            }
        };
        (cost > 0.0 && cost.is_finite()).then_some(cost)
    }
}

/// Models of one kind and several sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve<'a> {
    /// `ternary q2_0`.
    pub name: String,
    /// Its models, in the order of the experiment.
    pub variants: Vec<&'a Variant>,
}

/// What a curve scores where curves are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The curve's name.
    pub curve: String,
    /// Scores by seed; none where that is beyond the ends of the curve.
    pub scores: Vec<(u64, f64)>,
    /// By how much it is behind the best curve, paired by seed: positive is worse. `None` for the best one, and where
    /// there is nothing to pair.
    pub behind: Option<Spread>,
}

impl Entry {
    /// Its scores over the seeds.
    pub fn score(&self) -> Option<Spread> {
        Spread::of(self.scores.iter().map(|(_, score)| *score))
    }
}

impl Curve<'_> {
    /// The curves of an experiment, in the order of their first variants. Where a variant was stored in other formats, these
    /// stand for it: they are files of one kind, and its own export is not.
    pub fn all(experiment: &Experiment) -> Vec<Curve<'_>> {
        let mut curves: Vec<Curve> = Vec::new();
        for variant in &experiment.variants {
            let stored = experiment.stored_of(variant);
            let points = match stored.is_empty() {
                true => vec![variant],
                false => stored,
            };
            for point in points {
                let name = point.curve_name();
                match curves.iter_mut().find(|curve| curve.name == name) {
                    Some(curve) => curve.variants.push(point),
                    None => curves.push(Curve {
                        name,
                        variants: vec![point],
                    }),
                }
            }
        }
        curves
    }

    /// Its models by what they cost, cheapest first; those without a cost or with a run that diverged are left out.
    pub fn points(&self, cost: Cost) -> Vec<(f64, &Variant)> {
        let finite = |variant: &Variant| {
            let score = variant.score();
            score.is_some_and(|score| score.missing == 0)
        };
        let mut points: Vec<(f64, &Variant)> = (self.variants.iter())
            .filter(|variant| finite(variant))
            .filter_map(|variant| Some((cost.of(variant)?, *variant)))
            .collect();
        points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        points
    }

    /// What a model of this kind scores that costs so much, by seed.
    pub fn at(&self, cost: Cost, paid: f64) -> Vec<(u64, f64)> {
        let points = self.points(cost);
        let score = |variant: &Variant, seed: u64| {
            let run = variant.runs.iter().find(|run| run.seed == seed);
            run.map(|run| run.score)
        };
        let all = |variant: &Variant| {
            variant
                .runs
                .iter()
                .map(|run| (run.seed, run.score))
                .collect()
        };
        if let Some((_, variant)) = points.iter().find(|(x, _)| *x == paid) {
            return all(variant);
        }
        let between = |pair: &&[(f64, &Variant)]| pair[0].0 < paid && paid < pair[1].0;
        let Some([(low, from), (high, to)]) = points.windows(2).find(between) else {
            return Vec::new();
        };
        let share = (paid / low).ln() / (high / low).ln();
        let line = |run: &crate::Run| {
            let end = score(to, run.seed)?;
            Some((run.seed, run.score + share * (end - run.score)))
        };
        from.runs.iter().filter_map(line).collect()
    }
}

impl Experiment {
    /// What every curve scores for so much, best first; those that do not reach there are last.
    pub fn contest(&self, cost: Cost, paid: f64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = (Curve::all(self).iter())
            .map(|curve| Entry {
                curve: curve.name.clone(),
                scores: curve.at(cost, paid),
                behind: None,
            })
            .collect();
        let worth = |entry: &Entry| {
            let score = entry.score();
            score.map_or(f64::NEG_INFINITY, |score| self.metric.lead(score.mean, 0.0))
        };
        entries.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
        let Some((best, others)) = entries.split_first_mut() else {
            return entries;
        };
        for entry in others {
            let pairs = entry.scores.iter().filter_map(|(seed, score)| {
                let (_, top) = best.scores.iter().find(|(of, _)| of == seed)?;
                Some(self.metric.lead(*top, *score))
            });
            entry.behind = Spread::of(pairs);
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    fn variant(name: &str, bytes: u64, scores: &[f64]) -> Variant {
        let run = |(seed, score): (u64, &f64)| Run {
            seed,
            score: *score,
            tokens: 1000,
            ..Run::default()
        };
        Variant {
            name: name.into(),
            curve: Some(name[..1].into()),
            params: bytes / 4,
            file_bytes: bytes,
            runs: (0..).zip(scores).map(run).collect(),
            ..Variant::default()
        }
    }

    fn experiment() -> Experiment {
        Experiment {
            variants: vec![
                variant("a1", 100, &[2.0, 2.2]),
                variant("a3", 10_000, &[1.0, 1.2]),
                variant("a2", 1000, &[1.6, 1.6]),
                variant("b1", 1000, &[1.5, 1.7]),
                variant("b2", 4000, &[1.1, 1.5]),
            ],
            ..Experiment::default()
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn between_two_sizes_it_is_a_line_over_the_logarithm_by_seed() {
        let experiment = experiment();
        let curves = Curve::all(&experiment);
        assert_eq!([&*curves[0].name, &*curves[1].name], ["a", "b"]);
        let at = |paid| curves[0].at(Cost::Bytes, paid);
        // Half of the way from 100 to 1,000 in logarithms, and of that from 1,000 to 10,000.
        let (low, high) = (at(1e5f64.sqrt()), at(1e7f64.sqrt()));
        assert!(near(low[0].1, 1.8) && near(low[1].1, 1.9), "{low:?}");
        assert!(near(high[0].1, 1.3) && near(high[1].1, 1.4), "{high:?}");
        // At its own sizes what was measured, beyond its ends nothing.
        assert_eq!(at(1000.0), [(0, 1.6), (1, 1.6)]);
        assert_eq!([at(99.9), at(10_001.0)], [vec![], vec![]]);
        assert_eq!(at(f64::NAN), []);
    }

    #[test]
    fn the_best_is_first_and_the_others_are_behind_it_seed_by_seed() {
        let experiment = experiment();
        let entries = experiment.contest(Cost::Bytes, 1000.0);
        // Equal means: the order of the experiment. By seed b is ahead by 0.1 and behind by 0.1.
        assert_eq!(entries[0].curve, "a");
        let behind = entries[1].behind.expect("two seeds");
        assert!(near(behind.mean, 0.0) && behind.n == 2);
        let entries = experiment.contest(Cost::Bytes, 4000.0);
        let share = 4f64.ln() / 10f64.ln();
        let a = [1.6 - 0.6 * share, 1.6 - 0.4 * share];
        assert_eq!(entries[0].curve, "a");
        assert!(near(entries[0].scores[0].1, a[0]));
        let expected = ((1.1 - a[0]) + (1.5 - a[1])) / 2.0;
        assert!(near(entries[1].behind.expect("two seeds").mean, expected));
        // Beyond the end of b there is nothing to compare.
        let entries = experiment.contest(Cost::Bytes, 9000.0);
        assert_eq!((&*entries[1].curve, entries[1].behind), ("b", None));
        // 6 operations for each of the 250 parameters and 1,000 tokens.
        let entries = experiment.contest(Cost::Compute, 6.0 * 250.0 * 1000.0);
        assert_eq!(entries[0].scores, [(0, 1.6), (1, 1.6)]);
    }

    #[test]
    fn a_run_without_a_score_takes_its_model_off_the_curve() {
        let mut experiment = experiment();
        experiment.variants[2].runs[1].score = f64::NAN;
        let a = &Curve::all(&experiment)[0];
        // 1,000 is half of the way from 100 to 10,000.
        assert!(near(a.at(Cost::Bytes, 1000.0)[0].1, 1.5));
    }

    #[test]
    fn formats_stand_for_the_variant_that_they_store() {
        let mut experiment = experiment();
        let mut stored = |of: &str, format: &str, bytes| {
            experiment.stored.push(Variant {
                stored_from: Some(of.into()),
                format: Some(format.into()),
                ..variant(of, bytes, &[1.6, 1.6])
            });
        };
        stored("a1", "f16", 50);
        stored("a1", "q4_0", 20);
        stored("a2", "f16", 500);
        let names: Vec<String> = (Curve::all(&experiment).into_iter())
            .map(|curve| curve.name)
            .collect();
        assert_eq!(names, ["a f16", "a q4_0", "a", "b"]);
        assert_eq!(Curve::all(&experiment)[0].points(Cost::Bytes)[1].0, 500.0);
    }
}
