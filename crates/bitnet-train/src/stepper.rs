//! A step of the optimiser: its rate and weight decay, gradient clipping, and the pull of the recipe.

use bitnet_config::{OptimConfig, RunConfig};
use bitnet_models::Network;
use burn::tensor::Tensor;

use crate::accumulate::Gradient;
use crate::clip::clip_factor;
use crate::optimizer::{Optimizer, StepSettings, orthogonal};

/// The rate and weight decay of a step, gradient clipping, and what follows a step.
pub(crate) struct Stepper<'a> {
    config: &'a RunConfig,
    optim: OptimConfig,
}

impl<'a> Stepper<'a> {
    /// Of a run.
    pub fn new(config: &'a RunConfig) -> Self {
        let optim = config.train.optim(config.model.linear);
        Self { config, optim }
    }

    /// The learning rate of a step, the first being 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.config.rates_at(step).0
    }

    /// The model after a step down a gradient, at the rate and the weight decay of the step.
    pub fn step<M: Network>(
        &self,
        optimizer: &mut Optimizer,
        model: M,
        gradient: Gradient,
        step: usize,
    ) -> M {
        let mut model = self.step_at(optimizer, model, gradient, self.config.rates_at(step));
        let pull = self.config.pull_at(step);
        if pull > 0.0 {
            model.pull(pull);
        }
        model
    }

    /// The model after a step down a gradient, at a learning rate and a weight decay.
    pub fn step_at<M: Network>(
        &self,
        optimizer: &mut Optimizer,
        model: M,
        gradient: Gradient,
        (learning_rate, weight_decay): (f64, f64),
    ) -> M {
        let Gradient { grads, scale, loss } = gradient;
        let settings = StepSettings {
            learning_rate,
            weight_decay,
            factor: match self.optim.grad_clip > 0.0 {
                true => clip_factor(&model, &grads, self.optim.grad_clip, scale),
                false if scale == 1.0 => None,
                false => Some(Tensor::full([1], scale, &loss.device())),
            },
            orthogonal: orthogonal(&self.optim, &model),
        };
        optimizer.step(settings, model, grads)
    }
}
