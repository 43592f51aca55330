//! Knowledge distillation: a trained model teaches another one of the same vocabulary.
//!
//! `loss = (1 − α) · cross-entropy + α · T² · KL(p ‖ q)` with the teacher's `p = softmax(z / T)` and the learner's
//! `q = softmax(x / T)`; `T²` keeps the gradient's size whatever the temperature (G. Hinton, O. Vinyals, J. Dean,
//! "Distilling the Knowledge in a Neural Network", arXiv 1503.02531, section 2).
//!
//! A step costs the teacher's forward pass besides, and the teacher has to be trained first.

use std::path::Path;

use bitnet_config::TrainConfig;
use bitnet_models::Transformer;
use bitnet_text::TextModel;
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Int, Tensor};

use crate::{Location, TrainError};

/// A finished model and how much it has to say.
pub(super) struct Teacher {
    model: Transformer,
    weight: f64,
    temperature: f64,
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
            model: location.exported(device)?,
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
        let taught_btv = self.model.forward(inputs_bt.inner());
        let divergence = divergence(logits_btv, taught_btv, self.temperature, weights);
        mean * (1.0 - self.weight) + divergence * self.weight
    }
}

/// `T² · KL(softmax(z / T) ‖ softmax(x / T))`, the mean over tokens `[1]`, weighted if there are weights: logits `x`
/// `[b, t, v]` on an autodiff device, the teacher's `z` on the plain one.
fn divergence(
    logits_btv: Tensor<3>,
    taught_btv: Tensor<3>,
    temperature: f64,
    weights: Option<Tensor<1>>,
) -> Tensor<1> {
    let [batch, time, _] = logits_btv.dims();
    let taught_btv = taught_btv.div_scalar(temperature);
    let p = softmax(taught_btv.clone(), 2);
    let log_p = log_softmax(taught_btv, 2);
    let log_q = log_softmax(logits_btv.div_scalar(temperature), 2);
    let difference = Tensor::from_inner(log_p) - log_q;
    let divergences = Tensor::from_inner(p) * difference;
    let square = temperature * temperature;
    match weights {
        None => divergences.sum().mul_scalar(square / (batch * time) as f64),
        Some(weights) => {
            let each = divergences.sum_dim(2).reshape([batch * time]);
            (each * weights).sum().mul_scalar(square)
        }
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
        let loss = divergence(logits.clone(), Tensor::from_floats([z], &device), t, None);
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
        let alone = value(divergence(
            Tensor::from_floats([[y]], &on),
            Tensor::from_floats([[second]], &device),
            2.0,
            None,
        ));
        let weighted = value(divergence(
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
        let value = divergence(x, z, 1.0, None).inner().into_data();
        assert!(value.iter::<f64>().all(|v| v.abs() < 1e-7));
    }
}
