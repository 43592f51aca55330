//! The ternary product on every device: integer sums exact, scales in one order; and the reference, composed from
//! Burn's operations, against the device's own kernels.

use crate::common::*;
use bitnet_kernels::MAX_COLS;
use bitnet_nn::{
    Granularity, TernaryBackend, WeightQuantizer, dequantize_activations, dequantize_weights,
    quantize_activations, quantize_weights, reference,
};
use burn::backend::{
    Dispatch,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Device, FloatDType, Int, Tensor};

/// Integer operands of a product.
struct Case {
    x: Vec<i8>,
    w: Vec<i8>,
    m: usize,
    n: usize,
    k: usize,
}

impl Case {
    fn random(random: &mut Random, [m, n, k]: [usize; 3]) -> Self {
        Self {
            x: (0..m * k).map(|_| random.bits() as i8).collect(),
            w: (0..n * k).map(|_| random.below(3) as i8 - 1).collect(),
            m,
            n,
            k,
        }
    }

    fn sums(&self) -> Vec<i64> {
        let dot = |m: usize, n: usize| {
            (0..self.k)
                .map(|k| i64::from(self.x[m * self.k + k]) * i64::from(self.w[n * self.k + k]))
                .sum()
        };
        (0..self.m * self.n)
            .map(|i| dot(i / self.n, i % self.n))
            .collect()
    }

    fn codes(&self, device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
        let x = activation_words(&self.x, self.k);
        let w = pack_weight_codes(|n, k| self.w[n * self.k + k], [self.n, self.k]);
        (
            words_tensor(&x, [self.m, self.k.div_ceil(4)], device),
            words_tensor(&w, [self.n, self.k.div_ceil(16)], device),
        )
    }

    fn run(&self, device: &Device, x_scales: &[f32], w_scales: &[f32]) -> Vec<f32> {
        let (x, w) = self.codes(device);
        floats(product(
            x,
            vector(x_scales, device),
            w,
            vector(w_scales, device),
            self.k,
        ))
    }
}

fn product(
    x: Tensor<2, Int>,
    x_scales: Tensor<1>,
    w: Tensor<2, Int>,
    w_scales: Tensor<1>,
    k: usize,
) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::ternary_product(
        x.into_dispatch(),
        x_scales.into_dispatch(),
        w.into_dispatch(),
        w_scales.into_dispatch(),
        k,
        FloatDType::F32,
    ))
}

#[test]
fn sums_are_exact() {
    for target in targets() {
        let mut random = Random::new(5);
        for k in KS {
            for (m, n) in MS.iter().flat_map(|&m| NS.map(|n| (m, n))) {
                let case = Case::random(&mut random, [m, n, k]);
                // Scales of 1 leave the sum, which an f32 holds: |Σ| ≤ 128 · K < 2²⁴.
                let y = case.run(&target.device, &vec![1.0; m], &[1.0]);
                let y: Vec<i64> = y.iter().map(|&y| y as i64).collect();
                assert_eq!(y, case.sums(), "{}, {m} x {n} x {k}", target.name);
            }
        }
    }
}

#[test]
fn extreme_sums_are_exact() {
    for target in targets() {
        for k in [127, 1024, 4096] {
            let case = Case {
                x: [vec![-128; k], vec![127; k]].concat(),
                w: [vec![-1; k], vec![0; k], vec![1; k]].concat(),
                m: 2,
                n: 3,
                k,
            };
            let (k, y) = (k as f32, case.run(&target.device, &[1.0; 2], &[1.0]));
            let expected = [128.0 * k, 0.0, -128.0 * k, -127.0 * k, 0.0, 127.0 * k];
            assert_eq!(y, expected, "{}, {k}", target.name);
        }
    }
}

/// Where the bounds lie: 2²⁴ − 1 is the largest odd sum that the resulting f32 holds, and 2²³ the largest K of a GPU's
/// integers. There the sums of −128 and ±1 are powers of two. A GEMM's loop is as long as a row, and Mesa's llvmpipe
/// ends a shader's loops after 65,535 rounds in all, so it is tried up to 2¹⁹. CPU kernels refuse more than
/// [`MAX_COLS`].
#[test]
fn sums_are_exact_up_to_the_bound() {
    const ODD: usize = 132_105;
    for target in targets() {
        for (m, longest) in [(1, 1 << 23), (5, 1 << 19)] {
            let run = |row: &[i8]| {
                let k = row.len();
                let w = [vec![1; k], vec![-1; k]].concat();
                let x = row.repeat(m);
                let case = Case { x, w, m, n: 2, k };
                case.run(&target.device, &vec![1.0; m], &[1.0])
            };
            // 127 · 132,104 + 7.
            let odd = run(&[vec![127; ODD - 1], vec![7]].concat());
            let most = (1 << 24) as f32 - 1.0;
            assert_eq!(odd, [most, -most].repeat(m), "{} {m}", target.name);

            let k = if target.exact { MAX_COLS } else { longest };
            let most = 128.0 * k as f32;
            let y = run(&vec![-128; k]);
            assert_eq!(y, [-most, most].repeat(m), "{} {m} x {k}", target.name);
        }
    }
}

#[test]
fn scales_divide_the_sum_weights_first() {
    for target in targets() {
        let mut random = Random::new(6);
        for shape in [[1, 1, 1], [2, 3, 17], [5, 16, 100], [8, 33, 129]] {
            let [m, n, _] = shape;
            let case = Case::random(&mut random, shape);
            let mut scales = |count: usize| -> Vec<f32> {
                (0..count).map(|_| 40.0 + 39.9 * random.float()).collect()
            };
            let x_scales = scales(m);
            for w_scales in [scales(1), scales(n)] {
                let expected: Vec<f32> = (case.sums().iter().enumerate())
                    .map(|(i, &sum)| sum as f32 / scale_at(&w_scales, i % n) / x_scales[i / n])
                    .collect();
                let y = case.run(&target.device, &x_scales, &w_scales);
                let context = format!("{}, {shape:?}, {} scales", target.name, w_scales.len());
                assert_ulps(&y, &expected, target.ulps(2 * DIVISION_ULPS), &context);
            }
        }
    }
}

#[test]
fn rows_of_codes_may_be_views() {
    let case = Case::random(&mut Random::new(7), [5, 7, 37]);
    for target in targets() {
        let (x, w) = case.codes(&target.device);
        let ones = |n: usize| Tensor::ones([n], &target.device);
        let all = product(x.clone(), ones(5), w.clone(), ones(1), 37);
        let part = product(
            x.slice([1..4, 0..10]),
            ones(3),
            w.slice([2..7, 0..3]),
            ones(1),
            37,
        );
        let expected = floats(all.slice([1..4, 2..7]));
        assert_eq!(floats(part), expected, "{}", target.name);
    }
}

/// The operations of `reference` on the same tensors. Weights are multiples of 1/64, whose mean no order of addition
/// changes, so that even the scales of the mean must be those of the kernels.
#[test]
fn reference_through_dispatch_equals_the_kernels() {
    for target in targets() {
        let mut random = Random::new(8);
        for &[m, n, k] in target.some_of(&[[1, 1, 1], [5, 16, 64], [8, 33, 129], [2, 3, 15]]) {
            let context = format!("{}, {m} x {n} x {k}", target.name);
            let x = tensor(&random.floats(m * k), [m, k], &target.device);
            let w = tensor(&random.dyadics(n * k), [n, k], &target.device);

            let (xq, sx) = quantize_activations(x.clone());
            let (xq2, sx2) = pair(reference::quantize_activations::<Dispatch>(
                x.into_dispatch(),
            ));
            assert_eq!(floats(sx.clone()), floats(sx2), "{context}");
            assert_eq!(words(xq.clone()), words(xq2), "{context}");
            let value = reference::dequantize_activations::<Dispatch>(
                xq.clone().into_dispatch(),
                sx.clone().into_dispatch(),
                k,
            );
            let own = floats(dequantize_activations(xq.clone(), sx.clone(), k));
            let limit = target.ulps(DIVISION_ULPS);
            assert_ulps(
                &own,
                &floats(Tensor::<2>::from_dispatch(value)),
                limit,
                &context,
            );

            for (quantizer, granularity) in quantisers() {
                let context = format!("{context}, {quantizer:?}, {granularity:?}");
                let (wq, sw) = quantize_weights(w.clone(), quantizer, granularity);
                let (wq2, sw2) = reference_weights(w.clone(), quantizer, granularity);
                match quantizer {
                    // Sums of squares, in f64 on the CPU and in f32 elsewhere.
                    WeightQuantizer::Rms | WeightQuantizer::Mse => {
                        assert_ulps(&floats(sw.clone()), &floats(sw2), 8, &context);
                    }
                    _ => assert_eq!(floats(sw.clone()), floats(sw2), "{context}"),
                }
                assert_eq!(words(wq.clone()), words(wq2), "{context}");
                let value = reference::dequantize_weights::<Dispatch>(
                    wq.clone().into_dispatch(),
                    sw.clone().into_dispatch(),
                    k,
                );
                let own = floats(dequantize_weights(wq.clone(), sw.clone(), k));
                assert_ulps(
                    &own,
                    &floats(Tensor::<2>::from_dispatch(value)),
                    limit,
                    &context,
                );
                let y = reference::ternary_product::<Dispatch>(
                    xq.clone().into_dispatch(),
                    sx.clone().into_dispatch(),
                    wq.clone().into_dispatch(),
                    sw.clone().into_dispatch(),
                    k,
                );
                let own = floats(product(xq.clone(), sx.clone(), wq, sw, k));
                let limit = target.ulps(2 * DIVISION_ULPS);
                assert_ulps(
                    &own,
                    &floats(Tensor::<2>::from_dispatch(y)),
                    limit,
                    &context,
                );
            }
        }
    }
}

fn reference_weights(
    w: Tensor<2>,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> (Tensor<2, Int>, Tensor<1>) {
    let w = w.into_dispatch();
    pair(reference::quantize_weights::<Dispatch>(
        w,
        quantizer,
        granularity,
    ))
}

fn pair(
    (codes, scales): (IntTensor<Dispatch>, FloatTensor<Dispatch>),
) -> (Tensor<2, Int>, Tensor<1>) {
    (Tensor::from_dispatch(codes), Tensor::from_dispatch(scales))
}
