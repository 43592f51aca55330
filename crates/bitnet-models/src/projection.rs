//! A linear layer of a model, in the form that the model's kind and its use ask for.

use bitnet_nn::{
    ActivationQuantizer, BitLinear, BitLinearConfig, PackError, PackedBitLinear,
    PackedBitLinearConfig, QuantizedActivations,
};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::init::Init;
use crate::linear::Linear;
use crate::{LinearKind, NormPlacement};

/// A linear layer. The names of the variants stand in the paths of saved parameters (`….q_proj.Ternary.weight`): to rename
/// one, see `names.rs` of bitnet-train.
#[derive(Module, Debug)]
pub enum Projection {
    /// Float weights that are used as they are.
    Float(Linear),
    /// Ternary weights in training: latent float ones, quantised in every forward pass.
    Ternary(BitLinear),
    /// Ternary weights for inference: two bits each.
    Packed(PackedBitLinear),
}

impl Init<'_> {
    /// A projection drawn from the normal distribution of `initializer_range`.
    pub(crate) fn linear(&self, d_input: usize, d_output: usize) -> Projection {
        self.scaled(d_input, d_output, 1.0)
    }

    /// A projection that ends a block. Each of the `2 · layers` of them adds to the residual stream, so they start
    /// smaller by `√(2 · layers)`, which keeps the stream's variance that of one block (GPT-2).
    pub(crate) fn residual(&self, d_input: usize, d_output: usize) -> Projection {
        let additions = 2 * self.model.num_hidden_layers;
        self.scaled(d_input, d_output, 1.0 / (additions as f64).sqrt())
    }

    fn scaled(&self, d_input: usize, d_output: usize, factor: f64) -> Projection {
        let inside = self.quant.norm == NormPlacement::Inside;
        let norm_eps = inside.then_some(self.model.rms_norm_eps);
        if self.packed {
            let config = PackedBitLinearConfig::new(d_input, d_output)
                .with_quantization(self.quant.quantization())
                .with_norm_eps(norm_eps);
            return Projection::Packed(config.init(self.device));
        }
        let weight = self.normal([d_output, d_input], factor);
        match self.model.linear {
            LinearKind::Float => Projection::Float(Linear {
                weight,
                norm: inside.then(|| self.norm(d_input)),
            }),
            LinearKind::Ternary => {
                let config = BitLinearConfig::new(d_input, d_output)
                    .with_quantization(self.quant.quantization())
                    .with_norm_eps(norm_eps)
                    .with_learned_scale(self.quant.learned_scale);
                Projection::Ternary(config.with_weights(weight, self.device))
            }
        }
    }
}

impl Projection {
    /// `[..., d_input]` → `[..., d_output]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Projection::Float(linear) => linear.forward(x),
            Projection::Ternary(linear) => linear.forward(x),
            Projection::Packed(linear) => linear.forward(x),
        }
    }

    /// How the layer quantises its input, if it takes input that is quantised already.
    fn accepted(&self) -> Option<ActivationQuantizer> {
        let (accepts, scheme) = match self {
            Projection::Float(_) => return None,
            Projection::Ternary(linear) => (linear.accepts_quantized(), linear.quantization),
            Projection::Packed(linear) => (linear.accepts_quantized(), linear.quantization),
        };
        accepts.then_some(scheme.activations)
    }

    /// Several layers of one input, which is quantised once.
    pub fn forward_shared<const D: usize, const N: usize>(
        layers: [&Projection; N],
        x: Tensor<D>,
    ) -> [Tensor<D>; N] {
        let first = layers.first().and_then(|layer| layer.accepted());
        let shared =
            first.filter(|first| layers.iter().all(|layer| layer.accepted() == Some(*first)));
        let Some(x) = shared.and_then(|quantizer| QuantizedActivations::of(x.clone(), quantizer))
        else {
            return layers.map(|layer| layer.forward(x.clone()));
        };
        layers.map(|layer| match layer {
            Projection::Float(linear) => linear.forward(x.values().clone()),
            Projection::Ternary(linear) => linear.forward_quantized(&x),
            Projection::Packed(linear) => linear.forward_quantized(&x),
        })
    }

    /// The packed form of a ternary layer; a float or packed layer stays as it is.
    pub fn pack(&self) -> Projection {
        match self {
            Projection::Ternary(linear) => Projection::Packed(linear.pack()),
            Projection::Float(_) | Projection::Packed(_) => self.clone(),
        }
    }

    /// Checks the codes and scales of a packed layer, which a damaged file may have broken.
    ///
    /// # Errors
    /// Names the first bad code or scale.
    pub fn check(&self) -> Result<(), PackError> {
        match self {
            Projection::Float(_) | Projection::Ternary(_) => Ok(()),
            Projection::Packed(linear) => linear.check(),
        }
    }

    /// Inputs and outputs.
    pub fn dims(&self) -> (usize, usize) {
        let [outputs, inputs] = match self {
            Projection::Float(linear) => linear.weight.dims(),
            Projection::Ternary(linear) => linear.weight.dims(),
            Projection::Packed(linear) => [linear.words.dims()[0], linear.d_input],
        };
        (inputs, outputs)
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        let (inputs, outputs) = self.dims();
        inputs * outputs
    }

    /// Bytes that the weights take in memory, scales included.
    pub fn weight_bytes(&self) -> usize {
        let floats = |weight: &Param<Tensor<2>>| weight.val().dtype().size() * self.weights();
        match self {
            Projection::Float(linear) => floats(&linear.weight),
            Projection::Ternary(linear) => floats(&linear.weight),
            Projection::Packed(linear) => linear.weight_bytes(),
        }
    }
}
