//! Products: every kernel equals the reference exactly, for odd shapes, extremes and any number of threads.

use bitnet_kernels::{
    Granularity, Kernel, MAX_COLS, PackedTernary, PackedView, WeightQuantizer, linear,
    linear_quantized, linear_with, matmul_i32, reference,
};
use proptest::prelude::*;

/// A small deterministic generator (xorshift), so that large inputs need no strategy.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }
    fn codes(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| self.next() as i8).collect()
    }
    fn ternary(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| (self.next() % 3) as i8 - 1).collect()
    }
    fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len)
            .map(|_| self.next() as i16 as f32 / 8192.0)
            .collect()
    }
}

/// The product of each kernel, over an output that was not zero.
fn products(xq: &[i8], m: usize, w: PackedView<'_>) -> Vec<(Kernel, Vec<i32>)> {
    let run = |kernel| {
        let mut out = vec![i32::MIN; m * w.rows];
        matmul_i32(xq, m, w, kernel, &mut out);
        (kernel, out)
    };
    Kernel::available().into_iter().map(run).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

proptest! {
    #[test]
    fn equal_the_reference(k in 0usize..300, m in 0usize..10, n in 0usize..41, seed in 1u64..u64::MAX) {
        let mut random = Random(seed);
        let (xq, codes) = (random.codes(m * k), random.ternary(n * k));
        let w = PackedTernary::from_codes(&codes, n, k, vec![1.0], Granularity::Tensor).unwrap();
        let mut expected = vec![0; m * n];
        reference::matmul_i32(&xq, m, w.view(), &mut expected);
        for (kernel, out) in products(&xq, m, w.view()) {
            prop_assert_eq!(&out, &expected, "{}", kernel);
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
        for (kernel, out) in products(&xq, m, w) {
            prop_assert_eq!(&out, &expected, "{}", kernel);
        }
    }

    #[test]
    fn linear_equals_the_reference(
        k in 0usize..300, m in 0usize..9, n in 1usize..41, seed in 1u64..u64::MAX,
        with_bias in any::<bool>(), per_row in any::<bool>(), median in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let (x, latent, bias) = (random.floats(m * k), random.floats(n * k), random.floats(n));
        let granularity = if per_row { Granularity::Row } else { Granularity::Tensor };
        let quantizer = if median { WeightQuantizer::AbsMedian } else { WeightQuantizer::AbsMean };
        let w = PackedTernary::from_latent(&latent, n, k, quantizer, granularity).unwrap();
        let bias = with_bias.then_some(&bias[..]);
        let mut expected = vec![0.0; m * n];
        reference::linear(&x, m, w.view(), bias, &mut expected);
        for kernel in Kernel::available() {
            let mut out = vec![f32::NAN; m * n];
            linear_with(kernel, &x, m, w.view(), bias, &mut out);
            prop_assert_eq!(bits(&out), bits(&expected), "{}", kernel);
        }
        let (mut codes, mut scales, mut out) = (vec![0; m * k], vec![0.0; m], vec![f32::NAN; m * n]);
        reference::quantize_activations(&x, k, &mut codes, &mut scales);
        linear_quantized(&codes, &scales, w.view(), bias, &mut out);
        prop_assert_eq!(bits(&out), bits(&expected));
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
            for (kernel, out) in products(&vec![x; 5 * k], 5, w.view()) {
                assert!(
                    out.iter()
                        .all(|sum| *sum == i32::from(x) * i32::from(code) * k as i32),
                    "{kernel} k={k} {x}·{code}"
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
    for (kernel, out) in products(&vec![-128; MAX_COLS], 1, w) {
        assert_eq!(out, [2 * -128 * MAX_COLS as i32], "{kernel}");
    }
}

#[test]
#[should_panic(expected = "int32 sums are proven")]
fn wider_products_are_refused() {
    let k = MAX_COLS + 1;
    let w = PackedTernary::from_codes(&vec![0; k], 1, k, vec![1.0], Granularity::Tensor).unwrap();
    matmul_i32(&vec![0; k], 1, w.view(), Kernel::Scalar, &mut [0]);
}

/// Shapes beyond every threading threshold, with ragged tiles, on 1 to 8 threads.
#[test]
fn threads_do_not_change_a_bit() {
    let mut random = Random(7);
    for (m, n, k) in [(1, 1031, 2051), (3, 1031, 1025), (130, 100, 515)] {
        assert!(m * n * k > 1 << 21);
        let (x, latent, bias) = (random.floats(m * k), random.floats(n * k), random.floats(n));
        let w = PackedTernary::from_latent(
            &latent,
            n,
            k,
            WeightQuantizer::AbsMean,
            Granularity::Tensor,
        )
        .unwrap();
        let mut expected = vec![0.0; m * n];
        reference::linear(&x, m, w.view(), Some(&bias), &mut expected);
        for threads in 1..=8 {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let (out, again) = pool.install(|| {
                let mut out = vec![f32::NAN; m * n];
                linear(&x, m, w.view(), Some(&bias), &mut out);
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
    for kernel in Kernel::available() {
        let mut batch = vec![0.0; m * n];
        linear_with(kernel, &x, m, w.view(), None, &mut batch);
        for i in 0..m {
            let mut alone = vec![0.0; n];
            linear_with(kernel, &x[i * k..][..k], 1, w.view(), None, &mut alone);
            let row = &batch[i * n..][..n];
            match i {
                2 | 4 => assert!(
                    row.iter().chain(&alone).all(|y| y.is_nan()),
                    "{kernel} row {i}"
                ),
                5 => assert!(
                    row.iter().chain(&alone).all(|y| *y == 0.0),
                    "{kernel} row {i}"
                ),
                _ => assert!(
                    bits(row) == bits(&alone) && row.iter().all(|y| y.is_finite()),
                    "{kernel} row {i}"
                ),
            }
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
    let mut out = vec![0.0; m * n];
    linear(&x, m, w.view(), None, &mut out);
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
