//! Gradient clipping by the global norm: all gradients are scaled by `min(1, max_norm / ‖g‖₂)`.
//!
//! Burn clips each tensor by its own norm, which changes the direction of the step; the norm over all parameters does
//! not. The factor stays on the device, and the optimiser's own pass over the gradients applies it.

use bitnet_models::float::sum_of_squares;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The factor `[1]`, of `most` at most, that brings the global norm of `grads` to `max_norm` at most; none if there are no
/// gradients.
pub(crate) fn clip_factor<M: Module>(
    model: &M,
    grads: &GradientsParams,
    max_norm: f64,
    most: f64,
) -> Option<Tensor<1>> {
    let mut squares = SumOfSquares { grads, sum: None };
    model.visit(&mut squares);
    // The small constant keeps a gradient of zero from dividing by zero (PyTorch's value).
    squares.sum.map(|sum| {
        (sum.sqrt() + 1e-6)
            .recip()
            .mul_scalar(max_norm)
            .clamp_max(most)
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[derive(Module, Debug)]
    struct Pair {
        matrix: Param<Tensor<2>>,
        vector: Param<Tensor<1>>,
        unused: Param<Tensor<1>>,
    }

    fn pair(device: &Device) -> Pair {
        Pair {
            matrix: Param::from_tensor(Tensor::ones([2, 2], device)),
            vector: Param::from_tensor(Tensor::ones([3], device)),
            unused: Param::from_tensor(Tensor::ones([5], device)),
        }
    }

    /// The factor where the gradients are `matrix` and `vector`.
    fn factor(matrix: [[f32; 2]; 2], vector: [f32; 3], max_norm: f64) -> f32 {
        let device = Device::flex().autodiff();
        let model = pair(&device);
        let matrix = model.matrix.val() * Tensor::from_floats(matrix, &device);
        let vector = model.vector.val() * Tensor::from_floats(vector, &device);
        let grads = GradientsParams::from_grads((matrix.sum() + vector.sum()).backward(), &model);
        clip_factor(&model, &grads, max_norm, 1.0)
            .unwrap()
            .into_scalar()
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_together() {
        let (matrix, vector) = ([[1.0, -2.0], [4.0, 2.0]], [3.0, -3.0, 2.5]);
        let norm = (1.0f64 + 4.0 + 16.0 + 4.0 + 9.0 + 9.0 + 6.25).sqrt();
        for max_norm in [0.25, 1.0, 7.0] {
            let expected = max_norm / norm;
            let found = f64::from(factor(matrix, vector, max_norm));
            assert!(
                (found / expected - 1.0).abs() < 1e-6,
                "{found} for {expected}"
            );
        }
    }

    #[test]
    fn gradients_within_the_norm_are_left_alone() {
        assert_eq!(factor([[0.5, 0.5], [0.5, 0.5]], [0.0; 3], 1.5), 1.0);
        assert_eq!(
            factor([[0.0; 2]; 2], [0.0; 3], 1.0),
            1.0,
            "no gradient, no division by 0"
        );
    }

    #[test]
    fn without_gradients_there_is_no_factor() {
        let model = pair(&Device::flex().autodiff());
        assert!(clip_factor(&model, &GradientsParams::new(), 1.0, 1.0).is_none());
    }
}
