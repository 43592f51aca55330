//! The output cut in tiles, and the tiles shared out among threads.
//!
//! A tile is [`TILE_M`] × [`TILE_N`] sums. A kernel fills it, then its rows are written out (as they are, or through
//! the float epilogue). It belongs to one thread, so threads never share an output; a small product is one loop over
//! tiles on the calling thread. Which thread computes a tile changes nothing in it.

use std::ops::Range;

use rayon::prelude::*;

use crate::{
    Kernel, PackedView,
    gemm::planes::Planes,
    isa::dispatch,
    system::parallel::{MIN_MACS, worth_threads},
    system::shared_out::SharedOut,
};

/// Rows of `x` a tile covers at most. With `TILE_N` it makes 8 KiB of sums, which stay in the level-one cache.
pub(crate) const TILE_M: usize = 64;

/// Rows of `w` a tile covers: at K = 4096 they are 32 KiB, which stay in the level-two cache while the tile's rows of
/// `x` pass over them.
pub(crate) const TILE_N: usize = 32;

/// Multiply-adds of one task at least: some 3 µs, against ≈ 0.2 µs for a rayon task.
const TASK_MACS: usize = 1 << 17;

/// A rectangle of the output and its sums, row-major with stride [`TILE_N`].
pub(crate) struct Tile {
    pub(crate) m: Range<usize>,
    pub(crate) n: Range<usize>,
    pub(crate) sums: [i32; TILE_M * TILE_N],
}

impl Default for Tile {
    fn default() -> Tile {
        Tile {
            m: 0..0,
            n: 0..0,
            sums: [0; TILE_M * TILE_N],
        }
    }
}

/// Computes all tiles of `x · wᵀ`, in `tile` or in one a thread, and calls `write(m, n range, sums, out[m, n range])` for
/// each row of each.
///
/// The lengths of `x` and `w` are the caller's to check.
pub(crate) fn for_each_tile<T: Send>(
    kernel: Kernel,
    x: &Planes,
    w: PackedView<'_>,
    tile: &mut Tile,
    out: &mut [T],
    write: impl Fn(usize, Range<usize>, &[i32], &mut [T]) + Sync,
) {
    let (m, n, k) = (x.rows(), w.rows, w.cols);
    let out = SharedOut::new(out, m, n);
    let (tiles_m, tiles_n) = (m.div_ceil(TILE_M), n.div_ceil(TILE_N));
    let run = |tile: &mut Tile, index: usize| {
        let (m0, n0) = (index / tiles_n * TILE_M, index % tiles_n * TILE_N);
        tile.m = m0..(m0 + TILE_M).min(m);
        tile.n = n0..(n0 + TILE_N).min(n);
        dispatch!(kernel, tile_product(x, w, tile));
        for (row, i) in tile.m.clone().enumerate() {
            let sums = &tile.sums[row * TILE_N..][..tile.n.len()];
            // SAFETY: `i` and `tile.n` lie in this tile; no other index makes the same tile, and tiles are disjoint.
            write(i, tile.n.clone(), sums, unsafe {
                out.segment(i, tile.n.clone())
            });
        }
    };
    let tiles = tiles_m * tiles_n;
    if worth_threads(m.saturating_mul(n).saturating_mul(k), MIN_MACS) {
        let tile_macs = TILE_M.min(m) * TILE_N.min(n) * k;
        let min_len = (TASK_MACS / tile_macs).max(1);
        (0..tiles)
            .into_par_iter()
            .with_min_len(min_len)
            .for_each_init(Tile::default, run);
    } else {
        (0..tiles).for_each(|index| run(tile, index));
    }
}
