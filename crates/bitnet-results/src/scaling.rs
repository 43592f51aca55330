//! How loss falls with size: `L(N) = a + b · N^−c` through the losses of models of several sizes `N`.
//!
//! For a given exponent the rest is a straight line, which least squares solve; the exponent is the one whose squares are
//! least. The floor `a` is never below 0, which no loss is. How sure the three numbers are says a bootstrap: at each size as
//! many seeds are drawn as there are, with repetition, and the law is fitted to their means; the interval is the middle 95 %
//! of 1,000 such fits. It knows how much runs differ, not whether the law is the right one: for that look at the residuals,
//! and at sizes that the fit has not seen.

use serde::{Deserialize, Serialize};

use crate::statistics::mean;

/// What of an experiment a law is fitted to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scaling {
    /// The most parameters of a model that is fitted; larger ones are predicted by the fit. `None` fits all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit_until: Option<u64>,
    /// Parameters of models that are predicted and not trained.
    pub predict: Vec<u64>,
}

/// `a + b · N^−c`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    /// What no size goes below: `a`.
    pub floor: f64,
    /// `b`.
    pub factor: f64,
    /// `c`.
    pub exponent: f64,
}

/// Models of one size: parameters, and the losses of their runs.
pub type Size = (f64, Vec<f64>);

/// The fits that are published for ternary and float models of 99 M to 3.9 B parameters (TriLM, arXiv 2407.12327).
pub const TRILM: [(&str, Law); 2] = [
    (
        "float",
        Law {
            floor: 1.67,
            factor: 159.0,
            exponent: 0.26,
        },
    ),
    (
        "ternary",
        Law {
            floor: 1.76,
            factor: 185.0,
            exponent: 0.26,
        },
    ),
];

/// Fits of a bootstrap.
pub const DRAWS: usize = 1000;
/// The exponents that are tried.
const EXPONENTS: (f64, f64) = (0.01, 3.0);
const STEPS: usize = 100;

impl Law {
    /// The loss of a size.
    pub fn at(&self, size: f64) -> f64 {
        self.floor + self.factor * size.powf(-self.exponent)
    }

    /// Through losses of at least three sizes; `None` of fewer, or where one is not finite.
    ///
    /// ```
    /// use bitnet_results::scaling::Law;
    /// let law = Law { floor: 1.5, factor: 20.0, exponent: 0.3 };
    /// let points = [1e5, 3e5, 1e6, 3e6].map(|n| (n, law.at(n)));
    /// let fit = Law::fit(&points).expect("four sizes");
    /// assert!((fit.exponent - 0.3).abs() < 1e-4 && (fit.at(1e7) - law.at(1e7)).abs() < 1e-5);
    /// ```
    pub fn fit(points: &[(f64, f64)]) -> Option<Law> {
        let usable = |&(n, loss): &(f64, f64)| n > 0.0 && n.is_finite() && loss.is_finite();
        let mut sizes: Vec<f64> = points.iter().map(|(n, _)| *n).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        if sizes.len() < 3 || !points.iter().all(usable) {
            return None;
        }
        let logs: Vec<f64> = points.iter().map(|(n, _)| n.ln()).collect();
        // Powers of sizes around 1 do not lose digits.
        let middle = mean(&logs)?.exp();
        let line = |exponent: f64| Line::through(points, middle, exponent);
        let ratio = (EXPONENTS.1 / EXPONENTS.0).powf(1.0 / STEPS as f64);
        let tried = |k: usize| EXPONENTS.0 * ratio.powi(k as i32);
        let error = |exponent: f64| line(exponent).error;
        let best = (0..=STEPS).min_by(|a, b| error(tried(*a)).total_cmp(&error(tried(*b))))?;
        // Between the neighbours of the best one, halves that keep the lower of two middles.
        let (mut low, mut high) = (tried(best.saturating_sub(1)), tried((best + 1).min(STEPS)));
        for _ in 0..40 {
            let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            match error(left) <= error(right) {
                true => high = right,
                false => low = left,
            }
        }
        let exponent = (low + high) / 2.0;
        let Line { floor, factor, .. } = line(exponent);
        Some(Law {
            floor,
            factor: factor * middle.powf(exponent),
            exponent,
        })
    }
}

/// `a + b · x` of least squares, `x = (N / middle)^−c`.
struct Line {
    floor: f64,
    factor: f64,
    error: f64,
}

impl Line {
    fn through(points: &[(f64, f64)], middle: f64, exponent: f64) -> Self {
        let power = |n: f64| (n / middle).powf(-exponent);
        let count = points.len() as f64;
        let (mut x, mut y) = (0.0, 0.0);
        for (n, loss) in points {
            x += power(*n) / count;
            y += loss / count;
        }
        let (mut xx, mut xy) = (0.0, 0.0);
        for (n, loss) in points {
            xx += (power(*n) - x).powi(2);
            xy += (power(*n) - x) * (loss - y);
        }
        let (mut floor, mut factor) = (y - xy / xx * x, xy / xx);
        if floor < 0.0 {
            let (mut xx, mut xy) = (0.0, 0.0);
            for (n, loss) in points {
                xx += power(*n).powi(2);
                xy += power(*n) * loss;
            }
            (floor, factor) = (0.0, xy / xx);
        }
        let residual = |(n, loss): &(f64, f64)| (loss - floor - factor * power(*n)).powi(2);
        Self {
            floor,
            factor,
            error: points.iter().map(residual).sum(),
        }
    }
}

/// A law, and those of other draws of the seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Fitted to the means over seeds.
    pub law: Law,
    /// Fitted to those of the draws.
    pub draws: Vec<Law>,
}

impl Fit {
    /// Through the means of sizes, with the draws of a bootstrap. The draws of equal sizes are equal from call to call, and
    /// draw the same places of two kinds of models: paired where their seeds are in the same order.
    pub fn of(sizes: &[Size]) -> Option<Self> {
        let means = |draw: &mut dyn FnMut(&[f64]) -> Option<f64>| {
            let points = sizes.iter().map(|(n, losses)| Some((*n, draw(losses)?)));
            points.collect::<Option<Vec<_>>>()
        };
        let law = Law::fit(&means(&mut |losses| mean(losses))?)?;
        let mut random = SplitMix(0);
        let draws = (0..DRAWS).filter_map(|_| {
            let mut draw = |losses: &[f64]| {
                let drawn = losses.iter().map(|_| losses[random.below(losses.len())]);
                mean(&drawn.collect::<Vec<_>>())
            };
            Law::fit(&means(&mut draw)?)
        });
        Some(Self {
            law,
            draws: draws.collect(),
        })
    }

    /// The middle 95 % of what the draws say; `None` where they all say the same, as with one seed.
    pub fn interval(&self, of: impl Fn(&Law) -> f64) -> Option<(f64, f64)> {
        interval(self.draws.iter().map(of).collect())
    }

    /// By how much another kind's loss is above this one's at a size, and the middle 95 % of that.
    pub fn gap(&self, other: &Fit, size: f64) -> (f64, Option<(f64, f64)>) {
        let pairs = self.draws.iter().zip(&other.draws);
        let gaps = pairs.map(|(own, other)| other.at(size) - own.at(size));
        (
            other.law.at(size) - self.law.at(size),
            interval(gaps.collect()),
        )
    }
}

fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let at =
        |share: f64| values.get((share * (values.len().checked_sub(1)?) as f64).round() as usize);
    let (low, high) = (*at(0.025)?, *at(0.975)?);
    (low < high).then_some((low, high))
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * most as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [f64; 5] = [6.2e4, 1.24e5, 2.31e5, 4.69e5, 7.89e5];

    /// What the fit says of losses that follow a law exactly.
    #[test]
    fn a_law_is_found_again() {
        for (floor, factor, exponent) in [
            (1.67, 159.0, 0.26),
            (0.0, 40.0, 0.28),
            (0.8, 5e4, 1.1),
            (1.2, 9.0, 0.11),
        ] {
            let law = Law {
                floor,
                factor,
                exponent,
            };
            let points = SIZES.map(|n| (n, law.at(n)));
            let fit = Law::fit(&points).expect("five sizes");
            assert!(
                (fit.exponent / exponent - 1.0).abs() < 1e-3,
                "{fit:?} of {law:?}"
            );
            assert!((fit.floor - floor).abs() < 2e-3, "{fit:?} of {law:?}");
            for n in [1e5, 1e6, 1e7] {
                assert!((fit.at(n) - law.at(n)).abs() < 1e-4, "{fit:?} of {law:?}");
            }
        }
    }

    #[test]
    fn three_sizes_are_met_exactly_and_fewer_are_no_law() {
        let points = [(1e5, 2.0), (1e6, 1.5), (1e7, 1.25)];
        let law = Law::fit(&points).expect("three sizes");
        // Each decade halves the rest: a = 1, 1 · 0.5^k, so c = log10 2.
        assert!((law.exponent - 2f64.log10()).abs() < 1e-6, "{law:?}");
        assert!((law.floor - 1.0).abs() < 1e-6, "{law:?}");
        assert!(
            points
                .iter()
                .all(|(n, loss)| (law.at(*n) - loss).abs() < 1e-9)
        );
        assert_eq!(Law::fit(&points[..2]), None);
        assert_eq!(Law::fit(&[(1e5, 2.0), (1e5, 2.1), (1e6, 1.5)]), None);
        assert_eq!(Law::fit(&[(1e5, 2.0), (1e6, f64::NAN), (1e7, 1.0)]), None);
        assert_eq!(Law::fit(&[(0.0, 2.0), (1e6, 1.5), (1e7, 1.0)]), None);
    }

    #[test]
    fn the_floor_is_not_below_zero() {
        // A straight line in log N falls faster than any law with a floor.
        let points = SIZES.map(|n| (n, 10.0 - 0.6 * n.ln()));
        let law = Law::fit(&points).expect("five sizes");
        assert!(law.floor >= 0.0 && law.factor > 0.0, "{law:?}");
    }

    #[test]
    fn the_interval_holds_the_truth_and_grows_with_the_noise() {
        let law = Law {
            floor: 1.0,
            factor: 60.0,
            exponent: 0.35,
        };
        let spread = |noise: f64| -> Vec<Size> {
            let size = |n: f64| (n, [-1.0, 0.2, 0.8].map(|z| law.at(n) + noise * z).to_vec());
            SIZES.map(size).to_vec()
        };
        let width = |noise: f64| {
            let fit = Fit::of(&spread(noise)).expect("five sizes");
            assert_eq!(fit.draws.len(), DRAWS);
            let (low, high) = fit.interval(|law| law.at(3e6)).expect("seeds that differ");
            assert!(low < law.at(3e6) && law.at(3e6) < high, "{low} {high}");
            high - low
        };
        let (small, large) = (width(0.001), width(0.01));
        assert!(large > 3.0 * small, "{small} {large}");
        // Equal runs leave no interval; neither does one seed.
        assert_eq!(
            Fit::of(&spread(0.0))
                .expect("a fit")
                .interval(|law| law.floor),
            None
        );
    }

    #[test]
    fn gaps_are_paired() {
        let law = Law {
            floor: 1.0,
            factor: 60.0,
            exponent: 0.35,
        };
        // The same luck in both kinds, and a gap of 0.05 everywhere.
        let kind = |gap: f64| -> Vec<Size> {
            let size = |n: f64| (n, [-0.02, 0.0, 0.02].map(|z| law.at(n) + z + gap).to_vec());
            SIZES.map(size).to_vec()
        };
        let (float, ternary) = (Fit::of(&kind(0.0)), Fit::of(&kind(0.05)));
        let (float, ternary) = (float.expect("a fit"), ternary.expect("a fit"));
        let (gap, interval) = float.gap(&ternary, 4e5);
        let (low, high) = interval.expect("draws");
        assert!(
            (gap - 0.05).abs() < 1e-4 && high - low < 2e-3,
            "{gap} {low} {high}"
        );
    }

    #[test]
    fn draws_are_even() {
        let mut random = SplitMix(7);
        let mut counts = [0; 3];
        (0..30_000).for_each(|_| counts[random.below(3)] += 1);
        assert!(
            counts.iter().all(|n| (9_700..10_300).contains(n)),
            "{counts:?}"
        );
    }
}
