//! Attention of queries to the keys and values of one head.
//!
//! ```text
//! y[r] = Σ_p e[r, p] · v[p] / Σ_p e[r, p]      e[r, p] = exp(q[r]·k[p] − max),  p = 0 .. positions that r sees
//! ```
//!
//! A query's result depends on the query, the positions that it sees, the format and the instruction set, and not on which
//! others are computed with it: sums run from position 0 up, and a position that is not seen adds `0 · v`.
//!
//! | keys and values | instruction set | how |
//! |---|---|---|
//! | any | any | two products of [`Panels`] in f32, one softmax over all positions |
//! | bf16, heads a multiple of 32 wide | `amx` | a running softmax between products of bf16 (`isa::amx::attention`) |
//!
//! The second sums in another order, from two pieces of bf16 of each query and weight; its error has a bound there.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use crate::isa::amx::{self, attention::Softmax};
use crate::{GROUP, Kernel, Line, Panels, softmax, system::shared_out::fetch_lines};

/// Keys and values of one head.
#[derive(Clone, Copy, Debug)]
pub struct KeysValues<'a> {
    /// Groups of 16 positions, `width` deep.
    pub keys: Panels<'a>,
    /// Groups of 16 columns, as deep as there are positions: a multiple of [`KeysValues::POSITIONS`]. What lies past the
    /// last position that is seen must be finite.
    pub values: Panels<'a>,
    /// Width of the head.
    pub width: usize,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub struct Attention {
    scores: Vec<f32>,
    out: Vec<f32>,
    #[cfg(target_arch = "x86_64")]
    tiles: amx::attention::Attention,
}

impl KeysValues<'_> {
    /// Keys and values are read in blocks of so many positions.
    pub const POSITIONS: usize = 32;

    /// Query rows at a time at most.
    pub const ROWS: usize = 32;

    /// Bytes of keys, and of values, that are asked for ahead: what two pages hold. Longer ones are a stream that the
    /// processor sees by itself.
    const AHEAD: usize = 8 << 10;

    /// Asks the memory for the keys and values of the first `positions`, some hundred nanoseconds before they are read. A
    /// head of a short text is a few pages, over before the processor knows where it goes on.
    pub fn expect(&self, positions: usize) {
        let lines = |panels: &Panels<'_>, count: usize| {
            let most = KeysValues::AHEAD / size_of::<Line>();
            fetch_lines(&panels.lines[..count.min(most).min(panels.lines.len())]);
        };
        lines(&self.keys, positions.div_ceil(GROUP) * self.keys.stride);
        let per_lane = self.values.format.per_lane();
        lines(
            &self.values,
            positions.div_ceil(per_lane) * self.values.step,
        );
    }

    /// Query rows at a time in f32: two tiles of the float kernels. The scores of a block at 4,096 positions take 400 KiB.
    const FLOAT_ROWS: usize = 24;
}

impl Attention {
    /// The results for some of `queries[rows, width]`, scaled already, up to [`KeysValues::ROWS`] of them: `[rows,
    /// stride]`, and the stride. Query `r` sees the first `visible(r)` positions, at least one.
    ///
    /// # Panics
    ///
    /// If the processor lacks `kernel`, a query sees no position, or a slice is too short.
    pub fn attend(
        &mut self,
        kernel: Kernel,
        head: KeysValues<'_>,
        queries: &[f32],
        rows: usize,
        visible: impl Fn(usize) -> usize,
    ) -> (&[f32], usize) {
        assert!(rows <= KeysValues::ROWS, "{rows} rows");
        let stride = head.width.next_multiple_of(GROUP);
        grow(&mut self.out, rows * stride);
        #[cfg(target_arch = "x86_64")]
        if amx::attention::takes(kernel, &head)
            && let Ok(tiles) = amx::Tiles::get()
        {
            let (unit, softmax) = (tiles.configure_rows(rows), Softmax::detect());
            let out = &mut self.out[..rows * stride];
            self.tiles
                .attend(&unit, softmax, head, queries, visible, out);
            return (&self.out[..rows * stride], stride);
        }
        // Equal parts, each of whole tiles but the last.
        for first in (0..rows).step_by(KeysValues::FLOAT_ROWS) {
            let part = first..(first + KeysValues::FLOAT_ROWS).min(rows);
            self.float(kernel, head, queries, part, &visible, stride);
        }
        (&self.out[..rows * stride], stride)
    }

    fn float(
        &mut self,
        kernel: Kernel,
        head: KeysValues<'_>,
        queries: &[f32],
        rows: Range<usize>,
        visible: &impl Fn(usize) -> usize,
        out_stride: usize,
    ) {
        let width = head.width;
        let longest = rows.clone().map(visible).max().unwrap_or(0);
        let (groups, columns) = (longest.div_ceil(GROUP), width.div_ceil(GROUP));
        let stride = GROUP * groups;
        grow(&mut self.scores, rows.len() * stride);
        let queries = &queries[rows.start * width..];
        let scores = &mut self.scores[..rows.len() * stride];
        head.keys.product(
            kernel,
            queries,
            width,
            rows.len(),
            0..groups,
            scores,
            stride,
        );
        let mut sums = [0.0; KeysValues::FLOAT_ROWS];
        for ((row, scores), sum) in rows
            .clone()
            .zip(scores.chunks_exact_mut(stride))
            .zip(&mut sums)
        {
            let (seen, hidden) = scores.split_at_mut(visible(row));
            *sum = softmax(kernel, seen);
            hidden.fill(0.0);
        }
        let values = Panels {
            depth: longest.div_ceil(head.values.format.per_lane()),
            ..head.values
        };
        let out = &mut self.out[rows.start * out_stride..rows.end * out_stride];
        values.product(
            kernel,
            scores,
            stride,
            rows.len(),
            0..columns,
            out,
            out_stride,
        );
        for (row, sum) in out.chunks_exact_mut(out_stride).zip(sums) {
            row.iter_mut().for_each(|y| *y /= sum);
        }
    }
}

/// Makes room; what is read is written first.
fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}
