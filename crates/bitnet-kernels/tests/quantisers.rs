//! Quantisers: the formulas on numbers worked by hand, equality with the reference, and the rule for NaN and infinity.

mod common;

use bitnet_kernels::{
    EPS, Granularity, PackedTernary, PackedView, WeightQuantizer, activation_scale,
    codes_i8_to_f32_div, linear_quantized, pack_weights, quantize_activations, quantize_weights,
    reference, unpack_scaled_f32, weight_scales, words_per_row,
};
use common::{bits, on_threads, rounding};
use proptest::prelude::*;

/// The codes of packed rows.
fn unpack(words: &[u32], rows: usize, cols: usize) -> Vec<i8> {
    let w = PackedView::new(words, &[1.0], Granularity::Tensor, rows, cols).unwrap();
    let row = |row| (0..cols).map(move |col| w.code(row, col));
    (0..rows).flat_map(row).collect()
}

fn floats() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => -3.0f32..3.0,
        2 => (-8i32..=8).prop_map(|half| half as f32 * 0.5),
        1 => prop::num::f32::NORMAL,
    ]
}

/// A matrix of up to 9 rows.
fn matrix() -> impl Strategy<Value = (usize, usize, Vec<f32>)> {
    (0usize..9, 1usize..150).prop_flat_map(|(rows, cols)| {
        (
            Just(rows),
            Just(cols),
            prop::collection::vec(floats(), rows * cols),
        )
    })
}

/// "Tips" by hand. x = (1, -2, 0.5, 4): s_x = 127/4 = 31.75 and x·s = 31.75, -63.5, 15.875, 127 → 32, -64 (tie to
/// even), 16, 127. Σ|w| = 4.8, mean 0.6; w/0.6 = 1.5, -0.33, 0.42, -2.33 and 0.08, 1.17, -1.33, 0.83.
/// Sums: 32 - 127 = -95 and -64 - 16 + 127 = 47.
#[test]
fn the_formula_on_numbers_worked_by_hand() {
    let x = [1.0, -2.0, 0.5, 4.0];
    let (mut codes, mut sx) = ([0; 4], [0.0]);
    quantize_activations(&x, 4, &mut codes, &mut sx);
    assert_eq!((codes, sx), ([32, -64, 16, 127], [31.75]));

    let w = [0.9, -0.2, 0.25, -1.4, 0.05, 0.7, -0.8, 0.5];
    let absmean = (WeightQuantizer::AbsMean, Granularity::Tensor);
    let w = PackedTernary::from_latent(&w, 2, 4, absmean.0, absmean.1).unwrap();
    let s = w.scales()[0];
    assert!((s - 1.0 / 0.6).abs() < 4e-7);
    let signs = unpack(w.words(), 2, 4);
    assert_eq!(signs, [1, 0, 0, -1, 0, 1, -1, 1]);

    let y = linear_quantized(&codes, &sx, w.view());
    assert_eq!(y, [-95.0 / s / 31.75, 47.0 / s / 31.75]);
    assert!((y[0] + 1.795).abs() < 1e-3 && (y[1] - 0.888).abs() < 1e-3);
}

/// With s = 1 the ties ±0.5 are exact and go to the even 0; the next floats up go to ±1. Nine times over, so that both
/// the vector part (32 weights) and the tail see each.
#[test]
fn weight_ties_go_to_even() {
    let above = 0.5f32.next_up();
    let w = [0.5, -0.5, above, -above, 1.5, -1.5, 2.5, -0.0].repeat(9);
    let mut words = [0; 5];
    pack_weights(&w, 1, 72, &[1.0], Granularity::Tensor, &mut words);
    let codes = unpack(&words, 1, 72);
    assert_eq!(codes.to_vec(), [0, 0, 1, -1, 1, -1, 1, 0].repeat(9));
    assert!(
        w.iter()
            .zip(codes)
            .all(|(w, code)| code == reference::weight_code(*w, 1.0))
    );
}

/// max|x| = 127 makes s = 1: ties everywhere, in the vector part (32 elements) and in the tail.
#[test]
fn activation_ties_go_to_even() {
    let mut x: Vec<f32> = (0..67).map(|i| i as f32 - 33.5).collect();
    x[66] = -127.0;
    let (mut codes, mut scale) = (vec![0; 67], [0.0]);
    quantize_activations(&x, 67, &mut codes, &mut scale);
    assert_eq!(scale, [1.0]);
    for (x, code) in x.iter().zip(&codes).take(66) {
        assert!(
            code % 2 == 0 && (f32::from(*code) - x).abs() == 0.5,
            "{x} -> {code}"
        );
    }
    assert_eq!(codes[66], -127);
}

#[test]
fn zero_rows_have_a_finite_scale() {
    let (mut codes, mut scales) = (vec![9; 70], [0.0; 2]);
    quantize_activations(&[0.0; 70], 35, &mut codes, &mut scales);
    assert!(codes.iter().all(|code| *code == 0) && scales == [127.0 / EPS; 2]);
    let w = PackedTernary::from_latent(
        &[0.0; 70],
        2,
        35,
        WeightQuantizer::AbsMedian,
        Granularity::Row,
    )
    .unwrap();
    assert_eq!(w.scales(), [1.0 / EPS; 2]);
    let y = linear_quantized(&[0; 35], &scales[..1], w.view());
    assert_eq!(y, [0.0; 2]);
}

/// 1 above the mean of the group, −1 at and below it (also for NaN), the scale that of absmean.
#[test]
fn signs_are_taken_about_the_mean() {
    let cols = 19;
    let w: Vec<f32> = (0..2 * cols).map(|i| i as f32).collect();
    let pack = |granularity| {
        PackedTernary::from_latent(&w, 2, cols, WeightQuantizer::Sign, granularity).unwrap()
    };
    let (tensor, row) = (pack(Granularity::Tensor), pack(Granularity::Row));
    assert_eq!(
        (tensor.scales(), row.scales()),
        (&[1.0 / 18.5][..], &[1.0 / 9.0, 1.0 / 28.0][..])
    );
    for i in 0..2 * cols {
        let (r, c) = (i / cols, i % cols);
        assert_eq!(tensor.code(r, c), if i > 18 { 1 } else { -1 }, "{i}");
        assert_eq!(row.code(r, c), if c > 9 { 1 } else { -1 }, "{i}");
    }
    // Padding is weight 0: the last word's unused codes are 1 as stored.
    assert_eq!(row.words()[1] >> 6, 0x5555_5555 >> 6);
    let nan = [f32::NAN, 1.0, -1.0];
    let (words, _) = quantize_weights(&nan, 1, 3, WeightQuantizer::Sign, Granularity::Row);
    assert_eq!(words[0] & 0b11_11_11, 0);
}

/// A NaN makes its row's scale NaN, an infinity makes it 0, codes are 0; wherever it stands, vector part or tail.
#[test]
fn activations_that_are_not_finite() {
    for at in [0, 31, 32, 69] {
        for (bad, scale) in [
            (f32::NAN, f32::NAN),
            (-f32::NAN, f32::NAN),
            (f32::INFINITY, 0.0),
            (f32::NEG_INFINITY, 0.0),
        ] {
            let mut x = vec![1.0; 140];
            x[at] = bad;
            let (mut codes, mut scales) = (vec![9; 140], [5.0; 2]);
            quantize_activations(&x, 70, &mut codes, &mut scales);
            assert_eq!(bits(&scales), bits(&[scale, 127.0]), "{bad} at {at}");
            assert!(
                codes[..70].iter().all(|code| *code == 0)
                    && codes[70..].iter().all(|code| *code == 127)
            );
            let (mut codes_r, mut scales_r) = (vec![9; 140], [5.0; 2]);
            reference::quantize_activations(&x, 70, &mut codes_r, &mut scales_r);
            assert_eq!((codes, bits(&scales)), (codes_r, bits(&scales_r)));
        }
    }
}

/// The same for weights: NaN → s NaN, infinite mean → s 0, codes 0, and only in its own group.
#[test]
fn weights_that_are_not_finite() {
    for (bad, scale) in [(f32::NAN, f32::NAN), (f32::INFINITY, 0.0)] {
        for quantizer in rounding() {
            let mut w = vec![1.0; 140];
            w[33] = bad;
            let scales = weight_scales(&w, 2, 70, quantizer, Granularity::Row);
            assert_eq!(
                bits(&scales),
                bits(&reference::weight_scales(
                    &w,
                    2,
                    70,
                    quantizer,
                    Granularity::Row
                ))
            );
            // A median does not see one infinity, which is then a large weight with code 1.
            let seen = bad.is_nan() || quantizer != WeightQuantizer::AbsMedian;
            let of_ones = match quantizer {
                WeightQuantizer::Rms => 1.0 / WeightQuantizer::RMS_OPTIMUM as f32,
                _ => 1.0,
            };
            let expected = [if seen { scale } else { of_ones }, of_ones];
            assert_eq!(bits(&scales), bits(&expected));
            let mut words = vec![0; 2 * words_per_row(70)];
            pack_weights(&w, 2, 70, &scales, Granularity::Row, &mut words);
            let codes = unpack(&words, 2, 70);
            assert!(
                codes[..70].iter().all(|code| *code == i8::from(!seen))
                    && codes[70..].iter().all(|code| *code == 1)
            );
        }
    }
}

/// The error that a scale leaves.
fn squared_error(w: &[f32], alpha: f64) -> f64 {
    let error = |w: &f32| {
        let code = (f64::from(*w) / alpha).round().clamp(-1.0, 1.0);
        (f64::from(*w) - alpha * code).powi(2)
    };
    w.iter().map(error).sum()
}

/// Weights 4, 3, 1, 0: the two largest as ±1 give S²/k = 49/2, one 16, three 64/3, so α = 3.5. Of 1 and −1 both: α = 1.
#[test]
fn least_squared_error_by_hand() {
    let scale = |w: &[f32], quantizer| {
        let scales = weight_scales(w, 1, w.len(), quantizer, Granularity::Tensor);
        scales[0]
    };
    let mse = WeightQuantizer::Mse;
    assert_eq!(scale(&[-3.0, 0.0, 4.0, 1.0], mse), 1.0 / 3.5);
    assert_eq!(scale(&[1.0, -1.0], mse), 1.0);
    assert_eq!([scale(&[0.0; 3], mse), scale(&[], mse)], [1.0 / EPS; 2]);
    // 3, 4: √12.5 = 3.5355, times 1.2240064.
    let rms = scale(&[3.0, -4.0], WeightQuantizer::Rms);
    assert!((1.0 / rms - 4.327_516).abs() < 2e-6, "{rms}");
}

/// Normally distributed weights: `rms` leaves 0.190 of the variance and absmean 0.263 (the values of the distribution), the
/// exact optimum never more than either, and no other α less.
#[test]
fn less_error_than_absmean() {
    // Quantiles of the normal distribution in the middle of 4,001 equal shares, by bisection of its distribution function.
    let n = 4001;
    let distribution = |x: f64| {
        // Simpson's rule over the density from 0.
        let (steps, density) = (200, |t: f64| (-t * t / 2.0).exp());
        let h = x / f64::from(steps);
        let inner = (1..steps).map(|i| f64::from(2 + 2 * (i % 2)) * density(f64::from(i) * h));
        let area = h / 3.0 * (density(0.0) + density(x) + inner.sum::<f64>());
        0.5 + area / std::f64::consts::TAU.sqrt()
    };
    let quantile = |p: f64| {
        let (mut low, mut high) = (-6.0, 6.0);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            match distribution(middle) < p {
                true => low = middle,
                false => high = middle,
            }
        }
        low as f32
    };
    let w: Vec<f32> = (0..n)
        .map(|i| quantile((f64::from(i) + 0.5) / f64::from(n)))
        .collect();
    let variance: f64 = w.iter().map(|w| f64::from(*w).powi(2)).sum();
    let error = |quantizer| {
        let scale = weight_scales(&w, 1, w.len(), quantizer, Granularity::Tensor)[0];
        squared_error(&w, 1.0 / f64::from(scale)) / variance
    };
    let (absmean, rms, mse) = (
        error(WeightQuantizer::AbsMean),
        error(WeightQuantizer::Rms),
        error(WeightQuantizer::Mse),
    );
    assert!(
        (absmean - 0.263).abs() < 1e-3 && (rms - 0.190).abs() < 1e-3,
        "{absmean} {rms}"
    );
    assert!(mse <= rms + 1e-9);
    for alpha in (1..400).map(|i| f64::from(i) * 0.01) {
        assert!(mse * variance <= squared_error(&w, alpha) + 1e-6, "{alpha}");
    }
}

#[test]
fn medians() {
    let scale = |w: &[f32]| {
        weight_scales(
            w,
            1,
            w.len(),
            WeightQuantizer::AbsMedian,
            Granularity::Tensor,
        )[0]
    };
    assert_eq!(scale(&[-4.0, 1.0, 2.0]), 0.5);
    assert_eq!(scale(&[-4.0, 1.0, 2.0, -2.0]), 0.5);
    assert_eq!(scale(&[8.0, -1.0, 3.0, 0.0]), 0.5); // (1 + 3) / 2
    assert_eq!(scale(&[]), 1.0 / EPS);
}

/// The blocked sum keeps its precision on many weights, where one f32 accumulator would lose three digits.
#[test]
fn the_mean_of_many_weights_is_precise_and_ordered() {
    let w: Vec<f32> = (0..3_000_017u64)
        .map(|i| ((i * 2_654_435_761) % 65_536) as f32 / 65_536.0 - 0.5)
        .collect();
    let exact = w.iter().map(|w| f64::from(w.abs())).sum::<f64>() / w.len() as f64;
    let scale = weight_scales(
        &w,
        1,
        w.len(),
        WeightQuantizer::AbsMean,
        Granularity::Tensor,
    )[0];
    assert!((f64::from(scale) * exact - 1.0).abs() < 8e-6);
    for threads in [1, 2, 5] {
        let again = on_threads(threads, || {
            weight_scales(
                &w,
                1,
                w.len(),
                WeightQuantizer::AbsMean,
                Granularity::Tensor,
            )
        });
        assert_eq!(
            again[0].to_bits(),
            (1.0 / reference::mean_abs(&w)).to_bits(),
            "{threads} threads"
        );
    }
}

proptest! {
    #[test]
    fn activations_equal_the_reference((rows, cols, x) in matrix()) {
        let (mut codes, mut scales) = (vec![9; x.len()], vec![9.0; rows]);
        let (mut codes_r, mut scales_r) = (vec![7; x.len()], vec![7.0; rows]);
        quantize_activations(&x, cols, &mut codes, &mut scales);
        reference::quantize_activations(&x, cols, &mut codes_r, &mut scales_r);
        prop_assert_eq!(&codes, &codes_r);
        prop_assert_eq!(bits(&scales), bits(&scales_r));
        prop_assert!(scales.iter().zip(x.chunks(cols)).all(|(s, row)| *s == activation_scale(row)));
        let mut hat = vec![9.0; x.len()];
        codes_i8_to_f32_div(&codes, cols, &scales, &mut hat);
        for (i, hat) in hat.iter().enumerate() {
            prop_assert_eq!(hat.to_bits(), (f32::from(codes[i]) / scales[i / cols]).to_bits());
        }
    }

    #[test]
    fn weights_equal_the_reference(
        (rows, cols, w) in matrix(), quantizer in prop::sample::select(rounding()), which in 0usize..5,
    ) {
        let granularity = [Granularity::Tensor, Granularity::Row, Granularity::Group(16), Granularity::Group(48), Granularity::Group(256)][which];
        let scales = weight_scales(&w, rows, cols, quantizer, granularity);
        prop_assert_eq!(bits(&scales), bits(&reference::weight_scales(&w, rows, cols, quantizer, granularity)));
        let mut words = vec![0; rows * words_per_row(cols)];
        pack_weights(&w, rows, cols, &scales, granularity, &mut words);
        let mut hats = vec![9.0; w.len()];
        let ints = unpack(&words, rows, cols);
        unpack_scaled_f32(PackedView::new(&words, &scales, granularity, rows, cols).unwrap(), &mut hats);
        for i in 0..w.len() {
            let (row, col) = (i / cols, i % cols);
            let s = match granularity {
                Granularity::Tensor => scales[0],
                Granularity::Row => scales[row],
                Granularity::Group(size) => scales[row * cols.div_ceil(size) + col / size],
            };
            let code = reference::weight_code(w[i], s);
            prop_assert_eq!(ints[i], code);
            let expected = match granularity {
                Granularity::Tensor | Granularity::Row => f32::from(code) / s,
                Granularity::Group(_) => f32::from(code) * reference::code_worth(s),
            };
            prop_assert_eq!(hats[i].to_bits(), expected.to_bits());
        }
    }
}

/// Elementwise passes past the threading threshold, with ragged groups of rows, on several threads.
#[test]
fn threads_do_not_change_a_bit() {
    let (rows, cols) = (1003, 301);
    assert!(rows * cols > 1 << 18);
    let x: Vec<f32> = (0..rows * cols)
        .map(|i| ((i * 7919) % 10_007) as f32 / 5000.0 - 1.0)
        .collect();
    let (mut codes_r, mut sx_r) = (vec![0; x.len()], vec![0.0; rows]);
    reference::quantize_activations(&x, cols, &mut codes_r, &mut sx_r);
    let sw_r = reference::weight_scales(&x, rows, cols, WeightQuantizer::AbsMean, Granularity::Row);
    for threads in [1, 2, 3, 8] {
        on_threads(threads, || {
            let (mut codes, mut sx) = (vec![9; x.len()], vec![0.0; rows]);
            quantize_activations(&x, cols, &mut codes, &mut sx);
            assert!(
                codes == codes_r && bits(&sx) == bits(&sx_r),
                "{threads} threads"
            );
            let sw = weight_scales(&x, rows, cols, WeightQuantizer::AbsMean, Granularity::Row);
            assert_eq!(bits(&sw), bits(&sw_r), "{threads} threads");
            let mut words = vec![0; rows * words_per_row(cols)];
            pack_weights(&x, rows, cols, &sw, Granularity::Row, &mut words);
            for (i, code) in unpack(&words, rows, cols).into_iter().enumerate() {
                assert_eq!(
                    code,
                    reference::weight_code(x[i], sw[i / cols]),
                    "{threads} threads, {i}"
                );
            }
        });
    }
}
