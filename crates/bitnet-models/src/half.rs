//! Inference with activations of 16 bits (IEEE half precision), on a GPU.
//!
//! What lies in memory between two kernels is f16: the residual stream, queries, keys, values and their cache, the
//! inside of the feed-forward, the tables of the embedding and the head, and the weights of float layers. Norms,
//! rotations, softmax, decoding's attention and the scales of the quantisers are computed in f32 and rounded once; the
//! sums of ternary products are integers anyway, and the logits are f32. Burn's own operations compute in f16: residual
//! sums, SwiGLU, float products, and the products of a prompt's attention.
//!
//! f16 ends at 65,504. The product of two activations in SwiGLU stays below that in any model that is not broken; the
//! square in ReLU² does not, so such models keep f32 (BitNet b1.58 2B4T is one).

use bitnet_nn::float::embedding;
use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData, f16};

use crate::{
    ActivationQuantizer, Granularity, HiddenAct, Network, Projection, Transformer, device_limits,
};

/// A model or device that cannot have activations of 16 bits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HalfError {
    /// Squares are beyond the largest f16.
    #[error(
        "model.hidden_act = \"relu2\": its squares exceed 65,504, the largest f16; run it in f32"
    )]
    Squares,
    /// Ternary layers composed of several operations would be rounded between them.
    #[error(
        "only ternary models with quant.activations = \"int8\" and no groups run in f16; run it in f32"
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
    /// The weights cannot be read back to be narrowed.
    #[error("the weights could not be read from the device: {0}")]
    Read(String),
}

impl Transformer {
    /// The same model with activations, cache, tables and float layers in f16. Ternary weights, their scales and the
    /// norms stay as they are.
    ///
    /// # Errors
    /// If the model's numbers do not fit, or `device`, where it lies, has no f16.
    pub fn into_half(mut self, device: &Device) -> Result<Self, HalfError> {
        if self.config().hidden_act == HiddenAct::Relu2 {
            return Err(HalfError::Squares);
        }
        let takes = |projection: &Projection| {
            let scheme = match projection {
                Projection::Float(_) => return true,
                Projection::Ternary(linear) => linear.quantization,
                Projection::Packed(linear) => linear.quantization,
            };
            let groups = matches!(scheme.granularity, Granularity::Group(_));
            scheme.activations == ActivationQuantizer::Int8 && !groups
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
        self.embed_tokens.weight = half(&self.embed_tokens.weight, device)?;
        if let Some(head) = &mut self.lm_head {
            *head = half(head, device)?;
        }
        for projection in self.projections_mut() {
            if let Projection::Float(linear) = projection {
                linear.weight = half(&linear.weight, device)?;
            }
        }
        Ok(self)
    }

    /// The type of the activations.
    pub fn dtype(&self) -> DType {
        self.embed_tokens.weight.val().dtype()
    }
}

/// Rows that are read from a device at a time, in bytes: far below what any binds.
const BLOCK_BYTES: usize = 16 << 20;

/// The weights in f16. A table may be larger than the device binds at once, so they are read in blocks of rows and
/// narrowed on the host.
fn half(weight: &Param<Tensor<2>>, device: &Device) -> Result<Param<Tensor<2>>, HalfError> {
    let weight = weight.val();
    let [rows, cols] = weight.dims();
    let step = (BLOCK_BYTES / (cols * size_of::<f32>())).max(1);
    let mut narrow: Vec<f16> = Vec::with_capacity(rows * cols);
    for first in (0..rows).step_by(step) {
        let ids = first as i64..rows.min(first + step) as i64;
        let ids = Tensor::arange(ids, device).unsqueeze();
        let read = |error: &dyn std::fmt::Display| HalfError::Read(error.to_string());
        let block = embedding(weight.clone(), ids).try_into_data();
        let block = block.map_err(|error| read(&error))?.convert::<f16>();
        narrow.extend(block.try_to_vec::<f16>().map_err(|error| read(&error))?);
    }
    let narrow = TensorData::new(narrow, [rows, cols]);
    Ok(device.memory_persistent_allocations(narrow, |narrow| {
        let weight = Tensor::from_data(narrow, (device, DType::F16));
        Param::initialized(ParamId::new(), weight)
    }))
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
