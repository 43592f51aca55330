//! Gradient clipping by the global norm: all gradients are scaled by `min(1, max_norm / ‖g‖₂)`.
//!
//! Burn clips each tensor by its own norm, which changes the direction of the step; the norm over all parameters does
//! not. The norm stays on the device: nothing is read back.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Scales `grads` so that their global norm is at most `max_norm`.
pub(crate) fn clip_global_norm<M: Module>(
    model: &M,
    mut grads: GradientsParams,
    max_norm: f64,
) -> GradientsParams {
    let mut squares = SumOfSquares {
        grads: &grads,
        sum: None,
    };
    model.visit(&mut squares);
    let Some(sum) = squares.sum else {
        return grads;
    };
    // The small constant keeps a gradient of zero from dividing by zero (PyTorch's value).
    let factor = (sum.sqrt() + 1e-6)
        .recip()
        .mul_scalar(max_norm)
        .clamp_max(1.0);
    let mut scale = Scale {
        grads: &mut grads,
        factor,
    };
    model.visit(&mut scale);
    grads
}

struct SumOfSquares<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let square = grad.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads
                .register(param.id, grad * self.factor.clone().unsqueeze());
        }
    }
}
