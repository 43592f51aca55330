//! Activations in blocks: absmax int8, one scale for 32 neighbours.
//!
//! ```text
//! d = max|x| / 127          q = clamp(round_ties_even(x · (127 / max|x|)), -127, 127)          x̂ = q · d
//! ```
//!
//! A block whose maximum is so small that `127 / max|x|` is infinite (below 4e-37) counts as zeros. One that is not finite
//! has the codes 0 and the scale NaN, so that its own outputs are NaN and no other row's.

use super::{BLOCK, QUADS};
use crate::Kernel;

/// A block of activations.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct XBlock {
    /// Codes, four neighbours at a time.
    pub codes: [[i8; 4]; QUADS],
    /// d.
    pub scale: f32,
    /// `d · Σ q`, rounded once.
    pub sum: f32,
    /// `-8 · Σ q`, by which codes of 4 bits without their sign make too much.
    pub start: i32,
    /// The same of each half.
    pub starts: [i32; 2],
}

impl XBlock {
    /// Without codes yet: d and `Σ q` of each half.
    #[inline(always)]
    pub(crate) fn new(scale: f32, sums: [i32; 2]) -> XBlock {
        let total = sums[0] + sums[1];
        XBlock {
            codes: [[0; 4]; QUADS],
            scale,
            sum: scale * total as f32,
            start: -8 * total,
            starts: [-8 * sums[0], -8 * sums[1]],
        }
    }
}

/// Rows of activations for products with a [`BlockMatrix`](super::BlockMatrix) of any format; the buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct BlockRows {
    pub(super) cols: usize,
    pub(super) rows: usize,
    /// `[rows, cols / 32]`.
    pub(super) blocks: Vec<XBlock>,
}

impl BlockRows {
    /// Quantises `x[m, cols]`.
    ///
    /// # Panics
    ///
    /// If `cols` is no positive multiple of 32 or does not divide the length of `x`, or the processor lacks `kernel`.
    pub fn set(&mut self, kernel: Kernel, x: &[f32], cols: usize) {
        assert!(
            cols > 0 && cols.is_multiple_of(BLOCK) && x.len().is_multiple_of(cols),
            "{} values are not rows of {cols} in blocks of {BLOCK}",
            x.len()
        );
        (self.cols, self.rows) = (cols, x.len() / cols);
        self.blocks.resize(x.len() / BLOCK, XBlock::default());
        kernel.loops().quantize_blocks(x, &mut self.blocks);
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

/// Quantises whole blocks. Loops that a compiler turns into vectors of any width.
#[inline(always)]
pub(crate) fn quantize_blocks(x: &[f32], out: &mut [XBlock]) {
    for (x, out) in x.as_chunks().0.iter().zip(out) {
        *out = block(x);
    }
}

#[inline(always)]
fn block(x: &[f32; BLOCK]) -> XBlock {
    /// Added to a float below 2^22 it leaves the nearest integer, ties to even, in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // As bits without the sign: infinity is above all numbers and NaN above infinity.
    let mut magnitudes = [0; BLOCK];
    for (magnitude, x) in magnitudes.iter_mut().zip(x) {
        *magnitude = x.to_bits() & 0x7fff_ffff;
    }
    let max = f32::from_bits(tree(magnitudes, u32::max));
    let inverse = 127.0 / max;
    let mut codes = [0i32; BLOCK];
    let scale = if !max.is_finite() {
        f32::NAN
    } else if inverse.is_finite() {
        for (code, x) in codes.iter_mut().zip(x) {
            *code = (x * inverse + ROUND).to_bits() as i32 - ROUND.to_bits() as i32;
        }
        max / 127.0
    } else {
        0.0
    };
    let (halves, _) = codes.as_chunks::<{ BLOCK / 2 }>();
    let halves = [halves[0], halves[1]].map(|half| tree(half, |a, b| a + b));
    let mut block = XBlock::new(scale, halves);
    let bytes = block.codes.as_flattened_mut().iter_mut();
    for (byte, code) in bytes.zip(codes) {
        *byte = code as i8;
    }
    block
}

/// All values in one, halves of them side by side.
#[inline(always)]
fn tree<T: Copy, const N: usize>(mut values: [T; N], of: impl Fn(T, T) -> T) -> T {
    let mut count = N / 2;
    while count > 0 {
        for i in 0..count {
            values[i] = of(values[i], values[i + count]);
        }
        count /= 2;
    }
    values[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_quantised_by_their_own_maximum() {
        let mut x = vec![0.0f32; 4 * BLOCK];
        x[..BLOCK].fill(-2.5); // ties to even, -2
        (x[0], x[1]) = (127.0, 0.5);
        x[2 * BLOCK] = 1e-38;
        x[3 * BLOCK + 5] = f32::INFINITY;
        for kernel in Kernel::available() {
            let mut rows = BlockRows::default();
            rows.set(kernel, &x, 2 * BLOCK);
            assert_eq!(rows.rows(), 2);
            let [a, b, tiny, infinite] = rows.blocks[..] else {
                panic!("4 blocks")
            };
            assert_eq!(a.codes.as_flattened()[..3], [127, 0, -2]);
            assert_eq!((a.scale, a.sum, a.start), (1.0, 67.0, -8 * 67), "{kernel}");
            assert_eq!(a.starts, [-8 * 99, 8 * 32]);
            assert_eq!((b.scale, b.codes), (0.0, [[0; 4]; QUADS]));
            assert_eq!((tiny.scale, tiny.codes), (0.0, [[0; 4]; QUADS]));
            assert!(infinite.scale.is_nan() && infinite.sum.is_nan());
            assert_eq!(infinite.codes, [[0; 4]; QUADS]);
        }
    }
}
