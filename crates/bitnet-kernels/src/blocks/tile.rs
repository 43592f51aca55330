//! The loops of a product in blocks, written once and compiled for every instruction set and format.
//!
//! A tile is `R` rows of `x` by `G` groups of weights, as in `dense`: `R · G` float sums of 16 outputs live through all
//! blocks, and as many integer ones through a block. Groups are the outer loop, so that the tile's weights stay in the
//! level-two cache while all rows of `x` pass over them, and what unpacking codes takes is shared by `R` rows. One row reads
//! one group at a time: of two or four side by side memory gives 80 to 96 % of what it gives of one stream.

use super::XBlock;
use crate::dense::Line;

/// The operands of a product.
#[derive(Clone, Copy)]
pub(crate) struct BlockOperands<'a> {
    /// Weights, group after group.
    pub lines: &'a [Line],
    /// Lines of a group.
    pub depth: usize,
    /// Blocks of a row.
    pub blocks: usize,
    /// Activations, `[rows, blocks]`.
    pub x: &'a [XBlock],
    /// Rows of `x`.
    pub rows: usize,
}

impl<'a> BlockOperands<'a> {
    /// The lines of a group.
    #[inline(always)]
    pub fn group(&self, group: usize) -> &'a [Line] {
        &self.lines[group * self.depth..][..self.depth]
    }

    /// The blocks of a row of `x`.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &'a [XBlock] {
        &self.x[row * self.blocks..][..self.blocks]
    }
}

/// Defines `fn $name(format, operands, groups, out)`, which computes the groups of all rows and hands each 16 outputs to
/// `out`.
///
/// `rows` lists the tile heights, largest first and down to 1; `wide` and `narrow` are the groups of a tile of several
/// rows and of one. The module `ops` has the operations:
///
/// | | |
/// |---|---|
/// | `Floats`, `Ints`, `Codes` | 16 floats, sums of 16 rows, 64 codes |
/// | `zero() -> Floats` | |
/// | `bytes(line) -> Codes`, `nibbles(line) -> [Codes; 2]` | 8-bit codes; the low and the high halves of bytes |
/// | `begin8(start) -> Ints`, `dot8(sum, codes, x) -> Ints` | `start` is `-8 · Σ x` of the codes to come |
/// | `begin4(start) -> Ints`, `dot4(sum, codes, x)`, `end4(sum, start)` | the sum, and `start` added once |
/// | `scales(line, half)`, `scales_f32(line) -> Floats` | the 16-bit floats of a half of a line; a line of f32 |
/// | `add(acc, sum, w_scale, x_scale) -> Floats` | `fma(sum, w_scale · x_scale, acc)` |
/// | `add_min(acc, minimum, x_sum) -> Floats` | `fma(minimum, x_sum, acc)` |
/// | `store(acc) -> [f32; 16]` | |
macro_rules! block_product {
    ($(#[$meta:meta])* $name:ident, rows [$($height:literal),+], wide $wide:literal, narrow $narrow:literal, $ops:path) => {
        $(#[$meta])*
        pub(crate) fn $name(
            format: $crate::BlockFormat,
            operands: $crate::blocks::BlockOperands<'_>,
            groups: std::ops::Range<usize>,
            mut out: $crate::dense::FloatOutput<'_>,
        ) {
            use $ops as ops;
            use $crate::{
                BlockFormat,
                blocks::{BlockOperands, QUADS, XBlock},
                dense::{FloatOutput, Line, tiles},
                system::shared_out::fetch_line,
            };

            const INT8: u8 = BlockFormat::Int8 as u8;
            const INT4: u8 = BlockFormat::Int4 as u8;
            const INT4_MIN: u8 = BlockFormat::Int4Min as u8;
            const INT8_HALVES: u8 = BlockFormat::Int8Halves as u8;

            /// Asks for the line so many lines on, unless that is 0.
            #[inline(always)]
            fn expect(line: &Line, ahead: usize) {
                if ahead > 0 {
                    fetch_line(std::ptr::from_ref(line).wrapping_add(ahead));
                }
            }

            /// Adds the dot products of some quads of a block, 8-bit codes from line `first` on.
            #[inline]
            $(#[$meta])*
            fn bytes<const R: usize, const G: usize>(
                lines: &[&[Line]; G],
                first: usize,
                x: &[&XBlock; R],
                quads: std::ops::Range<usize>,
                sums: &mut [[ops::Ints; G]; R],
                ahead: usize,
            ) {
                for quad in quads.clone() {
                    let mut codes = [ops::bytes(&Line::ZERO); G];
                    for g in 0..G {
                        // SAFETY: a block's lines are within its group, whose slice is `depth` long.
                        let line = unsafe { lines[g].get_unchecked(first + quad - quads.start) };
                        expect(line, ahead);
                        codes[g] = ops::bytes(line);
                    }
                    for r in 0..R {
                        for g in 0..G {
                            sums[r][g] = ops::dot8(sums[r][g], codes[g], x[r].codes[quad]);
                        }
                    }
                }
            }

            #[inline]
            $(#[$meta])*
            fn tile<const FORMAT: u8, const R: usize, const G: usize>(
                operands: &BlockOperands<'_>,
                row: usize,
                group: usize,
                out: &mut FloatOutput<'_>,
            ) {
                let format = match FORMAT {
                    INT8 => BlockFormat::Int8,
                    INT4 => BlockFormat::Int4,
                    INT4_MIN => BlockFormat::Int4Min,
                    _ => BlockFormat::Int8Halves,
                };
                // Loops, not `array::map`: see `dense::tile`.
                let mut lines: [&[Line]; G] = [&[]; G];
                for g in 0..G {
                    lines[g] = operands.group(group + g);
                }
                let mut rows: [&[XBlock]; R] = [&[]; R];
                for r in 0..R {
                    rows[r] = operands.row(row + r);
                }
                // Groups side by side are streams of a few pages, over before the processor knows where they go on. The
                // first rows that meet them ask for what the next groups have in the place of each line.
                let ahead = if G > 1 && row == 0 { G * operands.depth } else { 0 };
                let mut acc = [[ops::zero(); G]; R];
                for block in 0..operands.blocks {
                    let (at, first) = format.place(block);
                    // SAFETY: `row` has checked that each slice holds `blocks` blocks.
                    let mut x = [unsafe { rows[0].get_unchecked(block) }; R];
                    for r in 1..R {
                        // SAFETY: as above.
                        x[r] = unsafe { rows[r].get_unchecked(block) };
                    }
                    if FORMAT == INT8_HALVES {
                        for half in 0..2 {
                            let at = at + half * (QUADS / 2 + 1);
                            let mut sums = [[ops::begin8(0); G]; R];
                            for r in 0..R {
                                sums[r] = [ops::begin8(x[r].starts[half]); G];
                            }
                            let quads = QUADS / 2 * half..QUADS / 2 * (half + 1);
                            bytes::<R, G>(&lines, at + 1, &x, quads, &mut sums, ahead);
                            for g in 0..G {
                                // SAFETY: within the group, as the codes are.
                                let scales = ops::scales_f32(unsafe { lines[g].get_unchecked(at) });
                                for r in 0..R {
                                    acc[r][g] = ops::add(acc[r][g], sums[r][g], scales, x[r].scale);
                                }
                            }
                        }
                        continue;
                    }
                    let mut sums = [[ops::begin8(0); G]; R];
                    if FORMAT == INT8 {
                        for r in 0..R {
                            sums[r] = [ops::begin8(x[r].start); G];
                        }
                        bytes::<R, G>(&lines, first, &x, 0..QUADS, &mut sums, ahead);
                    } else {
                        let mut starts = [0; R];
                        for r in 0..R {
                            starts[r] = if FORMAT == INT4 { x[r].start } else { 0 };
                            sums[r] = [ops::begin4(starts[r]); G];
                        }
                        for pair in 0..QUADS / 2 {
                            let mut codes = [ops::nibbles(&Line::ZERO); G];
                            for g in 0..G {
                                // SAFETY: within the group.
                                let line = unsafe { lines[g].get_unchecked(first + pair) };
                                expect(line, ahead);
                                codes[g] = ops::nibbles(line);
                            }
                            for half in 0..2 {
                                for r in 0..R {
                                    for g in 0..G {
                                        let x = x[r].codes[2 * pair + half];
                                        sums[r][g] = ops::dot4(sums[r][g], codes[g][half], x);
                                    }
                                }
                            }
                        }
                        for r in 0..R {
                            for g in 0..G {
                                sums[r][g] = ops::end4(sums[r][g], starts[r]);
                            }
                        }
                    }
                    for g in 0..G {
                        // SAFETY: within the group.
                        let line = unsafe { lines[g].get_unchecked(at) };
                        expect(line, ahead);
                        let odd = if FORMAT == INT4_MIN { 0 } else { block % 2 };
                        let scales = ops::scales(line, odd);
                        for r in 0..R {
                            acc[r][g] = ops::add(acc[r][g], sums[r][g], scales, x[r].scale);
                        }
                        if FORMAT == INT4_MIN {
                            let minimums = ops::scales(line, 1);
                            for r in 0..R {
                                acc[r][g] = ops::add_min(acc[r][g], minimums, x[r].sum);
                            }
                        }
                    }
                }
                // By index: see `dense::tile`.
                for r in 0..R {
                    for g in 0..G {
                        out.write(row + r, group + g, &ops::store(acc[r][g]));
                    }
                }
            }

            #[inline]
            $(#[$meta])*
            fn all<const FORMAT: u8>(
                operands: BlockOperands<'_>,
                groups: std::ops::Range<usize>,
                out: &mut FloatOutput<'_>,
            ) {
                let span = if operands.rows == 1 { $narrow } else { $wide };
                for (group, full) in tiles(groups, span) {
                    let mut row = 0;
                    $(
                        while operands.rows - row >= $height {
                            match full {
                                false => tile::<FORMAT, $height, 1>(&operands, row, group, out),
                                true if $height > 1 || operands.rows > 1 => {
                                    tile::<FORMAT, $height, $wide>(&operands, row, group, out)
                                }
                                true => tile::<FORMAT, 1, $narrow>(&operands, row, group, out),
                            }
                            row += $height;
                        }
                    )+
                }
            }

            match format {
                BlockFormat::Int8 => all::<INT8>(operands, groups, &mut out),
                BlockFormat::Int4 => all::<INT4>(operands, groups, &mut out),
                BlockFormat::Int4Min => all::<INT4_MIN>(operands, groups, &mut out),
                BlockFormat::Int8Halves => all::<INT8_HALVES>(operands, groups, &mut out),
            }
        }
    };
}
pub(crate) use block_product;
