use bitnet_kernels::{Granularity, WeightQuantizer};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{Initializer, Linear, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use super::{LinearKind, PackedBitLinear};
use crate::fused::{linear, rms_norm};
use crate::tensor::{QuantizedActivations, bitlinear, bitlinear_quantized, quantize_weights};

/// Configuration of a [`BitLinear`] layer.
#[derive(Config, Debug)]
pub struct BitLinearConfig {
    /// Number of input features.
    pub d_input: usize,
    /// Number of output features.
    pub d_output: usize,
    /// Whether a bias is added, after the scales. Default: no, as in the paper.
    #[config(default = false)]
    pub bias: bool,
    /// Ternary, or the float layer that is its twin.
    #[config(default = "LinearKind::Ternary")]
    pub kind: LinearKind,
    /// Estimator of the weight scale.
    #[config(default = "WeightQuantizer::AbsMean")]
    pub quantizer: WeightQuantizer,
    /// Weights that share a scale.
    #[config(default = "Granularity::Tensor")]
    pub granularity: Granularity,
    /// Epsilon of an RMSNorm in front of the quantiser; none by default.
    pub norm: Option<f64>,
    /// Distribution of the initial latent weights. Default: Kaiming uniform, as Burn's `Linear`.
    #[config(default = "Initializer::KaimingUniform{gain:1.0/f64::sqrt(3.0), fan_out_only:false}")]
    pub initializer: Initializer,
}

/// A linear layer with ternary weights and int8 activations, trained through latent float weights.
///
/// `y = x̂ · ŵᵀ + b` with `x̂ = q(x · s_x) / s_x` per token and `ŵ = q(W · s_w) / s_w`; both quantisers are
/// straight-through in the backward pass. With [`LinearKind::Float`] it is `y = x · Wᵀ + b`, so that one model
/// definition serves both twins.
///
/// Made by [`BitLinearConfig::init`], or from a [`burn::nn::Linear`].
#[derive(Module, Debug)]
#[module(custom_display)]
pub struct BitLinear {
    /// Latent weights, `[d_output, d_input]` (the transpose of `burn::nn::Linear`'s, as in PyTorch and Hugging Face).
    pub weight: Param<Tensor<2>>,
    /// Bias, `[d_output]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// RMSNorm in front of the quantiser.
    pub norm: Option<RmsNorm>,
    /// Ternary or float.
    #[module(skip)]
    pub kind: LinearKind,
    /// Estimator of the weight scale.
    #[module(skip)]
    pub quantizer: WeightQuantizer,
    /// Weights that share a scale.
    #[module(skip)]
    pub granularity: Granularity,
}

impl BitLinearConfig {
    /// Makes the layer on `device`.
    pub fn init(&self, device: &Device) -> BitLinear {
        let fans = (Some(self.d_input), Some(self.d_output));
        let init = |initializer: &Initializer| {
            initializer.init_with([self.d_output, self.d_input], fans.0, fans.1, device)
        };
        BitLinear {
            weight: init(&self.initializer),
            bias: self.bias.then(|| {
                self.initializer
                    .init_with([self.d_output], fans.0, fans.1, device)
            }),
            norm: self.norm.map(|eps| {
                RmsNormConfig::new(self.d_input)
                    .with_epsilon(eps)
                    .init(device)
            }),
            kind: self.kind,
            quantizer: self.quantizer,
            granularity: self.granularity,
        }
    }
}

impl BitLinear {
    /// The forward pass, of training and of fake-quantised evaluation.
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
        let bias = self.bias.as_ref().map(Param::val);
        match self.kind {
            LinearKind::Float => add_bias(linear(x, self.weight.val()), bias),
            LinearKind::Ternary => {
                let y = bitlinear(x, self.weight.val(), self.quantizer, self.granularity);
                add_bias(y, bias)
            }
        }
    }

    /// The forward pass of activations that several layers share, quantised once for all of them.
    ///
    /// The same numbers as [`forward`](Self::forward). A norm inside this layer, or [`LinearKind::Float`], reads the
    /// values and not the codes.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_quantized<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        if self.norm.is_some() || self.kind == LinearKind::Float {
            return self.forward(x.values().clone());
        }
        let weight = self.weight.val();
        let y = bitlinear_quantized(x, weight, self.quantizer, self.granularity);
        add_bias(y, self.bias.as_ref().map(Param::val))
    }

    /// Quantises the latent weights once and for all, to 2 bits each.
    ///
    /// The packed layer computes exactly what this one does in [`LinearKind::Ternary`].
    pub fn pack(&self) -> PackedBitLinear {
        let [_, d_input] = self.weight.dims();
        let weight = self.weight.val().inner();
        let (words, scales) = quantize_weights(weight, self.quantizer, self.granularity);
        PackedBitLinear::from_parts(
            words,
            scales,
            self.bias.clone().map(|bias| bias.val().inner()),
            self.norm.as_ref().map(Module::valid),
            d_input,
        )
    }
}

/// A ternary layer that starts from a float one's weights, with the default quantiser and no norm.
impl From<Linear> for BitLinear {
    fn from(linear: Linear) -> Self {
        BitLinear {
            weight: Param::from_tensor(linear.weight.val().transpose().detach()),
            bias: linear.bias,
            norm: None,
            kind: LinearKind::Ternary,
            quantizer: WeightQuantizer::default(),
            granularity: Granularity::default(),
        }
    }
}

pub(super) fn add_bias<const D: usize>(y: Tensor<D>, bias: Option<Tensor<1>>) -> Tensor<D> {
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

impl ModuleDisplay for BitLinear {
    fn custom_settings(&self) -> Option<DisplaySettings> {
        DisplaySettings::new()
            .with_new_line_after_attribute(false)
            .optional()
    }

    fn custom_content(&self, content: Content) -> Option<Content> {
        let [d_output, d_input] = self.weight.dims();
        content
            .add("d_input", &d_input)
            .add("d_output", &d_output)
            .add("bias", &self.bias.is_some())
            .add_debug_attribute("kind", &self.kind)
            .optional()
    }
}
