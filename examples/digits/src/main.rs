//! A Burn app with a ternary layer: it learns to read digits, packs what it learned to 2 bits per weight, and checks
//! that the packed model gives the same answers.
//!
//! What to copy into an app of your own:
//!
//! 1. in `Cargo.toml`: `bitnet-nn` beside `burn`, both with the backends you use as features;
//! 2. in the model: `BitLinear` where a hidden `Linear` was. Input layer and head stay float. Optimiser, data loaders
//!    and burn-train see an ordinary module;
//! 3. after training: `BitLinear::pack`, see `Classifier::pack`.

mod data;
mod model;

use std::{env, error::Error, fs, process};

use burn::data::dataloader::{DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::{lr_scheduler::constant::ConstantLr, optim::AdamWConfig, tensor::Device};
use burn_train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn_train::metric::{AccuracyMetric, LossMetric, MetricDefinition};
use burn_train::{Learner, SupervisedTraining, renderer::*};

use data::{DigitBatcher, draw_digits};
use model::Classifier;

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    device.seed(42);
    let model = train(4000, 30, &device)?;
    let packed = model.pack();

    let test = DigitBatcher.batch(draw_digits(1000, 3), &device);
    let logits = model.forward(test.images.clone());
    let identical = logits.to_data() == packed.forward(test.images).into_data();
    let hits = logits.argmax(1).squeeze_dim(1).equal(test.labels);
    let accuracy: f32 = hits.float().mean().into_scalar();

    let f32_bytes = size_of::<f32>() * model.hidden.weight.shape().num_elements();
    let packed_bytes = packed.hidden.weight_bytes();
    let answer = if identical { "yes" } else { "no" };
    println!("test accuracy: {accuracy:.3}");
    println!("hidden weights: {f32_bytes} bytes as f32, {packed_bytes} bytes packed");
    println!("packed logits identical: {answer}");
    if accuracy < 0.9 || !identical {
        return Err("expected an accuracy of 0.9 and identical logits".into());
    }
    Ok(())
}

/// Trains a classifier as any other Burn model is trained.
fn train(examples: usize, epochs: usize, device: &Device) -> Result<Classifier, Box<dyn Error>> {
    let loader = |digits| {
        let loader = DataLoaderBuilder::new(DigitBatcher).batch_size(50);
        loader.shuffle(4).build(InMemDataset::new(digits))
    };
    let training = loader(draw_digits(examples, 1));
    let validation = loader(draw_digits(examples / 10, 2));
    let model = Classifier::new(&device.clone().autodiff());
    let learner = Learner::new(model, AdamWConfig::new().init(), ConstantLr::new(2e-3));
    let artifacts = env::temp_dir().join(format!("bitnet-digits-{}", process::id()));
    let result = SupervisedTraining::new(&artifacts, training, validation)
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .num_epochs(epochs)
        .renderer(Box::new(SummaryOnly))
        .with_application_logger(None)
        .summary()
        .launch(learner);
    fs::remove_dir_all(artifacts)?;
    let trained = Ok(result.model);
    result.error.map_or(trained, |error| Err(error.into()))
}

/// Shows burn-train's summary and nothing before it: burn-train's own plain renderer prints a line per batch.
struct SummaryOnly;

macro_rules! ignore {
    ($($interface:ident: $($event:ident($($argument:ty),*)),*;)*) => {
        $(impl $interface for SummaryOnly { $(fn $event(&mut self, $(_: $argument),*) {})* })*
    };
}
ignore! {
    MetricsRenderer: manual_close(), register_metric(MetricDefinition);
    MetricsRendererTraining: update_train(MetricState), update_valid(MetricState);
    MetricsRendererEvaluation: update_test(EvaluationName, MetricState);
    TrainingProgressLogger: start(usize, usize, Option<usize>, Option<&str>), update_epoch(usize), end(),
        start_split(&str, usize), update_split(usize), end_split(), log_event_training(String);
    EvaluationProgressLogger: start_global_progress(usize), end_global_progress(), start_test(&str, usize),
        update_test_progress(usize), end_test(), log_event_evaluation(String);
}

#[test]
fn after_a_few_steps_the_packed_model_gives_the_same_logits() {
    let device = Device::flex();
    let model = train(200, 1, &device).expect("it trains");
    let images = DigitBatcher.batch(draw_digits(30, 3), &device).images;
    let packed = model.pack().forward(images.clone());
    assert_eq!(model.forward(images).into_data(), packed.into_data());
}
