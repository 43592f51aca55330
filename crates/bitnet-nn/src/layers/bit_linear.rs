//! The layer that trains: latent float weights, quantised in every forward pass.

use bitnet_kernels::{ActivationQuantizer, Quantization, WeightQuantizer};
use burn::config::Config;
use burn::module::{Content, DisplaySettings, Module, ModuleDisplay, Param};
use burn::nn::{Initializer, Linear, RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

use super::PackedBitLinear;
use super::form::{Coded, TrainingForm};
use super::groups::{groups, within};
use super::packed::PackedParts;
use crate::float::{linear, rms_norm};
use crate::ternary::{
    QuantizedActivations, bitlinear_coded, bitlinear_quantized, pack_weights, quantize_weights,
};

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
    /// Whether each scale is learned, as a multiple of the quantiser's that begins at 1 (as in ParetoQ, arXiv 2502.02631).
    #[config(default = false)]
    pub learned_scale: bool,
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
    /// What each scale `α = 1/s` is multiplied by, where that is learned: `[1]` or `[d_output]`; with groups, those of the
    /// first group, then of the second, ….
    pub scale: Option<Param<Tensor<1>>>,
    /// How weights and activations are quantised.
    #[module(skip)]
    pub quantization: Quantization,
    /// See [`set_form`](BitLinear::set_form).
    #[module(skip)]
    form: TrainingForm,
}

impl BitLinearConfig {
    /// Makes the layer on `device`.
    ///
    /// # Panics
    /// If groups are no multiple of 16 inputs.
    pub fn init(&self, device: &Device) -> BitLinear {
        let fans = (Some(self.d_input), Some(self.d_output));
        let shape = [self.d_output, self.d_input];
        let weight = self.initializer.init_with(shape, fans.0, fans.1, device);
        self.with_weights(weight, device)
    }

    /// Makes the layer on `device` around latent weights `[d_output, d_input]`. Of a layer without a bias nothing is drawn.
    ///
    /// # Panics
    /// If groups are no multiple of 16 inputs, or the weights have another shape.
    pub fn with_weights(&self, weight: Param<Tensor<2>>, device: &Device) -> BitLinear {
        check_scheme(self.quantization);
        let expected = [self.d_output, self.d_input];
        assert_eq!(weight.dims(), expected, "the shape of the latent weights");
        let fans = (Some(self.d_input), Some(self.d_output));
        BitLinear {
            weight,
            bias: self.bias.then(|| {
                self.initializer
                    .init_with([self.d_output], fans.0, fans.1, device)
            }),
            norm: self.norm_eps.map(|eps| {
                RmsNormConfig::new(self.d_input)
                    .with_epsilon(eps)
                    .init(device)
            }),
            scale: self.learned_scale.then(|| {
                let granularity = self.quantization.granularity;
                let scales = granularity.scales(self.d_output, self.d_input);
                Initializer::Ones.init_with([scales], None, None, device)
            }),
            quantization: self.quantization,
            form: TrainingForm::default(),
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

    /// Sets what the forward pass computes from now on, and where gradients go; the default is what a packed layer computes.
    pub fn set_form(&mut self, form: TrainingForm) {
        self.form = form;
    }

    /// Moves each weight a share of the way to what it is quantised to: `w ← w − share · (w − ŵ)` (CAGE, arXiv 2510.18784,
    /// whose share is the learning rate times a factor).
    pub fn pull(&mut self, share: f64) {
        let weight = self.weight.val().inner();
        let w_hat = self.dequantized(&weight);
        let pulled = weight.clone() - (weight - w_hat).mul_scalar(share);
        let pull = |w: Tensor<2>| match w.device().is_autodiff() {
            true => Tensor::from_inner(pulled).set_require_grad(w.is_require_grad()),
            false => pulled,
        };
        self.weight = self.weight.clone().map(pull);
    }

    fn ternary<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let y = match QuantizedActivations::of(x.clone(), self.quantization.activations) {
            Some(codes) if self.form.is_integer() => self.product(&codes),
            // A scale that is learned is to have a gradient in every step, if one of zero.
            _ if self.form.lambda <= 0.0 && self.scale.is_none() => {
                linear(x.clone(), self.weight.val())
            }
            Some(codes) => {
                let x_hat = mix(x.clone(), x.clone(), codes.dequantize(), self.form.lambda);
                linear(x_hat, self.blended())
            }
            None => linear(x.clone(), self.blended()),
        };
        self.with_residual(y, x)
    }

    /// The float product with the latent weights beside the quantised one.
    fn with_residual<const D: usize>(&self, y: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
        match self.form.residual == 0.0 {
            true => y,
            false => y + linear(x, self.weight.val()).mul_scalar(self.form.residual),
        }
    }

    /// The weights of a float product: latent and quantised ones mixed by λ.
    fn blended(&self) -> Tensor<2> {
        let (weight, form) = (self.weight.val(), self.form);
        let parts = self.coded(&weight).into_iter().map(|coded| {
            let w = weight.clone().narrow(1, coded.start, coded.len);
            if form.temperature > 0.0 {
                let soft = coded.soft(w.clone(), form.temperature);
                return match form.lambda >= 1.0 {
                    true => soft,
                    false => w.clone() + (soft - w).mul_scalar(form.lambda),
                };
            }
            let stand_in = coded.stand_in(w.clone(), form);
            mix(w, stand_in, coded.dequantized(), form.lambda)
        });
        Tensor::cat(parts.collect(), 1)
    }

    /// Codes and scales of each group of the latent weights. Only what is learned of the scales is differentiable.
    fn coded(&self, weight: &Tensor<2>) -> Vec<Coded> {
        let Quantization {
            weights,
            granularity,
            ..
        } = self.quantization;
        let [rows, cols] = weight.dims();
        let one = within(granularity);
        let scales = one.scales(rows, cols);
        let part = |(index, (start, len)): (usize, (usize, usize))| {
            let w = weight.clone().narrow(1, start, len);
            let (words, own) = quantize_weights(w.clone(), weights, one);
            let Some(learned) = &self.scale else {
                return Coded {
                    start,
                    len,
                    words,
                    scales: own,
                    multiple: None,
                };
            };
            // A plain weight has a plain scale beside it.
            let multiple = match weight.device().is_autodiff() {
                true => learned.val(),
                false => learned.val().inner(),
            };
            let multiple = multiple
                .narrow(0, index * scales, scales)
                .clamp_min(LEAST_MULTIPLE);
            let scales = own / multiple.clone().detach();
            Coded {
                start,
                len,
                words: match weights {
                    // Which sign a weight has does not depend on the scale.
                    WeightQuantizer::Sign => words,
                    _ => pack_weights(w, scales.clone()),
                },
                scales,
                multiple: Some(multiple),
            }
        };
        let all = groups(granularity, cols).enumerate();
        all.map(part).collect()
    }

    /// The weights that the codes stand for, `[d_output, d_input]`, of latent weights on a plain device.
    fn dequantized(&self, weight: &Tensor<2>) -> Tensor<2> {
        let parts = self.coded(weight).into_iter();
        Tensor::cat(parts.map(|coded| coded.dequantized()).collect(), 1)
    }

    /// The integer product with the quantised weights, summed over the groups.
    fn product<const D: usize>(&self, x: &QuantizedActivations<D>) -> Tensor<D> {
        let weight = self.weight.val();
        let Quantization {
            weights,
            granularity,
            ..
        } = self.quantization;
        let one_group = granularity.groups(weight.dims()[1]) == 1;
        if one_group && self.scale.is_none() && self.form.trust.is_infinite() {
            return bitlinear_quantized(x, weight, weights, within(granularity));
        }
        let parts = self.coded(&weight).into_iter().map(|coded| {
            let w = weight.clone().narrow(1, coded.start, coded.len);
            let stand_in = coded.stand_in(w, self.form);
            let codes = (coded.words, coded.scales);
            match one_group {
                true => bitlinear_coded(x, stand_in, codes),
                false => bitlinear_coded(&x.features(coded.start, coded.len), stand_in, codes),
            }
        });
        parts.reduce(|y, part| y + part).unwrap_or_else(|| {
            let mut shape = x.values().dims();
            shape[D - 1] = weight.dims()[0];
            Tensor::zeros(shape, &weight.device())
        })
    }

    /// Whether the layer takes input that is quantised already, see [`forward_quantized`](Self::forward_quantized).
    pub fn accepts_quantized(&self) -> bool {
        self.norm.is_none()
            && self.form.is_integer()
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
        let y = self.with_residual(self.product(x), x.values().clone());
        add_bias(y, self.bias.as_ref().map(Param::val))
    }

    /// Quantises the latent weights once and for all, to 2 bits each.
    ///
    /// The packed layer computes exactly what this one does in the [default form](TrainingForm::default).
    pub fn pack(&self) -> PackedBitLinear {
        let [_, d_input] = self.weight.dims();
        let weight = self.weight.val().inner();
        let coded = self.coded(&weight).into_iter();
        let (words, scales) = coded.map(|coded| (coded.words, coded.scales)).unzip();
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

/// Below this a learned scale would vanish.
const LEAST_MULTIPLE: f64 = 0.01;

/// `v + λ(v̂ − v)`, whose gradient is that of `stand_in`; with `λ = 1` exactly `v̂`.
fn mix<const D: usize>(
    v: Tensor<D>,
    stand_in: Tensor<D>,
    v_hat: Tensor<D>,
    lambda: f32,
) -> Tensor<D> {
    let value = match lambda >= 1.0 {
        true => v_hat.detach(),
        false => (v.clone() + (v_hat - v).mul_scalar(lambda)).detach(),
    };
    value + (stand_in.clone() - stand_in.detach())
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
            scale: None,
            quantization: Quantization::default(),
            form: TrainingForm::default(),
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
            .add("learned_scale", &self.scale.is_some())
            .optional()
    }
}
