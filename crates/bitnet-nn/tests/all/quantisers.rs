//! Quantisers on every device against the scalar reference of `bitnet-kernels`: scales, then codes, word by word.
//!
//! Absmax and absmean scales are exact on every device, absmedian's where the device divides exactly; those of least error
//! are composed on a GPU from sums of its own order. Given the scales read back, the codes are exact in any case (one
//! correctly rounded multiplication, one comparison).

use crate::common::*;
use bitnet_kernels::reference;
use bitnet_nn::{Granularity, WeightQuantizer, quantize_activations, quantize_weights};

/// How far a weight scale may be off, in ulp: the median's is divided by the device.
fn scale_ulps(target: &Target, quantizer: WeightQuantizer) -> u32 {
    match quantizer {
        WeightQuantizer::AbsMean => 0,
        WeightQuantizer::AbsMedian | WeightQuantizer::Sign => target.division_ulps(DIVISION_ULPS),
        WeightQuantizer::Rms | WeightQuantizer::Mse => target.ulps(SUM_ULPS),
    }
}

/// What a sum of some thousand squares in f32 may be off on a GPU.
const SUM_ULPS: u32 = 256;

/// The squared error that scales leave, one for the tensor or one a row.
fn squared_error(w: &[f32], cols: usize, scales: &[f32]) -> f64 {
    let error = |(i, w): (usize, &f32)| {
        let s = scale_at(scales, i / cols);
        let code = f64::from(reference::weight_code(*w, s));
        (f64::from(*w) - code / f64::from(s)).powi(2)
    };
    w.iter().enumerate().map(error).sum()
}

/// Checks scales and codes of `w`; returns the scales.
fn check_weights(
    target: &Target,
    w: &[f32],
    shape: [usize; 2],
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> Vec<f32> {
    let [rows, cols] = shape;
    let context = format!("{}, {shape:?}, {quantizer:?}, {granularity:?}", target.name);
    let (codes, scales) =
        quantize_weights(tensor(w, shape, &target.device), quantizer, granularity);
    assert_eq!(codes.dims(), [rows, cols.div_ceil(16)], "{context}");
    let scales = floats(scales);
    let expected = reference::weight_scales(w, rows, cols, quantizer, granularity);
    let limit = scale_ulps(target, quantizer);
    if quantizer == WeightQuantizer::Mse && !target.exact {
        // Where two thresholds are as good, rounding decides; what counts is the error.
        let (found, least) = (
            squared_error(w, cols, &scales),
            squared_error(w, cols, &expected),
        );
        let all: f64 = w.iter().map(|w| f64::from(*w).powi(2)).sum();
        assert!(
            found <= least + 1e-5 * all,
            "{context}: {found} for {least}"
        );
    } else {
        assert_ulps(&scales, &expected, limit, &context);
    }
    assert_eq!(words(codes), weight_words(w, shape, &scales), "{context}");
    scales
}

/// Checks scales and codes of `x`; returns the codes that are right.
fn check_activations(target: &Target, x: &[f32], [rows, cols]: [usize; 2]) -> Vec<i8> {
    let context = format!("{}, {rows} x {cols}", target.name);
    let (codes, scales) = quantize_activations(tensor(x, [rows, cols], &target.device));
    assert_eq!(codes.dims(), [rows, cols.div_ceil(4)], "{context}");
    let scales = floats(scales);
    let expected: Vec<f32> = x.chunks(cols).map(reference::activation_scale).collect();
    assert_ulps(&scales, &expected, 0, &context);
    let expected: Vec<i8> = x
        .chunks(cols)
        .zip(&scales)
        .flat_map(|(row, &scale)| {
            row.iter()
                .map(move |&x| reference::activation_code(x, scale))
        })
        .collect();
    assert_eq!(words(codes), activation_words(&expected, cols), "{context}");
    expected
}

#[test]
fn weights_of_every_shape() {
    for target in targets() {
        let mut random = Random::new(1);
        for (n, k) in NS.iter().flat_map(|&n| KS.map(|k| (n, k))) {
            for w in [random.floats(n * k), random.dyadics(n * k)] {
                for (quantizer, granularity) in quantisers() {
                    check_weights(&target, &w, [n, k], quantizer, granularity);
                }
            }
        }
    }
}

/// Several blocks of the sum, and of the units that join them.
#[test]
fn the_mean_of_many_weights_has_one_order() {
    for target in targets() {
        let mut random = Random::new(3);
        for shape in [[3, 4096], [5, 5000], [700, 640]] {
            let w = random.floats(shape[0] * shape[1]);
            for granularity in GRANULARITIES {
                check_weights(&target, &w, shape, WeightQuantizer::AbsMean, granularity);
            }
        }
    }
}

#[test]
fn activations_of_every_shape() {
    for target in targets() {
        let mut random = Random::new(2);
        for (m, k) in MS.iter().flat_map(|&m| KS.map(|k| (m, k))) {
            check_activations(&target, &random.floats(m * k), [m, k]);
        }
    }
}

#[test]
fn weights_at_ties_go_to_zero() {
    // Mean and median of |w| are exactly 1 for the tensor and for each row, so w · s is w, and ±0.5 is a tie.
    let w = [
        0.5, -0.5, 1.0, 1.0, -1.0, 1.5, -1.5, 1.0, // |w| sums to 8
        -0.5, 1.5, 1.0, -1.0, 0.5, -1.5, 1.0, 1.0,
    ];
    let codes = [[0, 0, 1, 1, -1, 1, -1, 1], [0, 1, 1, -1, 0, -1, 1, 1]];
    let expected = pack_weight_codes(|n, k| codes[n][k], [2, 8]);
    let middle = [WeightQuantizer::AbsMean, WeightQuantizer::AbsMedian];
    for target in targets() {
        for (quantizer, granularity) in quantisers().filter(|(q, _)| middle.contains(q)) {
            let scales = check_weights(&target, &w, [2, 8], quantizer, granularity);
            assert!(
                scales.iter().all(|&s| s == 1.0),
                "{}: {scales:?}",
                target.name
            );
            assert_eq!(
                weight_words(&w, [2, 8], &scales),
                expected,
                "{}",
                target.name
            );
        }
    }
}

#[test]
fn activations_at_ties_go_to_even() {
    // max|x| = 127, so s = 1 and x · s is x.
    let x = [
        127.0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 126.5, -126.5, -127.0,
    ];
    for target in targets() {
        let codes = check_activations(&target, &x, [1, 10]);
        assert_eq!(codes, [127, 0, 0, 2, -2, 2, -2, 126, -126, -127]);
    }
}

/// Rows that divide by zero, overflow or vanish where a formula is careless: zeros, huge, tiny, mixed, all equal.
fn awkward_rows(cols: usize) -> Vec<Vec<f32>> {
    let sign = |k: usize| if k % 3 == 1 { -1.0 } else { 1.0 };
    let row = |f: &dyn Fn(usize) -> f32| (0..cols).map(f).collect();
    vec![
        row(&|_| 0.0),
        row(&|k| 1e30 * sign(k)),
        row(&|k| 1e-30 * sign(k)),
        row(&|k| if k % 2 == 0 { 1e30 } else { -1e-30 }),
        row(&|_| 0.3),
        row(&|_| -0.3),
        row(&|k| if k == 0 { -7.0 } else { 0.0 }),
    ]
}

#[test]
fn awkward_values() {
    for target in targets() {
        for cols in [16, 33] {
            let rows = awkward_rows(cols);
            for (quantizer, granularity) in quantisers() {
                for w in &rows {
                    check_weights(&target, w, [1, cols], quantizer, granularity);
                }
                check_weights(
                    &target,
                    &rows.concat(),
                    [rows.len(), cols],
                    quantizer,
                    granularity,
                );
            }
            let codes = check_activations(&target, &rows.concat(), [rows.len(), cols]);
            assert!(codes[..cols].iter().all(|&code| code == 0), "zeros");
            assert!(
                codes[cols..2 * cols].iter().all(|code| code.abs() == 127),
                "huge"
            );
            assert!(
                codes[4 * cols..5 * cols].iter().all(|&code| code == 127),
                "equal"
            );
        }
    }
}

#[test]
fn non_finite_rows_stay_alone() {
    for target in targets() {
        let (good, bad) = (
            [1.0, -2.0, 0.5],
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
        );
        for bad in bad {
            let x = [good, [0.1, bad, 0.2], good].concat();
            let (codes, scales) = quantize_activations(tensor(&x, [3, 3], &target.device));
            let (mut expected, mut expected_scales) = ([0; 9], [0.0; 3]);
            reference::quantize_activations(&x, 3, &mut expected, &mut expected_scales);
            let bits = |scales: &[f32]| scales.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&floats(scales)),
                bits(&expected_scales),
                "{}, {bad}",
                target.name
            );
            assert_eq!(
                words(codes),
                activation_words(&expected, 3),
                "{}, {bad}",
                target.name
            );
            assert_eq!(&expected[3..6], [0; 3]);
        }
    }
}

#[test]
fn strided_views_are_read_in_their_own_order() {
    let mut random = Random::new(3);
    let values = random.floats(20 * 33);
    let transposed: Vec<f32> = (0..33 * 20).map(|i| values[i % 20 * 33 + i / 20]).collect();
    let cut: Vec<f32> = (3..17)
        .flat_map(|row| values[row * 33 + 2..][..30].to_vec())
        .collect();
    for target in targets() {
        let whole = tensor(&values, [20, 33], &target.device);
        let views = [
            (whole.clone().transpose(), transposed.clone()),
            (whole.slice([3..17, 2..32]), cut.clone()),
        ];
        for (view, dense) in views {
            let same = tensor(&dense, view.dims(), &target.device);
            let context = format!("{}, {:?}", target.name, view.dims());
            for (quantizer, granularity) in quantisers() {
                let (codes, scales) = quantize_weights(view.clone(), quantizer, granularity);
                let (codes2, scales2) = quantize_weights(same.clone(), quantizer, granularity);
                let limit = scale_ulps(&target, quantizer);
                assert_ulps(&floats(scales), &floats(scales2), limit, &context);
                assert_eq!(words(codes), words(codes2), "{context}");
            }
            let (codes, scales) = quantize_activations(view);
            let (codes2, scales2) = quantize_activations(same);
            assert_eq!(floats(scales), floats(scales2), "{context}");
            assert_eq!(words(codes), words(codes2), "{context}");
        }
    }
}
