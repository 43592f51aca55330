//! What all models have in common: projections by name, which can be packed, checked and trained in other forms.

use bitnet_nn::{PackError, TrainingForm};
use burn::module::{Module, ParamId};
use burn::tensor::Device;

use crate::{ConfigError, DropoutState, Init, ModelConfig, Projection, QuantConfig};

/// A model whose linear layers are [`Projection`]s.
pub trait Network: Module {
    /// Makes the model from its parts; [`new`](Self::new) and [`new_packed`](Self::new_packed) call it.
    ///
    /// # Errors
    /// If the configuration cannot be built, or a size is still 0 that the data decides (`vocab_size`, `num_labels`,
    /// `input_size`).
    fn build(init: &Init<'_>) -> Result<Self, ConfigError>;

    /// A model with fresh latent weights, ready to train. The seed gives the same weights on every backend.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    fn new(
        model: &ModelConfig,
        quant: &QuantConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        Self::build(&Init::new(model, quant, false, Some(seed), device))
    }

    /// A model whose weights are all zero, to load a record into.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    fn new_blank(
        model: &ModelConfig,
        quant: &QuantConfig,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        Self::build(&Init::new(model, quant, false, None, device))
    }

    /// A model whose projections are packed and empty, to load a packed record into.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    fn new_packed(
        model: &ModelConfig,
        quant: &QuantConfig,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        Self::build(&Init::new(model, quant, true, None, device))
    }

    /// The projections by name, in the order of the model.
    fn projections(&self) -> Vec<(String, &Projection)>;

    /// The same, in the same order.
    fn projections_mut(&mut self) -> Vec<&mut Projection>;

    /// Where its dropouts draw their masks from, if it has any.
    fn dropout_state(&self) -> Option<&DropoutState> {
        None
    }

    /// The model for inference: each ternary projection packed to 2 bits per weight. A float model comes back as it is.
    fn pack(&self) -> Self {
        let mut packed = self.clone();
        for projection in packed.projections_mut() {
            *projection = projection.pack();
        }
        packed
    }

    /// Sets what every ternary projection computes from now on (see `BitLinear::set_form`).
    fn set_form(&mut self, form: TrainingForm) {
        for projection in self.projections_mut() {
            if let Projection::Ternary(linear) = projection {
                linear.set_form(form);
            }
        }
    }

    /// Moves every latent weight of a ternary projection a share of the way to what it is quantised to.
    fn pull(&mut self, share: f64) {
        for projection in self.projections_mut() {
            if let Projection::Ternary(linear) = projection {
                linear.pull(share);
            }
        }
    }

    /// The matrices of its projections that are trained.
    fn matrices(&self) -> Vec<ParamId> {
        let id = |(_, projection): &(String, &Projection)| match projection {
            Projection::Float(linear) => Some(linear.weight.id),
            Projection::Ternary(linear) => Some(linear.weight.id),
            Projection::Packed(_) => None,
        };
        self.projections().iter().filter_map(id).collect()
    }

    /// Checks the codes and scales of packed projections, which a damaged file may have broken.
    ///
    /// # Errors
    /// Names the projection, and its first bad code or scale.
    fn check(&self) -> Result<(), (String, PackError)> {
        self.projections()
            .into_iter()
            .try_for_each(|(name, projection)| projection.check().map_err(|error| (name, error)))
    }

    /// Weights of all projections.
    fn projection_weights(&self) -> usize {
        self.projections().iter().map(|(_, p)| p.weights()).sum()
    }

    /// Bytes of the weights of all projections in memory, scales included.
    fn projection_bytes(&self) -> usize {
        self.projections()
            .iter()
            .map(|(_, p)| p.weight_bytes())
            .sum()
    }
}
