//! `[recipe]`: what a ternary model does in training beside learning straight through its quantiser, and when.
//!
//! With `t` the step (the first is 0), `T` the number of steps, `p = t / T`, `α` the scale of a weight and `ŵ` what it is
//! quantised to:
//!
//! ```text
//! trust         ∂w = ∂ŵ where |ŵ − w| ≤ trust · α, else 0                          QuEST, arXiv 2502.05003: ½
//! pull          after a step w ← w − lr · λ · (w − ŵ), λ = pull · (p − from) / (1 − from)   CAGE, arXiv 2510.18784
//! residual      y = ŵ x + ε · w x, ε = residual · 10 p, from p = 0.1 on residual · (1 + cos πu) / 2
//!               with u = (p − 0.1) / 0.9                                           Arenas: Sherry, arXiv 2601.07892
//! soft codes    ŵ = α Σ c · softmax(−(w/α − c)² / τ), τ = temperature · (1 − p / until); from there on rounded
//!                                                                                  Hestia, arXiv 2601.20745
//! float first   λ = 0 until p = float_until, with the float twin's peak rate; then ternary, and its whole schedule anew
//!                                                                                  arXiv 2502.11895
//! ```
//!
//! All of it is gone when a model is evaluated or exported, and is a function of the step, so that a resumed run goes on
//! exactly. The float twin has none of it.

use bitnet_models::{LinearKind, TrainingForm};
use serde::{Deserialize, Serialize};

use crate::schedule::past;
use crate::validate::{between, ensure, positive};
use crate::{ConfigError, RunConfig};

/// Share of the steps over which the float path beside the quantised one rises.
const RESIDUAL_RISE: f64 = 0.1;

/// How a ternary model trains beside the plain way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecipeConfig {
    /// Half-width, in scales, of the band around its code in which a weight takes its gradient (QuEST's trust mask, with
    /// 0.5); 0 is everywhere.
    pub trust: f64,
    /// Strength of the pull of every latent weight towards what it is quantised to, at the end: each step takes the learning
    /// rate times this of the way (CAGE); 0 is none.
    pub pull: f64,
    /// Fraction of the steps from which the pull rises from 0.
    pub pull_from: f64,
    /// Largest factor of a float product beside the quantised one, which rises to it over a tenth of the steps and falls to
    /// 0 by the end (Arenas); 0 is none.
    pub residual: f64,
    /// First temperature of soft codes, a softmax over −1, 0 and 1 that hardens (Hestia); 0 rounds from the start.
    pub temperature: f64,
    /// Fraction of the steps at which the temperature has fallen to 0.
    pub temperature_until: f64,
    /// Fraction of the steps in which the model is a float one, at the float twin's peak rate; then it is ternary and its
    /// schedule begins anew. 0 is ternary from the start.
    pub float_until: f64,
}

impl Default for RecipeConfig {
    fn default() -> Self {
        Self {
            trust: 0.0,
            pull: 0.0,
            pull_from: 0.5,
            residual: 0.0,
            temperature: 0.0,
            temperature_until: 0.8,
            float_until: 0.0,
        }
    }
}

/// The share of a run that lies behind a step.
fn progress(step: usize, steps: usize) -> f64 {
    step as f64 / steps.max(1) as f64
}

impl RecipeConfig {
    fn residual_at(&self, progress: f64) -> f64 {
        match progress < RESIDUAL_RISE {
            true => self.residual * progress / RESIDUAL_RISE,
            false => {
                let fall = (progress - RESIDUAL_RISE) / (1.0 - RESIDUAL_RISE);
                self.residual * (1.0 + (std::f64::consts::PI * fall.min(1.0)).cos()) / 2.0
            }
        }
    }

    fn temperature_at(&self, progress: f64) -> f64 {
        match progress < self.temperature_until {
            true => self.temperature * (1.0 - progress / self.temperature_until),
            false => 0.0,
        }
    }

    /// The factor of the learning rate in the pull after a step, the first being 0, in a run of `steps`.
    pub fn pull_at(&self, step: usize, steps: usize) -> f64 {
        let rise = (progress(step, steps) - self.pull_from) / (1.0 - self.pull_from).max(1e-9);
        self.pull * rise.clamp(0.0, 1.0)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        for (key, value, most) in [
            ("recipe.trust", self.trust, 1e3),
            ("recipe.pull", self.pull, 1e3),
            ("recipe.residual", self.residual, 10.0),
            ("recipe.temperature", self.temperature, 100.0),
        ] {
            between(key, value, most)?;
        }
        for (key, value) in [
            ("recipe.pull_from", self.pull_from),
            ("recipe.float_until", self.float_until),
        ] {
            ensure((0.0..1.0).contains(&value), key, value, || {
                "must be at least 0 and below 1".into()
            })?;
        }
        let (key, until) = ("recipe.temperature_until", self.temperature_until);
        ensure(until > 0.0 && until <= 1.0, key, until, || {
            "must be above 0 and at most 1".into()
        })
    }
}

impl RunConfig {
    /// What the ternary layers compute in a step, the first being 0.
    pub fn form_at(&self, step: usize) -> TrainingForm {
        let plain = TrainingForm::default();
        if self.model.linear == LinearKind::Float {
            return plain;
        }
        let (recipe, progress) = (&self.recipe, progress(step, self.train.steps));
        TrainingForm {
            lambda: match self.float_steps().checked_sub(step) {
                Some(1..) => 0.0,
                _ => self.train.lambda_at(step - self.float_steps()),
            },
            trust: match recipe.trust > 0.0 {
                true => recipe.trust as f32,
                false => plain.trust,
            },
            residual: recipe.residual_at(progress) as f32,
            temperature: recipe.temperature_at(progress) as f32,
        }
    }

    /// The steps in which a ternary model is a float one.
    fn float_steps(&self) -> usize {
        match self.model.linear {
            LinearKind::Float => 0,
            LinearKind::Ternary => {
                (self.recipe.float_until * self.train.steps as f64).round() as usize
            }
        }
    }

    /// Learning rate and weight decay of a step, the first being 0, by the settings of the model's twin.
    pub fn rates_at(&self, step: usize) -> (f64, f64) {
        let (train, float) = (&self.train, self.float_steps());
        let steps = train.steps - float.min(train.steps);
        match step.checked_sub(float) {
            Some(step) => {
                let optim = train.optim(self.model.linear);
                (
                    optim.learning_rate_at(step, steps),
                    optim.weight_decay_at(step, steps),
                )
            }
            None => {
                let optim = train.optim(LinearKind::Float);
                let rise = (step + 1) as f64 / optim.warmup_steps.max(1) as f64;
                (optim.learning_rate * rise.min(1.0), optim.weight_decay)
            }
        }
    }

    /// The share of the way to its quantised value that a latent weight is moved after a step.
    pub fn pull_at(&self, step: usize) -> f64 {
        match self.model.linear {
            LinearKind::Float => 0.0,
            LinearKind::Ternary => {
                self.rates_at(step).0 * self.recipe.pull_at(step, self.train.steps)
            }
        }
    }

    /// Batches that a step learns from, the first step being 0.
    pub fn parts_at(&self, step: usize) -> usize {
        let train = &self.train;
        match past(train.late_from, step, train.steps) {
            true => train.most_parts(),
            false => train.accumulate,
        }
    }

    pub(crate) fn validate_recipe(&self) -> Result<(), ConfigError> {
        self.recipe.validate()?;
        let train = &self.train;
        positive("train.late_accumulate", train.late_accumulate)?;
        for (key, value) in [
            ("train.late_from", train.late_from),
            ("train.distill_start", train.distill_start),
        ] {
            between(key, value, 1.0)?;
        }
        let sequences = train.batch_size.checked_mul(train.late_accumulate);
        let late = train.late_accumulate;
        ensure(sequences.is_some(), "train.late_accumulate", late, || {
            "times train.batch_size is no number of sequences; lower one of them".into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> RunConfig {
        toml::from_str(text).unwrap()
    }

    #[track_caller]
    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }

    #[test]
    fn nothing_is_set_by_default() {
        let config = RunConfig::default();
        for step in [0, 1, 500, 999] {
            assert_eq!(config.form_at(step), TrainingForm::default());
            assert_eq!((config.pull_at(step), config.parts_at(step)), (0.0, 1));
            let optim = config.train.optim(LinearKind::Ternary);
            assert_eq!(config.rates_at(step).0, optim.learning_rate_at(step, 1000));
        }
    }

    #[test]
    fn the_float_twin_has_none_of_it() {
        let config = config(
            "[model]\nlinear = \"float\"\n[train]\nsteps = 100\nlambda_warmup = 0.5\n\
             [recipe]\ntrust = 0.5\npull = 1.0\nresidual = 1.0\ntemperature = 1.0\nfloat_until = 0.5",
        );
        for step in [0, 20, 60, 99] {
            assert_eq!(config.form_at(step), TrainingForm::default());
            assert_eq!(config.pull_at(step), 0.0);
            let optim = config.train.optim(LinearKind::Float);
            assert_eq!(config.rates_at(step).0, optim.learning_rate_at(step, 100));
        }
    }

    #[test]
    fn residual_rises_over_a_tenth_and_falls_to_nothing() {
        let config = config("[train]\nsteps = 100\n[recipe]\nresidual = 0.5");
        let at = |step| f64::from(config.form_at(step).residual);
        for (step, want) in [(0, 0.0), (5, 0.25), (10, 0.5), (55, 0.25), (100, 0.0)] {
            close(at(step), want);
        }
    }

    #[test]
    fn temperature_falls_in_a_line_and_codes_are_hard_after_it() {
        let config =
            config("[train]\nsteps = 100\n[recipe]\ntemperature = 2.0\ntemperature_until = 0.5");
        let at = |step| f64::from(config.form_at(step).temperature);
        for (step, want) in [(0, 2.0), (25, 1.0), (49, 0.04), (50, 0.0), (99, 0.0)] {
            close(at(step), want);
        }
    }

    #[test]
    fn the_pull_is_the_rate_times_a_ramp() {
        let config = config(
            "[train]\nsteps = 100\nschedule = \"constant\"\nwarmup_steps = 0\nlearning_rate = 0.01\n\
             [recipe]\npull = 4.0\npull_from = 0.5",
        );
        for (step, want) in [(0, 0.0), (50, 0.0), (75, 0.02), (100, 0.04)] {
            close(config.pull_at(step), want);
        }
    }

    #[test]
    fn float_first_takes_the_float_rate_and_begins_the_schedule_anew() {
        let config = config(
            "[train]\nsteps = 100\nwarmup_steps = 4\n[train.float]\nlearning_rate = 1e-3\nweight_decay = 0.3\n\
             [train.ternary]\nlearning_rate = 4e-3\n[recipe]\nfloat_until = 0.4",
        );
        let ternary = config.train.optim(LinearKind::Ternary);
        for (step, rate, lambda) in [(0, 0.25e-3, 0.0), (3, 1e-3, 0.0), (39, 1e-3, 0.0)] {
            close(config.rates_at(step).0, rate);
            assert_eq!(config.rates_at(step).1, 0.3);
            assert_eq!(config.form_at(step).lambda, lambda);
        }
        for step in [40, 41, 70, 99] {
            let want = ternary.learning_rate_at(step - 40, 60);
            assert_eq!(config.rates_at(step).0, want);
            assert_eq!(config.form_at(step).lambda, 1.0);
        }
        close(config.rates_at(43).0, 4e-3);
    }

    #[test]
    fn late_steps_learn_from_more() {
        let config = config(
            "[train]\nsteps = 8\nbatch_size = 3\naccumulate = 2\nlate_accumulate = 4\nlate_from = 0.75",
        );
        let parts: Vec<usize> = (0..8).map(|step| config.parts_at(step)).collect();
        assert_eq!(parts, [2, 2, 2, 2, 2, 2, 4, 4]);
        assert_eq!(config.train.step_sequences(), 12);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (text, key) in [
            ("[recipe]\ntrust = -1.0", "recipe.trust"),
            ("[recipe]\npull = nan", "recipe.pull"),
            ("[recipe]\npull_from = 1.0", "recipe.pull_from"),
            ("[recipe]\nresidual = 11.0", "recipe.residual"),
            ("[recipe]\ntemperature = -0.1", "recipe.temperature"),
            (
                "[recipe]\ntemperature_until = 0.0",
                "recipe.temperature_until",
            ),
            ("[recipe]\nfloat_until = 1.0", "recipe.float_until"),
            ("[train]\nlate_accumulate = 0", "train.late_accumulate"),
            ("[train]\nlate_from = 1.5", "train.late_from"),
            ("[train]\ndistill_start = -0.5", "train.distill_start"),
        ] {
            let error = config(text).validate_recipe().unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
