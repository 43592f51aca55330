//! The forms that a layer may have while it trains: each against its formula written out, gradients included, and all of
//! them ending in the packed layer.

#![cfg(feature = "autodiff")]

use crate::common::*;
use bitnet_nn::{
    ActivationQuantizer, BitLinear, BitLinearConfig, Granularity, Quantization,
    QuantizedActivations, TrainingForm, WeightQuantizer, pack_weights, quantize_weights,
};
use burn::module::Param;
use burn::tensor::{Device, Tensor};

const K: usize = 40;
const N: usize = 5;
const M: usize = 4;

fn plain() -> TrainingForm {
    TrainingForm::default()
}

fn scheme(granularity: Granularity, activations: ActivationQuantizer) -> Quantization {
    Quantization {
        granularity,
        activations,
        ..Quantization::default()
    }
}

/// Each kind of scale, with integer products and float ones.
fn schemes() -> Vec<Quantization> {
    let granularities = [
        Granularity::Group(16),
        Granularity::Row,
        Granularity::Tensor,
    ];
    let all = [ActivationQuantizer::Float, ActivationQuantizer::Int8];
    granularities
        .into_iter()
        .flat_map(|granularity| all.map(|activations| scheme(granularity, activations)))
        .collect()
}

struct Case {
    x: Vec<f32>,
    w: Vec<f32>,
    g: Vec<f32>,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // Some weights far beyond the scale, as they are in training.
        let w = random.floats(N * K);
        Self {
            x: random.floats(M * K),
            w: w.iter().map(|w| w * w * w * 3.0).collect(),
            g: random.floats(M * N),
        }
    }

    fn layer(&self, scheme: Quantization, learned: bool, device: &Device) -> BitLinear {
        let mut layer = BitLinearConfig::new(K, N)
            .with_quantization(scheme)
            .with_learned_scale(learned)
            .init(device);
        layer.weight = Param::from_tensor(tensor(&self.w, [N, K], device));
        layer
    }

    /// The output and the gradients of input, weights and learned scales, if there are any.
    fn run(&self, layer: &BitLinear, device: &Device) -> [Vec<f32>; 4] {
        let x = tensor(&self.x, [M, K], device).require_grad();
        let y: Tensor<2> = layer.forward(x.clone());
        let grads = (y.clone() * tensor(&self.g, [M, N], device))
            .sum()
            .backward();
        let scale = layer.scale.as_ref();
        let scale = scale.map(|scale| scale.val().grad(&grads).expect("gradient of the scales"));
        [
            floats(y),
            floats(x.grad(&grads).expect("gradient of x")),
            floats(layer.weight.val().grad(&grads).expect("gradient of w")),
            scale.map(floats).unwrap_or_default(),
        ]
    }
}

/// `α` of each weight and its code, from the device's own scales, multiplied.
fn coded(
    w: &[f32],
    scheme: Quantization,
    multiple: impl Fn(usize, usize) -> f32,
) -> Vec<(f32, f32)> {
    let device = Device::flex();
    let (part, one) = match scheme.granularity {
        Granularity::Tensor => (K, Granularity::Tensor),
        Granularity::Row => (K, Granularity::Row),
        Granularity::Group(size) => (size, Granularity::Row),
    };
    let mut all = vec![(0.0, 0.0); w.len()];
    for start in (0..K).step_by(part) {
        let len = part.min(K - start);
        let piece = tensor::<2>(w, [N, K], &device).narrow(1, start, len);
        let scales = floats(quantize_weights(piece, scheme.weights, one).1);
        for n in 0..N {
            for k in start..start + len {
                let alpha = multiple(n, k) / scale_at(&scales, n);
                let code = (w[n * K + k] / alpha).round_ties_even().clamp(-1.0, 1.0);
                all[n * K + k] = (alpha, code);
            }
        }
    }
    all
}

/// `∂yᵀ · x` and `x · wᵀ` of the host.
fn weight_gradient(g: &[f32], x: &[f32]) -> Vec<f32> {
    product(g, x, |n, m, k| (m * N + n, m * K + k), [N, M, K])
}

fn output(x: &[f32], w: &[f32]) -> Vec<f32> {
    product(x, w, |m, k, n| (m * K + k, n * K + k), [M, K, N])
}

#[test]
fn codes_by_given_scales_are_rounded_products() {
    let case = Case::new(1);
    for target in targets() {
        for scales in [vec![2.0f32], vec![0.5, 1.0, 2.0, 4.0, f32::NAN]] {
            let w = tensor(&case.w, [N, K], &target.device);
            let found = words(pack_weights(w, vector(&scales, &target.device)));
            // A NaN is one of the CPU's kernels alone.
            let sound = if target.exact { N } else { 4.min(N) };
            let expected = weight_words(&case.w, [N, K], &scales);
            let words = sound * K.div_ceil(16);
            assert_eq!(found[..words], expected[..words], "{}", target.name);
        }
    }
}

#[test]
fn weights_far_from_their_codes_get_no_gradient() {
    let case = Case::new(2);
    for target in targets() {
        let device = target.device.clone().autodiff();
        for scheme in target.some_of(&schemes()).to_vec() {
            let what = format!("{} {scheme:?}", target.name);
            let mut layer = case.layer(scheme, false, &device);
            let [y, x, w, _] = case.run(&layer, &device);
            layer.set_form(TrainingForm {
                trust: 0.5,
                ..plain()
            });
            let [masked_y, masked_x, masked, _] = case.run(&layer, &device);
            near(&masked_y, &y, &what);
            near(&masked_x, &x, &what);
            let codes = coded(&case.w, scheme, |_, _| 1.0);
            let mut trusted = 0;
            for (i, (alpha, code)) in codes.iter().enumerate() {
                let distance = (alpha * code - case.w[i]).abs();
                // What lies on the edge may fall on either side.
                if (distance - 0.5 * alpha).abs() < 1e-5 * alpha {
                    continue;
                }
                let inside = distance < 0.5 * alpha;
                trusted += usize::from(inside);
                let expected = if inside { w[i] } else { 0.0 };
                near(&[masked[i]], &[expected], &format!("{what}, weight {i}"));
            }
            assert!(trusted > 20 && trusted < N * K - 20, "{what}: {trusted}");
        }
    }
}

#[test]
fn a_pull_goes_a_share_of_the_way() {
    let case = Case::new(3);
    for target in targets() {
        for (scheme, device) in schemes().into_iter().flat_map(|scheme| {
            [target.device.clone(), target.device.clone().autodiff()].map(|d| (scheme, d))
        }) {
            let what = format!("{} {scheme:?}", target.name);
            let mut layer = case.layer(scheme, false, &device);
            let (id, trains) = (layer.weight.id, layer.weight.val().is_require_grad());
            layer.pull(0.25);
            let codes = coded(&case.w, scheme, |_, _| 1.0);
            let expected: Vec<f32> = (case.w.iter().zip(codes))
                .map(|(w, (alpha, code))| w - 0.25 * (w - alpha * code))
                .collect();
            near(&floats(layer.weight.val()), &expected, &what);
            assert_eq!(
                (layer.weight.id, layer.weight.val().is_require_grad()),
                (id, trains)
            );
            assert_eq!(
                layer.weight.val().device().is_autodiff(),
                device.is_autodiff()
            );
        }
    }
}

#[test]
fn a_float_path_is_added_and_learns() {
    let case = Case::new(4);
    for target in targets() {
        let device = target.device.clone().autodiff();
        for scheme in target.some_of(&schemes()).to_vec() {
            let what = format!("{} {scheme:?}", target.name);
            let mut layer = case.layer(scheme, false, &device);
            let [y, x, w, _] = case.run(&layer, &device);
            layer.set_form(TrainingForm {
                residual: 0.25,
                ..plain()
            });
            let found = case.run(&layer, &device);
            let add = |a: Vec<f32>, b: Vec<f32>| -> Vec<f32> {
                a.iter().zip(b).map(|(a, b)| a + 0.25 * b).collect()
            };
            near(&found[0], &add(y, output(&case.x, &case.w)), &what);
            let own = product(
                &case.g,
                &case.w,
                |m, n, k| (m * N + n, n * K + k),
                [M, N, K],
            );
            near(&found[1], &add(x, own), &what);
            near(&found[2], &add(w, weight_gradient(&case.g, &case.x)), &what);
            // Layers that share their input do the same.
            if let Some(codes) =
                QuantizedActivations::of(tensor::<2>(&case.x, [M, K], &device), scheme.activations)
            {
                near(&floats(layer.forward_quantized(&codes)), &found[0], &what);
            }
        }
    }
}

/// The expectation of the softmax over the three codes, in f64.
fn soft(w: f64, alpha: f64, temperature: f64) -> f64 {
    let weight = |c: f64| (-((w / alpha - c).powi(2)) / temperature).exp();
    let (minus, zero, plus) = (weight(-1.0), weight(0.0), weight(1.0));
    alpha * (plus - minus) / (minus + zero + plus)
}

#[test]
fn soft_codes_are_the_softmax_and_learn_by_its_slope() {
    let case = Case::new(5);
    for target in targets() {
        let device = target.device.clone().autodiff();
        for scheme in target.some_of(&schemes()).to_vec() {
            let codes = coded(&case.w, scheme, |_, _| 1.0);
            let mut layer = case.layer(scheme, false, &device);
            let [hard, _, straight, _] = case.run(&layer, &device);
            for temperature in [1.0f32, 0.2] {
                let what = format!("{} {scheme:?} {temperature}", target.name);
                layer.set_form(TrainingForm {
                    temperature,
                    ..plain()
                });
                assert!(!layer.accepts_quantized());
                let [y, _, w, _] = case.run(&layer, &device);
                let at = |w: f32, alpha: f32, by: f64| {
                    soft(f64::from(w) + by, f64::from(alpha), f64::from(temperature))
                };
                let soft_w: Vec<f32> = (case.w.iter().zip(&codes))
                    .map(|(w, (alpha, _))| at(*w, *alpha, 0.0) as f32)
                    .collect();
                let x_hat = match QuantizedActivations::of(
                    tensor::<2>(&case.x, [M, K], &device),
                    scheme.activations,
                ) {
                    Some(codes) => floats(codes.dequantize()),
                    None => case.x.clone(),
                };
                near(&y, &output(&x_hat, &soft_w), &what);
                // By the chain rule from what passes straight through, with the slope by differences in f64.
                let expected: Vec<f32> = (0..N * K)
                    .map(|i| {
                        let (alpha, h) = (codes[i].0, 1e-5);
                        let slope =
                            (at(case.w[i], alpha, h) - at(case.w[i], alpha, -h)) / (2.0 * h);
                        (f64::from(straight[i]) * slope) as f32
                    })
                    .collect();
                near(&w, &expected, &what);
            }
            // Cold codes are hard ones, but for weights on the edge.
            layer.set_form(TrainingForm {
                temperature: 1e-5,
                ..plain()
            });
            let [y, _, w, _] = case.run(&layer, &device);
            let distance = |a: &[f32], b: &[f32]| {
                a.iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max)
            };
            assert!(distance(&y, &hard) < 0.05, "{} {scheme:?}", target.name);
            assert!(w.iter().all(|w| w.is_finite()));
            layer.set_form(plain());
            assert_eq!(case.run(&layer, &device)[0], hard);
        }
    }
}

#[test]
fn learned_scales_multiply_and_follow_lsq() {
    let case = Case::new(6);
    let multiple = |n: usize, k: usize| 0.75 + 0.125 * ((n + k / 16) % 5) as f32;
    for target in targets() {
        let device = target.device.clone().autodiff();
        for scheme in target.some_of(&schemes()).to_vec() {
            let what = format!("{} {scheme:?}", target.name);
            let mut layer = case.layer(scheme, true, &device);
            let untouched = case.layer(scheme, false, &device);
            let [y, x, w, _] = case.run(&untouched, &device);
            let at_one = case.run(&layer, &device);
            for (found, expected) in at_one[..3].iter().zip([&y, &x, &w]) {
                near(found, expected, &what);
            }
            // A multiple for each scale, in the order of the parameter: groups, then rows.
            let groups = scheme.granularity.groups(K);
            let rows = if scheme.granularity == Granularity::Tensor {
                1
            } else {
                N
            };
            let multiples: Vec<f32> = (0..groups)
                .flat_map(|group| (0..rows).map(move |n| (n, 16 * group)))
                .map(|(n, k)| multiple(n, k))
                .collect();
            let of = |n: usize, k: usize| match scheme.granularity {
                Granularity::Tensor => multiple(0, 0),
                Granularity::Row => multiple(n, 0),
                Granularity::Group(_) => multiple(n, k / 16 * 16),
            };
            layer.scale = Some(Param::from_tensor(vector(&multiples, &device)));
            let [y, _, w, scale] = case.run(&layer, &device);
            let codes = coded(&case.w, scheme, of);
            let w_hat: Vec<f32> = codes.iter().map(|(alpha, code)| alpha * code).collect();
            let x_hat = match QuantizedActivations::of(
                tensor::<2>(&case.x, [M, K], &device),
                scheme.activations,
            ) {
                Some(codes) => floats(codes.dequantize()),
                None => case.x.clone(),
            };
            near(&y, &output(&x_hat, &w_hat), &what);
            let grad = weight_gradient(&case.g, &x_hat);
            near(&w, &grad, &what);
            let mut expected = vec![0f64; multiples.len()];
            let mut sharing = vec![0f64; multiples.len()];
            for i in 0..N * K {
                let (n, k) = (i / K, i % K);
                let at = match scheme.granularity {
                    Granularity::Tensor => 0,
                    Granularity::Row => n,
                    Granularity::Group(size) => k / size * N + n,
                };
                let (alpha, code) = codes[i];
                let unit = case.w[i] / alpha;
                let slope = if unit.abs() < 1.0 { code - unit } else { code };
                // Of the multiple: α of the estimator is what it multiplies.
                expected[at] += f64::from(grad[i] * slope * alpha / of(n, k));
                sharing[at] += 1.0;
            }
            let expected: Vec<f32> = (expected.iter().zip(sharing))
                .map(|(sum, n)| (sum / n.sqrt()) as f32)
                .collect();
            near(&scale, &expected, &format!("{what}, scales"));
            // The packed layer has the product of both.
            let packed = layer.pack();
            let input: Tensor<2> = tensor(&case.x, [M, K], &target.device);
            let found = floats(packed.forward(input));
            match target.exact {
                true => assert_eq!(found, y, "{what}"),
                false => near(&found, &y, &what),
            }
        }
    }
}

#[test]
fn signs_with_a_learned_scale_stay_signs() {
    let case = Case::new(7);
    let device = Device::flex();
    let scheme = Quantization {
        weights: WeightQuantizer::Sign,
        ..Quantization::default()
    };
    let mut layer = case.layer(scheme, true, &device);
    let codes = words(layer.pack().words.val());
    layer.scale = Some(Param::from_tensor(vector(&[3.0], &device)));
    let packed = layer.pack();
    assert_eq!(words(packed.words.val()), codes);
    let x: Tensor<2> = tensor(&case.x, [M, K], &device);
    assert_eq!(floats(packed.forward(x.clone())), floats(layer.forward(x)));
}

/// Whatever form a layer was trained in, its packed form is that of the plain one.
#[test]
fn every_form_packs_to_the_plain_layer() {
    let case = Case::new(8);
    for target in targets() {
        let x: Tensor<2> = tensor(&case.x, [M, K], &target.device);
        let mut layer = case.layer(Quantization::default(), true, &target.device);
        let expected = floats(layer.forward(x.clone()));
        layer.set_form(TrainingForm {
            lambda: 0.5,
            trust: 0.1,
            residual: 2.0,
            temperature: 3.0,
        });
        assert_ne!(floats(layer.forward(x.clone())), expected);
        let packed = floats(layer.pack().forward(x.clone()));
        layer.set_form(plain());
        assert_eq!(floats(layer.forward(x)), expected);
        match target.exact {
            true => assert_eq!(packed, expected),
            false => near(&packed, &expected, target.name),
        }
    }
}
