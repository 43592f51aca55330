//! The optimiser as the configuration asks for it: AdamW, one fused operation per parameter, with decoupled weight decay on
//! matrices only; or Muon for the matrices of the layers and AdamW for the rest.
//!
//! Burn's own AdamW computes the same from fourteen tensor operations, which on Flex is fourteen passes over the
//! parameters on one thread; it fixes the weight decay when it is built, where ternary training ends it midway; and it
//! keeps its state to itself, where a checkpoint has to check it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use bitnet_config::{OptimConfig, Optimizer as Kind};
use bitnet_models::Network;
use bitnet_models::float::{AdamWStep, adamw};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Shape, Tensor, TensorData};

use crate::TrainError;
use crate::muon;
use crate::names::earlier;
use crate::pack::{NotFinite, Packed, Packing, damaged};

/// What changes from step to step.
pub(crate) struct StepSettings {
    /// The learning rate.
    pub learning_rate: f64,
    /// Weight decay of the matrices. Vectors (the norms' weights) are never decayed.
    pub weight_decay: f64,
    /// What the gradients are multiplied by, `[1]`; none means 1.
    pub factor: Option<Tensor<1>>,
    /// The parameters that Muon moves.
    pub orthogonal: HashSet<ParamId>,
}

/// The matrices that the configuration wants Muon to move.
pub(crate) fn orthogonal(config: &OptimConfig, model: &impl Network) -> HashSet<ParamId> {
    match config.optimizer {
        Kind::AdamW => HashSet::new(),
        Kind::Muon => model.matrices().into_iter().collect(),
    }
}

/// The optimiser and its state: the moments of every parameter, known by the parameter's path in the model.
pub(crate) struct Optimizer {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    moments: BTreeMap<String, Moments>,
}

/// The running means of a parameter's gradient and of its square, as vectors; of one that Muon moves its momentum alone.
struct Moments {
    time: usize,
    first: Tensor<1>,
    second: Option<Tensor<1>>,
    shape: Shape,
}

impl Optimizer {
    /// Before the first step.
    pub fn new(config: &OptimConfig) -> Self {
        Self {
            beta1: config.beta1 as f32,
            beta2: config.beta2 as f32,
            epsilon: config.eps as f32,
            moments: BTreeMap::new(),
        }
    }

    /// Moves the parameters of a model along their gradients.
    pub fn step<M: Module>(
        &mut self,
        settings: StepSettings,
        model: M,
        grads: GradientsParams,
    ) -> M {
        model.map(&mut Update {
            path: Vec::new(),
            optimizer: self,
            settings,
            grads,
        })
    }

    /// Adds the state to what is to be written.
    ///
    /// # Errors
    /// If a moment is not finite.
    pub fn pack(&self, packing: &mut Packing) -> Result<(), NotFinite> {
        for (path, moments) in &self.moments {
            let second = moments.second.iter().map(|second| (SECOND, second));
            for (which, moment) in [(FIRST, &moments.first)].into_iter().chain(second) {
                let (bytes, _, dtype) = moment.clone().into_data().into_parts();
                let data = TensorData::from_bytes(bytes, moments.shape.clone(), dtype);
                packing.tensor(format!("{path}.{which}"), data)?;
            }
            packing.number(format!("{path}.{TIME}"), moments.time as u64);
        }
        Ok(())
    }

    /// Takes the state after `step` steps of `model` out of a file, which is at `path`.
    ///
    /// # Errors
    /// If a parameter has none there, or of another shape or another step.
    pub fn load(
        config: &OptimConfig,
        model: &impl Network,
        file: &mut Packed,
        step: usize,
        path: &Path,
    ) -> Result<Self, TrainError> {
        if step == 0 {
            return Ok(Self::new(config));
        }
        let mut load = Load {
            path: Vec::new(),
            // Burn names moments by random numbers of the parameters, and remarks which is which.
            names: (file.remarks().iter())
                .map(|(id, path)| (path.clone(), id.clone()))
                .collect(),
            file,
            step,
            orthogonal: orthogonal(config, model),
            moments: BTreeMap::new(),
            failed: None,
        };
        model.visit(&mut load);
        match load.failed {
            Some(problem) => Err(damaged(path, &problem)),
            None => Ok(Self {
                moments: load.moments,
                ..Self::new(config)
            }),
        }
    }
}

const FIRST: &str = "moment_1";
const SECOND: &str = "moment_2";
const TIME: &str = "time";

/// One step.
struct Update<'a> {
    path: Vec<String>,
    optimizer: &'a mut Optimizer,
    settings: StepSettings,
    grads: GradientsParams,
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let Some(grad) = self.grads.remove::<D>(id) else {
            return Param::from_mapped_value(id, value, mapper);
        };
        let trains = value.is_require_grad();
        let value = value.inner();
        let path = self.path.join(".");
        // Taken out, so that the step changes them in place.
        let known = self.optimizer.moments.remove(&path);
        let (value, moments) = match self.settings.orthogonal.contains(&id) {
            true => self.orthogonalised(value, grad, known),
            false => self.adamw(value, grad, known),
        };
        self.optimizer.moments.insert(path, moments);
        let value = Tensor::from_inner(value).set_require_grad(trains);
        Param::from_mapped_value(id, value, mapper)
    }
}

impl Update<'_> {
    fn weight_decay<const D: usize>(&self) -> f64 {
        match D > 1 {
            true => self.settings.weight_decay,
            false => 0.0,
        }
    }

    fn adamw<const D: usize>(
        &self,
        value: Tensor<D>,
        grad: Tensor<D>,
        known: Option<Moments>,
    ) -> (Tensor<D>, Moments) {
        let shape = grad.shape();
        let moment = |moment: Option<Tensor<1>>| match moment {
            Some(moment) => moment.reshape(shape.clone()),
            None => grad.zeros_like(),
        };
        let (time, first, second) = match known {
            Some(known) => (known.time + 1, Some(known.first), known.second),
            None => (1, None, None),
        };
        let moments = (moment(first), moment(second));
        let step = AdamWStep {
            learning_rate: self.settings.learning_rate as f32,
            weight_decay: self.weight_decay::<D>() as f32,
            beta1: self.optimizer.beta1,
            beta2: self.optimizer.beta2,
            epsilon: self.optimizer.epsilon,
            time: i32::try_from(time).unwrap_or(i32::MAX),
        };
        let factor = self.settings.factor.clone();
        let factor = factor.unwrap_or_else(|| Tensor::ones([1], &grad.device()));
        let (value, first, second) = adamw(value, grad, factor, moments, step);
        let moments = Moments {
            time,
            first: first.flatten(0, D - 1),
            second: Some(second.flatten(0, D - 1)),
            shape,
        };
        (value, moments)
    }

    fn orthogonalised<const D: usize>(
        &self,
        value: Tensor<D>,
        grad: Tensor<D>,
        known: Option<Moments>,
    ) -> (Tensor<D>, Moments) {
        let shape = grad.shape();
        let grad = match &self.settings.factor {
            Some(factor) => grad * factor.clone().unsqueeze(),
            None => grad,
        };
        let (time, velocity) = match known {
            Some(known) => (known.time + 1, known.first.reshape(shape.clone())),
            None => (1, grad.zeros_like()),
        };
        let rates = (self.settings.learning_rate, self.weight_decay::<D>());
        let (value, velocity) = muon::step(rates, value, grad, velocity);
        let moments = Moments {
            time,
            first: velocity.flatten(0, D - 1),
            second: None,
            shape,
        };
        (value, moments)
    }
}

/// Reads the state of every parameter.
struct Load<'a> {
    path: Vec<String>,
    names: BTreeMap<String, String>,
    file: &'a mut Packed,
    step: usize,
    orthogonal: HashSet<ParamId>,
    moments: BTreeMap<String, Moments>,
    failed: Option<String>,
}

impl Load<'_> {
    fn read(
        &mut self,
        path: &str,
        (shape, device): (&Shape, &Device),
        orthogonal: bool,
    ) -> Result<Moments, String> {
        let known = self.names.get(path);
        let known = known.or_else(|| self.names.get(&earlier(path)?));
        let name = known.map_or(path, String::as_str);
        let time = self.file.number(&format!("{name}.{TIME}"));
        if time != Some(self.step as u64) {
            let time = time.map_or("no".to_owned(), |time| time.to_string());
            return Err(format!("{path} has seen {time} steps, not {}", self.step));
        }
        let mut moment = |which: &str| {
            let data = (self.file).take(&format!("{name}.{which}"), DType::F32, Some(shape));
            let (bytes, _, dtype) = data
                .ok_or_else(|| format!("{which} of {path} is missing or of another shape"))?
                .into_parts();
            let data = TensorData::from_bytes(bytes, [shape.num_elements()], dtype);
            Ok::<_, String>(Tensor::from_data(data, (device, dtype)))
        };
        Ok(Moments {
            time: self.step,
            first: moment(FIRST)?,
            second: match orthogonal {
                true => None,
                false => Some(moment(SECOND)?),
            },
            shape: shape.clone(),
        })
    }
}

impl ModuleVisitor for Load<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().inner();
        let path = self.path.join(".");
        let orthogonal = self.orthogonal.contains(&param.id);
        match self.read(&path, (&value.shape(), &value.device()), orthogonal) {
            Ok(moments) => drop(self.moments.insert(path, moments)),
            Err(problem) => drop(self.failed.get_or_insert(problem)),
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
        let mut adamw = Optimizer::new(&config);
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
            let settings = StepSettings {
                learning_rate: rate,
                weight_decay: decay,
                factor: factor.map(|factor| Tensor::from_floats([factor], &device.clone().inner())),
                orthogonal: HashSet::new(),
            };
            let scale = Tensor::<1>::from_floats(gradient, &device);
            let loss = (model.matrix.val() * scale.clone().unsqueeze()).sum()
                + (model.vector.val() * scale).sum();
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            model = adamw.step(settings, model, grads);
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
