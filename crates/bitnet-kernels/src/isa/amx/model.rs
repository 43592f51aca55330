//! What the instructions compute, in loops.
//!
//! From Intel's manual (Software Developer's Manual, volume 2, `TDPBSUD` and `TDPBF16PS`); a test compares it with a
//! processor bit for bit.

use super::{Block, Pair, Start, Tile, Unit};

/// Tiles in plain Rust.
pub(crate) struct Model;

impl Unit for Model {
    fn int8(&self, a: &[Pair], b: &[Pair], start: Start, c: &mut Block<i32>) {
        each_tile(a, b, start, c, |a, b, n, mut sum| {
            for (quad, lanes) in a.as_chunks::<4>().0.iter().zip(&b.0) {
                for (x, w) in quad.iter().zip(&lanes[4 * n..][..4]) {
                    sum = i32::wrapping_add(sum, i32::from(*x as i8) * i32::from(*w));
                }
            }
            sum
        });
    }

    fn bf16(&self, a: &[Pair], b: &[Pair], start: Start, c: &mut Block<f32>) {
        each_tile(a, b, start, c, |a, b, n, sum| {
            let mut chains = [0.0; 2];
            for (pair, lanes) in a.as_chunks::<4>().0.iter().zip(&b.0) {
                let (x, w) = (
                    halves(pair),
                    halves(lanes[4 * n..].first_chunk().expect("4 of 64 bytes")),
                );
                for (chain, (x, w)) in chains.iter_mut().zip(x.into_iter().zip(w)) {
                    *chain = flushed(x.mul_add(w, *chain));
                }
            }
            flushed(flushed(sum) + flushed(chains[0] + chains[1]))
        });
    }
}

/// `c[m, n] = step(row m of a, tile of b, n, c[m, n])` for every step of k.
fn each_tile<T: Copy + Default>(
    a: &[Pair],
    b: &[Pair],
    start: Start,
    c: &mut Block<T>,
    step: impl Fn(&[u8; 64], &Tile, usize, T) -> T,
) {
    assert_eq!(a.len(), b.len(), "steps of the panels");
    if start == Start::Zero {
        *c = Block::zero();
    }
    for (Pair(a), Pair(b)) in a.iter().zip(b) {
        for (m, row) in c.0.iter_mut().enumerate() {
            for (n, sum) in row.iter_mut().enumerate() {
                *sum = step(&a[m / 16].0[m % 16], &b[n / 16], n % 16, *sum);
            }
        }
    }
}

/// Two bf16 as floats, the lower one first.
fn halves(bytes: &[u8; 4]) -> [f32; 2] {
    let lanes = u32::from_le_bytes(*bytes);
    [lanes << 16, lanes & 0xffff_0000].map(|bits| flushed(f32::from_bits(bits)))
}

/// A denormal as the zero of its sign.
fn flushed(value: f32) -> f32 {
    if value.is_subnormal() {
        0.0f32.copysign(value)
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Σ a[i, k] · b[k, j]` with every element in its place.
    #[test]
    fn elements_meet_their_partners() {
        let (mut a, mut b) = ([Pair::ZERO; 2], [Pair::ZERO; 2]);
        let (x, w) = (
            |i: usize, k: usize| (7 * i + 3 * k) as i8,
            |k: usize, j: usize| (5 * k + j) as u8 % 4,
        );
        for k in 0..128 {
            for i in 0..32 {
                a[k / 64].0[i / 16].0[i % 16][k % 64] = x(i, k) as u8;
                b[k / 64].0[i / 16].0[k % 64 / 4][4 * (i % 16) + k % 4] = w(k, i);
            }
        }
        let mut c = Block::<i32>::zero();
        Model.int8(&a, &b, Start::Zero, &mut c);
        for (i, row) in c.0.iter().enumerate() {
            for (j, sum) in row.iter().enumerate() {
                let expected = (0..128)
                    .map(|k| i32::from(x(i, k)) * i32::from(w(k, j)))
                    .sum::<i32>();
                assert_eq!(*sum, expected);
            }
        }
    }

    #[test]
    fn bf16_sums_and_flushes() {
        let (mut a, mut b) = ([Pair::ZERO], [Pair::ZERO]);
        let set = |pair: &mut Pair, t: usize, row: usize, at: usize, value: f32| {
            pair.0[t].0[row][2 * at..][..2]
                .copy_from_slice(&((value.to_bits() >> 16) as u16).to_le_bytes());
        };
        // Row 17 with column 3: 1.5 · 2 (k = 0), -0.25 · 8 (k = 31), and a denormal that counts as 0 (k = 1).
        for (k, x, w) in [(0, 1.5, 2.0), (31, -0.25, 8.0), (1, 1e-39, 1e30)] {
            set(&mut a[0], 1, 1, k, x);
            set(&mut b[0], 0, k / 2, 2 * 3 + k % 2, w);
        }
        let mut c = Block([[10.0; 32]; 32]);
        Model.bf16(&a, &b, Start::Add, &mut c);
        assert_eq!((c.0[17][3], c.0[17][4], c.0[1][3]), (11.0, 10.0, 10.0));
    }
}
