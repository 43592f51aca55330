//! The fused float operations against the same formulas composed from Burn's, values and gradients, on every device.
//!
//! Bound: both sides compute in f32 and differ in the order of sums of at most K terms and in one exponential, so by
//! some K·ε of the largest term; values here are of order 1, K ≤ 64: 64 · 1.2e-7 · a small factor < 5e-5.

mod common;

use bitnet_nn::fused::{AdamWStep, Gate, adamw, gated, rms_norm, rotary};
use burn::nn::RmsNormConfig;
use burn::tensor::{Device, Tensor, TensorData, activation};

const BOUND: f32 = 5e-5;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

fn assert_close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let scale = 1f32.max(a.abs()).max(b.abs());
        assert!((a - b).abs() <= BOUND * scale, "{what} [{i}]: {a} {b}");
    }
}

fn noise<const D: usize>(shape: [usize; D], seed: u32, device: &Device) -> Tensor<D> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let data: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        })
        .collect();
    Tensor::from_data(TensorData::new(data, shape), device)
}

#[test]
fn rms_norm_is_burns() {
    for target in common::targets() {
        let device = target.device.autodiff();
        for shape in [[1, 1, 1], [2, 3, 17], [3, 25, 64]] {
            let norm = RmsNormConfig::new(shape[2]).init(&device);
            let x = noise(shape, 1, &device).require_grad();
            let weights = noise(shape, 2, &device);
            let run = |y: Tensor<3>| {
                let grads = (y.clone() * weights.clone()).sum().backward();
                (
                    values(y.inner()),
                    values(x.grad(&grads).unwrap()),
                    values(norm.gamma.val().grad(&grads).unwrap()),
                )
            };
            let ours = run(rms_norm(&norm, x.clone()));
            let burns = run(norm.forward(x.clone()));
            assert_close(&ours.0, &burns.0, target.name);
            assert_close(&ours.1, &burns.1, target.name);
            assert_close(&ours.2, &burns.2, target.name);
        }
    }
}

#[test]
fn the_gate_is_activation_times_up() {
    for target in common::targets() {
        let device = target.device.autodiff();
        for act in [Gate::Silu, Gate::Relu2] {
            let gate = noise([5, 37], 3, &device).require_grad();
            let up = noise([5, 37], 4, &device).require_grad();
            let weights = noise([5, 37], 5, &device);
            let run = |y: Tensor<2>| {
                let grads = (y.clone() * weights.clone()).sum().backward();
                (
                    values(y.inner()),
                    values(gate.grad(&grads).unwrap()),
                    values(up.grad(&grads).unwrap()),
                )
            };
            let ours = run(gated(gate.clone(), up.clone(), act));
            let activated = match act {
                Gate::Silu => activation::silu(gate.clone()),
                Gate::Relu2 => activation::relu(gate.clone()).powi_scalar(2),
            };
            let burns = run(activated * up.clone());
            assert_close(&ours.0, &burns.0, target.name);
            assert_close(&ours.1, &burns.1, target.name);
            assert_close(&ours.2, &burns.2, target.name);
        }
    }
}

#[test]
fn rotary_turns_the_halves() {
    for target in common::targets() {
        let device = target.device.autodiff();
        let [batch, time, heads, width] = [2, 5, 3, 8];
        let x = noise([batch, time, heads, width], 6, &device).require_grad();
        let weights = noise([batch, time, heads, width], 7, &device);
        // Any tables will do, as long as both halves share them, as in the real ones.
        let half = |seed| noise([time, width / 2], seed, &device);
        let twice = |t: Tensor<2>| Tensor::cat(vec![t.clone(), t], 1);
        let (cos, sin) = (twice(half(8)), twice(half(9)));
        let run = |y: Tensor<4>| {
            let grads = (y.clone() * weights.clone()).sum().backward();
            (values(y.inner()), values(x.grad(&grads).unwrap()))
        };
        let ours = run(rotary(x.clone(), cos.clone(), sin.clone()));
        let table = |t: &Tensor<2>| t.clone().reshape([1, time, 1, width]);
        let first = x.clone().narrow(3, 0, width / 2);
        let second = x.clone().narrow(3, width / 2, width / 2);
        let turned = Tensor::cat(vec![-second, first], 3);
        let burns = run(x.clone() * table(&cos) + turned * table(&sin));
        assert_close(&ours.0, &burns.0, target.name);
        assert_close(&ours.1, &burns.1, target.name);
    }
}

#[test]
fn adamw_is_the_same_on_every_device() {
    let step = |time| AdamWStep {
        learning_rate: 1e-2,
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        time,
    };
    let run = |device: &Device| {
        let mut param = noise([7, 9], 10, device);
        let mut moments = (param.zeros_like(), param.zeros_like());
        for time in 1..=3 {
            let grad = noise([7, 9], 10 + time as u32, device);
            let (p, m, v) = adamw(param, grad, moments, step(time));
            (param, moments) = (p, (m, v));
        }
        values(param)
    };
    let results: Vec<_> = common::targets()
        .iter()
        .map(|target| (target.name, run(&target.device)))
        .collect();
    for (name, result) in &results {
        assert_close(result, &results[0].1, name);
    }
    // An update must not write into a tensor that somebody else still holds.
    let device = &common::targets()[0].device;
    let param = noise([7, 9], 10, device);
    let before = values(param.clone());
    let zeros = param.zeros_like();
    let _ = adamw(
        param.clone(),
        param.clone(),
        (zeros.clone(), zeros),
        step(1),
    );
    assert_eq!(before, values(param));
}
