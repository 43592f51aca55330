//! Products of canonical words: every kernel and strategy equals the reference exactly, for odd shapes, extremes and any
//! number of threads.

mod common;

use bitnet_kernels::{
    Granularity, Kernel, MAX_COLS, PackedTernary, PackedView, Strategy, WeightQuantizer,
    linear_quantized, matmul_i32, quantize_activations, reference,
};
use common::{Random, bits, on_threads, strategies};
use proptest::prelude::*;

/// The product of each kernel and strategy, over an output that was not zero.
fn products(xq: &[i8], m: usize, w: PackedView<'_>) -> Vec<((Kernel, Strategy), Vec<i32>)> {
    let run = |(kernel, strategy)| {
        let mut out = vec![i32::MIN; m * w.rows];
        matmul_i32(xq, m, w, kernel, strategy, &mut out);
        ((kernel, strategy), out)
    };
    strategies().into_iter().map(run).collect()
}

/// Activations quantised and multiplied.
fn linear(x: &[f32], m: usize, w: PackedView<'_>) -> Vec<f32> {
    let (mut codes, mut scales) = (vec![0; x.len()], vec![0.0; m]);
    quantize_activations(x, w.cols, &mut codes, &mut scales);
    linear_quantized(&codes, &scales, w)
}

proptest! {
    #[test]
    fn equal_the_reference(k in 0usize..300, m in 0usize..10, n in 0usize..41, seed in 1u64..u64::MAX) {
        let mut random = Random(seed);
        let (xq, codes) = (random.codes(m * k), random.ternary(n * k));
        let w = PackedTernary::from_codes(&codes, n, k, vec![1.0], Granularity::Tensor).unwrap();
        let mut expected = vec![0; m * n];
        reference::matmul_i32(&xq, m, w.view(), &mut expected);
        for (way, out) in products(&xq, m, w.view()) {
            prop_assert_eq!(&out, &expected, "{:?}", way);
        }
    }

    #[test]
    fn any_words_decode_alike(k in 1usize..300, m in 1usize..6, n in 1usize..9, seed in 1u64..u64::MAX) {
        // Unchecked words may hold 0b11 and dirty padding: still defined, still equal.
        let mut random = Random(seed);
        let xq = random.codes(m * k);
        let words: Vec<u32> = (0..n * k.div_ceil(16)).map(|_| random.next() as u32).collect();
        let w = PackedView::new(&words, &[1.0], Granularity::Tensor, n, k).unwrap();
        let mut expected = vec![0; m * n];
        reference::matmul_i32(&xq, m, w, &mut expected);
        // Tables and masks take legal codes alone.
        for (way, out) in products(&xq, m, w).into_iter().filter(|((_, strategy), _)| *strategy == Strategy::Dot) {
            prop_assert_eq!(&out, &expected, "{:?}", way);
        }
    }

    #[test]
    fn linear_equals_the_reference(
        k in 0usize..300, m in 0usize..9, n in 1usize..41, seed in 1u64..u64::MAX,
        which in 0usize..2, quantizer in prop::sample::select(WeightQuantizer::ALL.to_vec()),
    ) {
        let mut random = Random(seed);
        let (x, latent) = (random.floats(m * k), random.floats(n * k));
        let granularity = [Granularity::Tensor, Granularity::Row][which];
        let w = PackedTernary::from_latent(&latent, n, k, quantizer, granularity).unwrap();
        let mut expected = vec![0.0; m * n];
        reference::linear(&x, m, w.view(), None, &mut expected);
        prop_assert_eq!(bits(&linear(&x, m, w.view())), bits(&expected));
    }
}

/// All x = -128 against all w = ±1: the largest sums there are, over and under each widening step and far past it.
#[test]
fn extremes_do_not_overflow_int16() {
    for k in [1023, 1024, 1025, 1151, 1152, 4096, 69_999, 70_000] {
        for (x, code) in [(-128i8, 1i8), (-128, -1), (127, 1), (127, -1)] {
            let w =
                PackedTernary::from_codes(&vec![code; 5 * k], 5, k, vec![1.0], Granularity::Tensor)
                    .unwrap();
            for (way, out) in products(&vec![x; 5 * k], 5, w.view()) {
                assert!(
                    out.iter()
                        .all(|sum| *sum == i32::from(x) * i32::from(code) * k as i32),
                    "{way:?} k={k} {x}·{code}"
                );
            }
        }
    }
}

/// The widest row that is allowed, with the largest (illegal) stored value 3: the bound in `product` holds.
#[test]
fn extremes_do_not_overflow_int32() {
    let words = vec![u32::MAX; MAX_COLS / 16];
    let w = PackedView::new(&words, &[1.0], Granularity::Tensor, 1, MAX_COLS).unwrap();
    let products = products(&vec![-128; MAX_COLS], 1, w);
    for (way, out) in products
        .into_iter()
        .filter(|((_, strategy), _)| *strategy == Strategy::Dot)
    {
        assert_eq!(out, [2 * -128 * MAX_COLS as i32], "{way:?}");
    }
}

#[test]
#[should_panic(expected = "int32 sums are proven")]
fn wider_products_are_refused() {
    let k = MAX_COLS + 1;
    let w = PackedTernary::from_codes(&vec![0; k], 1, k, vec![1.0], Granularity::Tensor).unwrap();
    matmul_i32(
        &vec![0; k],
        1,
        w.view(),
        Kernel::SCALAR,
        Strategy::Dot,
        &mut [0],
    );
}

/// Shapes beyond every threading threshold, with ragged tiles, on 1 to 8 threads.
#[test]
fn threads_do_not_change_a_bit() {
    let mut random = Random(7);
    for (m, n, k) in [(1, 1031, 2051), (3, 1031, 1025), (130, 100, 515)] {
        assert!(m * n * k > 1 << 21);
        let (x, latent) = (random.floats(m * k), random.floats(n * k));
        let w = PackedTernary::from_latent(
            &latent,
            n,
            k,
            WeightQuantizer::AbsMean,
            Granularity::Tensor,
        )
        .unwrap();
        let mut expected = vec![0.0; m * n];
        reference::linear(&x, m, w.view(), None, &mut expected);
        for threads in 1..=8 {
            let (out, again) = on_threads(threads, || {
                let out = linear(&x, m, w.view());
                let again = PackedTernary::from_latent(
                    &latent,
                    n,
                    k,
                    WeightQuantizer::AbsMean,
                    Granularity::Tensor,
                );
                (out, again.unwrap())
            });
            assert_eq!(again, w, "{threads} threads");
            assert!(
                bits(&out) == bits(&expected),
                "{threads} threads, {m} x {n} x {k}"
            );
        }
    }
}

/// Rows of one call do not see each other: a batch equals its rows alone, and a poisoned row stays alone.
#[test]
fn rows_are_independent() {
    let (m, n, k) = (7, 33, 200);
    let mut random = Random(3);
    let (mut x, latent) = (random.floats(m * k), random.floats(n * k));
    x[2 * k + 5] = f32::NAN;
    x[4 * k + 199] = f32::NEG_INFINITY;
    x[5 * k..6 * k].fill(0.0);
    let w = PackedTernary::from_latent(&latent, n, k, WeightQuantizer::AbsMean, Granularity::Row)
        .unwrap();
    let batch = linear(&x, m, w.view());
    for i in 0..m {
        let alone = linear(&x[i * k..][..k], 1, w.view());
        let row = &batch[i * n..][..n];
        match i {
            2 | 4 => assert!(row.iter().chain(&alone).all(|y| y.is_nan()), "row {i}"),
            5 => assert!(row.iter().chain(&alone).all(|y| *y == 0.0), "row {i}"),
            _ => assert!(
                bits(row) == bits(&alone) && row.iter().all(|y| y.is_finite()),
                "row {i}"
            ),
        }
    }
}

/// Inference equals training's forward within its rounding: x̂ and ŵ round once each, as do the conversion and the two
/// divisions, so the distance is at most 6 · 2^-24 of `Σ |x̂ ŵ|` (and the reference's own final rounding).
#[test]
fn inference_agrees_with_fake_quantisation() {
    let (m, n, k) = (5, 9, 700);
    let mut random = Random(11);
    let (x, latent) = (random.floats(m * k), random.floats(n * k));
    let (quantizer, granularity) = (WeightQuantizer::AbsMean, Granularity::Tensor);
    let expected = reference::fake_quant_linear(&x, m, &latent, n, k, quantizer, granularity);
    let w = PackedTernary::from_latent(&latent, n, k, quantizer, granularity).unwrap();
    let out = linear(&x, m, w.view());
    for (i, (y, expected)) in out.iter().zip(&expected).enumerate() {
        let sum: f32 = (0..k)
            .filter(|col| w.code(i % n, *col) != 0)
            .map(|col| x[i / n * k + col].abs() + 0.5 / 31.75) // |x̂| ≤ |x| + half a step; steps are max|x|/127 ≤ 4/127
            .sum::<f32>()
            / w.scales()[0];
        assert!(
            (y - expected).abs() <= 6.0 * sum * f32::EPSILON / 2.0,
            "{i}: {y} {expected}"
        );
    }
}
