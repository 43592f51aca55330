use bitnet_kernels::{Granularity, WeightQuantizer};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{Initializer, Linear, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use super::kind::{fake_quantized, groups};
use super::packed::PackedParts;
use super::{ActivationQuantizer, LinearKind, PackedBitLinear};
use crate::float::{linear, rms_norm};
use crate::ternary::{QuantizedActivations, bitlinear_quantized, quantize_weights};

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
    /// Cuts each row into groups of this many inputs, each quantised by itself; a multiple of 16. Default: no groups.
    pub group_size: Option<usize>,
    /// How activations are quantised.
    #[config(default = "ActivationQuantizer::Int8")]
    pub activations: ActivationQuantizer,
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
    /// Inputs of a group that is quantised by itself.
    #[module(skip)]
    pub group_size: Option<usize>,
    /// How activations are quantised.
    #[module(skip)]
    pub activations: ActivationQuantizer,
    /// Share of the quantised operands in a ternary forward pass, 0 to 1: `x + λ(x̂ − x)` and `w + λ(ŵ − w)`. Below 1 the
    /// product is a float one; a training that starts from float raises it to 1.
    #[module(skip)]
    pub lambda: f32,
}

impl BitLinearConfig {
    /// Makes the layer on `device`.
    ///
    /// # Panics
    /// If `group_size` is not a multiple of 16.
    pub fn init(&self, device: &Device) -> BitLinear {
        check_group_size(self.group_size);
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
            group_size: self.group_size,
            activations: self.activations,
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
        let bias = self.bias.as_ref().map(Param::val);
        match self.kind {
            LinearKind::Float => add_bias(linear(x, self.weight.val()), bias),
            LinearKind::Ternary => add_bias(self.ternary(x), bias),
        }
    }

    fn ternary<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let x = match self.activations.quantize(x.clone()) {
            Some(codes) if self.lambda >= 1.0 => return self.product(&codes),
            Some(codes) => mix(x, codes.dequantize(), self.lambda),
            None => x,
        };
        let weight = self.weight.val();
        let (quantizer, granularity) = (self.quantizer, self.granularity);
        let w_hat = fake_quantized(&weight, quantizer, granularity, self.group_size);
        linear(x, mix(weight, w_hat, self.lambda))
    }

    /// The integer product with the quantised weights, summed over the groups.
    fn product<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let (quantizer, granularity) = (self.quantizer, self.granularity);
        if self.group_size.is_none() {
            return bitlinear_quantized(x, weight, quantizer, granularity);
        }
        let parts = groups(weight.dims()[1], self.group_size).map(|(start, len)| {
            let w = weight.clone().narrow(1, start, len);
            bitlinear_quantized(&x.features(start, len), w, quantizer, granularity)
        });
        parts.reduce(|y, part| y + part).unwrap_or_else(|| {
            let mut shape = x.values().dims();
            shape[D - 1] = weight.dims()[0];
            Tensor::zeros(shape, &weight.device())
        })
    }

    /// Whether the forward pass reads the codes of its input, as they are.
    pub fn reads_codes(&self) -> bool {
        self.kind == LinearKind::Ternary
            && self.norm.is_none()
            && self.lambda >= 1.0
            && self.activations != ActivationQuantizer::None
    }

    /// The forward pass of activations that several layers share, quantised once for all of them.
    ///
    /// The same numbers as [`forward`](Self::forward), if they were quantised by this layer's `activations`. A layer that
    /// does not [read codes](Self::reads_codes) takes the values.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn forward_quantized<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        if !self.reads_codes() {
            return self.forward(x.values().clone());
        }
        add_bias(self.product(x), self.bias.as_ref().map(Param::val))
    }

    /// Quantises the latent weights once and for all, to 2 bits each.
    ///
    /// The packed layer computes exactly what this one does in [`LinearKind::Ternary`].
    pub fn pack(&self) -> PackedBitLinear {
        let [_, d_input] = self.weight.dims();
        let weight = self.weight.val().inner();
        let (words, scales) = groups(d_input, self.group_size)
            .map(|(start, len)| {
                let part = weight.clone().narrow(1, start, len);
                quantize_weights(part, self.quantizer, self.granularity)
            })
            .unzip();
        PackedBitLinear::from_parts(
            PackedParts {
                words: Tensor::cat(words, 1),
                scales: Tensor::cat(scales, 0),
                bias: self.bias.clone().map(|bias| bias.val().inner()),
                norm: self.norm.as_ref().map(Module::valid),
            },
            d_input,
            self.group_size,
            self.activations,
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

pub(super) fn check_group_size(group_size: Option<usize>) {
    assert!(
        group_size.is_none_or(|size| size > 0 && size.is_multiple_of(16)),
        "BitLinear: group_size {group_size:?} is not a multiple of 16"
    );
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
            group_size: None,
            activations: ActivationQuantizer::default(),
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
            .add_debug_attribute("kind", &self.kind)
            .optional()
    }
}
