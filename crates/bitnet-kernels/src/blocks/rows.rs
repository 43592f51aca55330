//! Activations in blocks: absmax int8, one scale for 32 neighbours.
//!
//! ```text
//! d = max|x| / 127          q = clamp(round_ties_even(x · (127 / max|x|)), -127, 127)          x̂ = q · d
//! ```
//!
//! A block whose maximum is so small that `127 / max|x|` is infinite (below 4e-37) counts as zeros. One that is not finite
//! has the codes 0 and the scale NaN, so that its own outputs are NaN and no other row's.

use super::{BLOCK, QUADS};
use crate::{Kernel, isa::Loops};

/// A block of activations.
#[derive(Clone, Copy, Debug)]
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
        let loops = kernel.loops();
        self.blocks.clear();
        self.blocks
            .extend(x.as_chunks::<BLOCK>().0.iter().map(|x| block(loops, x)));
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}

fn block(loops: Loops, x: &[f32; BLOCK]) -> XBlock {
    let max = f32::from_bits(loops.max_abs_bits(x));
    let mut codes = [[0; 4]; QUADS];
    let inverse = 127.0 / max;
    let scale = if !max.is_finite() {
        f32::NAN
    } else if inverse.is_finite() {
        loops.quantize_row(x, inverse, codes.as_flattened_mut());
        max / 127.0
    } else {
        0.0
    };
    let sum = |quads: &[[i8; 4]]| -> i32 {
        let codes = quads.as_flattened().iter();
        codes.map(|code| i32::from(*code)).sum()
    };
    let halves = [sum(&codes[..QUADS / 2]), sum(&codes[QUADS / 2..])];
    let total = halves[0] + halves[1];
    XBlock {
        codes,
        scale,
        sum: scale * total as f32,
        start: -8 * total,
        starts: halves.map(|half| -8 * half),
    }
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
