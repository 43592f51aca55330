use bitnet_kernels::{Granularity, WeightQuantizer};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::ternary::{QuantizedActivations, dequantize_weights, quantize_weights};

/// What a [`BitLinear`](crate::BitLinear) computes: the switch between a model and its twin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinearKind {
    /// Ternary weights and int8 activations.
    #[default]
    Ternary,
    /// An ordinary float linear layer, `y = x · Wᵀ`.
    Float,
}

/// How a ternary layer quantises what it is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationQuantizer {
    /// 8 bits, absmax per token (BitNet b1.58).
    #[default]
    Int8,
    /// 4 bits, absmean · √7 per token (BitNet a4.8).
    Int4,
    /// Not at all: only weights are quantised (TriLM). The product is a float one.
    None,
}

impl ActivationQuantizer {
    /// The codes of `x`; none if activations stay float.
    pub fn quantize<const D: usize>(self, x: Tensor<D>) -> Option<QuantizedActivations<D>> {
        match self {
            ActivationQuantizer::Int8 => Some(QuantizedActivations::new(x)),
            ActivationQuantizer::Int4 => Some(QuantizedActivations::int4(x)),
            ActivationQuantizer::None => None,
        }
    }
}

/// The groups of `size` inputs that a row of `cols` weights falls into: `(start, len)`. One group without a size.
pub(super) fn groups(cols: usize, size: Option<usize>) -> impl Iterator<Item = (usize, usize)> {
    let size = size.unwrap_or(cols).max(1);
    (0..cols)
        .step_by(size)
        .map(move |start| (start, size.min(cols - start)))
}

/// The weights that a quantiser makes of `w` `[N, K]`, group by group. Not differentiable.
pub(super) fn fake_quantized(
    w: &Tensor<2>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
    group_size: Option<usize>,
) -> Tensor<2> {
    let parts = groups(w.dims()[1], group_size)
        .map(|(start, len)| {
            let part = w.clone().narrow(1, start, len);
            let (codes, scales) = quantize_weights(part, quantizer, granularity);
            dequantize_weights(codes, scales, len)
        })
        .collect();
    Tensor::cat(parts, 1)
}
