//! Inference with activations of 16 bits (IEEE half precision), on a GPU.
//!
//! What lies in memory between two kernels is f16: the residual stream, queries, keys, values and their cache, the inside of the
//! feed-forward, and the tables of the embedding and the head. What is computed inside a kernel stays f32: sums of squares,
//! softmax, rotations, and the scales of the quantisers; the sums of ternary products are integers anyway. The logits are f32.
//!
//! f16 ends at 65,504. The product of two activations in SwiGLU stays below that in any model that is not broken; the square in
//! ReLU² does not, so such models keep f32 (BitNet b1.58 2B4T is one).

use burn::module::Param;
use burn::tensor::{DType, Device, FloatDType, Tensor};

use crate::{
    ActivationQuantizer, HiddenAct, LinearKind, Network, Projection, Transformer, device_limits,
};

/// A model or device that cannot have activations of 16 bits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HalfError {
    /// Squares are beyond the largest f16.
    #[error(
        "model.hidden_act = \"relu2\": its squares exceed 65,504, the largest f16; run it in f32"
    )]
    Squares,
    /// A product of float operands of two types.
    #[error(
        "quant.activations is not \"int8\": only such ternary models run in f16; run it in f32"
    )]
    Quantizer,
    /// A processor computes in f32.
    #[error("f16 is for GPUs; this device computes in f32")]
    Processor,
    /// The adapter lacks the type.
    #[error(
        "this adapter has no 16-bit floats (the feature SHADER_F16 of WebGPU); run the model in f32"
    )]
    Adapter,
}

impl Transformer {
    /// The same model with activations, cache and tables in f16. Ternary weights, their scales and the norms stay as they are.
    ///
    /// # Errors
    /// If the model's numbers do not fit, or `device`, where it lies, has no f16.
    pub fn into_half(mut self, device: &Device) -> Result<Self, HalfError> {
        if self.config().hidden_act == HiddenAct::Relu2 {
            return Err(HalfError::Squares);
        }
        let takes = |projection: &Projection| match projection {
            Projection::Latent(linear) => {
                linear.kind == LinearKind::Float || linear.activations == ActivationQuantizer::Int8
            }
            Projection::Packed(linear) => linear.activations == ActivationQuantizer::Int8,
        };
        if !self.projections().iter().all(|(_, layer)| takes(layer)) {
            return Err(HalfError::Quantizer);
        }
        if device_limits(device).is_none() {
            return Err(HalfError::Processor);
        }
        if !device.supports_dtype(FloatDType::F16) {
            return Err(HalfError::Adapter);
        }
        self.embed_tokens.weight = half(self.embed_tokens.weight);
        self.lm_head = self.lm_head.map(half);
        for projection in self.projections_mut() {
            if let Projection::Latent(linear) = projection
                && linear.kind == LinearKind::Float
            {
                linear.weight = half(linear.weight.clone());
            }
        }
        Ok(self)
    }

    /// The type of the activations.
    pub fn dtype(&self) -> DType {
        self.embed_tokens.weight.val().dtype()
    }
}

fn half(weight: Param<Tensor<2>>) -> Param<Tensor<2>> {
    weight.map(|weight| weight.cast(FloatDType::F16))
}

/// In f32, for what 16 bits are too few.
pub(crate) fn in_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    in_dtype(x, DType::F32)
}

/// In that float type, or as it is.
pub(crate) fn in_dtype<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    match x.dtype() == dtype {
        true => x,
        false => x.cast(FloatDType::from(dtype)),
    }
}
