//! Round numbers for an axis: steps of 1, 2 or 5 times a power of ten.

/// An axis: how a value becomes a share of the axis' length, and where its ticks are.
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Tick positions with their labels.
    pub ticks: Vec<(f64, String)>,
}

/// Values beyond this are treated as not finite: their differences must not overflow.
const HUGE: f64 = 1e150;

/// The least distance of two ticks of a logarithmic axis, as a share of its length: labels of five characters (34 units) on
/// the 400 units that charts are wide.
const CLOSEST: f64 = 0.085;

/// Whether a value can be drawn at all.
pub(super) fn drawable(value: f64, log: bool) -> bool {
    value.is_finite() && value.abs() < HUGE && (!log || value > 1.0 / HUGE)
}

impl Axis {
    /// An axis over `values`, of which only the drawable ones count; `None` where there are none.
    ///
    /// With `round`, a linear axis ends on ticks instead of on the data.
    pub fn over(
        values: impl Iterator<Item = f64>,
        log: bool,
        round: bool,
        about: usize,
    ) -> Option<Self> {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&v| drawable(v, log)) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            return None;
        }
        // A single value gets room around it; so do values a rounding error apart.
        if high - low <= 1e-9 * high.abs().max(low.abs()) {
            let room = if low == 0.0 { 0.5 } else { 0.1 * low.abs() };
            (low, high) = (low - room, high + room);
        }
        if log {
            let room = (high / low).powf(0.05);
            (low, high) = (low / room, high * room);
        }
        let in_decades = log && high / low > 20.0;
        let positions = if in_decades {
            decades(low, high)
        } else {
            let step = nice_step(high - low, about);
            if round && !log {
                (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
            }
            multiples(low, high, step)
        };
        let step = positions
            .windows(2)
            .map(|w| w[1] - w[0])
            .fold(f64::INFINITY, f64::min);
        let mut axis = Self {
            low,
            high,
            log,
            ticks: Vec::new(),
        };
        let mut last = f64::NEG_INFINITY;
        for position in positions {
            // Round numbers crowd at the upper end of a logarithmic axis.
            let share = axis.share(position);
            if !log || share - last >= CLOSEST {
                // Between powers of ten the steps are as different as the numbers: each says its own digit.
                let step = if in_decades { position } else { step };
                axis.ticks.push((position, label(position, step)));
                last = share;
            }
        }
        Some(axis)
    }

    /// Where `value` lies, from 0 at the low end to 1 at the high end.
    pub fn share(&self, value: f64) -> f64 {
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if share.is_finite() {
            share.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }
}

/// The step of 1, 2 or 5 times a power of ten that gives about `about` ticks.
fn nice_step(range: f64, about: usize) -> f64 {
    let raw = range / about.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = match raw / power {
        r if r < 1.5 => 1.0,
        r if r < 3.5 => 2.0,
        r if r < 7.5 => 5.0,
        _ => 10.0,
    };
    step * power
}

/// Multiples of `step` within the range; never more than fit on an axis.
fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let slack = step * 1e-6;
    let first = ((low - slack) / step).ceil();
    // Adding zero turns −0 into 0.
    (0..32)
        .map(|i| (first + f64::from(i)) * step + 0.0)
        .take_while(|&x| x <= high + slack)
        .collect()
}

/// 1, 2 and 5 times the powers of ten within the range; powers alone when that would crowd.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let crowded = high / low > 3000.0;
    let (mantissas, every): (&[f64], i32) = if crowded {
        (&[1.0], (last - first) / 6 + 1)
    } else {
        (&[1.0, 2.0, 5.0], 1)
    };
    (first..=last)
        .filter(|power| power.rem_euclid(every) == 0)
        .flat_map(|power| mantissas.iter().map(move |m| m * 10f64.powi(power)))
        .filter(|x| (low..=high).contains(x))
        .collect()
}

/// As many decimals as the step needs; thousands and millions abbreviated; powers of ten where neither reads well.
fn label(value: f64, step: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-5..1e9).contains(&size) {
        return format!("{value:.1e}").replace(".0e", "e").replace('-', "−");
    }
    let (scale, unit) = match size {
        s if s >= 1e6 => (1e6, "M"),
        s if s >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let step = if step.is_finite() {
        step / scale
    } else {
        size / scale / 10.0
    };
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 6.0) as usize;
    format!("{:.decimals$}{unit}", value / scale).replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(values: &[f64], log: bool) -> Vec<String> {
        let axis = Axis::over(values.iter().copied(), log, true, 5);
        axis.map(|a| a.ticks.into_iter().map(|t| t.1).collect())
            .unwrap_or_default()
    }

    #[test]
    fn steps_are_one_two_five() {
        assert_eq!(
            labels(&[0.0, 2000.0], false),
            ["0", "500", "1000", "1500", "2000"]
        );
        assert_eq!(
            labels(&[1.7, 4.2], false),
            ["1.5", "2.0", "2.5", "3.0", "3.5", "4.0", "4.5"]
        );
        assert_eq!(
            labels(&[0.0, 0.002], false),
            ["0", "0.0005", "0.0010", "0.0015", "0.0020"]
        );
        assert_eq!(
            labels(&[0.0, 40_000.0], false),
            ["0", "10k", "20k", "30k", "40k"]
        );
        assert_eq!(
            labels(&[-1.0, 1.0], false),
            ["−1.0", "−0.5", "0", "0.5", "1.0"]
        );
    }

    #[test]
    fn log_axes() {
        assert_eq!(
            labels(&[1.0, 100.0], true),
            ["1", "2", "5", "10", "20", "50", "100"]
        );
        assert_eq!(
            labels(&[1.5, 4.2], true),
            ["1.5", "2.0", "2.5", "3.0", "3.5", "4.0"]
        );
        assert_eq!(labels(&[2e-5, 2.0], true), ["0.0001", "0.01", "1"]);
        assert_eq!(
            labels(&[0.03, 1.2], true),
            ["0.05", "0.1", "0.2", "0.5", "1"]
        );
        let many = labels(&[1e-7, 1e3], true);
        assert_eq!(many, ["1e−6", "0.001", "1", "1000"]);
        assert!(labels(&[1e-100, 1e100], true).len() < 12);
        assert!(labels(&[-1.0, 0.0], true).is_empty());
    }

    #[test]
    fn odd_values_do_no_harm() {
        assert!(Axis::over([f64::NAN, f64::INFINITY].into_iter(), false, true, 5).is_none());
        let extremes = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::MIN_POSITIVE,
            1e-300,
            1e149,
            -1e149,
            f64::MAX,
            f64::NAN,
            5e-324,
        ];
        for a in extremes {
            for b in extremes {
                for log in [false, true] {
                    if let Some(axis) = Axis::over([a, b].into_iter(), log, true, 5) {
                        assert!(axis.ticks.len() <= 32, "{a} {b}");
                        assert!(
                            (0.0..=1.0).contains(&axis.share(a))
                                && (0.0..=1.0).contains(&axis.share(b))
                        );
                    }
                }
            }
        }
    }
}
