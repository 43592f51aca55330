//! Initial weights, drawn on the host: one seed gives the same model on every backend.

use std::cell::RefCell;

use burn::module::Param;
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::dropout::{Dropout, DropoutState};
use crate::{ModelConfig, QuantConfig};

/// What the parts of a model need while it is built; made by [`Network`](crate::Network)'s constructors.
pub struct Init<'a> {
    pub(crate) model: &'a ModelConfig,
    pub(crate) quant: &'a QuantConfig,
    /// Makes empty packed projections, to load a packed record into.
    pub(crate) packed: bool,
    pub(crate) device: &'a Device,
    /// None leaves the weights at zero, for others to take their place.
    rng: Option<RefCell<ChaCha8Rng>>,
    dropouts: DropoutState,
}

impl<'a> Init<'a> {
    pub(crate) fn new(
        model: &'a ModelConfig,
        quant: &'a QuantConfig,
        packed: bool,
        seed: Option<u64>,
        device: &'a Device,
    ) -> Self {
        Self {
            model,
            quant,
            packed,
            device,
            rng: seed.map(|seed| RefCell::new(ChaCha8Rng::seed_from_u64(seed))),
            dropouts: DropoutState::default(),
        }
    }

    /// A matrix from the normal distribution of `initializer_range · factor`, in the order the parts are built.
    pub(crate) fn normal(&self, shape: [usize; 2], factor: f64) -> Param<Tensor<2>> {
        let Some(rng) = &self.rng else {
            return Param::from_tensor(Tensor::zeros(shape, self.device));
        };
        let std = (self.model.initializer_range * factor) as f32;
        let mut rng = rng.borrow_mut();
        let values: Vec<f32> = (0..shape[0] * shape[1])
            .map(|_| {
                let z: f32 = StandardNormal.sample(&mut *rng);
                std * z
            })
            .collect();
        Param::from_data(TensorData::new(values, shape), self.device)
    }

    /// An embedding table whose rows have length 1 on average, `N(0, 1/width)`: to be multiplied by `√width`.
    pub(crate) fn unit_rows(&self, shape: [usize; 2]) -> Param<Tensor<2>> {
        let factor = 1.0 / (shape[1] as f64).sqrt() / self.model.initializer_range;
        self.normal(shape, factor)
    }

    /// Dropout at the model's rate.
    pub(crate) fn dropout(&self) -> Dropout {
        Dropout::new(self.model.dropout, &self.dropouts)
    }

    /// An RMSNorm of this width.
    pub(crate) fn norm(&self, width: usize) -> RmsNorm {
        RmsNormConfig::new(width)
            .with_epsilon(self.model.rms_norm_eps)
            .init(self.device)
    }
}
