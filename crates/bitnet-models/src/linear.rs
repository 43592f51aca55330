//! The linear layer of a float model.

use bitnet_nn::float::{linear, rms_norm};
use burn::module::{Module, Param};
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

/// `y = x · Wᵀ`, with an RMSNorm of the input where the norms stand inside the layers.
///
/// Its weights lie as PyTorch and Hugging Face store them, and as [`BitLinear`](bitnet_nn::BitLinear)'s do, so that twins
/// start from the same matrix; [`burn::nn::Linear`]'s are the transpose.
#[derive(Module, Debug)]
pub struct Linear {
    /// Weights, `[d_output, d_input]`.
    pub weight: Param<Tensor<2>>,
    /// RMSNorm of the input.
    pub norm: Option<RmsNorm>,
}

impl Linear {
    /// The forward pass.
    ///
    /// # Shapes
    /// `[..., d_input]` → `[..., d_output]`.
    ///
    /// # Panics
    /// If the last dimension of `x` is not `d_input`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let x = match &self.norm {
            Some(norm) => rms_norm(norm, x),
            None => x,
        };
        linear(x, self.weight.val())
    }
}
