//! Knowledge distillation: a trained model teaches another one of the same vocabulary.
//!
//! `loss = (1 − α) · cross-entropy + α · T² · KL(p ‖ q)` with the teacher's `p = softmax(z / T)` and the learner's
//! `q = softmax(x / T)`; `T²` keeps the gradient's size whatever the temperature (G. Hinton, O. Vinyals, J. Dean,
//! "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2).
//!
//! A step costs the teacher's forward pass besides, and the teacher has to be trained first. A file of others teaches from
//! the CPU engine, where that is the backend, as it runs there: its weights stay as they are stored.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bitnet_config::TrainConfig;
use bitnet_models::Transformer;
use bitnet_models::engine::{DenseFormat, Engine, EngineError, FloatFormat, Options, Part, Wanted};
use bitnet_models::float::divergence;
use bitnet_text::TextModel;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::device::is_cpu;
use crate::{Location, TrainError};

/// A finished model and how much it has to say.
pub(super) struct Teacher {
    model: Model,
    weight: f64,
    temperature: f64,
}

/// On what a teacher runs.
enum Model {
    Tensors(Box<Transformer>),
    Engine(Box<Mutex<Engine>>),
}

impl Model {
    fn open(location: &Location, device: &Device) -> Result<Self, TrainError> {
        match location {
            Location::File(checkpoint) if is_cpu(device) => {
                let options = Options {
                    threads: rayon::current_num_threads(),
                    // As exact as the file is.
                    head: DenseFormat::F32,
                    cache: FloatFormat::F32,
                    ..Options::default()
                };
                Ok(Self::Engine(Box::new(Mutex::new(
                    checkpoint.engine(options)?,
                ))))
            }
            _ => Ok(Self::Tensors(Box::new(location.exported(device)?))),
        }
    }

    /// Inputs `[b, t]` on the plain device → logits `[b, t, v]`.
    fn logits(&self, inputs_bt: Tensor<2, Int>) -> Tensor<3> {
        let engine = match self {
            Self::Tensors(model) => return model.forward(inputs_bt),
            Self::Engine(engine) => engine,
        };
        let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
        let ([batch, time], device) = (inputs_bt.dims(), inputs_bt.device());
        let ids: Vec<u32> = inputs_bt
            .into_data()
            .iter::<i64>()
            .map(|id| id as u32)
            .collect();
        let logits = read(&mut engine, &ids, time);
        let logits = logits.expect("it has the learner's vocabulary and reads its contexts");
        let vocab = engine.shape().vocab_size;
        let logits = TensorData::new(logits, [batch, time, vocab]);
        Tensor::from_data(logits, &device)
    }
}

/// The logits of texts of `time` tokens each.
fn read(engine: &mut Engine, ids: &[u32], time: usize) -> Result<Vec<f32>, EngineError> {
    let sessions = ids.chunks(time).map(|_| engine.session(time));
    let mut sessions = sessions.collect::<Result<Vec<_>, _>>()?;
    let texts = sessions.iter_mut().zip(ids.chunks(time));
    let mut parts: Vec<Part<'_>> = texts
        .map(|(session, tokens)| Part {
            session,
            tokens,
            logits: Wanted::All,
        })
        .collect();
    let mut logits = Vec::with_capacity(ids.len() * engine.shape().vocab_size);
    engine.pass(&mut parts, |_, _, row| logits.extend_from_slice(row))?;
    Ok(logits)
}

impl Teacher {
    /// The model at `path`, on a plain device.
    ///
    /// # Errors
    /// If it is no language model with the learner's tokenizer, or its files are damaged.
    pub fn load(
        path: &Path,
        train: &TrainConfig,
        text: &TextModel,
        vocab_size: usize,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let unfit = |problem: String| TrainError::Teacher {
            path: path.to_owned(),
            problem,
        };
        let location = Location::open(path)?;
        let model = location.decided()?.model;
        let own = location.text()?.tokenizer;
        if let Some(difference) = own.difference(&text.tokenizer) {
            return Err(unfit(format!(
                "it cuts text into other tokens ({difference}); train it on the same data and data.level, or take a model \
                 with this one's tokenizer"
            )));
        }
        if model.vocab_size != vocab_size {
            return Err(unfit(format!(
                "its model.vocab_size is {}, this one's {vocab_size}; give both the same",
                model.vocab_size
            )));
        }
        if model.max_position_embeddings < train.context {
            return Err(unfit(
                "train.context is longer than what it can read".into(),
            ));
        }
        Ok(Self {
            model: Model::open(&location, device)?,
            weight: train.distill_weight,
            temperature: train.distill_temperature,
        })
    }

    /// The loss of a batch: `mean`, that of the targets `[1]`, blended with the distance to the teacher's answers to the
    /// inputs `[b, t]`. The learner's logits `[b, t, v]` are on an autodiff device. With `weights` `[b · t]`, which sum to
    /// 1, answers count as much as these say, else all alike.
    pub fn loss(
        &self,
        mean: Tensor<1>,
        logits_btv: Tensor<3>,
        inputs_bt: Tensor<2, Int>,
        weights: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let taught_btv = self.model.logits(inputs_bt.inner());
        let distance = distance(logits_btv, taught_btv, self.temperature, weights);
        mean * (1.0 - self.weight) + distance * self.weight
    }
}

/// The mean over tokens `[1]` of the distance to the teacher's logits, weighted if there are weights: `x` `[b, t, v]` on an
/// autodiff device, the teacher's on the plain one.
fn distance(
    logits_btv: Tensor<3>,
    taught_btv: Tensor<3>,
    temperature: f64,
    weights: Option<Tensor<1>>,
) -> Tensor<1> {
    let [batch, time, vocab] = logits_btv.dims();
    let rows = [batch * time, vocab];
    let taught = Tensor::from_inner(taught_btv.reshape(rows));
    let each = divergence(logits_btv.reshape(rows), taught, temperature as f32);
    match weights {
        None => each.mean(),
        Some(weights) => (each * weights).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tokens of three classes; expected values by hand from the definition.
    #[test]
    fn divergence_and_its_gradient_are_the_formula() {
        let device = Device::flex();
        let (z, x, t) = (
            [[1.0f32, 0.0, -1.0], [0.5, 0.5, 2.0]],
            [[0.0f32, 0.3, 0.1], [-1.0, 1.5, 2.0]],
            2.0f64,
        );
        let softmax = |row: &[f32]| {
            let exp: Vec<f64> = row.iter().map(|v| (f64::from(*v) / t).exp()).collect();
            let sum: f64 = exp.iter().sum();
            exp.into_iter().map(|e| e / sum).collect::<Vec<f64>>()
        };
        let (mut expected, mut gradient) = (0.0, Vec::new());
        for (z, x) in z.iter().zip(&x) {
            for (p, q) in softmax(z).into_iter().zip(softmax(x)) {
                expected += t * t * p * (p / q).ln() / 2.0;
                gradient.push(t * (q - p) / 2.0);
            }
        }
        let logits = Tensor::<3>::from_floats([x], &device.clone().autodiff()).require_grad();
        let loss = distance(logits.clone(), Tensor::from_floats([z], &device), t, None);
        let grads = loss.backward();
        let value = loss
            .inner()
            .into_data()
            .iter::<f64>()
            .next()
            .unwrap_or(f64::NAN);
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        let grads = logits.grad(&grads).map(|g| g.into_data());
        let grads: Vec<f64> = grads.iter().flat_map(|g| g.iter::<f64>()).collect();
        assert_eq!(grads.len(), gradient.len());
        for (got, wanted) in grads.iter().zip(&gradient) {
            assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
        }
    }

    #[test]
    fn weights_choose_the_tokens_that_count() {
        let device = Device::flex();
        let on = device.clone().autodiff();
        let (first, second) = ([1.0f32, 0.0, -1.0], [0.5f32, 0.5, 2.0]);
        let (x, y) = ([0.0f32, 0.3, 0.1], [-1.0f32, 1.5, 2.0]);
        let value = |loss: Tensor<1>| loss.inner().into_data().iter::<f64>().next().unwrap();
        let alone = value(distance(
            Tensor::from_floats([[y]], &on),
            Tensor::from_floats([[second]], &device),
            2.0,
            None,
        ));
        let weighted = value(distance(
            Tensor::from_floats([[x, y]], &on),
            Tensor::from_floats([[first, second]], &device),
            2.0,
            Some(Tensor::from_floats([0.0, 1.0], &on)),
        ));
        assert!(
            alone > 0.01 && (alone - weighted).abs() < 1e-6,
            "{alone} {weighted}"
        );
    }

    #[test]
    fn a_model_that_answers_as_its_teacher_is_at_zero() {
        let device = Device::flex();
        let z = Tensor::<3>::from_floats([[[3.0, -2.0, 0.5]]], &device);
        let x = Tensor::from_inner(z.clone());
        let value = distance(x, z, 1.0, None).inner().into_data();
        assert!(value.iter::<f64>().all(|v| v.abs() < 1e-7));
    }
}
