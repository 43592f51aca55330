//! Many comparisons with one: by how much each variant changes a gap, and which of the changes would be left if the luckiest
//! of so many were to be expected.
//!
//! Of a variant and a reference, each with a baseline of its own, the *change* is the difference of their gaps, seed by
//! seed. Its `p` is that of a paired t test. Holm's step-down procedure (S. Holm, "A Simple Sequentially Rejective Multiple
//! Test Procedure", *Scandinavian Journal of Statistics* 6, 1979) makes of the `p` of all variants what holds for all at
//! once: at 0.05, the chance that even one of those below it is an accident is at most one in twenty.

use crate::experiment::Experiment;
use crate::statistics::{Spread, paired};
use crate::variant::Variant;

/// By how much a variant's gap differs from the reference's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Gap of the variant minus gap of the reference, over the seeds that all have.
    pub gap: Spread,
    /// Two-sided `p` of a mean of 0; none with one seed.
    pub p: Option<f64>,
    /// The same, corrected for the number of variants.
    pub holm: Option<f64>,
}

/// The probability of a Student's t this far from 0 or farther, on either side; `None` for 0 degrees of freedom or a NaN.
///
/// The finite sums of Abramowitz and Stegun, *Handbook of Mathematical Functions*, 26.7.3 and 26.7.4.
///
/// ```
/// use bitnet_results::significance::two_sided;
/// let p = two_sided(2.776_445, 4).expect("degrees of freedom");
/// assert!((p - 0.05).abs() < 1e-6);
/// ```
pub fn two_sided(t: f64, degrees: usize) -> Option<f64> {
    if degrees == 0 || t.is_nan() {
        return None;
    }
    let angle = (t.abs() / (degrees as f64).sqrt()).atan();
    let square = angle.cos().powi(2);
    // 1 + 1/2 c² + 1·3/(2·4) c⁴ + … for even degrees, c (1 + 2/3 c² + 2·4/(3·5) c⁴ + …) for odd ones.
    let odd = degrees % 2;
    let (mut sum, mut term) = (0.0, if odd == 1 { angle.cos() } else { 1.0 });
    for k in 0..(degrees - odd) / 2 {
        sum += term;
        let (above, below) = ((2 * k + 1 + odd) as f64, (2 * k + 2 + odd) as f64);
        term *= square * above / below;
    }
    let inside = match odd {
        1 => std::f64::consts::FRAC_2_PI * (angle + angle.sin() * sum),
        _ => angle.sin() * sum,
    };
    Some((1.0 - inside).clamp(0.0, 1.0))
}

/// The t that a Student's t is as far from 0 as, or farther, with this probability: the inverse of [`two_sided`]; `None` for
/// 0 degrees of freedom or where `p` is not between 0 and 1.
pub fn t_beyond(p: f64, degrees: usize) -> Option<f64> {
    let usable = degrees > 0 && p > 0.0 && p < 1.0;
    usable.then(|| {
        let (mut low, mut high) = (0.0, 1e9);
        for _ in 0..200 {
            let middle = (low + high) / 2.0;
            match two_sided(middle, degrees).is_some_and(|found| found > p) {
                true => low = middle,
                false => high = middle,
            }
        }
        low
    })
}

impl Spread {
    /// The two-sided `p` of a mean of 0, by Student's t; `None` with one value. Values that are all alike have 0, or 1 at 0.
    pub fn p_value(&self) -> Option<f64> {
        let error = self.standard_error()?;
        match error > 0.0 {
            true => two_sided(self.mean / error, self.n.checked_sub(1)?),
            false => Some(if self.mean == 0.0 { 1.0 } else { 0.0 }),
        }
    }
}

/// Holm's correction of some `p`, in their order.
///
/// ```
/// use bitnet_results::significance::holm;
/// assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02]);
/// ```
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut corrected, mut most) = (vec![0.0; p.len()], 0f64);
    for (rank, index) in order.into_iter().enumerate() {
        most = most.max((p.len() - rank) as f64 * p[index]).min(1.0);
        corrected[index] = most;
    }
    corrected
}

/// Differences of the gap of a variant to its baseline from that of a reference to its own, by the seeds that all four have.
fn changes(variant: (&Variant, &Variant), reference: (&Variant, &Variant)) -> Option<Spread> {
    let (own, other) = (
        paired(variant.0, variant.1),
        paired(reference.0, reference.1),
    );
    let differences = own.into_iter().filter_map(|(seed, gap)| {
        let (_, same) = other.iter().find(|(of, _)| *of == seed)?;
        Some(gap - same)
    });
    Spread::of(differences)
}

impl Experiment {
    /// The change of each variant's gap against that of the [reference](Experiment::reference), in the order of the
    /// variants; none for the reference itself, for baselines, for those of the other kind of weights (teachers), and where
    /// there is no reference.
    pub fn changes(&self) -> Vec<Option<Change>> {
        let nothing = vec![None; self.variants.len()];
        let Some(name) = self.reference.as_deref() else {
            return nothing;
        };
        let Some(reference) = self.variants.iter().find(|v| v.name == name) else {
            return nothing;
        };
        let Some(of_reference) = self.baseline_of(reference) else {
            return nothing;
        };
        let gaps: Vec<Option<Spread>> = (self.variants.iter())
            .map(|variant| {
                let baseline = self.baseline_of(variant)?;
                let apart = variant.name != name && !self.is_baseline(variant);
                let apart = apart && variant.linear == reference.linear;
                apart.then(|| changes((variant, baseline), (reference, of_reference)))?
            })
            .collect();
        let known: Vec<f64> = (gaps.iter().flatten())
            .filter_map(Spread::p_value)
            .collect();
        let mut corrected = holm(&known).into_iter();
        let mut change = |gap: Spread| {
            let p = gap.p_value();
            let holm = p.and_then(|_| corrected.next());
            Change { gap, p, holm }
        };
        gaps.into_iter().map(|gap| gap.map(&mut change)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-7
    }

    /// Values of R 4: `2 * pt(-t, df)`.
    #[test]
    fn the_t_distribution_is_that_of_the_tables() {
        for (t, degrees, p) in [
            (1.0, 1, 0.5),
            (12.706_204_736, 1, 0.05),
            (4.302_652_73, 2, 0.05),
            (3.0, 9, 0.014_956_363_9),
            (-2.0, 4, 0.116_116_523_5),
            (2.042_272_456, 30, 0.05),
            (0.0, 7, 1.0),
        ] {
            let found = two_sided(t, degrees).expect("degrees");
            assert!(near(found, p), "{t} {degrees}: {found} for {p}");
        }
        assert_eq!((two_sided(1.0, 0), two_sided(f64::NAN, 3)), (None, None));
        for (p, degrees, t) in [(0.05, 4, 2.776_445_105), (0.01, 2, 9.924_843_201)] {
            assert!(t_beyond(p, degrees).is_some_and(|found| (found - t).abs() < 1e-6));
        }
        assert_eq!((t_beyond(0.05, 0), t_beyond(0.0, 3)), (None, None));
        let far = two_sided(1e9, 2).expect("degrees");
        assert!((0.0..1e-12).contains(&far));
    }

    /// The sample of W. S. Gosset's sleep data, differences of two drugs: t = −4.0621, p = 0.002833 with 9 degrees of
    /// freedom.
    #[test]
    fn a_paired_test_is_that_of_the_textbook() {
        let differences = [-1.2, -2.4, -1.3, -1.3, 0.0, -1.0, -1.8, -0.8, -4.6, -1.4];
        let spread = Spread::of(differences).expect("values");
        let p = spread.p_value().expect("ten values");
        assert!((p - 0.002_832_890).abs() < 1e-8, "{p}");
        let alone = Spread::of([1.0]).expect("a value");
        assert_eq!(alone.p_value(), None);
        let alike = |value| Spread::of([value, value]).and_then(|spread| spread.p_value());
        assert_eq!((alike(0.5), alike(0.0)), (Some(0.0), Some(1.0)));
    }

    /// R's `p.adjust(p, "holm")`, and what is monotone where the products are not.
    #[test]
    fn holm_by_hand() {
        assert_eq!(holm(&[]), [0.0; 0]);
        assert_eq!(holm(&[0.2]), [0.2]);
        assert_eq!(holm(&[0.5, 0.01, 0.9]), [1.0, 0.03, 1.0]);
        assert_eq!(holm(&[0.02, 0.02, 0.03]), [0.06, 0.06, 0.06]);
    }

    fn variant(name: &str, baseline: Option<&str>, scores: [f64; 3]) -> Variant {
        let run = |(seed, score)| Run {
            seed,
            score,
            ..Run::default()
        };
        Variant {
            name: name.into(),
            baseline: baseline.map(str::to_owned),
            runs: (0..).zip(scores).map(run).collect(),
            ..Variant::default()
        }
    }

    #[test]
    fn changes_are_differences_of_gaps_each_to_its_own_baseline() {
        let experiment = Experiment {
            baseline: Some("float".into()),
            reference: Some("ternary".into()),
            variants: vec![
                variant("float", None, [1.0, 1.5, 1.25]),
                variant("ternary", None, [1.5, 2.0, 1.75]),
                variant("better", None, [1.25, 1.875, 1.5]),
                variant("other-float", None, [0.5, 1.0, 0.75]),
                variant("other", Some("other-float"), [0.75, 1.375, f64::NAN]),
            ],
            ..Experiment::default()
        };
        let changes = experiment.changes();
        assert_eq!((changes[0], changes[1]), (None, None));
        // Gaps of 0.25, 0.375, 0.25 against 0.5 each: −0.25, −0.125, −0.25.
        let better = changes[2].expect("a change");
        assert!(near(better.gap.mean, -0.625 / 3.0));
        let p = better.p.expect("three seeds");
        // Mean −0.208333, standard error 0.0416667: t = −5 with 2 degrees of freedom.
        assert!(near(p, 0.037_749_551), "{p}");
        // Gaps of 0.25 and 0.375, to the other float: −0.25 and −0.125; t = −3 with 1 degree.
        let other = changes[4].expect("a change");
        assert_eq!((other.gap.n, other.gap.mean), (2, -0.1875));
        assert!(near(other.p.expect("two seeds"), 0.204_832_765));
        // Two comparisons: a baseline is none.
        assert_eq!(changes[3], None);
        assert!(near(better.holm.expect("corrected"), 2.0 * p));
        let none = Experiment {
            reference: None,
            ..experiment
        };
        assert!(none.changes().iter().all(Option::is_none));
    }
}
