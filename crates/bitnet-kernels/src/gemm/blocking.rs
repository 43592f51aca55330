//! The blocking (loop nest) of a product of prepacked weights, on one thread: groups of weights against rows of `x`.
//!
//! One row of `x` (GEMV): groups pass once, in the order of memory. Many rows (GEMM): a block of `x` that stays in the
//! level-two cache meets pairs of groups one after the other; a pair (`K / 4 · 32` bytes: 20 KiB at K = 2560) is decoded
//! from base three once a block, and stays in the level-one or -two cache while the rows of the block pass by, as many
//! at a time as the kernel has registers for. Those rows are copied side by side first (16 codes of each in turn), so
//! that a kernel reads one stream with fixed distances instead of ten rows from ten pages. An instruction set or a strategy
//! may have an order of its own for many rows ([`ManyRows`](crate::isa::ManyRows)).

use std::{cell::Cell, hint::black_box, ops::Range, time::Instant};

pub(crate) use super::sums::{Lanes, Sums, flat};
use super::{QuantizedRows, activations::Rows, base_three::Blocks};
use crate::{
    Kernel, Layout, Strategy,
    format::{GROUP_ROWS, Line},
    isa::Loops,
    system::shared_out::Rectangle,
};

/// What is known of some sums when they are written.
pub(crate) struct Piece<'a> {
    /// Rows of `x`.
    pub(crate) rows: Range<usize>,
    /// Output columns.
    pub(crate) columns: Range<usize>,
    pub(crate) sums: Sums<'a>,
    /// What the sums of each row are too large by.
    pub(crate) excess: Option<&'a [i32]>,
}

/// Where sums go.
pub(crate) trait Output {
    /// Takes `Σ stored · x` of rows of `x` from `row` on with whole groups of columns from `column` on, the last of
    /// which may be padding.
    fn write(&mut self, row: usize, column: usize, sums: Sums<'_>);

    /// Says that the next sums are those of `row` and the 32 columns from `column` on. A product of many rows writes short
    /// pieces of long rows: fetched this early, they are in the cache by then (a tenth of the time of a large product).
    fn expect(&self, row: usize, column: usize);
}

/// What the sums of rows of `x` are too large by, stored codes being `w + 1`: `Σ x`. Nothing for [`Strategy::Signed`].
pub(crate) struct Excess<'a>(Option<&'a [i32]>);

impl<'a> Excess<'a> {
    /// Of some rows.
    pub(crate) fn of(strategy: Strategy, x: &'a QuantizedRows, rows: Range<usize>) -> Excess<'a> {
        match strategy {
            Strategy::Signed => Excess(None),
            Strategy::Dot | Strategy::Lookup => Excess(Some(&x.sums()[rows])),
        }
    }

    /// That of some rows, counted from the first.
    #[inline]
    pub(crate) fn of_rows(&self, rows: Range<usize>) -> Option<&'a [i32]> {
        self.0.map(|excess| &excess[rows])
    }
}

/// The float end of a product: `out = sums as f32 / s_w / s_x`.
pub(crate) struct Epilogue<'a> {
    loops: Loops,
    /// One scale, or one for each column.
    scales: &'a [f32],
}

impl<'a> Epilogue<'a> {
    /// Of a product whose weights have one scale, or one for each column.
    pub(crate) fn new(loops: Loops, scales: &'a [f32]) -> Epilogue<'a> {
        Epilogue { loops, scales }
    }

    /// The sums of rows of `x` with scales `sx`, too large by `excess`, for some columns.
    #[inline]
    pub(crate) fn write(
        &self,
        columns: Range<usize>,
        sums: Sums<'_>,
        excess: Option<&[i32]>,
        sx: &[f32],
        out: Rectangle<'_, f32>,
    ) {
        let sw = match self.scales.len() {
            1 => self.scales,
            _ => &self.scales[columns],
        };
        self.loops.epilogue(sums, excess, sw, sx, out);
    }
}

/// Writes the integer sums, less their excess.
pub(crate) fn write_sums(sums: Sums<'_>, excess: Option<&[i32]>, mut out: Rectangle<'_, i32>) {
    for row in 0..sums.rows() {
        let excess = excess.map_or(0, |excess| excess[row]);
        for (out, sum) in out.row(row).iter_mut().zip(sums.row(row)) {
            *out = sum - excess;
        }
    }
}

/// Groups of one call of a GEMV: enough to hide the call, while their sums stay in registers and the nearest cache.
const GEMV_GROUPS: usize = 8;

/// Rows of `x` that meet groups in the order of memory, at most: their sums of so many groups stay in the nearest cache.
const FEW_ROWS: usize = 48;

/// Bytes of `x` that a block of a GEMM covers: half of a level-two cache of 512 KiB, the smallest of the last years.
pub(crate) const BLOCK_BYTES: usize = 256 << 10;

/// The most rows that any kernel multiplies at a time.
pub(crate) const MAX_ROWS: usize = 30;

/// Sixteen consecutive codes of a row of `x`: the activations of one word.
pub(crate) type Sixteen = [i8; 16];

/// What a GEMM needs besides its arguments.
#[derive(Default)]
struct Scratch {
    /// Two decoded groups.
    words: Vec<Line>,
    /// The sums of some groups.
    sums: Vec<Lanes>,
    /// The block of `x`, part after part: for each word the codes of the part's rows.
    x: Vec<Sixteen>,
}

thread_local! {
    /// Kept from call to call.
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { words: Vec::new(), sums: Vec::new(), x: Vec::new() }) };
}

/// Groups of a matrix of `cols` columns, as they are stored.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a> {
    pub(crate) layout: Layout,
    pub(crate) cols: usize,
    pub(crate) count: usize,
    pub(crate) lines: &'a [Line],
}

/// Gives `out` the sums `Σ stored · x` for each of the groups and every row of `x`, but [`Strategy::Signed`] those of
/// `Σ w · x`. An illegal code counts as 3 by [`Strategy::Dot`], and as anything by the others.
pub(crate) fn product(
    loops: Loops,
    strategy: Strategy,
    w: Groups<'_>,
    x: Rows<'_>,
    out: &mut dyn Output,
) {
    let many_rows = match strategy {
        Strategy::Signed => return signed(loops, w, x, out),
        Strategy::Dot => loops.isa().many_rows,
        Strategy::Lookup => loops.isa().lookup,
    };
    let whole = w.cols > 0;
    match many_rows {
        Some(many) if x.len() >= many.min_rows && whole => {
            // SAFETY: it is that of a detected instruction set, and needs no more.
            unsafe { (many.product)(w, x, out) }
        }
        _ if x.len() == 1 => gemv(loops, w, x.row(0), out),
        _ if is_few(x.len(), x.row_bytes()) && whole => few_rows(loops, w, x, out),
        _ => gemm(loops, w, x, out),
    }
}

fn gemv(loops: Loops, w: Groups<'_>, x: &[i8], out: &mut dyn Output) {
    let per_group = w.layout.lines(w.cols);
    let mut scratch = SCRATCH.take();
    scratch.sums.resize(GEMV_GROUPS, Lanes::ZERO);
    for first in (0..w.count).step_by(GEMV_GROUPS) {
        let count = GEMV_GROUPS.min(w.count - first);
        let lines = &w.lines[first * per_group..][..count * per_group];
        let sums = &mut scratch.sums[..count];
        match w.layout {
            _ if per_group == 0 => sums.fill(Lanes::ZERO),
            Layout::TwoBit => loops.two_bit(lines, per_group, x, sums),
            Layout::BaseThree => loops.base_three(lines, Blocks::of(w.cols), x, sums),
        }
        out.write(0, GROUP_ROWS * first, Sums::of_row(flat(sums)));
    }
    SCRATCH.set(scratch);
}

/// Signed summation: a group at a time, decoded once, meets all rows.
fn signed(loops: Loops, w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let (per_group, words) = (w.layout.lines(w.cols), w.layout.words(w.cols));
    let mut scratch = SCRATCH.take();
    scratch.words.resize(words, Line::ZERO_WEIGHTS);
    for group in 0..w.count {
        let stored = &w.lines[group * per_group..][..per_group];
        let lines = match w.layout {
            Layout::TwoBit => stored,
            Layout::BaseThree => {
                loops.decode(stored, &mut scratch.words);
                &scratch.words[..]
            }
        };
        for row in 0..x.len() {
            let mut sums = [Lanes::ZERO];
            loops.signed(lines, words, x.row(row), &mut sums);
            out.write(row, GROUP_ROWS * group, Sums::of_row(flat(&mut sums)));
        }
    }
    SCRATCH.set(scratch);
}

/// A few rows: groups pass once, in the order of memory, as with one row.
fn few_rows(loops: Loops, w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let (per_group, words, rows) = (w.layout.lines(w.cols), w.layout.words(w.cols), x.len());
    let few = loops.isa().few_rows;
    let few = few.filter(|_| w.layout == Layout::BaseThree);
    let at_a_time = at_a_time(loops, w.layout);
    let mut scratch = SCRATCH.take();
    let all = x.side_by_side(at_a_time).unwrap_or_else(|| {
        x.interleave(at_a_time, &mut scratch.x);
        &scratch.x
    });
    scratch.sums.resize(GEMV_GROUPS * rows, Lanes::ZERO);
    if w.layout == Layout::BaseThree {
        scratch.words.resize(2 * words, Line::ZERO_WEIGHTS);
    }
    let mut sums = [[Lanes::ZERO; 2]; MAX_ROWS];
    for first in (0..w.count).step_by(GEMV_GROUPS) {
        let count = GEMV_GROUPS.min(w.count - first);
        for group in (0..count).step_by(2) {
            // The last group of an odd number is multiplied twice and written once.
            let pair = [first + group, (first + group + 1).min(w.count - 1)];
            let stored = pair.map(|group| &w.lines[group * per_group..][..per_group]);
            let pair = match w.layout {
                Layout::BaseThree if few.is_none() => {
                    decode_pair(loops, stored, &mut scratch.words)
                }
                Layout::TwoBit | Layout::BaseThree => stored,
            };
            for span in equal_parts(rows, at_a_time) {
                let x = &all[span.start * words..span.end * words];
                match few {
                    // SAFETY: it is that of a detected instruction set, and needs no more.
                    Some(few) => unsafe { (few.base_three)(pair, span.len(), x, &mut sums) },
                    None => loops.gemm(pair, span.len(), x, &mut sums),
                }
                for (row, sums) in span.zip(&sums) {
                    let to = &mut scratch.sums[row * count + group..];
                    // Of two lengths that the compiler knows: a call for each would take longer than the copy.
                    match to {
                        [first, second, ..] if count - group > 1 => [*first, *second] = *sums,
                        _ => to[0] = sums[0],
                    }
                }
            }
        }
        let width = GROUP_ROWS * count;
        let sums = flat(&mut scratch.sums[..rows * count]);
        let sums = Sums::new(sums, width, rows, width);
        out.write(0, GROUP_ROWS * first, sums);
    }
    SCRATCH.set(scratch);
}

/// Whether so many rows of so many bytes meet groups in the order of memory.
pub(crate) fn is_few(rows: usize, row_bytes: usize) -> bool {
    rows <= FEW_ROWS && rows * row_bytes <= BLOCK_BYTES
}

/// Rows at most that a product of few rows multiplies at a time.
pub(crate) fn at_a_time(loops: Loops, layout: Layout) -> usize {
    let few = loops.isa().few_rows;
    let few = few.filter(|_| layout == Layout::BaseThree);
    few.map_or(loops.isa().panels.rows_at_a_time, |few| few.max_rows)
}

/// Rows in equal parts: 10 + 1 would pay for two decodings as well, but 6 + 5 keep more sums under way.
pub(crate) fn equal_parts(rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = rows.div_ceil(most);
    (0..parts).map(move |index| index * rows / parts..(index + 1) * rows / parts)
}

/// Two groups in base three as words.
fn decode_pair<'a>(loops: Loops, stored: [&[Line]; 2], words: &'a mut [Line]) -> [&'a [Line]; 2] {
    let (a, b) = words.split_at_mut(words.len() / 2);
    loops.decode(stored[0], a);
    loops.decode(stored[1], b);
    [a, b]
}

fn gemm(loops: Loops, w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let Groups {
        layout,
        cols,
        count: groups,
        lines,
        ..
    } = w;
    let (per_group, words) = (layout.lines(cols), layout.words(cols));
    let at_a_time = loops.isa().panels.rows_at_a_time;
    let block = (BLOCK_BYTES / x.row_bytes().max(1)).max(1);
    let block = block.next_multiple_of(at_a_time);
    let mut scratch = SCRATCH.take();
    if layout == Layout::BaseThree {
        scratch.words.resize(2 * words, Line::ZERO_WEIGHTS);
    }
    let mut sums = [[Lanes::ZERO; 2]; MAX_ROWS];
    for start in (0..x.len()).step_by(block) {
        let count = block.min(x.len() - start);
        let rows = x.part(start..start + count);
        rows.interleave(at_a_time, &mut scratch.x);
        for group in (0..groups).step_by(2) {
            // The last group of an odd number is multiplied twice and written once.
            let pair = [group, (group + 1).min(groups - 1)];
            let stored = pair.map(|group| &lines[group * per_group..][..per_group]);
            let pair = match layout {
                Layout::TwoBit => stored,
                Layout::BaseThree => decode_pair(loops, stored, &mut scratch.words),
            };
            for span in equal_parts(count, at_a_time) {
                let rows = span.len();
                span.clone()
                    .for_each(|row| out.expect(start + row, GROUP_ROWS * group));
                let x = &scratch.x[span.start * words..span.end * words];
                loops.gemm(pair, rows, x, &mut sums);
                for (row, sums) in span.zip(&mut sums) {
                    let sums = Sums::of_row(flat(&mut sums[..2.min(groups - group)]));
                    out.write(start + row, GROUP_ROWS * group, sums);
                }
            }
        }
    }
    SCRATCH.set(scratch);
}

/// How many times as fast as dot products alone [`Strategy::Lookup`] is on this processor, for a product of many rows whose
/// weights and activations lie in its cache.
///
/// # Panics
///
/// If the processor lacks `kernel`, or the kernel lookups.
pub(crate) fn lookup_gain(kernel: Kernel) -> f64 {
    const ROWS: usize = 64;
    const GROUPS: usize = 64;
    const COLS: usize = 320;
    let layout = Layout::TwoBit;
    let lines = vec![Line::ZERO_WEIGHTS; GROUPS * layout.lines(COLS)];
    let mut x = QuantizedRows::new();
    x.set_codes(kernel, layout, &[1; ROWS * COLS], &[1.0; ROWS], COLS);
    let w = Groups {
        layout,
        cols: COLS,
        count: GROUPS,
        lines: &lines,
    };
    let time = |strategy| {
        let start = Instant::now();
        product(kernel.loops(), strategy, w, x.block(0..ROWS), &mut Dropped);
        start.elapsed().as_secs_f64()
    };
    // In turns, so that what disturbs one disturbs the other; the least of each, so that it does not count.
    let (mut dot, mut lookup) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..20 {
        dot = dot.min(time(Strategy::Dot));
        lookup = lookup.min(time(Strategy::Lookup));
    }
    dot / lookup
}

/// Where the sums of a measurement go.
struct Dropped;

impl Output for Dropped {
    fn write(&mut self, _row: usize, _column: usize, sums: Sums<'_>) {
        black_box(sums.row(0));
    }

    fn expect(&self, _row: usize, _column: usize) {}
}
