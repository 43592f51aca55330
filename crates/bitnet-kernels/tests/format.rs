//! The storage format: golden bits, round trips, and each refusal with its place and value.

mod common;

use bitnet_kernels::{
    Error, Granularity, Kernel, PackedTernary, PackedView, Strategy, WeightQuantizer, words_per_row,
};
use common::kernels;
use proptest::prelude::*;

/// 17 columns: two words a row, little-endian bytes, padding of ones. These bytes are the format; they never change.
#[test]
fn golden_bytes() {
    let mut codes = vec![0i8; 34];
    (codes[0], codes[1], codes[15], codes[16]) = (1, -1, -1, 1); // row 0
    (codes[17], codes[33]) = (-1, -1); // row 1
    let w = PackedTernary::from_codes(&codes, 2, 17, vec![2.0], Granularity::Tensor).unwrap();
    let bytes: Vec<u8> = w
        .words()
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let golden = [
        0x52, 0x55, 0x55, 0x15, 0x56, 0x55, 0x55, 0x55, 0x54, 0x55, 0x55, 0x55, 0x54, 0x55, 0x55,
        0x55,
    ];
    assert_eq!((bytes, w.bytes()), (golden.to_vec(), 20));
}

proptest! {
    #[test]
    fn codes_come_back(rows in 0usize..6, cols in 0usize..80, seed in any::<u64>()) {
        let code = |i: usize| (seed.rotate_left(i as u32 * 7) % 3) as i8 - 1;
        let codes: Vec<i8> = (0..rows * cols).map(code).collect();
        let w = PackedTernary::from_codes(&codes, rows, cols, vec![1.0], Granularity::Tensor).unwrap();
        prop_assert_eq!(w.words().len(), rows * words_per_row(cols));
        for (i, code) in codes.iter().enumerate() {
            prop_assert_eq!(w.code(i / cols, i % cols), *code);
        }
    }

    /// Any two flipped bits of a valid matrix either are refused at their place or decode to codes and clean padding.
    #[test]
    fn damage_is_found(cols in 1usize..50, at in 0usize..50, bits in 0u32..4) {
        let mut words = PackedTernary::from_codes(&vec![0; 3 * cols], 3, cols, vec![1.0], Granularity::Tensor).unwrap().words().to_vec();
        let per_row = words_per_row(cols);
        let at = at % (16 * per_row);
        let word = &mut words[per_row + at / 16];
        *word = *word & !(3 << (2 * (at % 16))) | bits << (2 * (at % 16));
        let expected = match bits {
            1 => Ok(0),
            bits if at >= cols => Err(Error::Padding { row: 1, col: at, bits }),
            3 => Err(Error::IllegalCode { row: 1, col: at }),
            bits => Ok(bits as i8 - 1),
        };
        let found = PackedTernary::from_words(words, vec![1.0], Granularity::Tensor, 3, cols).map(|w| if at < cols { w.code(1, at) } else { 0 });
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn refusals_name_the_value() {
    let words = [0x5555_5555; 4];
    assert_eq!(
        PackedView::new(&words, &[1.0], Granularity::Tensor, 3, 20).unwrap_err(),
        Error::Length {
            name: "words",
            expected: 6,
            found: 4
        }
    );
    assert_eq!(
        PackedView::new(&words, &[1.0; 3], Granularity::Row, 4, 16).unwrap_err(),
        Error::ScaleCount {
            granularity: Granularity::Row,
            rows: 4,
            cols: 16,
            expected: 4,
            found: 3
        }
    );
    let huge = PackedView::new(&words, &[1.0], Granularity::Tensor, usize::MAX, 17).unwrap_err();
    assert_eq!(
        huge,
        Error::TooLarge {
            rows: usize::MAX,
            cols: 17
        }
    );
    for bad in [0.0, -1.0, f32::INFINITY] {
        let error = PackedTernary::from_words(
            words.to_vec(),
            vec![1.0, bad, 1.0, 1.0],
            Granularity::Row,
            4,
            16,
        )
        .unwrap_err();
        assert_eq!(
            error,
            Error::Scale {
                index: 1,
                value: bad
            }
        );
    }
    let error = PackedTernary::from_codes(&[0, 1, 0, -2], 2, 2, vec![1.0], Granularity::Tensor)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "code -2 at row 1, column 1 is not ternary (-1, 0 or 1)"
    );
    let latent = [1.0, f32::NAN];
    let error =
        PackedTernary::from_latent(&latent, 2, 1, WeightQuantizer::AbsMean, Granularity::Row)
            .unwrap_err();
    assert!(matches!(error, Error::Scale { index: 1, value } if value.is_nan()));
}

#[test]
fn kernels_are_forced_or_refused() {
    assert_eq!(
        "simd".parse::<Kernel>(),
        Err(Error::UnknownKernel {
            name: "simd".into()
        })
    );
    for kernel in Kernel::ALL {
        let expected = if kernel.is_available() {
            Ok(kernel)
        } else {
            Err(Error::KernelUnavailable { kernel })
        };
        assert_eq!(kernel.to_string().parse(), expected);
        assert!(!kernel.reason().is_empty());
    }
    assert_eq!(Kernel::available().last(), Some(&Kernel::detect()));
}

#[test]
fn strategies_are_forced_or_refused() {
    assert!(matches!(
        "luck".parse::<Strategy>(),
        Err(Error::UnknownStrategy { .. })
    ));
    for kernel in kernels() {
        for strategy in [Strategy::Dot, Strategy::Signed, Strategy::detect(kernel)] {
            assert_eq!(strategy.require(kernel), Ok(strategy));
        }
        for strategy in Strategy::ALL {
            assert_eq!(strategy.to_string().parse(), Ok(strategy));
            assert!(!strategy.reason(kernel).is_empty());
        }
    }
    let refused = Strategy::Lookup
        .require(Kernel::SCALAR)
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "strategy `lookup` cannot run on kernel `scalar`: scalar has no byte and word permutations to look sums up with"
    );
}
