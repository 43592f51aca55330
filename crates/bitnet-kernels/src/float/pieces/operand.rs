//! Operands of a product and how 16 × 32 of their elements become tiles.
//!
//! An operand is seen from the product: `outer` runs over the rows of A or the columns of B, `depth` over the sum. In memory
//! either of the two is contiguous, and this decides in which form lines (64 bytes) are read:
//!
//! | contiguous | a line holds | that is a tile of |
//! |---|---|---|
//! | depth | 32 elements of one outer index | A |
//! | outer | for 16 outer indices, the pair of two depths | B |
//!
//! One form is the transpose of the other, as a 16 × 16 matrix of pairs.

use crate::isa::amx::Pair;

/// What a line runs along, and which form of tile it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::float) enum Along {
    /// Tiles of A.
    Depth,
    /// Tiles of B.
    Outer,
}

/// A matrix that is multiplied by tiles.
pub(in crate::float) trait Operand: Sync {
    /// Rows of A or columns of B.
    fn outer(&self) -> usize;

    /// Elements of a sum.
    fn depth(&self) -> usize;

    /// Pieces of an element, 1 to 3; codes are exact in one.
    fn pieces(&self) -> usize {
        1
    }

    /// The form in which lines are read; codes lie `[depth, outer]`.
    fn along(&self) -> Along {
        Along::Outer
    }

    /// Checks that every element of the shape exists.
    ///
    /// # Panics
    ///
    /// If one does not.
    fn check(&self);

    /// Writes the elements of 16 outer indices from `outer` on and 32 depths from `depth` on into tile `half` of each
    /// piece's pair, in the operand's own form. What lies outside of the matrix becomes 0.
    ///
    /// # Panics
    ///
    /// If `pairs` are not one for each piece.
    fn fill(
        &self,
        machine: super::Tiled,
        outer: usize,
        depth: usize,
        half: usize,
        pairs: &mut [Pair],
    );

    /// An element inside of the matrix, before it is cut in pieces.
    #[cfg(test)]
    fn value(&self, outer: usize, depth: usize) -> f32;
}

/// Floats, cut in pieces.
#[derive(Clone, Copy, Debug)]
pub(in crate::float) struct Floats<'a> {
    /// From the first element on.
    pub data: &'a [f32],
    /// Rows of A or columns of B.
    pub outer: usize,
    /// Elements of a sum.
    pub depth: usize,
    /// What is contiguous.
    pub along: Along,
    /// Elements from one line to the next.
    pub stride: usize,
    /// What the elements of a depth are multiplied by first.
    pub scales: Option<&'a [f32]>,
    /// Pieces: 1 to 3.
    pub pieces: usize,
}

/// Int8 codes `[depth, outer]`, exact in one piece.
#[derive(Clone, Copy, Debug)]
pub(in crate::float) struct Int8Codes<'a> {
    /// Row-major codes.
    pub codes: &'a [i8],
    /// Columns.
    pub outer: usize,
    /// Rows.
    pub depth: usize,
}

/// Packed ternary codes `[depth, outer]` in words of 16, exact in one piece.
#[derive(Clone, Copy, Debug)]
pub(in crate::float) struct TernaryCodes<'a> {
    /// Row-major words: element `k` of a row at bits `2(k mod 16)`, stored as `w + 1`.
    pub words: &'a [u32],
    /// Columns.
    pub outer: usize,
    /// Rows.
    pub depth: usize,
}

impl TernaryCodes<'_> {
    /// Words of a row.
    pub fn stride(&self) -> usize {
        self.outer.div_ceil(16)
    }
}

impl Floats<'_> {
    /// As [`Operand::check`]; the numbers of scales and pieces as well.
    pub(super) fn check_lengths(&self) {
        let (lines, width) = match self.along {
            Along::Depth => (self.outer, self.depth),
            Along::Outer => (self.depth, self.outer),
        };
        let end = lines.saturating_sub(1) * self.stride + width;
        assert!(
            lines == 0 || end <= self.data.len(),
            "{lines} lines of {width}, {} apart",
            self.stride
        );
        assert!(
            self.scales.is_none_or(|s| s.len() == self.depth),
            "scales of {} depths",
            self.depth
        );
        assert!((1..=3).contains(&self.pieces), "{} pieces", self.pieces);
    }
}
