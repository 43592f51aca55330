//! Operands and results of tile products.
//!
//! Both operands are cut along k in steps of 64 bytes, and a step of both is a [`Pair`] of tiles:
//!
//! | | tile `t` of a step holds, in row `r` |
//! |---|---|
//! | A | the step's 64 bytes of the operand's row `16 t + r` |
//! | B | 4 bytes along k, from byte `4 r` of the step on, of each of the columns `16 t ..= 16 t + 15` |
//!
//! So a line (64 bytes) of B is a line of the crate's run-time layouts: 16 rows of weights side by side. What is past the
//! end of k must be 0 in one operand and finite in the other.

use crate::format::Line;

/// Rows and columns of a block.
pub(crate) const SIDE: usize = 32;

/// A tile register's content: 16 rows of 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [[u8; 64]; 16]);

/// One step of k of a panel: 32 rows of A, or 32 columns of B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Pair(pub(crate) [Tile; 2]);

impl Pair {
    /// Nothing but zeros.
    pub(crate) const ZERO: Pair = Pair([Tile([[0; 64]; 16]); 2]);

    /// All bytes in the order of memory.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: a `Pair` is `repr(C)` of 2048 bytes without padding, of which every value is legal; the borrow is
        // exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(std::ptr::from_mut(self).cast(), size_of::<Pair>())
        }
    }
}

/// 32 × 32 results, row by row.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Block<T>(pub(crate) [[T; SIDE]; SIDE]);

impl<T: Copy + Default> Block<T> {
    /// No sum yet.
    pub(crate) fn zero() -> Block<T> {
        Block([[T::default(); SIDE]; SIDE])
    }
}

/// What the sums of a block start with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// 0, whatever the block holds.
    Zero,
    /// What the block holds.
    Add,
}

/// Which pieces of both operands meet. A float is a sum of up to three bf16 (`float::pieces`), and a panel of pieces holds,
/// step by step, a [`Pair`] for each of them, the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    /// One piece of each operand.
    One,
    /// Two pieces of A with an exact B.
    Two,
    /// Three pieces of A with an exact B.
    Three,
    /// Three pieces of each; products below 2⁻²⁴ of the largest are left out.
    Six,
}

impl Passes {
    /// The pieces `(of A, of B)` in the order in which a step multiplies them: the largest ones last.
    pub(crate) const fn order(self) -> &'static [(usize, usize)] {
        match self {
            Passes::One => &[(0, 0)],
            Passes::Two => &[(1, 0), (0, 0)],
            Passes::Three => &[(2, 0), (1, 0), (0, 0)],
            // Each pass but the last shares an operand with the one before, which stays in its registers.
            Passes::Six => &[(2, 0), (1, 0), (1, 1), (0, 1), (0, 2), (0, 0)],
        }
    }

    /// Pieces of A and of B.
    pub(crate) const fn pieces(self) -> (usize, usize) {
        match self {
            Passes::One => (1, 1),
            Passes::Two => (2, 1),
            Passes::Three => (3, 1),
            Passes::Six => (3, 3),
        }
    }
}

/// A B of 32 columns where it lies: line `r` of tile `t` of step `s` is `lines[s · step + t · tile + r · row]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strided<'a> {
    pub(crate) lines: &'a [Line],
    /// Lines from a row of a tile to the next.
    pub(crate) row: usize,
    /// Lines from the first tile of a step to the second.
    pub(crate) tile: usize,
    /// Lines from a step to the next.
    pub(crate) step: usize,
}

impl Strided<'_> {
    /// Whether so many steps lie within the lines.
    pub(crate) fn holds(&self, steps: usize) -> bool {
        steps == 0 || (steps - 1) * self.step + self.tile + 15 * self.row < self.lines.len()
    }

    /// A step, side by side.
    fn pair(&self, step: usize) -> Pair {
        let mut pair = Pair::ZERO;
        for (t, tile) in pair.0.iter_mut().enumerate() {
            for (r, row) in tile.0.iter_mut().enumerate() {
                let line = &self.lines[step * self.step + t * self.tile + r * self.row];
                row.copy_from_slice(bytemuck::cast_slice(&line.0));
            }
        }
        pair
    }
}

/// Products of panels: the instructions, or their model.
pub(crate) trait Unit {
    /// `c[i, j] (+)= Σ_k a[i, k] · b[k, j]`, signed by unsigned int8, 64 a step; int32 sums wrap around.
    ///
    /// Made for a B that stays in the level-one cache (28 KiB of it) while panels of A stream past from the level-two cache:
    /// A is loaded with the hint that it is not needed again soon. A step takes 87 cycles so, and 115 without the hint,
    /// because A then pushes B out.
    ///
    /// # Panics
    ///
    /// If the panels are not as long as each other.
    fn int8(&self, a: &[Pair], b: &[Pair], start: Start, c: &mut Block<i32>);

    /// `c[i, j] (+)= Σ_k a[i, k] · b[k, j]`, bf16 with sums in f32, 32 a step.
    ///
    /// Within a step two chains of fused multiply-adds run from 0, over the even and over the odd k; their sum is added to
    /// `c`. Each operation rounds to nearest even; denormal operands and results count as 0.
    ///
    /// # Panics
    ///
    /// If the panels are not as long as each other.
    fn bf16(&self, a: &[Pair], b: &[Pair], start: Start, c: &mut Block<f32>);

    /// As [`bf16`](Self::bf16), with panels of pieces: a step adds its passes to `c` one after the other.
    ///
    /// # Panics
    ///
    /// If the panels have different numbers of steps.
    fn bf16_pieces(
        &self,
        passes: Passes,
        a: &[Pair],
        b: &[Pair],
        start: Start,
        c: &mut Block<f32>,
    ) {
        let (of_a, of_b) = passes.pieces();
        assert_eq!(a.len() * of_b, b.len() * of_a, "steps of the panels");
        if start == Start::Zero {
            *c = Block::zero();
        }
        for (a, b) in a.chunks_exact(of_a).zip(b.chunks_exact(of_b)) {
            for &(i, j) in passes.order() {
                self.bf16(&a[i..=i], &b[j..=j], Start::Add, c);
            }
        }
    }

    /// As [`bf16_pieces`](Self::bf16_pieces), with a B of one piece where it lies.
    ///
    /// # Panics
    ///
    /// If `b` has other steps, or the passes take more than one piece of it.
    fn bf16_strided(
        &self,
        passes: Passes,
        a: &[Pair],
        b: Strided<'_>,
        start: Start,
        c: &mut Block<f32>,
    ) {
        let b: Vec<Pair> = (0..a.len() / passes.pieces().0)
            .map(|step| b.pair(step))
            .collect();
        self.bf16_pieces(passes, a, &b, start, c);
    }
}
