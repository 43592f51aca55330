//! Partitions an output `[m, n]` into tasks for threads.
//!
//! Few rows (decoding, short prompts): a task is a range of columns, so that every weight is read by one thread. Many
//! rows: a task is a block of rows, from the norm to the last product, so that only attention needs the others. Each
//! output is computed by the same operations either way, so the partition shows in the time and not in the numbers.
//!
//! Tasks are several for each thread (`pool.rs` says why), in an order that gives a thread neighbouring ones, the same in
//! every round: what it read of a small model is still in its cache.

use std::ops::Range;

/// Rows for each thread from which rows are split: below, a thread would have too few to use a matrix's decoded weights
/// again and again (the kernels multiply 10 at a time).
const ROWS_PER_THREAD: usize = 8;

/// Rows of a task at most: their activations, codes and outputs stay in a level-two cache.
const BLOCK: usize = 128;

/// Bytes of weights (or keys and values) times rows from which a second thread pays: handing work over and waiting for it
/// takes about half a microsecond, in which one thread gets through as much from its cache.
const WORTHWHILE: usize = 32 << 10;

/// Bytes of weights times rows in a task at least, where columns are split: some 15 µs of a
/// stream from memory, and enough groups for the kernels to compute several at a time.
const TASK: usize = 256 << 10;

/// Tasks for each thread at most, where columns are split: a thread that loses its core in one delays little.
const TASKS_PER_THREAD: usize = 8;

/// The threads for work on `rows` rows that reads `bytes` for each: one, or all of `threads`.
pub(crate) fn threads_for(rows: usize, bytes: usize, threads: usize) -> usize {
    if rows.saturating_mul(bytes) < WORTHWHILE {
        1
    } else {
        threads
    }
}

/// How the products of `rows` rows become tasks: blocks of rows, each in pieces of the columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Partition {
    rows: usize,
    threads: usize,
    blocks: usize,
    pieces: usize,
}

/// One task: some rows, and of each product the range of groups of 16 columns that falls to it.
#[derive(Clone, Debug)]
pub(crate) struct Tile {
    pub rows: Range<usize>,
    piece: usize,
    pieces: usize,
}

impl Partition {
    /// By rows where there are many of them. The products read `bytes` of weights.
    pub(crate) fn new(rows: usize, bytes: usize, threads: usize) -> Partition {
        let threads = threads_for(rows, bytes, threads);
        if rows < ROWS_PER_THREAD * threads {
            return Self::by_columns(rows, bytes, threads);
        }
        Partition {
            rows,
            threads,
            // Equal blocks: weights are made ready for each, and would be for a few rows at the end as well.
            blocks: threads * rows.div_ceil(threads).div_ceil(BLOCK),
            pieces: 1,
        }
    }

    /// As [`Partition::new`], by columns whatever the number of rows.
    pub(crate) fn by_columns(rows: usize, bytes: usize, threads: usize) -> Partition {
        let threads = threads_for(rows, bytes, threads);
        let pieces = match threads {
            1 => 1,
            _ => threads * (rows.saturating_mul(bytes) / threads / TASK).clamp(1, TASKS_PER_THREAD),
        };
        Partition {
            rows,
            threads,
            blocks: rows.div_ceil(BLOCK),
            pieces,
        }
    }

    /// A task for each thread, for one row by columns.
    pub(crate) fn one_each(threads: usize) -> Partition {
        Partition {
            rows: 1,
            threads,
            blocks: 1,
            pieces: threads,
        }
    }

    /// Threads that the work is for.
    pub(crate) fn threads(self) -> usize {
        self.threads
    }

    /// Number of tasks.
    pub(crate) fn tasks(self) -> usize {
        self.blocks * self.pieces
    }

    /// What a task computes.
    pub(crate) fn tile(self, task: usize) -> Tile {
        Tile {
            rows: part_of(self.rows, task / self.pieces, self.blocks),
            piece: task % self.pieces,
            pieces: self.pieces,
        }
    }
}

impl Tile {
    /// All columns of some rows.
    pub(crate) fn whole(rows: usize) -> Tile {
        Tile {
            rows: 0..rows,
            piece: 0,
            pieces: 1,
        }
    }

    /// The tile in narrower ones of at most so many columns of `cols`, for results that wait for others in the cache.
    pub(crate) fn narrowed(&self, cols: usize, most: usize) -> impl Iterator<Item = Tile> + use<> {
        let Tile {
            rows,
            piece,
            pieces,
        } = self.clone();
        let count = cols.div_ceil(pieces).div_ceil(most).max(1);
        (0..count).map(move |part| Tile {
            rows: rows.clone(),
            piece: piece * count + part,
            pieces: pieces * count,
        })
    }

    /// The tile's groups of a matrix that has `groups`.
    pub(crate) fn groups(&self, groups: usize) -> Range<usize> {
        part_of(groups, self.piece, self.pieces)
    }
}

/// The part `index` of `len` things in `parts` of nearly equal size.
pub(crate) fn part_of(len: usize, index: usize, parts: usize) -> Range<usize> {
    len * index / parts..len * (index + 1) / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_output_once() {
        for (rows, threads) in [(1, 1), (1, 3), (7, 2), (40, 2), (200, 3), (64, 8), (300, 1)] {
            for bytes in [1, 100 << 10, 100 << 20] {
                let groups = 11;
                let all = [
                    Partition::new(rows, bytes, threads),
                    Partition::by_columns(rows, bytes, threads),
                ];
                for partition in all {
                    let mut seen = vec![0; rows * groups];
                    let tiles = (0..partition.tasks()).map(|task| partition.tile(task));
                    for tile in tiles.flat_map(|tile| tile.narrowed(16 * groups, 40)) {
                        assert!(tile.rows.len() <= BLOCK);
                        for row in tile.rows.clone() {
                            tile.groups(groups)
                                .for_each(|g| seen[row * groups + g] += 1);
                        }
                    }
                    assert!(seen.iter().all(|count| *count == 1), "{partition:?}");
                }
            }
        }
    }
}
