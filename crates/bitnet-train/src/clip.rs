//! Gradient clipping by the global norm: all gradients are scaled by `min(1, max_norm / ‖g‖₂)`.
//!
//! Burn clips each tensor by its own norm, which changes the direction of the step; the norm over all parameters does
//! not. The factor stays on the device, and the optimiser's own pass over the gradients applies it.

use bitnet_models::fused::sum_of_squares;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The factor `[1]` that brings the global norm of `grads` to `max_norm` at most; none if there are no gradients.
pub(crate) fn clip_factor<M: Module>(
    model: &M,
    grads: &GradientsParams,
    max_norm: f64,
) -> Option<Tensor<1>> {
    let mut squares = SumOfSquares { grads, sum: None };
    model.visit(&mut squares);
    // The small constant keeps a gradient of zero from dividing by zero (PyTorch's value).
    squares.sum.map(|sum| {
        (sum.sqrt() + 1e-6)
            .recip()
            .mul_scalar(max_norm)
            .clamp_max(1.0)
    })
}

struct SumOfSquares<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let square = sum_of_squares(grad);
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}
