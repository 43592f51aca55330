//! Prepacked products: every kernel, strategy and layout equals the reference exactly, for odd shapes, extremes and any
//! split.

mod common;

use bitnet_kernels::{
    Error, Granularity, Kernel, Layout, MAX_COLS, PackedTernary, PackedView, PrepackedTernary,
    QuantizedRows, Strategy, WeightQuantizer, float, linear_quantized, quantize_activations,
    reference, unpack_scaled_f32,
};
use common::{Random, Way, bits, ways};
use half::f16;
use proptest::prelude::*;

/// All sums of `xq[m, k]` with `w`, over an output that was not zero.
fn sums(way: Way, xq: &[i8], m: usize, w: PackedView<'_>) -> Vec<i32> {
    let prepacked = way.prepack(w);
    let mut x = QuantizedRows::new();
    x.set_codes(way.kernel, way.layout, xq, &vec![1.0; m], w.cols);
    let mut out = vec![i32::MIN; m * w.rows];
    prepacked.sums(&x, 0..m, 0..prepacked.groups(), &mut out, w.rows);
    out
}

proptest! {
    // Fewer than usual: the reference takes a while for one, and the kernels of Arm are emulated.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// As many rows as a prompt: blocks, tiles and pieces of K, and what is left over of each.
    #[test]
    fn many_rows_equal_the_reference(k in 0usize..700, m in 30usize..140, n in 1usize..140, seed in 1u64..u64::MAX) {
        let mut random = Random(seed);
        let (xq, codes) = (random.codes(m * k), random.ternary(n * k));
        let w = PackedTernary::from_codes(&codes, n, k, vec![1.0], Granularity::Tensor).unwrap();
        let mut expected = vec![0; m * n];
        reference::matmul_i32(&xq, m, w.view(), &mut expected);
        // The plain loops have had their turn above, and take long here.
        for way in ways().into_iter().filter(|way| !way.is_slow()) {
            prop_assert_eq!(&sums(way, &xq, m, w.view()), &expected, "{:?}", way);
        }
    }
}

proptest! {
    #[test]
    fn equal_the_reference(k in 0usize..400, m in 0usize..30, n in 0usize..70, seed in 1u64..u64::MAX) {
        let mut random = Random(seed);
        let (xq, codes) = (random.codes(m * k), random.ternary(n * k));
        let w = PackedTernary::from_codes(&codes, n, k, vec![1.0], Granularity::Tensor).unwrap();
        let mut expected = vec![0; m * n];
        reference::matmul_i32(&xq, m, w.view(), &mut expected);
        for way in ways() {
            prop_assert_eq!(&sums(way, &xq, m, w.view()), &expected, "{:?}", way);
        }
    }

    #[test]
    fn floats_equal_linear_quantized(
        k in 1usize..300, m in 1usize..9, n in 1usize..90, seed in 1u64..u64::MAX, per_row in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let (x, latent) = (random.floats(m * k), random.floats(n * k));
        let granularity = if per_row { Granularity::Row } else { Granularity::Tensor };
        let w = PackedTernary::from_latent(&latent, n, k, WeightQuantizer::AbsMean, granularity).unwrap();
        let (mut codes, mut scales) = (vec![0; m * k], vec![0.0; m]);
        quantize_activations(&x, k, &mut codes, &mut scales);
        let expected = linear_quantized(&codes, &scales, w.view());
        for way in ways() {
            let prepacked = way.prepack(w.view());
            let mut rows = QuantizedRows::new();
            rows.quantize(way.kernel, way.layout, &x, k);
            let mut out = vec![f32::NAN; m * n];
            prepacked.product(&rows, 0..m, 0..prepacked.groups(), &mut out, n);
            prop_assert_eq!(bits(&out), bits(&expected), "{:?}", way);
        }
    }

    /// Groups with scales of their own, any floats or those of a file (f16), whole and cut short, in every split and number
    /// of rows.
    #[test]
    fn groups_equal_the_reference(
        k in 1usize..420, m in 1usize..40, n in 1usize..70, words in 1usize..30, seed in 1u64..u64::MAX, half in any::<bool>(),
    ) {
        let mut random = Random(seed);
        let (mut x, codes) = (random.floats(m * k), random.ternary(n * k));
        // A row of activations that is not finite does not touch the others.
        x[0] = if seed % 5 == 0 { f32::NAN } else { x[0] };
        let granularity = Granularity::Group(16 * words);
        let scales = (0..granularity.scales(n, k)).map(|_| match half {
            // Every exponent of f16, denormal ones too.
            true => 1.0 / f16::from_bits(1 + (random.next() % 0x7bff) as u16).to_f32(),
            false => 1.0 + random.next() as u16 as f32 / 777.0,
        });
        let w = PackedTernary::from_codes(&codes, n, k, scales.collect(), granularity).unwrap();
        let mut expected = vec![0.0; m * n];
        reference::linear(&x, m, w.view(), None, &mut expected);
        for way in ways().into_iter().filter(|way| way.layout == Layout::TwoBit) {
            let prepacked = way.prepack(w.view());
            let mut rows = QuantizedRows::new();
            rows.quantize(way.kernel, way.layout, &x, k);
            let (cut_m, cut_n) = (m / 2, prepacked.groups() / 3);
            let mut out = vec![f32::INFINITY; m * n];
            for rows_of in [0..cut_m, cut_m..m] {
                for groups in [0..cut_n, cut_n..prepacked.groups()] {
                    let first = rows_of.start * n + 16 * groups.start;
                    prepacked.product(&rows, rows_of.clone(), groups, &mut out[first..], n);
                }
            }
            prop_assert_eq!(bits(&out), bits(&expected), "{:?}", way);
        }
    }

    /// A table that is looked up in, in every layout.
    #[test]
    fn rows_are_the_weights(k in 1usize..420, n in 1usize..40, words in 0usize..30, seed in 1u64..u64::MAX, row in 0usize..40) {
        let mut random = Random(seed);
        let row = row % n;
        let granularity = match words {
            0 => Granularity::Tensor,
            1 => Granularity::Row,
            words => Granularity::Group(16 * words),
        };
        let scales = (0..granularity.scales(n, k)).map(|_| 1.0 + random.next() as u16 as f32 / 777.0).collect();
        let w = PackedTernary::from_codes(&random.ternary(n * k), n, k, scales, granularity).unwrap();
        let mut expected = vec![0.0; n * k];
        unpack_scaled_f32(w.view(), &mut expected);
        let grouped = matches!(granularity, Granularity::Group(_));
        for way in ways().into_iter().filter(|way| !grouped || way.layout == Layout::TwoBit) {
            let mut out = vec![f32::NAN; k];
            way.prepack(w.view()).row(row, &mut out);
            prop_assert_eq!(bits(&out), bits(&expected[row * k..][..k]), "{:?}", way);
        }
    }

    #[test]
    fn norm_then_quantise_in_one_go(k in 1usize..500, m in 1usize..4, seed in 1u64..u64::MAX, poison in 0usize..9) {
        let mut random = Random(seed);
        let (mut x, gamma) = (random.floats(m * k), random.floats(k));
        match poison {
            0 => x[0] = f32::NAN,
            1 => x[k / 2] = f32::INFINITY,
            2 => x.fill(0.0),
            _ => {}
        }
        let (y, _) = float::rms_norm(&x, &gamma, 1e-5);
        let w = PackedTernary::from_codes(&random.ternary(40 * k), 40, k, vec![3.0], Granularity::Tensor).unwrap();
        for way in ways() {
            let prepacked = way.prepack(w.view());
            let (mut apart, mut fused) = (QuantizedRows::new(), QuantizedRows::new());
            apart.quantize(way.kernel, way.layout, &y, k);
            fused.norm_quantize(way.kernel, way.layout, &x, &gamma, 1e-5);
            prop_assert_eq!(bits(apart.scales()), bits(fused.scales()));
            // The products see codes and sums.
            let (mut a, mut b) = (vec![1; m * 40], vec![2; m * 40]);
            prepacked.sums(&apart, 0..m, 0..3, &mut a, 40);
            prepacked.sums(&fused, 0..m, 0..3, &mut b, 40);
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn any_split_gives_the_whole(m in 1usize..9, n in 1usize..200, cut_m in 0usize..9, cut_n in 0usize..14, gap in 0usize..5) {
        let k = 130;
        let mut random = Random(7 + n as u64);
        let (xq, codes) = (random.codes(m * k), random.ternary(n * k));
        let w = PackedTernary::from_codes(&codes, n, k, vec![1.0], Granularity::Tensor).unwrap();
        for way in ways() {
            let whole = sums(way, &xq, m, w.view());
            let prepacked = way.prepack(w.view());
            let mut x = QuantizedRows::new();
            x.set_codes(way.kernel, way.layout, &xq, &vec![1.0; m], k);
            let (cut_m, cut_n) = (cut_m.min(m), cut_n.min(prepacked.groups()));
            for rows in [0..cut_m, cut_m..m] {
                for groups in [0..cut_n, cut_n..prepacked.groups()] {
                    let columns = prepacked.group_rows(&groups);
                    let stride = columns.len() + gap;
                    let mut out = vec![77; rows.len() * stride];
                    prepacked.sums(&x, rows.clone(), groups, &mut out, stride);
                    for (i, row) in rows.clone().enumerate() {
                        let out = &out[i * stride..][..stride];
                        prop_assert_eq!(&out[..columns.len()], &whole[row * n..][columns.clone()]);
                        prop_assert!(out[columns.len()..].iter().all(|gap| *gap == 77));
                    }
                }
            }
        }
    }
}

/// More columns than a block of a product of many rows has, and more rows.
#[test]
fn blocks_of_columns_and_rows() {
    let (n, k, m) = (4096 + 70, 330, 131);
    let mut random = Random(7);
    let (xq, codes) = (random.codes(m * k), random.ternary(n * k));
    let w = PackedTernary::from_codes(&codes, n, k, vec![1.0], Granularity::Tensor).unwrap();
    for way in ways().into_iter().filter(|way| !way.is_slow()) {
        for m in [13, 131] {
            let out = sums(way, &xq[..m * k], m, w.view());
            for (i, j) in (0..m).flat_map(|i| [0, 63, 4095, 4096, 4101, n - 1].map(|j| (i, j))) {
                let (x, w) = (&xq[i * k..][..k], &codes[j * k..][..k]);
                let expected: i32 = x
                    .iter()
                    .zip(w)
                    .map(|(x, w)| i32::from(*x) * i32::from(*w))
                    .sum();
                assert_eq!(out[i * n + j], expected, "{way:?} [{i}, {j}] of {m} rows");
            }
        }
    }
}

/// All x = -128 against all w = ±1: the largest sums there are, over and under each widening step and far past it.
#[test]
fn extremes_do_not_overflow() {
    for k in [
        150, 159, 160, 161, 320, 1023, 4096, 131_071, 131_073, 300_000,
    ] {
        for (x, code) in [(-128i8, 1i8), (-128, -1), (127, 1), (127, -1)] {
            let w =
                PackedTernary::from_codes(&vec![code; 3 * k], 3, k, vec![1.0], Granularity::Tensor)
                    .unwrap();
            // The longest rows with few rows only: they are slow in plain loops.
            let many = if k <= 4096 { 33 } else { 2 };
            for m in [1, 3, many] {
                for way in ways() {
                    let out = sums(way, &vec![x; m * k], m, w.view());
                    let expected = i32::from(x) * i32::from(code) * k as i32;
                    assert_eq!(out, vec![expected; 3 * m], "{way:?} {m} x {k}");
                }
            }
        }
    }
}

/// One row where all segments are as long as those whose loops are unrolled, and where the last one is not.
#[test]
fn one_row_of_equal_groups_equals_the_reference() {
    let mut random = Random(7);
    for (words, segments, rest) in [2, 4, 8, 16].into_iter().flat_map(|words| {
        [(1, 0), (2, 0), (3, 0), (2, 1)].map(|(segments, rest)| (words, segments, rest))
    }) {
        let (n, k, granularity) = (
            37,
            16 * (words * segments + rest),
            Granularity::Group(16 * words),
        );
        for half in [true, false] {
            let scales = (0..granularity.scales(n, k)).map(|_| match half {
                true => 1.0 / f16::from_bits(1 + (random.next() % 0x7bff) as u16).to_f32(),
                false => 1.0 + random.next() as u16 as f32 / 777.0,
            });
            let scales = scales.collect();
            let (x, codes) = (random.floats(k), random.ternary(n * k));
            let w = PackedTernary::from_codes(&codes, n, k, scales, granularity).unwrap();
            let mut expected = vec![0.0; n];
            reference::linear(&x, 1, w.view(), None, &mut expected);
            for way in ways()
                .into_iter()
                .filter(|way| way.layout == Layout::TwoBit)
            {
                let (prepacked, mut rows) = (way.prepack(w.view()), QuantizedRows::new());
                rows.quantize(way.kernel, way.layout, &x, k);
                let mut out = vec![f32::NAN; n];
                prepacked.product(&rows, 0..1, 0..prepacked.groups(), &mut out, n);
                assert_eq!(
                    bits(&out),
                    bits(&expected),
                    "{way:?}: {words} words, {segments} and {rest}"
                );
            }
        }
    }
}

/// The largest sums of a segment, shorter and longer than what a kernel adds up at a time.
#[test]
fn extremes_of_groups_do_not_overflow() {
    for (k, group) in [
        (320, 160),
        (4096, 4096),
        (131_072, 65_536),
        (300_000, 262_144),
    ] {
        for (x, code) in [(-128i8, 1i8), (-128, -1), (127, 1), (127, -1)] {
            let granularity = Granularity::Group(group);
            let scales = vec![1.0; granularity.scales(3, k)];
            let w =
                PackedTernary::from_codes(&vec![code; 3 * k], 3, k, scales, granularity).unwrap();
            for m in [1, if k <= 4096 { 33 } else { 2 }] {
                for way in ways()
                    .into_iter()
                    .filter(|way| way.layout == Layout::TwoBit)
                {
                    let mut rows = QuantizedRows::new();
                    rows.set_codes(way.kernel, way.layout, &vec![x; m * k], &vec![1.0; m], k);
                    let mut out = vec![f32::NAN; 3 * m];
                    way.prepack(w.view())
                        .product(&rows, 0..m, 0..1, &mut out, 3);
                    let expected = (i32::from(x) * i32::from(code) * k as i32) as f32;
                    assert_eq!(out, vec![expected; 3 * m], "{way:?} {m} x {k}");
                }
            }
        }
    }
}

/// The widest row that is allowed.
#[test]
fn the_widest_row() {
    let w = PackedTernary::from_codes(
        &vec![1; MAX_COLS],
        1,
        MAX_COLS,
        vec![1.0],
        Granularity::Tensor,
    )
    .unwrap();
    for way in ways() {
        let out = sums(way, &vec![-128; MAX_COLS], 1, w.view());
        assert_eq!(out, [-128 * MAX_COLS as i32], "{way:?}");
    }
    let k = MAX_COLS + 1;
    let w = PackedTernary::from_codes(&vec![0; k], 1, k, vec![1.0], Granularity::Tensor).unwrap();
    let refused =
        PrepackedTernary::new(w.view(), Layout::TwoBit, Kernel::SCALAR, Strategy::Dot).map(|_| ());
    assert_eq!(refused, Err(Error::TooWide { cols: k }));
}

/// Buffers shrink and grow between calls: nothing of an earlier row may remain in the padding of a later one.
#[test]
fn reused_buffers_keep_nothing() {
    let mut random = Random(5);
    for way in ways() {
        let mut x = QuantizedRows::new();
        for (m, k) in [(3, 200), (1, 7), (2, 81), (5, 17), (1, 333)] {
            let (xq, codes) = (random.codes(m * k), random.ternary(20 * k));
            let w =
                PackedTernary::from_codes(&codes, 20, k, vec![1.0], Granularity::Tensor).unwrap();
            let prepacked = way.prepack(w.view());
            let (mut expected, mut out) = (vec![0; m * 20], vec![9; m * 20]);
            reference::matmul_i32(&xq, m, w.view(), &mut expected);
            x.set_codes(way.kernel, way.layout, &xq, &vec![1.0; m], k);
            prepacked.sums(&x, 0..m, 0..2, &mut out, 20);
            assert_eq!(out, expected, "{way:?} {m} x {k}");
        }
    }
}

#[test]
fn bytes_and_refusals() {
    let w = PackedTernary::from_codes(&vec![1; 48 * 160], 48, 160, vec![1.0], Granularity::Tensor)
        .unwrap();
    let bytes = |layout| {
        PrepackedTernary::new(w.view(), layout, Kernel::SCALAR, Strategy::Dot)
            .unwrap()
            .bytes()
    };
    assert_eq!(bytes(Layout::TwoBit), 48 * 160 / 4 + 4);
    assert_eq!(bytes(Layout::BaseThree), 48 * 160 / 5 + 4);

    let grouped = vec![1.0; 48 * 2];
    let w = PackedTernary::from_codes(&vec![1; 48 * 160], 48, 160, grouped, Granularity::Group(80))
        .unwrap();
    let in_groups = |layout| {
        PrepackedTernary::new(w.view(), layout, Kernel::SCALAR, Strategy::Dot).map(|w| w.bytes())
    };
    // Scales of 1 are f16, a line for two groups.
    assert_eq!(in_groups(Layout::TwoBit), Ok(48 * 160 / 4 + 2 * 96));
    let granularity = Granularity::Group(80);
    assert_eq!(
        in_groups(Layout::BaseThree),
        Err(Error::GroupsLayout { granularity })
    );
    assert_eq!(
        Layout::suited_to(Kernel::detect(), granularity),
        Layout::TwoBit
    );

    let words = [u32::MAX];
    let illegal = PackedView::new(&words, &[1.0], Granularity::Tensor, 1, 16).unwrap();
    let refused =
        PrepackedTernary::new(illegal, Layout::TwoBit, Kernel::SCALAR, Strategy::Dot).map(|_| ());
    assert_eq!(refused, Err(Error::IllegalCode { row: 0, col: 0 }));
    assert!(matches!(
        "zip".parse::<Layout>(),
        Err(Error::UnknownLayout { .. })
    ));
}

#[test]
#[should_panic(expected = "x has the order of base-three")]
fn activations_of_another_layout_are_refused() {
    let w = PackedTernary::from_codes(&[1; 16], 1, 16, vec![1.0], Granularity::Tensor).unwrap();
    let w = PrepackedTernary::new(w.view(), Layout::TwoBit, Kernel::SCALAR, Strategy::Dot).unwrap();
    let mut x = QuantizedRows::new();
    x.quantize(Kernel::SCALAR, Layout::BaseThree, &[1.0; 16], 16);
    w.product(&x, 0..1, 0..1, &mut [0.0], 1);
}
