//! A step of the optimiser: its rate and weight decay, and gradient clipping.

use bitnet_config::OptimConfig;
use bitnet_models::Network;
use burn::tensor::Tensor;

use crate::accumulate::Gradient;
use crate::clip::clip_factor;
use crate::optimizer::{AdamW, StepSettings};

/// AdamW's rate and weight decay of a step, and gradient clipping.
pub(crate) struct Stepper {
    config: OptimConfig,
    steps: usize,
}

impl Stepper {
    /// Of a run of `steps` steps.
    pub fn new(config: OptimConfig, steps: usize) -> Self {
        Self { config, steps }
    }

    /// The learning rate of a step, the first being 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.config.learning_rate_at(step, self.steps)
    }

    /// The model after a step down a gradient, at the rate and the weight decay of the step.
    pub fn step<M: Network>(
        &self,
        optimizer: &mut AdamW,
        model: M,
        gradient: Gradient,
        step: usize,
    ) -> M {
        let decay = self.config.weight_decay_at(step, self.steps);
        self.step_at(
            optimizer,
            model,
            gradient,
            (self.learning_rate(step), decay),
        )
    }

    /// The model after a step down a gradient, at a learning rate and a weight decay.
    pub fn step_at<M: Network>(
        &self,
        optimizer: &mut AdamW,
        model: M,
        gradient: Gradient,
        (learning_rate, weight_decay): (f64, f64),
    ) -> M {
        let Gradient { grads, scale, loss } = gradient;
        let settings = StepSettings {
            learning_rate,
            weight_decay,
            factor: match self.config.grad_clip > 0.0 {
                true => clip_factor(&model, &grads, self.config.grad_clip, scale),
                false if scale == 1.0 => None,
                false => Some(Tensor::full([1], scale, &loss.device())),
            },
        };
        optimizer.step(settings, model, grads)
    }
}
