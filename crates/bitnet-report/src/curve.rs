//! Curves of a variant: one per seed, and their mean.
//!
//! Seeds of one variant are evaluated at the same steps, so the mean is taken step by step, over the steps that all of
//! them have; a run that stopped early shortens the mean instead of bending it. A seed whose loss is not finite makes
//! the mean not finite from there on, which draws as a gap.

use bitnet_results::{Run, Variant};

/// A step with what was known then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub step: u64,
    /// Training seconds so far; NaN where they are not known.
    pub seconds: f64,
    pub value: f64,
}

/// What is followed over the course of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Validation loss; the training loss of a run that was not evaluated on its way.
    Loss,
    /// The experiment's score, where the curve has it.
    Score,
}

/// The curve of one run. Its time begins with the training of its teacher, if it had one.
pub(crate) fn of_run(run: &Run, quantity: Quantity) -> Vec<Point> {
    let before = run.teacher_seconds.unwrap_or(0.0);
    let mut points = own(run, quantity);
    for point in &mut points {
        point.seconds += before;
    }
    points
}

fn own(run: &Run, quantity: Quantity) -> Vec<Point> {
    // A run that went on with another `eval_batches` has points of two quantities, which no line joins.
    let part = run.curve.last().and_then(|last| last.batches);
    let validation = run.curve.iter().filter(|p| p.batches == part);
    match quantity {
        Quantity::Score => validation
            .filter_map(|p| {
                Some(Point {
                    step: p.step,
                    seconds: p.seconds,
                    value: p.accuracy?,
                })
            })
            .collect(),
        Quantity::Loss if !run.was_followed() && !run.train_curve.is_empty() => {
            // Steps take about the same time each.
            let per_step = run.seconds / run.steps as f64;
            let train = run.train_curve.iter().map(|p| Point {
                step: p.step,
                seconds: if per_step > 0.0 {
                    p.step as f64 * per_step
                } else {
                    f64::NAN
                },
                value: p.loss,
            });
            train.collect()
        }
        Quantity::Loss => validation
            .map(|p| Point {
                step: p.step,
                seconds: p.seconds,
                value: p.loss,
            })
            .collect(),
    }
}

/// The curves of a variant's runs that have one.
pub(crate) fn of_runs(variant: &Variant, quantity: Quantity) -> Vec<Vec<Point>> {
    let curves = variant.runs.iter().map(|run| of_run(run, quantity));
    curves.filter(|curve| !curve.is_empty()).collect()
}

/// The mean over seeds, at the steps every one of them has.
pub(crate) fn mean(curves: &[Vec<Point>]) -> Vec<Point> {
    let Some((first, others)) = curves.split_first() else {
        return Vec::new();
    };
    // Curves are in order of steps, so each is walked once.
    let mut positions: Vec<_> = others.iter().map(|c| c.iter().peekable()).collect();
    let mut points = Vec::with_capacity(first.len());
    for point in first {
        let (mut seconds, mut value, mut everywhere) = (point.seconds, point.value, true);
        for position in &mut positions {
            while position.next_if(|p| p.step < point.step).is_some() {}
            match position.peek() {
                Some(same) if same.step == point.step => {
                    seconds += same.seconds;
                    value += same.value;
                }
                _ => everywhere = false,
            }
        }
        if everywhere {
            let n = curves.len() as f64;
            points.push(Point {
                step: point.step,
                seconds: seconds / n,
                value: value / n,
            });
        }
    }
    points
}

/// The value of a curve at a time, linear between points; `None` outside it or where it is not finite.
pub(crate) fn at(curve: &[Point], seconds: f64) -> Option<f64> {
    let timed = || curve.iter().filter(|p| p.seconds.is_finite());
    // The last point is reached exactly by the variant that sets the deadline.
    if let Some(last) = timed().next_back().filter(|p| p.seconds == seconds) {
        return Some(last.value).filter(|v| v.is_finite());
    }
    let (before, after) = timed()
        .zip(timed().skip(1))
        .find(|(a, b)| a.seconds <= seconds && seconds < b.seconds)?;
    let share = (seconds - before.seconds) / (after.seconds - before.seconds);
    let value = before.value + share * (after.value - before.value);
    value.is_finite().then_some(value)
}

/// When a curve ends.
pub(crate) fn end(curve: &[Point]) -> Option<Point> {
    curve.iter().copied().rfind(|p| p.seconds.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(u64, f64, f64)]) -> Vec<Point> {
        let point = |&(step, seconds, value): &(u64, f64, f64)| Point {
            step,
            seconds,
            value,
        };
        points.iter().map(point).collect()
    }

    #[test]
    fn the_mean_keeps_common_steps() {
        let a = curve(&[(0, 0.0, 4.0), (10, 1.0, 3.0), (20, 2.0, 2.0)]);
        let b = curve(&[(0, 0.0, 6.0), (5, 0.5, 9.0), (20, 4.0, 1.0)]);
        assert_eq!(mean(&[a, b]), curve(&[(0, 0.0, 5.0), (20, 3.0, 1.5)]));
        assert!(mean(&[]).is_empty());
    }

    #[test]
    fn between_points() {
        let a = curve(&[(0, 0.0, 4.0), (10, 1.0, 3.0), (20, 3.0, 2.0)]);
        assert_eq!(at(&a, 2.0), Some(2.5));
        assert_eq!(at(&a, 3.0), Some(2.0));
        assert_eq!(
            (at(&a, 3.1), at(&a, -1.0), at(&[], 0.0)),
            (None, None, None)
        );
    }

    #[test]
    fn points_of_a_part_and_of_the_whole_split_are_not_joined() {
        use bitnet_results::ValPoint;
        let point = |step, batches| ValPoint {
            step,
            loss: 1.0,
            batches,
            ..ValPoint::default()
        };
        let run = Run {
            curve: vec![
                point(0, Some(2)),
                point(5, None),
                point(10, Some(2)),
                point(15, Some(2)),
            ],
            ..Run::default()
        };
        let steps: Vec<u64> = of_run(&run, Quantity::Loss)
            .iter()
            .map(|p| p.step)
            .collect();
        assert_eq!(steps, [0, 10, 15]);
    }
}
