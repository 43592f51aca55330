//! The residual connection around a part of a block, with its norm.
//!
//! ```text
//! pre, sub   x + f(norm(x))        post   norm(x + f(x))        inside   x + f(x), the norms are in f's linear layers
//! ```
//!
//! `x` is what enters the part, not what the part makes of it.

use bitnet_nn::float::rms_norm;
use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use crate::NormPlacement;
use crate::dropout::Dropout;
use crate::init::Init;

/// Norm, residual sum and dropout around one part.
#[derive(Module, Debug)]
pub struct Residual {
    /// The norm before the part or after the sum; absent when norms stand inside the linear layers.
    pub norm: Option<RmsNorm>,
    pub(crate) dropout: Dropout,
    pub(crate) post: bool,
}

impl Residual {
    pub(crate) fn new(init: &Init<'_>) -> Self {
        let placement = init.quant.norm;
        Self {
            norm: (placement != NormPlacement::Inside).then(|| init.norm(init.model.hidden_size)),
            dropout: init.dropout(),
            post: placement == NormPlacement::Post,
        }
    }

    pub(crate) fn around(
        &self,
        x: Tensor<3>,
        part: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        match (&self.norm, self.post) {
            (Some(norm), true) => rms_norm(norm, x.clone() + self.dropout.forward(part(x))),
            (Some(norm), false) => x.clone() + self.dropout.forward(part(rms_norm(norm, x))),
            (None, _) => x.clone() + self.dropout.forward(part(x)),
        }
    }
}
