//! The blocking of a product that [`avx512::lut`](crate::isa::avx512::lut) shares between dot products and tables.
//!
//! Tables belong to activations and are 9 times their size, so K is cut in pieces. A piece's tables of all rows (352 KiB
//! for 128 rows) stay in the level-two cache while the groups of output rows pass, and a tile's weights, arranged once,
//! stay in the level-one cache while its rows pass. Sums are kept from piece to piece, tile by tile, and written with the
//! last one.

use std::{array::from_fn, cell::Cell, ops::Range};

use super::{
    activations::Rows,
    base_three::{BLOCK_LINES, BLOCK_WORDS},
    blocking::{Groups, Lanes, Output, Sums, flat},
};
use crate::{
    Layout,
    format::{GROUP_ROWS, Line},
    isa::avx512::{
        decode,
        lut::{
            PIECE_WORDS, Plan, TILE_GROUPS, TILE_ROWS, Tile, arrange_row, arrange_weights, multiply,
        },
    },
};

const _: () = assert!(PIECE_WORDS.is_multiple_of(BLOCK_WORDS));

const NO_SUMS: Tile = [[Lanes::ZERO; TILE_GROUPS]; TILE_ROWS];

/// Rows of `x` from which arranging weights and tables pays. With weights in the cache 8 rows take as long as with dot
/// products alone and 24 a sixth less; in a model, whose weights come from memory, prompts with 12 and 16 rows for each
/// thread were slower by a fifth and a twentieth, with 32 faster by a seventh.
pub(crate) const MIN_ROWS: usize = 24;

/// Rows of a block at most.
const BLOCK_ROWS: usize = 128;

/// Tiles of groups of a block: 1,536 columns, whose sums are 768 KiB. Wider ones were as fast; of narrower ones the
/// rows would be arranged too often.
const BLOCK_TILES: usize = 24;

/// Columns of a tile.
const TILE_COLUMNS: usize = TILE_GROUPS * GROUP_ROWS;

/// What a product needs besides its arguments.
#[derive(Default)]
struct Scratch {
    /// Decoded words of a tile's groups.
    words: Vec<Line>,
    /// The tile's weights as they are read.
    weights: Vec<Line>,
    /// Of each tile of rows: tables, multiplied activations, sums of looked-up activations.
    tables: Vec<Line>,
    multiplied: Vec<i32>,
    looked_up: Vec<[i32; TILE_ROWS]>,
    /// Of each tile of groups, the sums of each tile of rows. What an earlier product left is not read.
    sums: Vec<Tile>,
}

thread_local! {
    /// Kept from call to call.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Gives `out` the sums `Σ stored · x` for each of the groups and every row of `x`. Stored codes are legal.
///
/// # Safety
///
/// The processor has what `isa::avx512` needs.
pub(crate) unsafe fn product(w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let mut scratch = SCRATCH.take();
    let tiles = w.count.div_ceil(TILE_GROUPS);
    // Equal blocks: a short one at the end would have all weights arranged for a few rows.
    let blocks = x.len().div_ceil(BLOCK_ROWS);
    for block in 0..blocks {
        let rows = block * x.len() / blocks..(block + 1) * x.len() / blocks;
        for tile in (0..tiles).step_by(BLOCK_TILES) {
            let block = Block {
                w,
                words: w.layout.words(w.cols),
                per_group: w.layout.lines(w.cols),
                tiles: tile..(tile + BLOCK_TILES).min(tiles),
                rows: rows.clone(),
            };
            block.product(x, &mut scratch, out);
        }
    }
    SCRATCH.set(scratch);
}

/// Some rows of `x` and some groups; made by [`product`] alone, whose caller has proven that the processor has AVX-512.
struct Block<'a> {
    w: Groups<'a>,
    words: usize,
    per_group: usize,
    tiles: Range<usize>,
    rows: Range<usize>,
}

impl Block<'_> {
    fn product(&self, x: Rows<'_>, scratch: &mut Scratch, out: &mut dyn Output) {
        let row_tiles = self.rows.len().div_ceil(TILE_ROWS);
        let tiles = row_tiles * self.tiles.len();
        if scratch.sums.len() < tiles {
            scratch.sums.resize(tiles, NO_SUMS);
        }
        for first in (0..self.words).step_by(PIECE_WORDS) {
            let words = first..(first + PIECE_WORDS).min(self.words);
            let plan = Plan::of(words.len());
            self.arrange_rows(plan, &words, x, scratch);
            for (at, tile) in self.tiles.clone().enumerate() {
                self.arrange_weights(plan, &words, tile, scratch);
                let last = words.end == self.words;
                let column = TILE_COLUMNS * tile;
                let groups = TILE_GROUPS.min(self.w.count - TILE_GROUPS * tile);
                for i in 0..row_tiles {
                    let row = self.rows.start + TILE_ROWS * i;
                    let rows = row..(row + TILE_ROWS).min(self.rows.end);
                    if last {
                        for row in rows.clone() {
                            out.expect(row, column);
                            out.expect(row, column + TILE_COLUMNS / 2);
                        }
                    }
                    let sums = &mut scratch.sums[at * row_tiles + i];
                    let tables = &scratch.tables[i * plan.tables()..][..plan.tables()];
                    let multiplied = &scratch.multiplied[i * plan.multiplied()..];
                    // SAFETY: AVX-512 is proven, see `Block`.
                    unsafe {
                        multiply(
                            plan,
                            &scratch.weights,
                            tables,
                            &multiplied[..plan.multiplied()],
                            scratch.looked_up[i],
                            words.start == 0,
                            sums,
                        );
                    }
                    if last {
                        for (row, sums) in rows.zip(sums) {
                            out.write(row, column, Sums::of_row(flat(&mut sums[..groups])));
                        }
                    }
                }
            }
        }
    }

    /// Makes tables of all rows for some words of K.
    fn arrange_rows(&self, plan: Plan, words: &Range<usize>, x: Rows<'_>, scratch: &mut Scratch) {
        let tiles = self.rows.len().div_ceil(TILE_ROWS);
        let (tables, multiplied) = (plan.tables(), plan.multiplied());
        scratch.tables.resize(tiles * tables, Line::ZERO_WEIGHTS);
        scratch.multiplied.resize(tiles * multiplied, 0);
        scratch.looked_up.resize(tiles, [0; TILE_ROWS]);
        for tile in 0..tiles {
            let tables = &mut scratch.tables[tile * tables..][..tables];
            let multiplied = &mut scratch.multiplied[tile * multiplied..][..multiplied];
            for (row, sum) in scratch.looked_up[tile].iter_mut().enumerate() {
                // Rows past the last one repeat it, and are not written.
                let from = (self.rows.start + TILE_ROWS * tile + row).min(self.rows.end - 1);
                let codes = &x.row(from)[16 * words.start..16 * words.end];
                // SAFETY: AVX-512 is proven, see `Block`.
                *sum = unsafe { arrange_row(plan, codes, row, tables, multiplied) };
            }
        }
    }

    /// Makes the weights of a tile's groups ready for some words of K.
    fn arrange_weights(
        &self,
        plan: Plan,
        words: &Range<usize>,
        tile: usize,
        scratch: &mut Scratch,
    ) {
        // Groups past the last one repeat it, and are not written.
        let group = |g: usize| (TILE_GROUPS * tile + g).min(self.w.count - 1);
        let stored = |g: usize| &self.w.lines[group(g) * self.per_group..][..self.per_group];
        scratch
            .weights
            .resize(plan.weight_lines(), Line::ZERO_WEIGHTS);
        let groups: [&[Line]; TILE_GROUPS] = match self.w.layout {
            Layout::TwoBit => from_fn(|g| &stored(g)[words.clone()]),
            Layout::BaseThree => {
                let blocks = words.start / BLOCK_WORDS..words.end.div_ceil(BLOCK_WORDS);
                let lines =
                    BLOCK_LINES * blocks.start..(BLOCK_LINES * blocks.end).min(self.per_group);
                scratch
                    .words
                    .resize(TILE_GROUPS * words.len(), Line::ZERO_WEIGHTS);
                for (g, words) in scratch.words.chunks_exact_mut(words.len()).enumerate() {
                    // SAFETY: AVX-512 is proven, see `Block`.
                    unsafe { decode(&stored(g)[lines.clone()], words) };
                }
                from_fn(|g| &scratch.words[g * words.len()..][..words.len()])
            }
        };
        // SAFETY: AVX-512 is proven, see `Block`.
        unsafe { arrange_weights(plan, groups, &mut scratch.weights) };
    }
}
