//! A linear map of the Transformer, in the form that its use asks for.

use bitnet_nn::{
    ActivationQuantizer, BitLinear, BitLinearConfig, LinearKind, PackError, PackedBitLinear,
    PackedBitLinearConfig, QuantizedActivations,
};
use burn::module::Module;
use burn::tensor::Tensor;

use crate::NormPlacement;
use crate::init::Init;

/// A linear layer: latent while it trains (ternary or float), packed for ternary inference.
#[derive(Module, Debug)]
pub enum Projection {
    /// Float weights: latent ones of a ternary layer, or the layer's own.
    Latent(BitLinear),
    /// Two bits per weight.
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
        let norm_eps =
            (self.quant.norm == NormPlacement::Inside).then_some(self.model.rms_norm_eps);
        if self.packed {
            let config = PackedBitLinearConfig::new(d_input, d_output)
                .with_quantization(self.quant.quantization())
                .with_norm_eps(norm_eps);
            return Projection::Packed(config.init(self.device));
        }
        let config = BitLinearConfig::new(d_input, d_output)
            .with_kind(self.model.linear)
            .with_quantization(self.quant.quantization())
            .with_norm_eps(norm_eps);
        let mut linear = config.init(self.device);
        linear.weight = self.normal([d_output, d_input], factor);
        Projection::Latent(linear)
    }
}

impl Projection {
    /// `[..., d_input]` → `[..., d_output]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Projection::Latent(linear) => linear.forward(x),
            Projection::Packed(linear) => linear.forward(x),
        }
    }

    /// How the layer quantises its input, if it takes input that is quantised already.
    fn accepted(&self) -> Option<ActivationQuantizer> {
        let (accepts, scheme) = match self {
            Projection::Latent(linear) => (linear.accepts_quantized(), linear.quantization),
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
            Projection::Latent(linear) => linear.forward_quantized(&x),
            Projection::Packed(linear) => linear.forward_quantized(&x),
        })
    }

    /// The packed form of a ternary layer; a float or packed layer stays as it is.
    pub fn pack(&self) -> Projection {
        match self {
            Projection::Latent(linear) if linear.kind == LinearKind::Ternary => {
                Projection::Packed(linear.pack())
            }
            other => other.clone(),
        }
    }

    /// Checks the codes and scales of a packed layer, which a damaged file may have broken.
    ///
    /// # Errors
    /// Names the first bad code or scale.
    pub fn check(&self) -> Result<(), PackError> {
        match self {
            Projection::Latent(_) => Ok(()),
            Projection::Packed(linear) => linear.check(),
        }
    }

    /// Inputs and outputs.
    pub fn dims(&self) -> (usize, usize) {
        match self {
            Projection::Latent(linear) => {
                let [outputs, inputs] = linear.weight.dims();
                (inputs, outputs)
            }
            Projection::Packed(linear) => (linear.d_input, linear.words.dims()[0]),
        }
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        match self {
            Projection::Latent(linear) => linear.weight.dims().iter().product(),
            Projection::Packed(linear) => linear.words.dims()[0] * linear.d_input,
        }
    }

    /// Bytes that the weights take in memory, scales included.
    pub fn weight_bytes(&self) -> usize {
        match self {
            Projection::Latent(linear) => linear.weight.val().dtype().size() * self.weights(),
            Projection::Packed(linear) => linear.weight_bytes(),
        }
    }
}
