//! The layer that is packed: codes and scales, and the exact integer product.

use bitnet_kernels::{
    ActivationQuantizer, Granularity, PackedTernary, Quantization, TernaryWord, words_per_row,
};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param, ParamId};
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::bit_linear::{add_bias, check_scheme};
use super::groups::{groups, within};
use crate::float::{linear, rms_norm};
use crate::ternary::{
    QuantizedActivations, dequantize_weights, packed_linear, packed_linear_quantized,
};

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
    /// How weights and activations are quantised. Default: the paper's, one scale for the matrix and int8 activations.
    #[config(default = "Quantization::default()")]
    pub quantization: Quantization,
    /// Epsilon of the RMSNorm in front of the quantiser, if there is one.
    pub norm_eps: Option<f64>,
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
    /// Weight scales, `[1]` or `[d_output]`; with groups, those of the first group, then of the second, ….
    pub scales: Param<Tensor<1>>,
    /// Bias, `[d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// RMSNorm in front of the quantiser.
    pub norm: Option<RmsNorm>,
    /// Number of input features: the words do not tell it, their last one may be padded.
    #[module(skip)]
    pub d_input: usize,
    /// How the weights were quantised, and how activations are.
    #[module(skip)]
    pub quantization: Quantization,
}

/// The tensors of a packed layer.
pub(super) struct PackedParts {
    pub words: Tensor<2, Int>,
    pub scales: Tensor<1>,
    pub bias: Option<Tensor<1>>,
    pub norm: Option<RmsNorm>,
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
    ///
    /// # Panics
    /// If groups are no multiple of 16 inputs.
    pub fn init(&self, device: &Device) -> PackedBitLinear {
        check_scheme(self.quantization);
        let per_row = words_per_row(self.d_input);
        let words = vec![TernaryWord::ZERO.0; self.d_output * per_row];
        let granularity = self.quantization.granularity;
        let scales = granularity.scales(self.d_output, self.d_input);
        let parts = PackedParts {
            words: words_tensor(words, [self.d_output, per_row], device),
            scales: Tensor::ones([scales], device),
            bias: self.bias.then(|| Tensor::zeros([self.d_output], device)),
            norm: self.norm_eps.map(|eps| {
                RmsNormConfig::new(self.d_input)
                    .with_epsilon(eps)
                    .init(device)
            }),
        };
        PackedBitLinear::from_parts(parts, self.d_input, self.quantization)
    }
}

impl PackedBitLinear {
    pub(super) fn from_parts(
        parts: PackedParts,
        d_input: usize,
        quantization: Quantization,
    ) -> Self {
        let fixed =
            |tensor: Tensor<1>| Param::initialized(ParamId::new(), tensor).set_require_grad(false);
        Self {
            words: Param::initialized(ParamId::new(), parts.words),
            scales: fixed(parts.scales),
            bias: parts.bias.map(fixed),
            norm: parts.norm.map(Module::no_grad),
            d_input,
            quantization,
        }
    }

    /// A layer of these weights for int8 activations, without bias and norm.
    pub fn from_packed(packed: &PackedTernary, device: &Device) -> Self {
        let (rows, cols, granularity) = (packed.rows(), packed.cols(), packed.granularity());
        let shape = [rows, words_per_row(cols)];
        let scales = transposed(packed.scales(), granularity.groups(cols));
        let count = scales.len();
        let parts = PackedParts {
            words: words_tensor(packed.words().to_vec(), shape, device),
            scales: Tensor::from_data(TensorData::new(scales, [count]), device),
            bias: None,
            norm: None,
        };
        let quantization = Quantization {
            granularity,
            ..Quantization::default()
        };
        Self::from_parts(parts, cols, quantization)
    }

    /// The weights on the host.
    ///
    /// # Errors
    /// If the tensors cannot be read back, or hold what is no packed matrix (a damaged record).
    pub fn to_packed(&self) -> Result<PackedTernary, PackError> {
        let read = |error: &dyn std::fmt::Display| PackError::Read(error.to_string());
        let [rows, _] = self.words.dims();
        let words = self.words.val().try_into_data().map_err(|e| read(&e))?;
        let words = words.try_to_vec::<u32>().map_err(|e| read(&e))?;
        let scales = self.scales.val().try_into_data().map_err(|e| read(&e))?;
        let scales = scales.try_to_vec::<f32>().map_err(|e| read(&e))?;
        let granularity = self.quantization.granularity;
        let scales = match granularity {
            Granularity::Group(_) => transposed(&scales, rows),
            Granularity::Tensor | Granularity::Row => scales,
        };
        let packed = PackedTernary::from_words(words, scales, granularity, rows, self.d_input);
        Ok(packed?)
    }

    /// Checks codes and scales, which a damaged record may have broken.
    ///
    /// # Errors
    /// Names the first bad code or scale.
    pub fn check(&self) -> Result<(), PackError> {
        self.to_packed().map(drop)
    }

    /// The groups: first input, inputs, words, scales.
    fn parts(&self) -> impl Iterator<Item = (usize, usize, Tensor<2, Int>, Tensor<1>)> {
        let granularity = self.quantization.granularity;
        let [rows, _] = self.words.dims();
        let scales = within(granularity).scales(rows, self.d_input);
        groups(granularity, self.d_input)
            .enumerate()
            .map(move |(index, (start, len))| {
                let first = start / TernaryWord::WEIGHTS;
                let words = self.words.val().narrow(1, first, words_per_row(len));
                let scales = self.scales.val().narrow(0, index * scales, scales);
                (start, len, words, scales)
            })
    }

    /// Whether there is one scale or one a row, and the product one of its backend's.
    fn is_one_group(&self) -> bool {
        self.quantization.granularity.groups(self.d_input) == 1
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
        let activations = self.quantization.activations;
        let y = if activations == ActivationQuantizer::Int8 && self.is_one_group() {
            packed_linear(x, self.words.val(), self.scales.val())
        } else if let Some(x) = QuantizedActivations::of(x.clone(), activations) {
            self.product(&x)
        } else {
            linear(x, self.dequantize())
        };
        add_bias(y, self.bias.as_ref().map(Param::val))
    }

    /// The weights that the codes stand for, `[d_output, d_input]`.
    pub fn dequantize(&self) -> Tensor<2> {
        let part = |(_, len, words, scales)| dequantize_weights(words, scales, len);
        Tensor::cat(self.parts().map(part).collect(), 1)
    }

    fn product<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        if self.is_one_group() {
            return packed_linear_quantized(x, self.words.val(), self.scales.val());
        }
        let parts = self.parts().map(|(start, len, words, scales)| {
            packed_linear_quantized(&x.features(start, len), words, scales)
        });
        parts.reduce(|y, part| y + part).unwrap_or_else(|| {
            let mut shape = x.values().dims();
            shape[D - 1] = self.words.dims()[0];
            Tensor::zeros(shape, &self.words.val().device())
        })
    }

    /// Whether the layer takes input that is quantised already, see [`forward_quantized`](Self::forward_quantized).
    pub fn accepts_quantized(&self) -> bool {
        self.norm.is_none() && self.quantization.activations != ActivationQuantizer::Float
    }

    /// The forward pass of activations that several layers share, quantised once for all of them.
    ///
    /// The same numbers as [`forward`](Self::forward). A norm inside this layer reads the values and not the codes.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_quantized<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        if !self.accepts_quantized() {
            return self.forward(x.values().clone());
        }
        add_bias(self.product(x), self.bias.as_ref().map(Param::val))
    }

    /// Bytes of the codes and scales.
    pub fn weight_bytes(&self) -> usize {
        let [rows, words] = self.words.dims();
        let [scales] = self.scales.dims();
        4 * (rows * words + scales)
    }
}

/// A matrix of `cols` columns, column by column.
fn transposed(values: &[f32], cols: usize) -> Vec<f32> {
    let column = |col| values.iter().skip(col).step_by(cols.max(1)).copied();
    (0..cols).flat_map(column).collect()
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
            .add("granularity", &self.quantization.granularity.to_string())
            .add_debug_attribute("activations", &self.quantization.activations)
            .add("norm", &self.norm.is_some())
            .optional()
    }
}
