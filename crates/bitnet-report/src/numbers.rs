//! Scores as people read them: to the second digit of their spread, and no further.

use crate::format::{self, NONE};
use bitnet_results::Metric;
use bitnet_results::statistics::Spread;

/// How the numbers of one metric are written.
pub(crate) struct Style {
    /// Shares are written as percent.
    factor: f64,
    percent: bool,
}

impl Style {
    pub fn of(metric: &Metric) -> Self {
        Self::percent(metric.percent)
    }

    pub fn percent(percent: bool) -> Self {
        let factor = if percent { 100.0 } else { 1.0 };
        Self { factor, percent }
    }

    /// The most decimals a number of this size gets, whatever its spread.
    fn most(&self, size: f64) -> usize {
        match size.abs() {
            _ if self.percent => 2,
            a if a >= 1000.0 => 0,
            a if a >= 100.0 => 1,
            a if a >= 10.0 => 2,
            a if a >= 0.1 || a == 0.0 => 4,
            // Small errors keep four significant digits.
            a => (3.0 - a.log10().floor()).clamp(4.0, 12.0) as usize,
        }
    }

    /// Decimals that a spread supports: those of its second significant digit. `size` is that of the scores, also where
    /// the number is a difference of two.
    fn decimals(&self, size: f64, sd: Option<f64>) -> usize {
        let most = self.most(size * self.factor);
        match sd.map(|sd| sd * self.factor) {
            Some(sd) if sd > 0.0 => {
                let wanted = (1.0 - sd.log10().floor()).max(0.0);
                (wanted as usize).min(most)
            }
            _ => most,
        }
    }

    fn write(&self, value: f64, decimals: usize, sign: bool) -> String {
        let value = value * self.factor;
        if value.abs() >= 1e7 {
            return format!("{value:.2e}").replace('-', "−");
        }
        if sign {
            format::signed(value, decimals)
        } else {
            format::fixed(value, decimals)
        }
    }

    fn suffix(&self) -> &'static str {
        if self.percent { " %" } else { "" }
    }

    /// One score without a known spread.
    pub fn single(&self, score: f64) -> String {
        if !score.is_finite() {
            return NONE.to_owned();
        }
        let decimals = self.most(score * self.factor);
        self.write(score, decimals, false) + self.suffix()
    }

    /// `1.744 ± 0.012`; the mean alone where the spread is not known.
    pub fn spread(&self, spread: &Spread) -> String {
        let decimals = self.decimals(spread.mean, spread.sd);
        let mean = self.write(spread.mean, decimals, false);
        self.with_sd(mean, spread, decimals) + self.suffix()
    }

    /// `+0.043 ± 0.005`: a difference of scores about as large as `size`. In percentage points for shares.
    pub fn gap(&self, gap: &Spread, size: f64, sign: bool) -> String {
        let decimals = self.decimals(size, gap.sd);
        self.with_sd(self.write(gap.mean, decimals, sign), gap, decimals)
    }

    /// `+0.038 to +0.048`.
    pub fn interval(&self, gap: &Spread, size: f64, sign: bool) -> String {
        let decimals = self.decimals(size, gap.sd);
        gap.interval().map_or(NONE.to_owned(), |(low, high)| {
            format!(
                "{} to {}",
                self.write(low, decimals, sign),
                self.write(high, decimals, sign)
            )
        })
    }

    /// One difference of scores about as large as `size`.
    pub fn difference(&self, difference: f64, size: f64) -> String {
        self.write(difference, self.most(size * self.factor), true)
    }

    fn with_sd(&self, mean: String, spread: &Spread, decimals: usize) -> String {
        match spread.sd {
            Some(sd) => format!("{mean} ± {}", self.write(sd, decimals, false)),
            None => mean,
        }
    }
}

/// `0.034`, `0.00012`, `below 0.0001`: two digits of a probability.
pub(crate) fn probability(p: f64) -> String {
    match p {
        p if p < 1e-4 => "below 0.0001".to_owned(),
        p if p >= 0.095 => format::fixed(p, 2),
        p => format::fixed(p, (1.0 - p.log10().floor()) as usize),
    }
}

/// What a difference of scores is counted in, with a space before it; empty where the metric has no unit.
pub(crate) fn gap_unit(metric: &Metric) -> String {
    if metric.percent {
        " percentage points".to_owned()
    } else if metric.unit.is_empty() {
        String::new()
    } else {
        format!(" {}", metric.unit)
    }
}

/// `over 3 seeds`, or the one-seed warning.
pub(crate) fn seeds(n: usize) -> String {
    match n {
        1 => "one seed: no spread known".to_owned(),
        n => format!("{n} seeds"),
    }
}

/// A learning rate: `0.003`, `3e-4`.
pub(crate) fn rate(rate: f64) -> String {
    if !rate.is_finite() || rate <= 0.0 {
        return NONE.to_owned();
    }
    // Four digits are what people choose; the rest is rounding.
    let rate: f64 = format!("{rate:.3e}").parse().unwrap_or(rate);
    if (1e-3..1e4).contains(&rate) {
        format!("{rate}")
    } else {
        format!("{rate:e}")
    }
}

/// Whether two learning rates are the same but for rounding.
pub(crate) fn same_rate(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

/// Milliseconds of one inference.
pub(crate) fn milliseconds(ms: f64) -> String {
    if (0.0..1.0).contains(&ms) {
        format!(
            "{} µs",
            format::fixed(ms * 1e3, if ms < 0.1 { 1 } else { 0 })
        )
    } else {
        format::seconds(ms / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(mean: f64, sd: Option<f64>) -> Spread {
        let n = if sd.is_some() { 3 } else { 1 };
        Spread {
            n,
            missing: 0,
            mean,
            sd,
        }
    }

    #[test]
    fn digits_follow_the_spread() {
        let plain = Style::percent(false);
        assert_eq!(
            plain.spread(&spread(1.744_123, Some(0.0123))),
            "1.744 ± 0.012"
        );
        assert_eq!(plain.spread(&spread(1.744_123, Some(0.23))), "1.74 ± 0.23");
        assert_eq!(
            plain.spread(&spread(1.744_123, Some(1e-7))),
            "1.7441 ± 0.0000"
        );
        assert_eq!(plain.spread(&spread(1.744_123, None)), "1.7441");
        assert_eq!(plain.spread(&spread(0.000_123_4, None)), "0.0001234");
        assert_eq!(plain.spread(&spread(35.1234, Some(12.0))), "35 ± 12");
        assert_eq!(plain.single(1e300), "1.00e300");
        assert_eq!(plain.single(f64::NAN), NONE);
        let share = Style::percent(true);
        assert_eq!(
            share.spread(&spread(0.87654, Some(0.004))),
            "87.65 ± 0.40 %"
        );
        assert_eq!(
            share.gap(&spread(-0.0123, Some(0.02)), 0.8, true),
            "−1.2 ± 2.0"
        );
    }

    #[test]
    fn probabilities_have_two_digits() {
        let written = [
            1.0, 0.204, 0.0951, 0.0341, 0.001_26, 0.000_12, 0.000_099, 0.0,
        ]
        .map(probability);
        let expected = ["1.00", "0.20", "0.10", "0.034", "0.0013", "0.00012"];
        assert_eq!(written[..6], expected);
        assert_eq!(written[6..], ["below 0.0001", "below 0.0001"]);
    }

    #[test]
    fn rates_and_times() {
        assert_eq!(rate(0.000_300_000_01), "3e-4");
        assert_eq!(rate(0.003), "0.003");
        assert_eq!([rate(0.0), rate(f64::NAN)], [NONE, NONE]);
        assert!(same_rate(3e-4, 0.000_300_000_01) && !same_rate(3e-4, 1e-3));
        assert_eq!(milliseconds(0.25), "250 µs");
        assert_eq!(milliseconds(12.3), "12.3 ms");
        assert_eq!(milliseconds(f64::NAN), NONE);
    }
}
