//! The layer that trains: latent float weights, quantised in every forward pass.

use bitnet_kernels::{ActivationQuantizer, Quantization};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{Initializer, Linear, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use super::PackedBitLinear;
use super::groups::{fake_quantized, groups, quantized, within};
use super::packed::PackedParts;
use crate::float::{linear, rms_norm};
use crate::ternary::{QuantizedActivations, bitlinear_quantized};

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
    /// How weights and activations are quantised. Default: the paper's, one scale for the matrix and int8 activations.
    #[config(default = "Quantization::default()")]
    pub quantization: Quantization,
    /// Epsilon of an RMSNorm in front of the quantiser; no norm by default.
    pub norm_eps: Option<f64>,
    /// Distribution of the initial latent weights. Default: Kaiming uniform, as Burn's `Linear`.
    #[config(default = "Initializer::KaimingUniform{gain:1.0/f64::sqrt(3.0), fan_out_only:false}")]
    pub initializer: Initializer,
}

/// A linear layer with ternary weights and int8 activations, trained through latent float weights.
///
/// `y = x̂ · ŵᵀ + b` with `x̂ = q(x · s_x) / s_x` per token and `ŵ = q(W · s_w) / s_w`; both quantisers are
/// straight-through in the backward pass.
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
    /// How weights and activations are quantised.
    #[module(skip)]
    pub quantization: Quantization,
    /// See [`set_lambda`](BitLinear::set_lambda).
    #[module(skip)]
    lambda: f32,
}

impl BitLinearConfig {
    /// Makes the layer on `device`.
    ///
    /// # Panics
    /// If groups are no multiple of 16 inputs.
    pub fn init(&self, device: &Device) -> BitLinear {
        check_scheme(self.quantization);
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
            norm: self.norm_eps.map(|eps| {
                RmsNormConfig::new(self.d_input)
                    .with_epsilon(eps)
                    .init(device)
            }),
            quantization: self.quantization,
            lambda: 1.0,
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
        add_bias(self.ternary(x), self.bias.as_ref().map(Param::val))
    }

    /// Sets the share λ of the quantised operands in the forward pass, 0 to 1: `x + λ(x̂ − x)` and `w + λ(ŵ − w)`.
    /// Below 1 the product is a float one; a training that starts from float raises it to 1, which is the default.
    pub fn set_lambda(&mut self, lambda: f32) {
        self.lambda = lambda;
    }

    fn ternary<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let x = match QuantizedActivations::of(x.clone(), self.quantization.activations) {
            Some(codes) if self.lambda >= 1.0 => return self.product(&codes),
            Some(codes) => mix(x, codes.dequantize(), self.lambda),
            None => x,
        };
        let weight = self.weight.val();
        let w_hat = fake_quantized(&weight, self.quantization);
        linear(x, mix(weight, w_hat, self.lambda))
    }

    /// The integer product with the quantised weights, summed over the groups.
    fn product<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let Quantization {
            weights,
            granularity,
            ..
        } = self.quantization;
        let part = |(start, len)| {
            let w = weight.clone().narrow(1, start, len);
            bitlinear_quantized(&x.features(start, len), w, weights, within(granularity))
        };
        if granularity.groups(weight.dims()[1]) == 1 {
            return bitlinear_quantized(x, weight, weights, within(granularity));
        }
        let parts = groups(granularity, weight.dims()[1]).map(part);
        parts.reduce(|y, part| y + part).unwrap_or_else(|| {
            let mut shape = x.values().dims();
            shape[D - 1] = weight.dims()[0];
            Tensor::zeros(shape, &weight.device())
        })
    }

    /// Whether the layer takes input that is quantised already, see [`forward_quantized`](Self::forward_quantized).
    pub fn accepts_quantized(&self) -> bool {
        self.norm.is_none()
            && self.lambda >= 1.0
            && self.quantization.activations != ActivationQuantizer::Float
    }

    /// The forward pass of activations that several layers share, quantised once for all of them.
    ///
    /// The same numbers as [`forward`](Self::forward), if they were quantised as this layer's scheme says. A layer that
    /// does not [accept quantised input](Self::accepts_quantized) takes the values.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_quantized<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        if !self.accepts_quantized() {
            return self.forward(x.values().clone());
        }
        add_bias(self.product(x), self.bias.as_ref().map(Param::val))
    }

    /// Quantises the latent weights once and for all, to 2 bits each.
    ///
    /// The packed layer computes exactly what this one does with λ = 1.
    pub fn pack(&self) -> PackedBitLinear {
        let [_, d_input] = self.weight.dims();
        let weight = self.weight.val().inner();
        let (words, scales) = quantized(&weight, self.quantization).into_iter().unzip();
        PackedBitLinear::from_parts(
            PackedParts {
                words: Tensor::cat(words, 1),
                scales: Tensor::cat(scales, 0),
                bias: self.bias.clone().map(|bias| bias.val().inner()),
                norm: self.norm.as_ref().map(Module::valid),
            },
            d_input,
            self.quantization,
        )
    }
}

/// `v + λ(v̂ − v)`, whose gradient is that of `v`; with `λ = 1` exactly `v̂`.
fn mix<const D: usize>(v: Tensor<D>, v_hat: Tensor<D>, lambda: f32) -> Tensor<D> {
    if lambda >= 1.0 {
        return v_hat.detach() + (v.clone() - v.detach());
    }
    let step = (v_hat - v.clone()).detach();
    v + step.mul_scalar(lambda)
}

pub(super) fn check_scheme(scheme: Quantization) {
    if let Err(error) = scheme.check() {
        panic!("BitLinear: {error}");
    }
}

/// A ternary layer that starts from a float one's weights, with the default quantiser and no norm.
impl From<Linear> for BitLinear {
    fn from(linear: Linear) -> Self {
        BitLinear {
            weight: Param::from_tensor(linear.weight.val().transpose().detach()),
            bias: linear.bias,
            norm: None,
            quantization: Quantization::default(),
            lambda: 1.0,
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
            .add_debug_attribute("weights", &self.quantization.weights)
            .add("granularity", &self.quantization.granularity.to_string())
            .add_debug_attribute("activations", &self.quantization.activations)
            .add("norm", &self.norm.is_some())
            .optional()
    }
}
