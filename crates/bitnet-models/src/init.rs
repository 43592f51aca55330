//! Initial weights, drawn on the host: one seed gives the same model on every backend.

use std::cell::RefCell;

use burn::module::Param;
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::{ModelConfig, QuantConfig};

/// What the parts of a model need while it is built.
pub(crate) struct Init<'a> {
    pub model: &'a ModelConfig,
    pub quant: &'a QuantConfig,
    /// Makes empty packed projections, to load a packed record into.
    pub packed: bool,
    pub device: &'a Device,
    rng: RefCell<ChaCha8Rng>,
}

impl<'a> Init<'a> {
    pub fn new(
        model: &'a ModelConfig,
        quant: &'a QuantConfig,
        packed: bool,
        seed: u64,
        device: &'a Device,
    ) -> Self {
        Self {
            model,
            quant,
            packed,
            device,
            rng: RefCell::new(ChaCha8Rng::seed_from_u64(seed)),
        }
    }

    /// A matrix from the normal distribution of `initializer_range · factor`, in the order the parts are built.
    pub fn normal(&self, shape: [usize; 2], factor: f64) -> Param<Tensor<2>> {
        let std = (self.model.initializer_range * factor) as f32;
        let mut rng = self.rng.borrow_mut();
        let values: Vec<f32> = (0..shape[0] * shape[1])
            .map(|_| {
                let z: f32 = StandardNormal.sample(&mut *rng);
                std * z
            })
            .collect();
        Param::from_data(TensorData::new(values, shape), self.device)
    }

    /// An RMSNorm of this width.
    pub fn norm(&self, width: usize) -> RmsNorm {
        RmsNormConfig::new(width)
            .with_epsilon(self.model.rms_norm_eps)
            .init(self.device)
    }
}
