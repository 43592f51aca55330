//! A latent layer learns through the straight-through estimator; a packed one has nothing left to learn.

#![cfg(feature = "autodiff")]

use crate::common::*;
use bitnet_nn::{BitLinearConfig, PackedBitLinear, PackedBitLinearConfig};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// No parameter of the layer asks for a gradient, before or after [`Module::train`].
fn assert_frozen(layer: PackedBitLinear, device: &Device, context: &str) {
    for layer in [layer.clone(), layer.to_device(device).train()] {
        let x = Tensor::<2>::ones([2, 20], device).require_grad();
        let y = layer.forward(x.clone());
        let grads = y.sum().backward();
        assert!(x.grad(&grads).is_some(), "{context}");
        let bias = layer.bias.as_ref().expect("a bias").val();
        let gamma = layer.norm.as_ref().expect("a norm").gamma.val();
        for (name, param) in [
            ("scales", layer.scales.val()),
            ("bias", bias),
            ("gamma", gamma),
        ] {
            assert!(!param.is_require_grad(), "{context}: {name}");
            assert!(param.grad(&grads).is_none(), "{context}: {name}");
        }
    }
}

#[test]
fn a_packed_layer_trains_nothing() {
    for target in targets() {
        let (plain, device) = (&target.device, target.device.clone().autodiff());
        let latent = BitLinearConfig::new(20, 6)
            .with_bias(true)
            .with_norm_eps(Some(1e-5));
        let empty = PackedBitLinearConfig::new(20, 6)
            .with_bias(true)
            .with_norm_eps(Some(1e-5));
        for device_of_layer in [plain, &device] {
            let packed = latent.init(device_of_layer).pack();
            // Floats only: the scale, the bias, the norm. The words are integers.
            assert_eq!(packed.num_params(), 1 + 6 + 20);
            let context = |what| format!("{}, {what} on {device_of_layer:?}", target.name);
            assert_frozen(packed, &device, &context("packed"));
            assert_frozen(empty.init(device_of_layer), &device, &context("empty"));
        }
    }
}

/// Fifty steps of Adam on the whole batch: the student starts elsewhere and ends near a ternary teacher.
#[test]
fn fifty_steps_of_adam_learn_a_ternary_teacher() {
    let Some(target) = targets().into_iter().next() else {
        return;
    };
    let (batch, k, n) = (64, 32, 16);
    let device = target.device.autodiff();
    let mut random = Random::new(40);
    let x = tensor(&random.floats(batch * k), [batch, k], &device);
    let teacher: Vec<f32> = (0..n * k)
        .map(|_| 0.2 * (random.below(3) as f32 - 1.0))
        .collect();
    let goal = x
        .clone()
        .matmul(tensor(&teacher, [n, k], &device).transpose());

    let mut layer = BitLinearConfig::new(k, n).init(&device);
    let start: Vec<f32> = random.floats(n * k).iter().map(|w| 0.2 * w).collect();
    layer.weight = layer
        .weight
        .map(|_| tensor(&start, [n, k], &device).require_grad());
    let loss = |y: Tensor<2>| (y - goal.clone()).square().mean();
    let first = loss(layer.forward(x.clone())).into_scalar::<f32>();

    let plain = device.clone().inner();
    let (mut mean, mut square) = (Tensor::zeros([n, k], &plain), Tensor::zeros([n, k], &plain));
    for step in 1..=50 {
        let grads = loss(layer.forward(x.clone())).backward();
        let grad = layer.weight.val().grad(&grads).expect("gradient");
        mean = mean * 0.9 + grad.clone() * 0.1;
        square = square * 0.99 + grad.square() * 0.01;
        let direction = (mean.clone() / (1.0 - 0.9f32.powi(step)))
            / ((square.clone() / (1.0 - 0.99f32.powi(step))).sqrt() + 1e-8);
        layer.weight = layer.weight.map(|w| {
            let moved = w.inner() - direction * 0.02;
            Tensor::from_inner(moved).require_grad()
        });
    }

    // What is judged is the packed layer: ternary weights, all three of them in use.
    let packed = layer.pack();
    let codes = packed.to_packed().expect("weights");
    for code in -1..=1 {
        let count = (0..n * k)
            .filter(|i| codes.code(i / k, i % k) == code)
            .count();
        assert!(count > n * k / 10, "{count} weights are {code}");
    }
    let last = loss(packed.forward(x)).into_scalar::<f32>();
    // One code of the teacher's missed in every output leaves 0.2² / 3, a 29th of the first loss.
    assert!(last < first / 30.0, "the loss went from {first} to {last}");
}
