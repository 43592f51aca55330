//! Means, spreads and intervals of a handful of seeds.
//!
//! With three or five seeds the normal distribution is too sure of itself; Student's t is made for that. Its quantiles
//! are the usual table (two-sided 95 %, as in the NIST/SEMATECH *e-Handbook of Statistical Methods*, section 1.3.6.7.2;
//! W. S. Gosset, "The Probable Error of a Mean", *Biometrika* 6, 1908), with 1.96 beyond 30 degrees of freedom.
//!
//! Two variants are compared by their *differences by seed*. A seed fixes the order of the data (and where shapes agree,
//! the initial weights), so part of what makes a run lucky is shared and cancels. The interval is that of the mean
//! difference; where it excludes 0, the sign of the gap would be an unlikely accident of these seeds. It knows nothing
//! of other data, other rates, or how many variants there were to choose from.
//!
//! Timings are another matter: their noise is what else the machine does, it has long tails and knows no normal
//! distribution. Two models are therefore timed *in turns*, and the [`Ratio`] of their speeds is the median over turns
//! with an interval made of order statistics, which asks of the turns nothing but that they are alike.

use crate::variant::Variant;

/// Mean and spread of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Values counted: the finite ones.
    pub n: usize,
    /// Values left out because they are not finite: runs that diverged.
    pub missing: usize,
    /// Their mean.
    pub mean: f64,
    /// Their sample standard deviation; `None` for a single value.
    pub sd: Option<f64>,
}

impl Spread {
    /// Of the finite values; `None` where there are none.
    ///
    /// ```
    /// use bitnet_results::statistics::Spread;
    /// let spread = Spread::of([1.0, 2.0, 3.0, f64::NAN]).expect("three finite values");
    /// assert_eq!((spread.n, spread.missing, spread.mean, spread.sd), (3, 1, 2.0, Some(1.0)));
    /// ```
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (finite, other): (Vec<f64>, Vec<f64>) =
            values.into_iter().partition(|value| value.is_finite());
        Some(Self {
            n: finite.len(),
            missing: other.len(),
            mean: mean(&finite)?,
            sd: sample_sd(&finite),
        })
    }

    /// Standard error of the mean.
    pub fn standard_error(&self) -> Option<f64> {
        self.sd.map(|sd| sd / (self.n as f64).sqrt())
    }

    /// The 95 % interval of the mean, by Student's t.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let half = t_quantile(self.n.checked_sub(1)?)? * self.standard_error()?;
        Some((self.mean - half, self.mean + half))
    }

    /// Whether the 95 % interval excludes 0; `None` without an interval.
    pub fn excludes_zero(&self) -> Option<bool> {
        self.interval().map(|(low, high)| low > 0.0 || high < 0.0)
    }
}

/// Arithmetic mean; `None` of nothing, or where it is not finite.
pub fn mean(values: &[f64]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    mean.is_finite().then_some(mean)
}

/// Sample standard deviation, with n − 1; `None` below two values, or where it is not finite.
pub fn sample_sd(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = (squares / (values.len() - 1) as f64).sqrt();
    sd.is_finite().then_some(sd)
}

/// The middle one, or the mean of the two middle ones; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n => (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
    }
}

/// A ratio of two speeds or times that were taken in turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Turns.
    pub turns: usize,
    /// Median over turns of one's value over the other's in the same turn.
    pub median: f64,
    /// Lower and upper end of the interval of the median; `None` with fewer than 6 turns.
    pub interval: Option<(f64, f64)>,
}

/// What may be said of a [`Ratio`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The interval is narrow and does not hold 1.
    Differs,
    /// The interval is narrow and holds 1: turns disagree about who is faster.
    Alike,
    /// The interval is wide, or there is none.
    Open,
}

impl Ratio {
    /// An interval that reaches further than this from the median, as a factor, is wide.
    const WIDE: f64 = 1.25;

    /// Of `values` over `baseline`, turn by turn; `None` without a turn in which both are positive and finite, or where they
    /// differ in number.
    ///
    /// With `n` turns in order, the interval from the `k`-th smallest to the `k`-th largest ratio misses the median with
    /// probability `2 · P(Binomial(n, ½) < k)`; `k` is the largest for which that is at most 5 %.
    ///
    /// ```
    /// use bitnet_results::statistics::{Ratio, Verdict};
    /// let float = [10.0, 5.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0];
    /// let ternary = [22.0, 11.0, 21.0, 3.0, 22.0, 23.0, 22.0, 22.0, 90.0];
    /// let ratio = Ratio::of(&ternary, &float).expect("nine turns");
    /// assert_eq!((ratio.median, ratio.interval), (2.2, Some((2.1, 2.3))));
    /// assert_eq!(ratio.verdict(), Verdict::Differs);
    /// ```
    pub fn of(values: &[f64], baseline: &[f64]) -> Option<Self> {
        if values.len() != baseline.len() || values.is_empty() {
            return None;
        }
        let usable = |v: f64| v > 0.0 && v.is_finite();
        let mut ratios = Vec::with_capacity(values.len());
        for (value, baseline) in values.iter().zip(baseline) {
            if !usable(*value) || !usable(*baseline) {
                return None;
            }
            ratios.push(value / baseline);
        }
        ratios.sort_by(f64::total_cmp);
        let n = ratios.len();
        let interval = trimmed(n).map(|out| (ratios[out], ratios[n - 1 - out]));
        Some(Self {
            turns: n,
            median: median(&ratios),
            interval,
        })
    }

    /// What may be said of it.
    pub fn verdict(&self) -> Verdict {
        match self.interval {
            Some((low, high))
                if self.median / low <= Self::WIDE && high / self.median <= Self::WIDE =>
            {
                match low <= 1.0 && 1.0 <= high {
                    true => Verdict::Alike,
                    false => Verdict::Differs,
                }
            }
            _ => Verdict::Open,
        }
    }
}

/// Values to leave out at each end of `n` in order, so that what is left spans the median with 95 % or more; `None`
/// where even all of them do not.
fn trimmed(n: usize) -> Option<usize> {
    // 2 · P(Binomial(n, ½) ≤ out), summed up term by term.
    let mut term = 0.5f64.powi(n as i32);
    let mut missed = 2.0 * term;
    if missed > 0.05 {
        return None;
    }
    let mut out = 0;
    loop {
        term *= (n - out) as f64 / (out + 1) as f64;
        missed += 2.0 * term;
        if missed > 0.05 {
            return Some(out);
        }
        out += 1;
    }
}

/// The 0.975 quantile of Student's t: 95 % of the distribution lies within plus and minus this. `None` for 0 degrees of
/// freedom.
pub fn t_quantile(degrees: usize) -> Option<f64> {
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
        2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
        2.052, 2.048, 2.045, 2.042,
    ];
    let index = degrees.checked_sub(1)?;
    Some(T.get(index).copied().unwrap_or(1.96))
}

/// Differences `variant − baseline` by seed, for the seeds both have a finite score for, in the variant's order.
pub fn paired(variant: &Variant, baseline: &Variant) -> Vec<(u64, f64)> {
    let differences = variant.runs.iter().filter_map(|run| {
        let same = baseline.runs.iter().find(|other| other.seed == run.seed)?;
        let difference = run.score - same.score;
        difference.is_finite().then_some((run.seed, difference))
    });
    differences.collect()
}

/// Mean and spread of [`paired`].
pub fn gap(variant: &Variant, baseline: &Variant) -> Option<Spread> {
    Spread::of(paired(variant, baseline).into_iter().map(|(_, gap)| gap))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Run;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    fn variant(scores: &[(u64, f64)]) -> Variant {
        let run = |&(seed, score): &(u64, f64)| Run {
            seed,
            score,
            ..Run::default()
        };
        Variant {
            runs: scores.iter().map(run).collect(),
            ..Variant::default()
        }
    }

    #[test]
    fn by_hand() {
        // Mean 5, squares 9+1+1+1+0+0+4+16 = 32, over 7.
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&values), Some(5.0));
        assert!(sample_sd(&values).is_some_and(|sd| near(sd, (32.0f64 / 7.0).sqrt())));
        assert_eq!((mean(&[]), sample_sd(&[3.0])), (None, None));
        assert_eq!(sample_sd(&[f64::MAX, -f64::MAX]), None);
    }

    #[test]
    fn intervals_by_hand() {
        // sd 1, standard error 1/√3 = 0.57735, t(2) = 4.303: half width 2.48434.
        let spread = Spread::of([1.0, 2.0, 3.0]).expect("finite");
        assert!(
            spread
                .standard_error()
                .is_some_and(|e| near(e, 1.0 / 3.0f64.sqrt()))
        );
        let (low, high) = spread.interval().expect("three values");
        assert!((low + 0.484_338).abs() < 1e-6 && (high - 4.484_338).abs() < 1e-6);
        assert_eq!(spread.excludes_zero(), Some(false));
        assert_eq!(Spread::of([1.0]).and_then(|s| s.interval()), None);
        assert_eq!(Spread::of([f64::NAN]), None);
        assert_eq!(
            [0, 1, 4, 30, 31, 1000].map(t_quantile),
            [
                None,
                Some(12.706),
                Some(2.776),
                Some(2.042),
                Some(1.96),
                Some(1.96)
            ]
        );
    }

    #[test]
    fn medians() {
        assert_eq!([median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])], [2.0, 2.5]);
        assert!(median(&[]).is_nan());
    }

    /// The usual table of order statistics for the median (for instance Conover, *Practical Nonparametric Statistics*):
    /// of 6 to 8 values all, of 9 to 11 one less at each end, of 12 to 14 two, of 20 five, of 25 seven.
    #[test]
    fn intervals_of_the_median() {
        let out = [
            (5, None),
            (6, Some(0)),
            (8, Some(0)),
            (9, Some(1)),
            (11, Some(1)),
            (12, Some(2)),
            (20, Some(5)),
            (25, Some(7)),
        ];
        assert_eq!(out.map(|(n, _)| trimmed(n)), out.map(|(_, out)| out));
    }

    #[test]
    fn noise_is_no_ratio() {
        let verdict = |a: &[f64], b: &[f64]| Ratio::of(a, b).map(|ratio| ratio.verdict());
        let even = [1.0; 9];
        let wide = [1.0, 1.1, 2.0, 2.2, 2.4, 2.6, 3.0, 4.0, 50.0];
        assert_eq!(verdict(&wide, &even), Some(Verdict::Open));
        // Turns that disagree about who is faster.
        let close = [0.95, 0.97, 0.98, 0.99, 1.0, 1.01, 1.02, 1.04, 1.05];
        assert_eq!(verdict(&close, &even), Some(Verdict::Alike));
        // However clear, few turns are no evidence.
        assert_eq!(verdict(&[2.0; 5], &[1.0; 5]), Some(Verdict::Open));
        assert_eq!(verdict(&[2.0; 6], &[1.0; 6]), Some(Verdict::Differs));
        // Both slowed down alike in some turns: the ratio stands.
        let slowed = [1.0, 0.05, 1.0, 0.1, 1.0, 0.02, 1.0, 1.0, 0.5];
        assert_eq!(
            verdict(&slowed.map(|v| 2.2 * v), &slowed),
            Some(Verdict::Differs)
        );
        assert_eq!(verdict(&[], &[]), None);
        assert_eq!(verdict(&[1.0, f64::NAN], &[1.0, 1.0]), None);
        assert_eq!(verdict(&[1.0], &[0.0]), None);
    }

    #[test]
    fn pairs_are_by_seed_and_finite() {
        let baseline = variant(&[(1, 1.0), (2, 2.0), (3, f64::NAN), (5, 5.0)]);
        let other = variant(&[(2, 2.5), (1, 1.25), (3, 3.0), (4, 4.0)]);
        assert_eq!(paired(&other, &baseline), [(2, 0.5), (1, 0.25)]);
        let gap = gap(&other, &baseline).expect("two pairs");
        // Mean 0.375, sd 0.125·√2.
        assert_eq!((gap.n, gap.mean), (2, 0.375));
        assert!(gap.sd.is_some_and(|sd| near(sd, 0.125 * 2.0f64.sqrt())));
    }
}
