//! Gradients of a step that learns from several batches, one after the other or on several devices: their mean over all
//! predictions, as if the batches had been one. Memory is that of one of them, and one more gradient.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};

use crate::task::StepLoss;

/// The gradients of the parts so far.
pub(crate) struct Accumulated<M> {
    sum: GradientsAccumulator<M>,
    /// Of a step of one part, as they are.
    only: Option<GradientsParams>,
    /// Predictions of the first part, which weighs 1, and of all.
    predictions: Option<(usize, usize)>,
    /// The weighted sum of the parts' losses, on the plain device.
    loss: Option<Tensor<1>>,
    parts: usize,
}

/// What a step goes by.
pub(crate) struct Gradient {
    /// Of all parameters.
    pub grads: GradientsParams,
    /// What they are to be multiplied by.
    pub scale: f64,
    /// The loss that they are of, on the plain device.
    pub loss: Tensor<1>,
}

impl<M: Module> Accumulated<M> {
    /// Before the first of `parts` parts.
    pub fn of(parts: usize) -> Self {
        Self {
            sum: GradientsAccumulator::new(),
            only: None,
            predictions: None,
            loss: None,
            parts,
        }
    }

    /// Adds the gradients of a part: `Σ wᵢ · ∂lossᵢ`, where `wᵢ` is its number of predictions by that of the first part.
    pub fn add(&mut self, model: &M, part: StepLoss) {
        let (first, before) = self.predictions.unwrap_or((part.predictions, 0));
        self.predictions = Some((first, before + part.predictions));
        let weight = part.predictions as f64 / first.max(1) as f64;
        let loss = match weight == 1.0 {
            true => part.mean,
            false => part.mean.mul_scalar(weight),
        };
        let value = match part.gradient {
            Some(_) => loss.clone(),
            None => loss.clone().inner(),
        };
        self.loss = Some(match self.loss.take() {
            Some(sum) => sum + value,
            None => value,
        });
        let grads = match part.gradient {
            Some(grads) if weight == 1.0 => grads,
            Some(grads) => scaled(model, grads, weight),
            None => GradientsParams::from_grads(loss.backward(), model),
        };
        match self.parts {
            1 => self.only = Some(grads),
            _ => self.sum.accumulate(model, grads),
        }
    }

    /// Adds the gradients that another device found, and moves them to this plain one.
    pub fn join(&mut self, model: &M, mut other: Self, device: &Device) {
        let (Some((others_first, others_all)), Some(loss)) = (other.predictions, other.loss.take())
        else {
            return;
        };
        let (first, before) = self.predictions.unwrap_or((others_first, 0));
        self.predictions = Some((first, before + others_all));
        let weight = others_first as f64 / first.max(1) as f64;
        let (mut loss, mut grads) = (
            loss.to_device(device),
            other.sum.grads().to_device(device, model),
        );
        if weight != 1.0 {
            loss = loss.mul_scalar(weight);
            grads = scaled(model, grads, weight);
        }
        self.loss = Some(match self.loss.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
        self.sum.accumulate(model, grads);
    }

    /// The gradients of the step; none if no part had anything to learn from.
    pub fn finish(mut self) -> Option<Gradient> {
        let (first, all) = self.predictions?;
        let loss = self.loss?;
        let scale = first as f64 / all.max(1) as f64;
        Some(Gradient {
            grads: self.only.unwrap_or_else(|| self.sum.grads()),
            scale,
            loss: match scale == 1.0 {
                true => loss,
                false => loss.mul_scalar(scale),
            },
        })
    }
}

/// The gradients of a model times a factor.
fn scaled<M: Module>(model: &M, mut grads: GradientsParams, factor: f64) -> GradientsParams {
    struct Scale<'a>(&'a mut GradientsParams, f64);
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient.mul_scalar(self.1));
            }
        }
    }
    model.visit(&mut Scale(&mut grads, factor));
    grads
}
