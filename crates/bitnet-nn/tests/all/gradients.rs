//! Values and gradients of `bitlinear` on every device with autodiff.
//!
//! The reference composes fake quantisation from Burn's operations, with `detach` as straight-through estimator. It
//! computes the same real numbers in other roundings, so the two may differ by a rounding error, bounded here for each
//! element from the magnitudes of its terms: a sum of K terms, in any order, errs by at most `K · u · Σ|term|` with u =
//! 2⁻²⁴, in both of the two; so `K · ε · Σ|term|` with ε = 2u. A term itself errs by some u: `v + (v̂ − v)` and two
//! divisions, covered by 16 ε; and by the error of its mean, at most `len · ε` for a group of `len` weights.

#![cfg(feature = "autodiff")]

use crate::common::*;
use bitnet_kernels::reference as host;
use bitnet_nn::{
    BitLinear, BitLinearConfig, Granularity, Quantization, WeightQuantizer, bitlinear, reference,
};
use burn::backend::Dispatch;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

/// The operands of a layer, `x` `[m, k]`, `w` `[n, k]`, bias `[n]`, and the gradient `[m, n]` that reaches its output.
struct Case {
    m: usize,
    n: usize,
    k: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    fn random(random: &mut Random, [m, n, k]: [usize; 3]) -> Self {
        Self {
            m,
            n,
            k,
            x: random.floats(m * k),
            w: random.floats(n * k),
            bias: random.floats(n),
            grad: random.floats(m * n),
        }
    }

    /// `|x| + |x̂|` and `|w| + |ŵ|`.
    fn magnitudes(&self, quantizer: WeightQuantizer, granularity: Granularity) -> [Vec<f64>; 2] {
        let scales = host::weight_scales(&self.w, self.n, self.k, quantizer, granularity);
        let sum =
            |v: f32, code: i8, scale: f32| f64::from(v.abs() + (f32::from(code) / scale).abs());
        let of_x = |row: &[f32]| -> Vec<f64> {
            let s = host::activation_scale(row);
            row.iter()
                .map(|&x| sum(x, host::activation_code(x, s), s))
                .collect()
        };
        let of_w = |(i, &w): (usize, &f32)| {
            let s = scale_at(&scales, i / self.k);
            sum(w, host::weight_code(w, s), s)
        };
        [
            self.x.chunks(self.k).flat_map(of_x).collect(),
            self.w.iter().enumerate().map(of_w).collect(),
        ]
    }

    /// The layer's output and the gradients of x, w and bias, with `x` of any rank.
    fn run<const D: usize>(
        &self,
        device: &Device,
        leading: [usize; D],
        forward: impl FnOnce(&BitLinear, Tensor<D>) -> Tensor<D>,
        (quantizer, granularity): (WeightQuantizer, Granularity),
    ) -> [Vec<f32>; 4] {
        let mut shape = leading;
        shape[D - 1] = self.k;
        let x = tensor(&self.x, shape, device).require_grad();
        let scheme = Quantization {
            weights: quantizer,
            granularity,
            ..Quantization::default()
        };
        let mut layer = BitLinearConfig::new(self.k, self.n)
            .with_quantization(scheme)
            .init(device);
        layer.weight = Param::from_tensor(tensor(&self.w, [self.n, self.k], device));
        layer.bias = Some(Param::from_tensor(vector(&self.bias, device)));
        let y = forward(&layer, x.clone());
        shape[D - 1] = self.n;
        assert_eq!(y.dims(), shape);
        let grads = (y.clone() * tensor(&self.grad, shape, device))
            .sum()
            .backward();
        let (weight, bias) = (layer.weight.val(), layer.bias.as_ref().unwrap().val());
        let gx = x.grad(&grads).expect("gradient of x");
        let gw = weight.grad(&grads).expect("gradient of w");
        let gb = bias.grad(&grads).expect("gradient of bias");
        assert_eq!(gx.dims(), x.dims());
        assert_eq!(gw.dims(), weight.dims());
        assert_eq!(gb.dims(), bias.dims());
        [floats(y), floats(gx), floats(gw), floats(gb)]
    }
}

/// The composed layer: what `BitLinear` does, from the reference.
fn composed<const D: usize>(layer: &BitLinear, x: Tensor<D>) -> Tensor<D> {
    let mut shape = x.dims();
    let k = shape[D - 1];
    let rows = shape.iter().product::<usize>() / k;
    let [n, _] = layer.weight.dims();
    let y = Tensor::<2>::from_dispatch(reference::bitlinear::<Dispatch>(
        x.reshape([rows, k]).into_dispatch(),
        layer.weight.val().into_dispatch(),
        layer.quantization.weights,
        layer.quantization.granularity,
    ));
    shape[D - 1] = n;
    let bias = layer.bias.as_ref().map(Param::val).expect("a bias");
    (y + bias.unsqueeze()).reshape(shape)
}

fn check<const D: usize>(
    name: &str,
    device: &Device,
    case: &Case,
    leading: [usize; D],
    switches: (WeightQuantizer, Granularity),
) {
    let (m, n, k) = (case.m, case.n, case.k);
    let found = case.run(device, leading, BitLinear::forward, switches);
    let expected = case.run(device, leading, composed, switches);
    let [x, w] = case.magnitudes(switches.0, switches.1);
    let grad = |m: usize, o: usize| f64::from(case.grad[m * n + o].abs());
    let (x, w) = (
        |m: usize, i: usize| x[m * k + i],
        |o: usize, i: usize| w[o * k + i],
    );
    let group = match switches {
        (WeightQuantizer::AbsMedian, _) => 0,
        (_, Granularity::Tensor) => n * k,
        (_, other) => other.group(k),
    };
    let limits = [
        // The output adds a bias of magnitude below 1.
        (k + group, matmul([m, k, n], x, |i, o| w(o, i)), 1.0),
        (n + group, matmul([m, n, k], grad, w), 0.0),
        (m, matmul([n, m, k], |o, m| grad(m, o), x), 0.0),
        (m, matmul([1, m, n], |_, _| 1.0, grad), 0.0),
    ];
    let what = ["y", "gradient of x", "gradient of w", "gradient of bias"];
    for (((what, found), expected), (terms, magnitude, more)) in
        what.iter().zip(&found).zip(&expected).zip(limits)
    {
        let factor = (terms + 16) as f64 * f64::from(f32::EPSILON);
        let limits: Vec<f64> = magnitude.iter().map(|sum| factor * (sum + more)).collect();
        assert_within(
            found,
            expected,
            &limits,
            &format!("{name}, {m} x {n} x {k}, {switches:?}, {what}"),
        );
    }
}

#[test]
fn values_and_gradients_are_those_of_the_composed_reference() {
    for target in targets() {
        let mut random = Random::new(9);
        let device = target.device.clone().autodiff();
        for &shape in target.some_of(&[[1, 1, 1], [2, 3, 15], SHAPE]) {
            let case = Case::random(&mut random, shape);
            for switches in quantisers() {
                check(target.name, &device, &case, [shape[0], 0], switches);
            }
        }
        let case = Case::random(&mut random, SHAPE);
        for switches in quantisers() {
            check(target.name, &device, &case, [2, 4, 0], switches);
        }
        let checkpointed = device.gradient_checkpointing();
        let switches = (WeightQuantizer::AbsMean, Granularity::Row);
        check(target.name, &checkpointed, &case, [2, 4, 0], switches);
    }
}

#[test]
fn a_case_computed_by_hand() {
    for target in targets() {
        let device = target.device.clone().autodiff();
        // max|x| = 2, s_x = 63.5: x · s_x = (127, −63.5, 15.875), codes (127, −64, 16), the tie to even.
        let x = tensor(&[2.0, -1.0, 0.25], [1, 3], &device).require_grad();
        // mean|w| = 4.5/6 = 0.75: w / 0.75 = (1.33, −0.67, 0.33; −2, 1, 0.67), codes (1, −1, 0; −1, 1, 1).
        let w = [1.0, -0.5, 0.25, -1.5, 0.75, 0.5];
        let w = tensor(&w, [2, 3], &device).require_grad();
        let y = bitlinear(
            x.clone(),
            w.clone(),
            WeightQuantizer::AbsMean,
            Granularity::Tensor,
        );
        let grads = (y.clone() * tensor(&[1.0, 2.0], [1, 2], &device))
            .sum()
            .backward();
        let cases = [
            // 0.75/63.5 · (127 + 64, −127 − 64 + 16)
            (floats(y), vec![2.255_905_5, -2.066_929]),
            // 0.75 · (1 − 2, −1 + 2, 0 + 2)
            (floats(x.grad(&grads).unwrap()), vec![-0.75, 0.75, 1.5]),
            // (1, 2)ᵀ · (127, −64, 16)/63.5
            (
                floats(w.grad(&grads).unwrap()),
                vec![2.0, -1.007_874, 0.251_968_5, 4.0, -2.015_748, 0.503_937],
            ),
        ];
        for (found, expected) in cases {
            // The scale 4/3 and two divisions round.
            assert_ulps(&found, &expected, 1 + 3 * DIVISION_ULPS, target.name);
        }
    }
}
