//! The running softmax in plain Rust.

use super::{Block, LANES, Pair, Rows, SIDE, UPPER, exponential::*};

/// `2^x`; NaN stays NaN.
fn exp2(x: f32) -> f32 {
    let x = if x < LEAST { LEAST } else { x };
    let shifted = x + ROUND;
    let f = x - (shifted - ROUND);
    let [first, rest @ ..] = POLYNOMIAL;
    let p = rest.into_iter().fold(first, |p, c| p.mul_add(f, c));
    let power = f32::from_bits(shifted.to_bits() << 23);
    (p * f).mul_add(power, power)
}

pub(super) fn queries(values: &[f32], row: usize, out: &mut [Pair]) {
    for (values, out) in values.chunks_exact(SIDE).zip(out.chunks_exact_mut(2)) {
        for (i, value) in values.iter().enumerate() {
            split(value * std::f32::consts::LOG2_E, row, i, out);
        }
    }
}

/// The upper half of a value and, rounded, what is left of it, as elements `[row, i]` of the pieces.
fn split(value: f32, row: usize, i: usize, pieces: &mut [Pair]) {
    let first = f32::from_bits(value.to_bits() & UPPER);
    let rest = value - first;
    // `vcvtne2ps2bf16` takes a denormal for 0, as tiles do.
    let rest = if rest.is_subnormal() {
        0.0f32.copysign(rest)
    } else {
        rest
    };
    let odd = rest.to_bits() >> 16 & 1;
    let rounded = rest.to_bits().wrapping_add(0x7fff + odd);
    for (Pair(tiles), bits) in pieces.iter_mut().zip([first.to_bits(), rounded]) {
        let upper = ((bits >> 16) as u16).to_le_bytes();
        tiles[row / 16].0[row % 16][2 * i..2 * i + 2].copy_from_slice(&upper);
    }
}

pub(super) fn weigh(scores: &[Block<f32>], seen: &[usize], rows: &mut Rows, out: &mut [Pair]) {
    for (row, seen) in seen.iter().enumerate() {
        let of_row = || scores.iter().flat_map(|block| block.0[row]);
        let before = rows.tops[row];
        let largest = |top, s| if s > top { s } else { top };
        let top = of_row().take(*seen).fold(before, largest);
        let factor = exp2(before - top);
        let mut sums = [0.0; LANES];
        for (i, s) in of_row().enumerate() {
            let e = if i < *seen { exp2(s - top) } else { 0.0 };
            sums[i % LANES] += e;
            split(e, row, i % SIDE, &mut out[i / SIDE * 2..][..2]);
        }
        for (old, new) in rows.sums[row].iter_mut().zip(sums) {
            *old = old.mul_add(factor, new);
        }
        (rows.tops[row], rows.factors[row]) = (top, factor);
    }
}

#[inline(always)]
pub(super) fn rescale(factors: &[f32; SIDE], sums: &mut [Block<f32>]) {
    for (row, factor) in factors
        .iter()
        .enumerate()
        .filter(|(_, factor)| **factor != 1.0)
    {
        for block in &mut *sums {
            block.0[row].iter_mut().for_each(|sum| *sum *= factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        let mut worst = 0f64;
        for i in 0..125_000 {
            let x = i as f32 * -1e-3;
            worst = worst.max((f64::from(exp2(x)) / f64::from(x).exp2() - 1.0).abs());
        }
        assert!(worst < 9.0 * 0.5f64.powi(24), "{worst:e}");
        assert_eq!(
            (exp2(0.0), exp2(-1.0), exp2(f32::NEG_INFINITY)),
            (1.0, 0.5, 0.5f32.powi(126))
        );
        assert!(exp2(f32::NAN).is_nan());
    }
}
