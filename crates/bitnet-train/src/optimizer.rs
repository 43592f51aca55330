//! AdamW as the configuration asks for it: one fused operation per parameter, decoupled weight decay on matrices only.
//!
//! Burn's own AdamW computes the same from fourteen tensor operations, which on Flex is fourteen passes over the
//! parameters on one thread, and it fixes the weight decay when it is built, where ternary training ends it midway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bitnet_config::OptimConfig;
use bitnet_models::Transformer;
use bitnet_models::fused::{AdamWStep, adamw};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{AdaptiveMomentumState, LearningRate, ModuleOptimizer, Optimizer};
use burn::tensor::{Device, Tensor};

/// A float that the training loop sets and the optimiser reads.
#[derive(Clone, Debug)]
pub(crate) struct Setting(Arc<AtomicU32>);

impl Setting {
    fn new(value: f32) -> Self {
        Self(Arc::new(AtomicU32::new(value.to_bits())))
    }

    /// Sets the value for the next step.
    pub fn set(&self, value: f64) {
        self.0.store((value as f32).to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Clone)]
struct AdamW {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: Setting,
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdaptiveMomentumState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        param: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let state = state
            .unwrap_or_else(|| AdaptiveMomentumState::new(0, grad.zeros_like(), grad.zeros_like()));
        let time = state.time + 1;
        let step = AdamWStep {
            learning_rate: learning_rate as f32,
            weight_decay: self.weight_decay.get(),
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            time: i32::try_from(time).unwrap_or(i32::MAX),
        };
        let moments = (state.moment_1, state.moment_2);
        let (param, moment_1, moment_2) = adamw(param, grad, moments, step);
        let state = AdaptiveMomentumState::new(time, moment_1, moment_2);
        (param, Some(state))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdaptiveMomentumState::new(
            state.time,
            state.moment_1.to_device(device),
            state.moment_2.to_device(device),
        )
    }
}

/// The optimiser for `model` and the weight decay of its matrices, which may be set between steps. Vectors (the norms'
/// weights) are never decayed.
pub(crate) fn optimizer(model: &Transformer, config: &OptimConfig) -> (ModuleOptimizer, Setting) {
    let with_decay = |weight_decay: &Setting| AdamW {
        beta1: config.beta1 as f32,
        beta2: config.beta2 as f32,
        epsilon: config.eps as f32,
        weight_decay: weight_decay.clone(),
    };
    let mut matrices = Matrices { ids: Vec::new() };
    model.visit(&mut matrices);
    let (none, decay) = (Setting::new(0.0), Setting::new(0.0));
    let optimizer = ModuleOptimizer::from(with_decay(&none)).with_group(
        ParamGroup::from_ids(matrices.ids),
        with_decay(&decay),
        None,
    );
    (optimizer, decay)
}

/// Collects the parameters with two or more dimensions.
struct Matrices {
    ids: Vec<ParamId>,
}

impl ModuleVisitor for Matrices {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D > 1 {
            self.ids.push(param.id);
        }
    }
}
