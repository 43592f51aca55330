//! Each loop over rows of `avx2` against its namesake in `scalar`, bit for bit.

use proptest::prelude::*;

use crate::{Kernel, SUM_BLOCK, gemm::blocking::Sums, isa::Loops, skipped::skipped, system::shared_out::Rectangle};

/// Floats that hurt: ties of ±k/2, tiny, huge, and ordinary ones.
fn floats(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        4 => -3.0f32..3.0,
        3 => (-9i32..=9).prop_map(|half| half as f32 * 0.5),
        3 => (-260i32..=260).prop_map(|half| half as f32 * 0.5),
        1 => Just(-0.0f32),
        1 => prop::num::f32::ANY.prop_filter("finite", |v| v.is_finite()),
    ];
    prop::collection::vec(value, len)
}

/// As [`floats`], with NaN (of any sign and payload) and infinities.
fn any_floats(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(
        prop_oneof![3 => -2.0f32..2.0, 1 => prop::num::f32::ANY],
        len,
    )
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The loops of `scalar` and of `avx2`, where the processor has it.
fn loops() -> Option<(Loops, Loops)> {
    let avx2 = "avx2".parse::<Kernel>();
    if let Err(error) = &avx2 {
        skipped(error);
    }
    Some((Kernel::SCALAR.loops(), avx2.ok()?.loops()))
}

macro_rules! needs_avx2 {
    ($scalar:ident, $avx2:ident) => {
        let Some(($scalar, $avx2)) = loops() else {
            return Ok(());
        };
    };
}

proptest! {
    #[test]
    fn max_of_anything(x in any_floats(0..200)) {
        needs_avx2!(scalar, avx2);
        prop_assert_eq!(scalar.max_abs_bits(&x), avx2.max_abs_bits(&x));
    }

    #[test]
    fn activation_codes(x in floats(0..200), scale in prop_oneof![Just(1.0f32), 0.01f32..40.0]) {
        needs_avx2!(scalar, avx2);
        // A row's own scale bounds |x · s| by 127 (1 + 2^-22); int32 conversion is exercised up to that and beyond.
        let x: Vec<f32> = x.iter().map(|x| x.clamp(-1e6, 1e6)).collect();
        let (mut a, mut b) = (vec![9i8; x.len()], vec![7i8; x.len()]);
        scalar.quantize_row(&x, scale, &mut a);
        avx2.quantize_row(&x, scale, &mut b);
        prop_assert_eq!(&a, &b);
    }

    #[test]
    fn block_sums(x in floats(0..300), repeat in 1usize..14) {
        needs_avx2!(scalar, avx2);
        let mut x = x.repeat(repeat);
        x.truncate(SUM_BLOCK);
        prop_assert_eq!(scalar.abs_block_sum(&x).to_bits(), avx2.abs_block_sum(&x).to_bits());
    }

    #[test]
    fn packing_and_decoding(w in any_floats(0..200), ties in floats(0..200), scale in prop_oneof![Just(1.0f32), Just(f32::NAN), Just(0.0), 0.1f32..9.0]) {
        needs_avx2!(scalar, avx2);
        for w in [w, ties] {
            let len = crate::words_per_row(w.len());
            let (mut a, mut b) = (vec![0; len], vec![7; len]);
            scalar.pack_row(&w, scale, &mut a);
            avx2.pack_row(&w, scale, &mut b);
            prop_assert_eq!(&a, &b);
        }
    }

    #[test]
    fn decoding_of_any_words(words in prop::collection::vec(any::<u32>(), 0..20), short in 0usize..16) {
        needs_avx2!(scalar, avx2);
        let len = (16 * words.len()).saturating_sub(short);
        let (mut a, mut b) = (vec![9.0; len], vec![7.0; len]);
        scalar.unpack_row(&words, [-1.5, 0.0, 1.5, 3.0], &mut a);
        avx2.unpack_row(&words, [-1.5, 0.0, 1.5, 3.0], &mut b);
        prop_assert_eq!(bits(&a), bits(&b));
    }

    #[test]
    fn orders_of_prepacked_rows(codes in prop::collection::vec(any::<i8>(), 0..300), padding in 0usize..100) {
        needs_avx2!(scalar, avx2);
        let len = codes.len().next_multiple_of(16) + padding / 16 * 16;
        let (mut a, mut b) = (vec![9i8; len], vec![7i8; len]);
        let (sum_a, sum_b) = (scalar.transpose_row(&codes, &mut a), avx2.transpose_row(&codes, &mut b));
        prop_assert_eq!((&a, sum_a), (&b, sum_b));
        for k in 0..len {
            let code = codes.get(k).copied().unwrap_or(0);
            prop_assert_eq!(a[k / 16 * 16 + k % 4 * 4 + k % 16 / 4], code, "element {}", k);
        }
        let (sum_a, sum_b) = (scalar.copy_row(&codes, &mut a), avx2.copy_row(&codes, &mut b));
        prop_assert_eq!((&a, sum_a), (&b, sum_b));
    }

    #[test]
    fn epilogues(acc in prop::collection::vec(any::<i32>(), 1..80), sx in 0.01f32..1e4, sw in 0.01f32..1e4, per_row in any::<bool>()) {
        needs_avx2!(scalar, avx2);
        let sw: Vec<f32> = (0..if per_row { acc.len() } else { 1 }).map(|i| sw + i as f32).collect();
        let (mut a, mut b) = (vec![9.0; acc.len()], vec![7.0; acc.len()]);
        let write = |loops: Loops, out: &mut [f32]| {
            let (sums, out) = (Sums::of_row(&acc), Rectangle::new(out, acc.len(), 1, acc.len()));
            loops.epilogue(sums, None, &sw, &[sx], out);
        };
        write(scalar, &mut a);
        write(avx2, &mut b);
        prop_assert_eq!(bits(&a), bits(&b));
        let codes: Vec<i8> = acc.iter().map(|acc| *acc as i8).collect();
        let (mut a, mut b) = (vec![9.0; acc.len()], vec![7.0; acc.len()]);
        scalar.div_row(&codes, sx, &mut a);
        avx2.div_row(&codes, sx, &mut b);
        prop_assert_eq!(bits(&a), bits(&b));
    }
}
