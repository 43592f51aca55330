//! Learning rate and weight decay as functions of the step.
//!
//! With `t` the step (the first is 0), `T` the number of steps, `w` the warm-up, `p` the peak and `f` the final
//! fraction, let `u = (t − w) / (T − w)`, clamped to `0..=1`, be the progress after warm-up. Then
//!
//! ```text
//! lr(t) = p · (t + 1) / w                          while t < w
//! lr(t) = p · (f + (1 − f) · (1 + cos πu) / 2)     cosine
//! lr(t) = p · (1 − (1 − f) · u)                    linear
//! lr(t) = p                                        constant
//! lr(t) = p_i · (1 − (1 − f) · u)                  two-stage: p_1 before max(w, stage_fraction · T), then p_2
//! ```
//!
//! The two-stage form is that of the b1.58 "Training Tips" and of TriLM: a linear decay whose peak drops abruptly
//! half-way. The drop is where the ternary loss falls most; its curve is S-shaped and is to be judged at the end.
//! The weight decay is constant and becomes 0 at `weight_decay_until · T`: latent weights that are still pulled to
//! zero while the learning rate dies out flip their codes.
//!
//! Warm-up starts at `p / w`, not at 0, so no step is wasted; the last step is just above `f · p`. Every schedule
//! rises during warm-up, never rises after it, and is defined past the end, where it stays at its final value.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::OptimConfig;

/// How the learning rate falls after warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a cosine wave, from the peak to the final fraction.
    #[default]
    Cosine,
    /// A straight line from the peak to the final fraction.
    Linear,
    /// A straight line whose peak drops to `second_learning_rate` at `stage_fraction`.
    TwoStage,
    /// The peak, to the end.
    Constant,
}

impl OptimConfig {
    /// Learning rate of a step, the first being 0, in a run of `steps`.
    pub fn learning_rate_at(&self, step: usize, steps: usize) -> f64 {
        let warmup = self.warmup_steps;
        if step < warmup {
            return self.learning_rate * (step + 1) as f64 / warmup as f64;
        }
        let remaining = steps.saturating_sub(warmup).max(1);
        let progress = ((step - warmup) as f64 / remaining as f64).min(1.0);
        let last = self.final_lr_fraction;
        let linear = 1.0 - (1.0 - last) * progress;
        match self.schedule {
            Schedule::Cosine => {
                self.learning_rate * (last + (1.0 - last) * (1.0 + (PI * progress).cos()) / 2.0)
            }
            Schedule::Linear => self.learning_rate * linear,
            Schedule::TwoStage if past(self.stage_fraction, step, steps) => {
                self.second_learning_rate.unwrap_or(self.learning_rate) * linear
            }
            Schedule::TwoStage => self.learning_rate * linear,
            Schedule::Constant => self.learning_rate,
        }
    }

    /// Weight decay of a step, the first being 0, in a run of `steps`.
    pub fn weight_decay_at(&self, step: usize, steps: usize) -> f64 {
        if self.weight_decay_until < 1.0 && past(self.weight_decay_until, step, steps) {
            0.0
        } else {
            self.weight_decay
        }
    }
}

/// Whether a fraction of the run lies behind a step.
pub(crate) fn past(fraction: f64, step: usize, steps: usize) -> bool {
    step as f64 >= fraction * steps as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Schedule; 4] = [
        Schedule::Cosine,
        Schedule::Linear,
        Schedule::TwoStage,
        Schedule::Constant,
    ];

    fn optim(schedule: Schedule, warmup_steps: usize) -> OptimConfig {
        OptimConfig {
            learning_rate: 2.0,
            schedule,
            second_learning_rate: Some(1.0),
            warmup_steps,
            ..OptimConfig::default()
        }
    }

    #[track_caller]
    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-12, "{got} is not {want}");
    }

    #[test]
    fn warm_up_is_linear_and_reaches_the_peak() {
        for schedule in ALL {
            let optim = optim(schedule, 4);
            for (step, want) in [0.5, 1.0, 1.5, 2.0, 2.0].into_iter().enumerate() {
                close(optim.learning_rate_at(step, 104), want);
            }
        }
    }

    #[test]
    fn values_follow_the_formulas() {
        // w = 4, T = 104: step 54 is half of the way after warm-up, step 104 its end.
        for (schedule, step, want) in [
            (Schedule::Cosine, 54, 2.0 * 0.55),
            (Schedule::Cosine, 104, 0.2),
            (Schedule::Linear, 29, 2.0 * 0.775),
            (Schedule::Linear, 104, 0.2),
            (Schedule::TwoStage, 51, 2.0 * (1.0 - 0.9 * 0.47)),
            (Schedule::TwoStage, 52, 1.0 - 0.9 * 0.48),
            (Schedule::TwoStage, 104, 0.1),
            (Schedule::Constant, 104, 2.0),
        ] {
            close(optim(schedule, 4).learning_rate_at(step, 104), want);
        }
    }

    #[test]
    fn rises_in_warm_up_then_never_rises_and_is_never_negative() {
        for schedule in ALL {
            for steps in [0, 1, 2, 3, 7, 100] {
                for warmup in [0, 1, 2, 7, 90, 200] {
                    let mut optim = optim(schedule, warmup);
                    optim.final_lr_fraction = 0.0;
                    let rates: Vec<f64> = (0..2 * steps + 300)
                        .map(|t| optim.learning_rate_at(t, steps))
                        .collect();
                    assert!(
                        rates.iter().all(|lr| (0.0..=2.0).contains(lr)),
                        "{schedule:?} {rates:?}"
                    );
                    let (rise, fall) = rates.split_at(warmup);
                    assert!(rise.is_sorted(), "{schedule:?} {steps} {warmup}");
                    assert!(
                        fall.is_sorted_by(|a, b| a >= b),
                        "{schedule:?} {steps} {warmup}"
                    );
                }
            }
        }
    }

    #[test]
    fn one_step_is_taken_at_the_peak() {
        for schedule in [Schedule::Cosine, Schedule::Linear, Schedule::Constant] {
            close(optim(schedule, 0).learning_rate_at(0, 1), 2.0);
            close(optim(schedule, 1).learning_rate_at(0, 1), 2.0);
        }
    }

    #[test]
    fn weight_decay_ends_at_its_fraction() {
        let mut optim = OptimConfig {
            weight_decay_until: 0.5,
            ..OptimConfig::default()
        };
        let decays = |optim: &OptimConfig| {
            (0..4)
                .map(|t| optim.weight_decay_at(t, 4))
                .collect::<Vec<_>>()
        };
        assert_eq!(decays(&optim), [0.1, 0.1, 0.0, 0.0]);
        optim.weight_decay_until = 0.0;
        assert_eq!(decays(&optim), [0.0; 4]);
        optim.weight_decay_until = 1.0;
        assert_eq!(decays(&optim), [0.1; 4]);
        assert_eq!(optim.weight_decay_at(9, 4), 0.1);
    }
}
