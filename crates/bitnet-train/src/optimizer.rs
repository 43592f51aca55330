//! AdamW as the configuration asks for it: one fused operation per parameter, decoupled weight decay on matrices only.
//!
//! Burn's own AdamW computes the same from fourteen tensor operations, which on Flex is fourteen passes over the
//! parameters on one thread, and it fixes the weight decay when it is built, where ternary training ends it midway.

use std::sync::{Arc, Mutex, PoisonError};

use bitnet_config::OptimConfig;
use bitnet_models::float::{AdamWStep, adamw};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{
    AdaptiveMomentumState, LearningRate, ModuleOptimizer, Optimizer, RecordState, StateSink,
    StateSource,
};
use burn::tensor::{Device, Tensor};

/// What the training loop sets for a step and the optimiser reads.
#[derive(Clone, Debug)]
pub(crate) struct Setting<T>(Arc<Mutex<T>>);

impl<T: Clone> Setting<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    /// Sets the value for the next step.
    pub fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    fn get(&self) -> T {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The optimiser's settings that change from step to step.
pub(crate) struct Settings {
    /// Weight decay of the matrices. Vectors (the norms' weights) are never decayed.
    pub weight_decay: Setting<f32>,
    /// What the gradients are multiplied by, `[1]`; none means 1.
    pub factor: Setting<Option<Tensor<1>>>,
}

#[derive(Clone)]
struct AdamW {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: Setting<f32>,
    factor: Setting<Option<Tensor<1>>>,
}

/// The state of a parameter: Burn's, and recorded like Burn's, but read back on the host. Burn reads a record to its
/// default device, which is a GPU wherever that backend is compiled in, and panics where there is none; the first step moves
/// the state to its parameter in any case.
#[derive(Clone)]
struct Moments<const D: usize>(AdaptiveMomentumState<D>);

impl<const D: usize> RecordState for Moments<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        self.0.state_flatten(prefix, out);
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let host = host_device(device);
        AdaptiveMomentumState::state_unflatten(prefix, src, &host).map(Self)
    }
}

/// A CPU device if one is compiled in, or the one that Burn proposes.
fn host_device(proposed: &Device) -> Device {
    let _ = proposed;
    #[cfg(feature = "flex")]
    return Device::flex();
    #[cfg(all(feature = "ndarray", not(feature = "flex")))]
    return Device::ndarray();
    #[cfg(not(any(feature = "flex", feature = "ndarray")))]
    proposed.clone()
}

impl Optimizer for AdamW {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        param: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let state = match state {
            Some(Moments(state)) => state,
            None => AdaptiveMomentumState::new(0, grad.zeros_like(), grad.zeros_like()),
        };
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
        let factor = self
            .factor
            .get()
            .unwrap_or_else(|| Tensor::ones([1], &grad.device()));
        let (param, moment_1, moment_2) = adamw(param, grad, factor, moments, step);
        let state = AdaptiveMomentumState::new(time, moment_1, moment_2);
        (param, Some(Moments(state)))
    }

    fn to_device<const D: usize>(
        Moments(state): Self::State<D>,
        device: &Device,
    ) -> Self::State<D> {
        Moments(AdaptiveMomentumState::new(
            state.time,
            state.moment_1.to_device(device),
            state.moment_2.to_device(device),
        ))
    }
}

/// The optimiser for `model`, and the settings that may change between its steps.
pub(crate) fn optimizer(model: &impl Module, config: &OptimConfig) -> (ModuleOptimizer, Settings) {
    let settings = Settings {
        weight_decay: Setting::new(0.0),
        factor: Setting::new(None),
    };
    let with_decay = |weight_decay: Setting<f32>| AdamW {
        beta1: config.beta1 as f32,
        beta2: config.beta2 as f32,
        epsilon: config.eps as f32,
        weight_decay,
        factor: settings.factor.clone(),
    };
    let mut matrices = Matrices { ids: Vec::new() };
    model.visit(&mut matrices);
    let optimizer = ModuleOptimizer::from(with_decay(Setting::new(0.0))).with_group(
        ParamGroup::from_ids(matrices.ids),
        with_decay(settings.weight_decay.clone()),
        None,
    );
    (optimizer, settings)
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

#[cfg(all(test, feature = "flex"))]
mod tests {
    use bitnet_config::OptimConfig;
    use burn::optim::GradientsParams;

    use super::*;

    #[derive(Module, Debug)]
    struct Pair {
        matrix: Param<Tensor<2>>,
        vector: Param<Tensor<1>>,
    }

    /// AdamW of one number in f64 (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2).
    #[derive(Clone, Copy)]
    struct Reference {
        value: f64,
        m: f64,
        v: f64,
    }

    impl Reference {
        fn step(&mut self, config: &OptimConfig, t: i32, rate: f64, decay: f64, grad: f64) {
            self.m = config.beta1 * self.m + (1.0 - config.beta1) * grad;
            self.v = config.beta2 * self.v + (1.0 - config.beta2) * grad * grad;
            let m = self.m / (1.0 - config.beta1.powi(t));
            let v = self.v / (1.0 - config.beta2.powi(t));
            self.value -= rate * decay * self.value + rate * m / (v.sqrt() + config.eps);
        }
    }

    #[test]
    fn steps_are_adamw_with_decay_on_matrices_alone() {
        let device = Device::flex().autodiff();
        let start = [0.5f32, -1.5, 2.0, 0.0];
        let mut model = Pair {
            matrix: Param::from_tensor(Tensor::from_floats([start], &device)),
            vector: Param::from_tensor(Tensor::from_floats(start, &device)),
        };
        let config = OptimConfig::default();
        let (mut adamw, settings) = optimizer(&model, &config);
        let reference = start.map(|value| Reference {
            value: f64::from(value),
            m: 0.0,
            v: 0.0,
        });
        let (mut matrix, mut vector) = (reference, reference);
        // The decay ends midway, the rate changes, and a clipped step scales its gradients.
        let steps = [
            (0.01, 0.1, None),
            (0.02, 0.1, Some(0.25f32)),
            (0.005, 0.0, None),
        ];
        for (t, (rate, decay, factor)) in (1..).zip(steps) {
            let gradient = [1.0f32, -0.5, 0.125 * t as f32, -2.0];
            settings.weight_decay.set(decay as f32);
            settings
                .factor
                .set(factor.map(|factor| Tensor::from_floats([factor], &device.clone().inner())));
            let scale = Tensor::<1>::from_floats(gradient, &device);
            let loss = (model.matrix.val() * scale.clone().unsqueeze()).sum()
                + (model.vector.val() * scale).sum();
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            model = adamw.step(rate, model, grads);
            for (i, gradient) in gradient.into_iter().enumerate() {
                let gradient = f64::from(gradient) * f64::from(factor.unwrap_or(1.0));
                matrix[i].step(&config, t, rate, decay, gradient);
                vector[i].step(&config, t, rate, 0.0, gradient);
            }
        }
        let found = |values: Vec<f32>, expected: [Reference; 4]| {
            for (found, expected) in values.into_iter().zip(expected) {
                let error = (f64::from(found) - expected.value).abs();
                // A few roundings of numbers below 4, three times.
                assert!(error < 4e-6, "{found} for {}", expected.value);
            }
        };
        found(model.matrix.val().into_data().try_to_vec().unwrap(), matrix);
        found(model.vector.val().into_data().try_to_vec().unwrap(), vector);
    }
}
