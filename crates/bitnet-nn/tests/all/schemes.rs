//! The quantisers beside the paper's: signs, groups, 4-bit and float activations, and the blend with float. Each layer
//! against its formula written out, its gradients against the straight-through estimator, its packed form against
//! itself.

use crate::common::{Random, floats, near, product, targets, tensor};
use bitnet_kernels::PackedTernary;
use bitnet_nn::float::linear;
use bitnet_nn::{
    ActivationQuantizer, BitLinear, BitLinearConfig, Granularity, PackedBitLinear, Quantization,
    TrainingForm, WeightQuantizer,
};
use burn::module::Param;
use burn::tensor::{Device, Tensor};

const EPS: f32 = 1e-5;

/// Every combination that a configuration can ask for.
fn schemes() -> Vec<Quantization> {
    let mut all = Vec::new();
    for weights in WeightQuantizer::ALL {
        for granularity in [
            Granularity::Tensor,
            Granularity::Row,
            Granularity::Group(32),
        ] {
            for activations in [
                ActivationQuantizer::Int8,
                ActivationQuantizer::Int4,
                ActivationQuantizer::Float,
            ] {
                all.push(Quantization {
                    weights,
                    granularity,
                    activations,
                });
            }
        }
    }
    all
}

/// Inputs with a ragged last group.
const K: usize = 83;
const N: usize = 6;
const M: usize = 4;

fn layer(scheme: Quantization, w: &[f32], device: &Device) -> BitLinear {
    let mut layer = BitLinearConfig::new(K, N)
        .with_quantization(scheme)
        .init(device);
    layer.weight = Param::from_tensor(tensor(w, [N, K], device));
    layer
}

/// `ŵ`, by the formulas.
fn w_hat(scheme: Quantization, w: &[f32]) -> Vec<f32> {
    let quantised = |group: &[f32]| -> Vec<f32> {
        let n = group.len() as f64;
        let mean_abs = (group.iter().map(|v| f64::from(v.abs())).sum::<f64>() / n) as f32;
        let mean = (group.iter().copied().map(f64::from).sum::<f64>() / n) as f32;
        let mut sorted: Vec<f32> = group.iter().map(|v| v.abs()).collect();
        sorted.sort_by(f32::total_cmp);
        let (low, high) = (sorted[(group.len() - 1) / 2], sorted[group.len() / 2]);
        let centre = match scheme.weights {
            WeightQuantizer::AbsMedian => (low + high) / 2.0,
            WeightQuantizer::Rms => {
                let square = group.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
                (WeightQuantizer::RMS_OPTIMUM * square.sqrt()) as f32
            }
            WeightQuantizer::Mse => {
                let largest = |k: usize| {
                    let sum: f64 = sorted.iter().rev().take(k).map(|v| f64::from(*v)).sum();
                    (sum * sum / k as f64, sum / k as f64)
                };
                let all = (1..=sorted.len()).map(largest);
                let best = all.max_by(|a, b| a.0.total_cmp(&b.0));
                best.expect("weights").1 as f32
            }
            WeightQuantizer::AbsMean | WeightQuantizer::Sign => mean_abs,
        };
        let s = 1.0 / centre.max(EPS);
        let code = |v: f32| match scheme.weights {
            WeightQuantizer::Sign if v > mean => 1.0,
            WeightQuantizer::Sign => -1.0,
            _ => (v * s).round_ties_even().clamp(-1.0, 1.0),
        };
        group.iter().map(|v| code(*v) / s).collect()
    };
    match scheme.granularity {
        Granularity::Tensor => quantised(w),
        Granularity::Row => w.chunks(K).flat_map(quantised).collect(),
        Granularity::Group(size) => w
            .chunks(K)
            .flat_map(|row| row.chunks(size).flat_map(quantised).collect::<Vec<_>>())
            .collect(),
    }
}

/// `x̂`, by the formulas.
fn x_hat(scheme: Quantization, x: &[f32]) -> Vec<f32> {
    x.chunks(K)
        .flat_map(|token| {
            let peak = token.iter().fold(0f32, |top, v| top.max(v.abs()));
            let mean = token.iter().map(|v| v.abs()).sum::<f32>() / K as f32;
            let (s, low, high) = match scheme.activations {
                ActivationQuantizer::Int8 => (127.0 / peak.max(EPS), -128.0, 127.0),
                ActivationQuantizer::Int4 => (7f32.sqrt() / mean.max(EPS), -8.0, 7.0),
                ActivationQuantizer::Float => return token.to_vec(),
            };
            let code = |v: &f32| (v * s).round_ties_even().clamp(low, high) / s;
            token.iter().map(code).collect()
        })
        .collect()
}

#[test]
fn outputs_and_gradients_follow_the_formulas() {
    let mut random = Random::new(50);
    let (x, w, g) = (
        random.floats(M * K),
        random.floats(N * K),
        random.floats(M * N),
    );
    for target in targets() {
        let device = target.device.clone().autodiff();
        for scheme in target.some_of(&schemes()).to_vec() {
            let what = format!("{} {scheme:?}", target.name);
            let input = tensor(&x, [M, K], &device).require_grad();
            let layer = layer(scheme, &w, &device);
            let y: Tensor<2> = layer.forward(input.clone());
            let grads = (y.clone() * tensor(&g, [M, N], &device)).sum().backward();
            let (x_hat, w_hat) = (x_hat(scheme, &x), w_hat(scheme, &w));
            let expected = product(&x_hat, &w_hat, |m, k, n| (m * K + k, n * K + k), [M, K, N]);
            near(&floats(y), &expected, &what);
            let grad_x = input.grad(&grads).expect("gradient of x");
            let expected = product(&g, &w_hat, |m, n, k| (m * N + n, n * K + k), [M, N, K]);
            near(&floats(grad_x), &expected, &format!("∂x, {what}"));
            let grad_w = layer.weight.val().grad(&grads).expect("gradient of w");
            let expected = product(&g, &x_hat, |n, m, k| (m * N + n, m * K + k), [N, M, K]);
            near(&floats(grad_w), &expected, &format!("∂w, {what}"));
        }
    }
}

#[test]
fn packed_layers_answer_as_the_latent_ones() {
    let mut random = Random::new(51);
    let (x, w) = (random.floats(M * K), random.floats(N * K));
    for target in targets() {
        for scheme in target.some_of(&schemes()).to_vec() {
            let latent = layer(scheme, &w, &target.device);
            let packed = latent.pack();
            packed.check().expect("sound codes and scales");
            if target.exact {
                let (weights, granularity) = (scheme.weights, scheme.granularity);
                let host = PackedTernary::from_latent(&w, N, K, weights, granularity);
                let host = host.expect("finite weights");
                assert_eq!(packed.to_packed().expect("on the host"), host, "{scheme:?}");
                let back = PackedBitLinear::from_packed(&host, &target.device);
                assert_eq!(back.to_packed().expect("as it was"), host, "{scheme:?}");
            }
            let input = tensor(&x, [M, K], &target.device);
            let (a, b) = (
                floats(latent.forward(input.clone())),
                floats(packed.forward(input)),
            );
            match target.exact {
                true => assert_eq!(a, b, "{} {scheme:?}", target.name),
                false => near(&a, &b, &format!("{} {scheme:?}", target.name)),
            }
        }
    }
}

#[test]
fn a_group_as_wide_as_the_row_is_the_row() {
    let mut random = Random::new(52);
    let (x, w) = (random.floats(M * K), random.floats(N * K));
    let device = Device::flex();
    let run = |granularity| {
        let scheme = Quantization {
            granularity,
            ..Quantization::default()
        };
        let input: Tensor<2> = tensor(&x, [M, K], &device);
        floats(layer(scheme, &w, &device).forward(input))
    };
    assert_eq!(run(Granularity::Group(96)), run(Granularity::Row));
    assert_ne!(run(Granularity::Group(16)), run(Granularity::Row));
}

/// `λ = 0` is the float layer, `λ = 1` the quantised one, and the operands in between lie on the line.
#[test]
fn lambda_leads_from_float_to_ternary() {
    let mut random = Random::new(53);
    let (x, w) = (random.floats(M * K), random.floats(N * K));
    let device = Device::flex();
    for scheme in schemes() {
        let mut layer = layer(scheme, &w, &device);
        let mut at = |lambda: f32| {
            layer.set_form(TrainingForm {
                lambda,
                ..TrainingForm::default()
            });
            let input: Tensor<2> = tensor(&x, [M, K], &device);
            floats(layer.forward(input))
        };
        let float: Tensor<2> = linear(tensor(&x, [M, K], &device), tensor(&w, [N, K], &device));
        assert_eq!(at(0.0), floats(float), "{scheme:?}");
        let blend = |v: Vec<f32>, v_hat: Vec<f32>, lambda: f32| -> Vec<f32> {
            v.iter()
                .zip(v_hat)
                .map(|(v, hat)| v + lambda * (hat - v))
                .collect()
        };
        for lambda in [0.25, 0.999_999] {
            let x_l = blend(x.clone(), x_hat(scheme, &x), lambda);
            let w_l = blend(w.clone(), w_hat(scheme, &w), lambda);
            let expected = product(&x_l, &w_l, |m, k, n| (m * K + k, n * K + k), [M, K, N]);
            near(&at(lambda), &expected, &format!("{lambda} {scheme:?}"));
        }
        let quantised = at(1.0);
        near(&at(0.999_999), &quantised, &format!("{scheme:?}"));
    }
}

#[test]
#[should_panic(expected = "multiple of 16")]
fn groups_end_at_words() {
    BitLinearConfig::new(K, N)
        .with_quantization(Quantization {
            granularity: Granularity::Group(20),
            ..Quantization::default()
        })
        .init(&Device::flex());
}
