use bitnet_kernels::{Granularity, PackedTernary};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param, ParamId};
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::bit_linear::add_bias;
use crate::fused::rms_norm;
use crate::tensor::{QuantizedActivations, packed_linear, packed_linear_quantized};

/// Configuration of an empty [`PackedBitLinear`], to load a record into.
#[derive(Config, Debug)]
pub struct PackedBitLinearConfig {
    /// Number of input features.
    pub d_input: usize,
    /// Number of output features.
    pub d_output: usize,
    /// Whether there is a bias.
    #[config(default = false)]
    pub bias: bool,
    /// Weights that share a scale.
    #[config(default = "Granularity::Tensor")]
    pub granularity: Granularity,
    /// Epsilon of the RMSNorm in front of the quantiser, if there is one.
    pub norm: Option<f64>,
}

/// A ternary linear layer for inference: 2 bits per weight, exact integer product.
///
/// `y = (x_q · W_qᵀ) / s_w / s_x + b`. Made by [`BitLinear::pack`](crate::BitLinear::pack), from
/// [`PackedTernary`] weights, or empty by [`PackedBitLinearConfig::init`]; saved and loaded in Burn records.
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct PackedBitLinear {
    /// Ternary codes, `[d_output, ⌈d_input/16⌉]`, u32: the layout of [`PackedTernary`].
    pub words: Param<Tensor<2, Int>>,
    /// Weight scale, `[1]` or `[d_output]`.
    pub scales: Param<Tensor<1>>,
    /// Bias, `[d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// RMSNorm in front of the quantiser.
    pub norm: Option<RmsNorm>,
    /// Number of input features: the words do not tell it, their last one may be padded.
    #[module(skip)]
    pub d_input: usize,
}

/// Packed weights that do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The words or scales are not those of such a matrix.
    #[error("packed weights: {0}")]
    Layout(#[from] bitnet_kernels::Error),
    /// The tensor could not be read from its device.
    #[error("packed weights could not be read from the device: {0}")]
    Read(String),
}

impl PackedBitLinearConfig {
    /// Makes a layer of zero weights on `device`.
    pub fn init(&self, device: &Device) -> PackedBitLinear {
        let words_per_row = bitnet_kernels::words_per_row(self.d_input);
        // Every code 1: the weight 0.
        let words = vec![0x5555_5555u32; self.d_output * words_per_row];
        let scales = match self.granularity {
            Granularity::Tensor => 1,
            Granularity::Row => self.d_output,
        };
        PackedBitLinear::from_parts(
            words_tensor(words, [self.d_output, words_per_row], device),
            Tensor::ones([scales], device),
            self.bias.then(|| Tensor::zeros([self.d_output], device)),
            self.norm.map(|eps| {
                RmsNormConfig::new(self.d_input)
                    .with_epsilon(eps)
                    .init(device)
            }),
            self.d_input,
        )
    }
}

impl PackedBitLinear {
    pub(super) fn from_parts(
        words: Tensor<2, Int>,
        scales: Tensor<1>,
        bias: Option<Tensor<1>>,
        norm: Option<RmsNorm>,
        d_input: usize,
    ) -> Self {
        let fixed =
            |tensor: Tensor<1>| Param::initialized(ParamId::new(), tensor).set_require_grad(false);
        Self {
            words: Param::initialized(ParamId::new(), words),
            scales: fixed(scales),
            bias: bias.map(fixed),
            norm: norm.map(Module::no_grad),
            d_input,
        }
    }

    /// A layer of these weights, without bias and norm.
    pub fn from_packed(packed: &PackedTernary, device: &Device) -> Self {
        let (rows, cols) = (packed.rows(), packed.cols());
        let shape = [rows, bitnet_kernels::words_per_row(cols)];
        let scales = packed.scales().to_vec();
        let groups = scales.len();
        Self::from_parts(
            words_tensor(packed.words().to_vec(), shape, device),
            Tensor::from_data(TensorData::new(scales, [groups]), device),
            None,
            None,
            cols,
        )
    }

    /// The weights on the host.
    ///
    /// # Errors
    /// If the tensors cannot be read back, or hold what is no packed matrix (a damaged record).
    pub fn to_packed(&self) -> Result<PackedTernary, PackError> {
        let read = |error: &dyn std::fmt::Display| PackError::Read(error.to_string());
        let words = self.words.val().try_into_data().map_err(|e| read(&e))?;
        let words = words.try_to_vec::<u32>().map_err(|e| read(&e))?;
        let scales = self.scales.val().try_into_data().map_err(|e| read(&e))?;
        let scales = scales.try_to_vec::<f32>().map_err(|e| read(&e))?;
        let [rows, _] = self.words.dims();
        Ok(PackedTernary::from_words(
            words,
            scales,
            rows,
            self.d_input,
        )?)
    }

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
        assert_eq!(
            x.dims()[D - 1],
            self.d_input,
            "PackedBitLinear: the input's last dimension must be d_input"
        );
        let y = packed_linear(x, self.words.val(), self.scales.val());
        add_bias(y, self.bias.as_ref().map(Param::val))
    }

    /// The forward pass of activations that several layers share, quantised once for all of them.
    ///
    /// The same numbers as [`forward`](Self::forward). A norm inside this layer reads the values and not the codes.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_quantized<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        if self.norm.is_some() {
            return self.forward(x.values().clone());
        }
        let y = packed_linear_quantized(x, self.words.val(), self.scales.val());
        add_bias(y, self.bias.as_ref().map(Param::val))
    }

    /// Bytes of the codes and scales.
    pub fn weight_bytes(&self) -> usize {
        let [rows, words] = self.words.dims();
        let [scales] = self.scales.dims();
        4 * (rows * words + scales)
    }
}

fn words_tensor(words: Vec<u32>, shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(words, shape), (device, DType::U32))
}

impl ModuleDisplay for PackedBitLinear {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_output, _] = self.words.dims();
        content
            .add("d_input", &self.d_input)
            .add("d_output", &d_output)
            .add("bias", &self.bias.is_some())
            .optional()
    }
}
