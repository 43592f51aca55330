//! What is differentiated: the inputs that are tracked, and nothing else; through packed weights, only the input.

#![cfg(feature = "autodiff")]

use crate::common::*;
use bitnet_kernels::PackedTernary;
use bitnet_nn::{Granularity, PackedBitLinear, WeightQuantizer, bitlinear};
use burn::tensor::{Device, Tensor};

#[test]
fn a_constant_operand_changes_nothing_for_the_other() {
    let [m, n, k] = SHAPE;
    let mut random = Random::new(10);
    let (x, w, grad) = (
        random.floats(m * k),
        random.floats(n * k),
        random.floats(m * n),
    );
    for target in targets() {
        let (plain, device) = (target.device.clone(), target.device.clone().autodiff());
        let x = |device: &Device| tensor(&x, [m, k], device);
        let w = |device: &Device| tensor(&w, [n, k], device);
        let run = |x: &Tensor<2>, w: &Tensor<2>| {
            bitlinear(
                x.clone(),
                w.clone(),
                WeightQuantizer::AbsMean,
                Granularity::Tensor,
            )
        };
        let backward = |y: Tensor<2>| (y * tensor(&grad, [m, n], &device)).sum().backward();
        let expected = floats(run(&x(&plain), &w(&plain)));
        let y = run(&x(&device), &w(&device));
        assert!(!y.is_tracked(), "{}", target.name);
        assert_eq!(floats(y), expected, "{}", target.name);

        let (x1, w1) = (x(&device).require_grad(), w(&device).require_grad());
        let grads = backward(run(&x1, &w1));
        let grad_x = floats(x1.grad(&grads).expect("gradient of x"));
        let grad_w = floats(w1.grad(&grads).expect("gradient of w"));
        // A constant may live on the device with autodiff or on the plain one.
        for constant in [&plain, &device] {
            let y = run(&x1, &w(constant));
            assert_eq!(floats(y.clone()), expected, "{}", target.name);
            let alone = x1.grad(&backward(y)).expect("gradient of x");
            assert_eq!(floats(alone), grad_x, "{}", target.name);
            let alone = w1
                .grad(&backward(run(&x(constant), &w1)))
                .expect("gradient of w");
            assert_eq!(floats(alone), grad_w, "{}", target.name);
        }
    }
}

#[test]
fn the_gradient_of_a_packed_layer_passes_straight_through() {
    let [m, n, k] = SHAPE;
    let mut random = Random::new(11);
    let (x, w, grad) = (
        random.floats(m * k),
        random.floats(n * k),
        random.floats(m * n),
    );
    for target in targets() {
        let device = target.device.clone().autodiff();
        for (quantizer, granularity) in quantisers() {
            let packed = PackedTernary::from_latent(&w, n, k, quantizer, granularity)
                .expect("finite weights");
            let w_hat = |n: usize, k: usize| {
                f64::from(packed.code(n, k)) / f64::from(scale_at(packed.scales(), n))
            };
            let grad_at = |m: usize, o: usize| f64::from(grad[m * n + o]);
            let expected = matmul([m, n, k], grad_at, w_hat);
            let magnitude = matmul(
                [m, n, k],
                |m, o| grad_at(m, o).abs(),
                |n, k| w_hat(n, k).abs(),
            );
            // N additions and one division; the expected value rounds too.
            let factor = (n + 4) as f64 * f64::from(f32::EPSILON);
            let limits: Vec<f64> = magnitude.iter().map(|sum| factor * sum).collect();
            let expected: Vec<f32> = expected.iter().map(|&sum| sum as f32).collect();
            for weights_on in [&target.device, &device] {
                let layer = PackedBitLinear::from_packed(&packed, weights_on);
                let x = tensor(&x, [2, m / 2, k], &device).require_grad();
                let y = layer.forward(x.clone()) * tensor(&grad, [2, m / 2, n], &device);
                let found = x.grad(&y.sum().backward()).expect("gradient of x");
                assert_eq!(found.dims(), x.dims());
                assert_within(&floats(found), &expected, &limits, target.name);
            }
        }
    }
}
