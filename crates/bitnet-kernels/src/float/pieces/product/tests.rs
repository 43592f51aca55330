//! Packing against a scalar reference bit for bit, products against sums in f64 within the bounds of the module.

use super::*;
use crate::float::pieces::{Floats, Int8Codes, TernaryCodes};
use crate::isa::amx::{Model, Tile};
use crate::skipped::skipped;

/// Packs element by element, and multiplies with the model of the instruction: on every processor.
#[derive(Clone, Copy)]
struct Reference;

impl Machine for Reference {
    type Unit = Model;

    fn unit(self) -> Model {
        Model
    }

    fn pack(
        self,
        x: &impl Operand,
        form: Along,
        outer: usize,
        steps: Range<usize>,
        panel: &mut [Pair],
    ) {
        for (step, pairs) in steps.zip(panel.chunks_exact_mut(x.pieces())) {
            for o in 0..SIDE {
                for d in 0..STEP {
                    let (at, depth) = (outer + o, STEP * step + d);
                    let inside = at < x.outer() && depth < x.depth();
                    let value = if inside { x.value(at, depth) } else { 0.0 };
                    for (Pair(tiles), piece) in pairs.iter_mut().zip(cut(value, x.pieces())) {
                        let (row, byte) = match form {
                            Along::Depth => (o % 16, 2 * d),
                            Along::Outer => (d / 2, 4 * (o % 16) + 2 * (d % 2)),
                        };
                        tiles[o / 16].0[row][byte..byte + 2].copy_from_slice(&piece.to_le_bytes());
                    }
                }
            }
        }
    }
}

/// The pieces of a float, as bf16.
fn cut(x: f32, pieces: usize) -> Vec<u16> {
    let mut rest = x;
    (1..=pieces)
        .map(|piece| {
            let bits = rest.to_bits();
            if piece == pieces && pieces < 3 {
                return match rest.is_nan() {
                    true => (bits >> 16) as u16 | 0x40,
                    false => ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16,
                };
            }
            rest -= f32::from_bits(bits & 0xffff_0000);
            (bits >> 16) as u16
        })
        .collect()
}

fn float(bf16: u16) -> f32 {
    f32::from_bits(u32::from(bf16) << 16)
}

/// Numbers of many sizes and both signs, the same in every run.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let unit = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
            unit * [1.0, 1e-3, 30.0, 1.0][(state >> 30 & 3) as usize]
        })
        .collect()
}

fn machine() -> Option<Tiled> {
    Tiled::get()
        .inspect_err(|reason| skipped(format!("{reason}; the model of the instruction ran")))
        .ok()
}

fn floats(data: &[f32], outer: usize, depth: usize, along: Along, pieces: usize) -> Floats<'_> {
    let stride = match along {
        Along::Depth => depth,
        Along::Outer => outer,
    };
    Floats {
        data,
        outer,
        depth,
        along,
        stride,
        scales: None,
        pieces,
    }
}

#[test]
fn three_pieces_are_the_whole_float() {
    let mut all = numbers(10_000, 1);
    all.extend([
        0.0,
        -0.0,
        f32::MAX,
        f32::MIN_POSITIVE * 1e10,
        1.0 + f32::EPSILON,
    ]);
    for x in all {
        let sum: f64 = cut(x, 3)
            .into_iter()
            .map(|piece| f64::from(float(piece)))
            .sum();
        assert_eq!(sum, f64::from(x));
        // A cut piece leaves 2⁻⁷ of its number, a rounded one 2⁻⁸; relative to the power of two below, 2⁻¹⁶ for the second.
        let error = |pieces: usize| {
            let sum: f64 = cut(x, pieces)
                .into_iter()
                .map(|piece| f64::from(float(piece)))
                .sum();
            (sum - f64::from(x)).abs() / f64::from(x).abs().max(1e-300)
        };
        if x != f32::MAX {
            assert!(
                error(1) <= 0.5f64.powi(8) && error(2) <= 0.5f64.powi(16),
                "{x:e}"
            );
        }
    }
    assert!(
        cut(f32::NAN, 1)
            .into_iter()
            .chain(cut(f32::from_bits(0x7fff_ffff), 1))
            .all(|piece| float(piece).is_nan())
    );
}

/// The vector code packs what the reference packs, in both forms, at every edge.
#[test]
fn packing_is_the_reference_bit_for_bit() {
    let Some(tiled) = machine() else { return };
    fn same(tiled: Tiled, x: &impl Operand) {
        let steps = x.depth().div_ceil(STEP);
        for form in [Along::Depth, Along::Outer] {
            for outer in (0..x.outer()).step_by(SIDE) {
                let mut found = vec![Pair([Tile([[0xee; 64]; 16]); 2]); steps * x.pieces()];
                let mut expected = found.clone();
                tiled.pack(x, form, outer, 0..steps, &mut found);
                Reference.pack(x, form, outer, 0..steps, &mut expected);
                assert!(found == expected, "{form:?} {} x {}", x.outer(), x.depth());
            }
        }
    }
    for (outer, depth) in [(1, 1), (16, 32), (32, 64), (33, 31), (47, 65), (5, 130)] {
        let mut data = numbers(outer * depth, 7);
        let odd = [
            f32::NAN,
            f32::INFINITY,
            -0.0,
            1e-40,
            f32::MAX,
            f32::from_bits(0x7fff_ffff),
        ];
        for (x, odd) in data.iter_mut().step_by(11).zip(odd) {
            *x = odd;
        }
        let scales: Vec<f32> = numbers(depth, 8).iter().map(|s| s.abs()).collect();
        for along in [Along::Depth, Along::Outer] {
            for pieces in 1..=3 {
                let plain = floats(&data, outer, depth, along, pieces);
                same(tiled, &plain);
                same(
                    tiled,
                    &Floats {
                        scales: Some(&scales),
                        ..plain
                    },
                );
            }
        }
        let codes: Vec<i8> = (0..outer * depth).map(|i| (i * 37) as i8).collect();
        same(
            tiled,
            &Int8Codes {
                codes: &codes,
                outer,
                depth,
            },
        );
        // Words with their padding of zeros.
        let weights: Vec<i8> = (0..outer * depth).map(|i| (i * 7 % 3) as i8 - 1).collect();
        let packed = crate::PackedTernary::from_codes(
            &weights,
            depth,
            outer,
            vec![1.0],
            crate::Granularity::Tensor,
        )
        .expect("ternary");
        same(
            tiled,
            &TernaryCodes {
                words: packed.view().words,
                outer,
                depth,
            },
        );
    }
}

/// The largest error of a product relative to its `S = Σ|a·b|`.
fn worst(found: &[f32], scale: f64, a: &impl Operand, b: &impl Operand) -> f64 {
    let mut worst = 0f64;
    for i in 0..a.outer() {
        for j in 0..b.outer() {
            let terms = (0..a.depth()).map(|k| f64::from(a.value(i, k)) * f64::from(b.value(j, k)));
            let (sum, size) =
                terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + f64::abs(t)));
            let error = (f64::from(found[i * b.outer() + j]) - scale * sum).abs();
            // 2⁻¹²⁶ for each operation: denormals count as 0.
            assert!(size > 0.0 || error == 0.0);
            worst = worst.max(error / (scale * size).max(1e-30));
        }
    }
    worst
}

/// On the model always and on the processor where it has tiles: the same bits, within the bounds of the module.
fn check(passes: Passes, a: &impl Operand, b: &impl Operand, scale: f32, bound: f64) -> f64 {
    let modelled = product(Reference, passes, a, b, scale);
    if let Some(tiled) = machine() {
        let found = product(tiled, passes, a, b, scale);
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&modelled), "{passes:?} on the processor");
    }
    let error = worst(&modelled, f64::from(scale), a, b);
    assert!(
        error <= bound,
        "{passes:?}, depth {}: {error:e} over {bound:e}",
        a.depth()
    );
    error
}

const U: f64 = 1.0 / (1u64 << 24) as f64;

#[test]
fn floats_by_codes() {
    for (rows, depth, cols) in [(1, 1, 1), (33, 70, 47), (64, 300, 32), (5, 1000, 65)] {
        let k = depth as f64;
        let data = numbers(rows * depth, 3);
        let codes: Vec<i8> = (0..depth * cols).map(|i| (i * 91) as i8).collect();
        let b = Int8Codes {
            codes: &codes,
            outer: cols,
            depth,
        };
        for along in [Along::Depth, Along::Outer] {
            let a = |pieces| floats(&data, rows, depth, along, pieces);
            let steps = (k / 32.0).ceil();
            check(
                Passes::One,
                &a(1),
                &b,
                0.3,
                0.5f64.powi(8) + (steps + 18.0) * U,
            );
            check(
                Passes::Two,
                &a(2),
                &b,
                0.3,
                0.5f64.powi(16) + (2.0 * steps + 18.0) * U,
            );
            check(Passes::Three, &a(3), &b, 0.3, (3.0 * steps + 18.0) * U);
        }
    }
}

#[test]
fn floats_by_ternary_codes() {
    let (rows, depth, cols) = (40, 97, 81);
    let data = numbers(rows * depth, 5);
    let weights: Vec<i8> = (0..depth * cols).map(|i| (i * 7 % 3) as i8 - 1).collect();
    let packed = crate::PackedTernary::from_codes(
        &weights,
        depth,
        cols,
        vec![1.0],
        crate::Granularity::Tensor,
    )
    .expect("ternary");
    let b = TernaryCodes {
        words: packed.view().words,
        outer: cols,
        depth,
    };
    let scales = numbers(depth, 6);
    let a = Floats {
        scales: Some(&scales),
        ..floats(&data, rows, depth, Along::Depth, 3)
    };
    check(Passes::Three, &a, &b, 2.0, (3.0 * 4.0 + 18.0) * U);
}

#[test]
fn floats_by_floats() {
    for (rows, depth, cols) in [(3, 40, 20), (50, 640, 33)] {
        let (x, w) = (numbers(rows * depth, 11), numbers(depth * cols, 12));
        let steps = (depth as f64 / 32.0).ceil();
        for along_a in [Along::Depth, Along::Outer] {
            for along_b in [Along::Depth, Along::Outer] {
                let a = |pieces| floats(&x, rows, depth, along_a, pieces);
                let b = |pieces| floats(&w, cols, depth, along_b, pieces);
                check(Passes::Six, &a(3), &b(3), 1.0, (6.0 * steps + 24.0) * U);
                check(
                    Passes::One,
                    &a(1),
                    &b(1),
                    1.0,
                    0.5f64.powi(7) + (steps + 18.0) * U,
                );
            }
        }
    }
}

/// Three passes, and six, are no less exact than multiply-adds in f32.
#[test]
fn as_exact_as_f32() {
    let (rows, depth, cols) = (32, 2048, 32);
    let (x, w) = (numbers(rows * depth, 21), numbers(depth * cols, 22));
    let codes: Vec<i8> = (0..depth * cols).map(|i| (i * 91) as i8).collect();
    let a = |pieces| floats(&x, rows, depth, Along::Depth, pieces);
    let exact = Int8Codes {
        codes: &codes,
        outer: cols,
        depth,
    };
    let b = floats(&w, cols, depth, Along::Outer, 3);
    fn chain(a: &impl Operand, b: &impl Operand) -> f64 {
        let sums: Vec<f32> = (0..a.outer() * b.outer())
            .map(|at| {
                let (i, j) = (at / b.outer(), at % b.outer());
                (0..a.depth()).fold(0.0, |sum, k| {
                    f32::mul_add(a.value(i, k), b.value(j, k), sum)
                })
            })
            .collect();
        worst(&sums, 1.0, a, b)
    }
    let three = worst(
        &product(Reference, Passes::Three, &a(3), &exact, 1.0),
        1.0,
        &a(3),
        &exact,
    );
    assert!(three < chain(&a(3), &exact), "{three:e}");
    let six = worst(
        &product(Reference, Passes::Six, &a(3), &b, 1.0),
        1.0,
        &a(3),
        &b,
    );
    assert!(six < chain(&a(3), &b), "{six:e}");
}

/// Denormals count as 0 and change a result by no more than that.
#[test]
fn denormals_are_flushed_and_bounded() {
    let depth = 64;
    let tiny = f32::MIN_POSITIVE;
    let x: Vec<f32> = (0..depth).map(|i| tiny * (1.0 + i as f32 / 97.0)).collect();
    let codes: Vec<i8> = (0..depth)
        .map(|i| if i % 2 == 0 { 127 } else { -3 })
        .collect();
    let a = floats(&x, 1, depth, Along::Depth, 3);
    let b = Int8Codes {
        codes: &codes,
        outer: 1,
        depth,
    };
    let found = f64::from(product(Reference, Passes::Three, &a, &b, 1.0)[0]);
    let exact: f64 = x
        .iter()
        .zip(&codes)
        .map(|(x, q)| f64::from(*x) * f64::from(*q))
        .sum();
    // Two pieces of each element and as many results may be flushed.
    let bound = depth as f64 * (2.0 * 127.0 + 4.0) * f64::from(tiny);
    assert!((found - exact).abs() <= bound && found != exact);
}

#[test]
fn not_finite_stays_not_finite() {
    let codes = [1i8; 8];
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let x = [0.5, odd, 1.0, 2.0];
        let a = floats(&x, 1, 4, Along::Depth, 3);
        let found = product(
            Reference,
            Passes::Three,
            &a,
            &Int8Codes {
                codes: &codes,
                outer: 2,
                depth: 4,
            },
            1.0,
        );
        assert!(found.iter().all(|y| !y.is_finite()), "{odd}: {found:?}");
    }
}

#[test]
fn nothing_to_add_is_zero() {
    let a = floats(&[], 2, 0, Along::Depth, 3);
    let b = Int8Codes {
        codes: &[],
        outer: 3,
        depth: 0,
    };
    assert_eq!(product(Reference, Passes::Three, &a, &b, 1.0), [0.0; 6]);
    let a = floats(&[], 0, 2, Along::Depth, 3);
    assert!(
        product(
            Reference,
            Passes::Three,
            &a,
            &Int8Codes {
                codes: &[1; 6],
                outer: 3,
                depth: 2
            },
            1.0
        )
        .is_empty()
    );
}

#[test]
fn threads_change_nothing() {
    let Some(tiled) = machine() else { return };
    let (rows, depth, cols) = (200, 400, 300);
    let (x, w) = (numbers(rows * depth, 31), numbers(depth * cols, 32));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("threads");
        pool.install(|| {
            let a = floats(&x, rows, depth, Along::Depth, 3);
            product(
                tiled,
                Passes::Six,
                &a,
                &floats(&w, cols, depth, Along::Depth, 3),
                1.0,
            )
        })
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert_eq!(one, run(threads), "{threads} threads");
    }
}
