//! Which learning rate to try: the range test (L. N. Smith, "Cyclical Learning Rates for Training Neural Networks",
//! arXiv 1506.01186, section 3.3).
//!
//! A fresh model takes steps at rates that grow by the same factor each, until its loss explodes. Just before it stops
//! falling the rate is the largest that learns; a schedule with a warm-up and a decay does well with a third of it.

use std::sync::atomic::{AtomicBool, Ordering};

use bitnet_config::RunConfig;
use burn::tensor::Device;
use serde::Serialize;

use crate::accumulate::Accumulated;
use crate::evaluate::read;
use crate::optimizer::Optimizer;
use crate::stepper::Stepper;
use crate::task::{Part, Task};
use crate::{TrainError, numerics};

/// The loss at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RatePoint {
    /// The learning rate of the step.
    pub rate: f64,
    /// The loss before it.
    pub loss: f64,
    /// The mean of it and those before, the nearest ones weighing most.
    pub smoothed: f64,
}

/// What the test found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateSearch {
    /// By growing rate.
    pub points: Vec<RatePoint>,
    /// Where the loss fell fastest.
    pub steepest: Option<f64>,
    /// Where it was lowest.
    pub lowest: Option<f64>,
    /// What to try: a third of the latter.
    pub suggested: Option<f64>,
}

/// Rates of the first and of the last step.
const RATES: (f64, f64) = (1e-6, 1.0);

/// Share of the smoothed loss that stays.
const SMOOTH: f64 = 0.9;

/// What a loss is multiplied by that ends the test, beside the lowest.
const EXPLODED: f64 = 2.0;

/// Takes `steps` steps of a fresh model, from the smallest rate to the largest.
///
/// # Errors
/// If the model cannot be built, or the device fails.
pub fn find_rate<T: Task>(
    config: &RunConfig,
    task: &T,
    device: &Device,
    steps: usize,
    interrupt: &AtomicBool,
) -> Result<RateSearch, TrainError> {
    numerics::apply(config.train.numerics(), device)?;
    task.prepare(device)?;
    let autodiff = device.clone().autodiff();
    let mut model = task.model(&autodiff)?;
    let optim = config.train.optim(config.model.linear);
    let mut optimizer = Optimizer::new(&optim);
    let stepper = Stepper::new(config);
    let factor = (RATES.1 / RATES.0).powf(1.0 / steps.saturating_sub(1).max(1) as f64);
    let (mut points, mut sum) = (Vec::<RatePoint>::new(), 0.0);
    for step in 0..steps {
        if interrupt.load(Ordering::Relaxed) {
            break;
        }
        let rate = RATES.0 * factor.powi(step as i32);
        let mut accumulated = Accumulated::of(config.train.accumulate);
        let parts = Part::all(step as u64, config.train.most_parts());
        for part in parts.take(config.train.accumulate) {
            if let Some(loss) = task.loss(&model, part, &autodiff) {
                accumulated.add(&model, loss);
            }
        }
        let Some(gradient) = accumulated.finish() else {
            continue;
        };
        let loss = read(gradient.loss.clone())?;
        if !loss.is_finite() {
            break;
        }
        sum = SMOOTH * sum + (1.0 - SMOOTH) * loss;
        let smoothed = sum / (1.0 - SMOOTH.powi(step as i32 + 1));
        points.push(RatePoint {
            rate,
            loss,
            smoothed,
        });
        let lowest = points
            .iter()
            .map(|p| p.smoothed)
            .fold(f64::INFINITY, f64::min);
        if smoothed > EXPLODED * lowest {
            break;
        }
        model = stepper.step_at(&mut optimizer, model, gradient, (rate, 0.0));
    }
    Ok(RateSearch::of(points))
}

impl RateSearch {
    fn of(points: Vec<RatePoint>) -> Self {
        let lowest = (points.iter())
            .min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))
            .map(|point| point.rate);
        // Rates grow by the same factor, so the slope over their logarithm is a difference.
        let steepest = (points.windows(2))
            .min_by(|a, b| {
                (a[1].smoothed - a[0].smoothed).total_cmp(&(b[1].smoothed - b[0].smoothed))
            })
            .filter(|pair| pair[1].smoothed < pair[0].smoothed)
            .map(|pair| pair[1].rate);
        Self {
            points,
            steepest,
            lowest,
            suggested: lowest.map(|rate| rate / 3.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_off_the_curve() {
        let curve = [4.0, 3.9, 3.5, 2.5, 2.2, 2.4, 9.0];
        let points = curve.iter().zip(0..).map(|(loss, at)| RatePoint {
            rate: 10f64.powi(at - 6),
            loss: *loss,
            smoothed: *loss,
        });
        let search = RateSearch::of(points.collect());
        assert_eq!((search.steepest, search.lowest), (Some(1e-3), Some(1e-2)));
        assert_eq!(search.suggested, Some(1e-2 / 3.0));
        assert_eq!(RateSearch::of(Vec::new()).suggested, None);
    }
}
