//! The blocking (loop nest) of a product of prepacked weights, on one thread: groups of weights against rows of `x`.
//!
//! One row of `x` (GEMV): groups pass once, in the order of memory. Many rows (GEMM): a block of `x` that stays in the
//! level-two cache meets pairs of groups one after the other; a pair (`K / 4 · 32` bytes: 20 KiB at K = 2560) is decoded
//! from base three once a block, and stays in the level-one or -two cache while the rows of the block pass by, as many
//! at a time as the kernel has registers for. Those rows are copied side by side first (16 codes of each in turn), so
//! that a kernel reads one stream with fixed distances instead of ten rows from ten pages. An instruction set or a strategy
//! may have an order of its own for many rows ([`ManyRows`](crate::isa::ManyRows)).

use std::{cell::Cell, hint::black_box, ops::Range, time::Instant};

use super::{QuantizedRows, activations::Rows, base_three::Blocks};
use crate::{
    Kernel, Layout, Strategy,
    format::{GROUP_ROWS, Line},
    isa::Loops,
};

/// Sums of the 16 rows of a group with one row of `x`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [i32; GROUP_ROWS]);

impl Lanes {
    /// No sum yet.
    pub(crate) const ZERO: Lanes = Lanes([0; GROUP_ROWS]);
}

/// The sums of groups side by side, as one slice.
pub(crate) fn flat(sums: &mut [Lanes]) -> &mut [i32] {
    // SAFETY: `Lanes` is `repr(C)` of 16 int32 in 64 bytes, so n of them are 16n initialised values, borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast(), GROUP_ROWS * sums.len()) }
}

/// Where sums go.
pub(crate) trait Output {
    /// Takes `Σ stored · x` of a row of `x` with whole groups of columns from `column` on, the last of which may be
    /// padding.
    fn write(&mut self, row: usize, column: usize, sums: &mut [i32]);

    /// Says that the next sums are those of `row` and the 32 columns from `column` on. A product of many rows writes short
    /// pieces of long rows: fetched this early, they are in the cache by then (a tenth of the time of a large product).
    fn expect(&self, row: usize, column: usize);
}

/// Groups of one call of a GEMV: enough to hide the call, while their sums stay in registers and the nearest cache.
const GEMV_GROUPS: usize = 8;

/// Bytes of `x` that a block of a GEMM covers: half of a level-two cache of 512 KiB, the smallest of the last years.
const BLOCK_BYTES: usize = 256 << 10;

/// The most rows that any kernel multiplies at a time.
pub(crate) const MAX_ROWS: usize = 30;

/// Sixteen consecutive codes of a row of `x`: the activations of one word.
pub(crate) type Sixteen = [i8; 16];

/// What a GEMM needs besides its arguments.
#[derive(Default)]
struct Scratch {
    /// Two decoded groups.
    words: Vec<Line>,
    /// The block of `x`, part after part: for each word the codes of the part's rows.
    x: Vec<Sixteen>,
}

thread_local! {
    /// Kept from call to call.
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { words: Vec::new(), x: Vec::new() }) };
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
    match many_rows {
        Some(many) if x.len() >= many.min_rows && w.cols > 0 => {
            // SAFETY: it is that of a detected instruction set, and needs no more.
            unsafe { (many.product)(w, x, out) }
        }
        _ if x.len() == 1 => gemv(loops, w, x.row(0), out),
        _ => gemm(loops, w, x, out),
    }
}

fn gemv(loops: Loops, w: Groups<'_>, x: &[i8], out: &mut dyn Output) {
    let per_group = w.layout.lines(w.cols);
    let mut sums = [Lanes::ZERO; GEMV_GROUPS];
    for first in (0..w.count).step_by(GEMV_GROUPS) {
        let count = GEMV_GROUPS.min(w.count - first);
        let lines = &w.lines[first * per_group..][..count * per_group];
        let sums = &mut sums[..count];
        match w.layout {
            Layout::TwoBit => loops.two_bit(lines, per_group, x, sums),
            Layout::BaseThree => loops.base_three(lines, Blocks::of(w.cols), x, sums),
        }
        out.write(0, GROUP_ROWS * first, flat(sums));
    }
}

/// Signed summation: a few groups at a time, decoded once, meet all rows.
fn signed(loops: Loops, w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let (per_group, words) = (w.layout.lines(w.cols), w.layout.words(w.cols));
    let mut scratch = SCRATCH.take();
    let mut sums = [Lanes::ZERO; GEMV_GROUPS];
    for first in (0..w.count).step_by(GEMV_GROUPS) {
        let count = GEMV_GROUPS.min(w.count - first);
        let stored = &w.lines[first * per_group..][..count * per_group];
        let (lines, sums) = match w.layout {
            Layout::TwoBit => (stored, &mut sums[..count]),
            Layout::BaseThree => {
                scratch.words.resize(count * words, Line::ZERO_WEIGHTS);
                for group in 0..count {
                    let stored = &stored[group * per_group..][..per_group];
                    loops.decode(stored, &mut scratch.words[group * words..][..words]);
                }
                (&scratch.words[..], &mut sums[..count])
            }
        };
        for row in 0..x.len() {
            loops.signed(lines, words, x.row(row), sums);
            out.write(row, GROUP_ROWS * first, flat(sums));
        }
    }
    SCRATCH.set(scratch);
}

fn gemm(loops: Loops, w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let Groups {
        layout,
        cols,
        count: groups,
        lines,
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
        // Equal parts: 10 + 1 rows would pay for two decodings as well, but 6 + 5 keep more sums under way.
        let parts = count.div_ceil(at_a_time);
        let part = |index: usize| index * count / parts..(index + 1) * count / parts;
        scratch.x.clear();
        for span in (0..parts).map(part) {
            interleave(x, start + span.start..start + span.end, &mut scratch.x);
        }
        for group in (0..groups).step_by(2) {
            // The last group of an odd number is multiplied twice and written once.
            let pair = [group, (group + 1).min(groups - 1)];
            let stored = pair.map(|group| &lines[group * per_group..][..per_group]);
            let pair = match layout {
                Layout::TwoBit => stored,
                Layout::BaseThree => {
                    let (a, b) = scratch.words[..2 * words].split_at_mut(words);
                    loops.decode(stored[0], a);
                    loops.decode(stored[1], b);
                    [&*a, &*b]
                }
            };
            for span in (0..parts).map(part) {
                let rows = span.len();
                span.clone()
                    .for_each(|row| out.expect(start + row, GROUP_ROWS * group));
                let x = &scratch.x[span.start * words..span.end * words];
                loops.gemm(pair, rows, x, &mut sums);
                for (row, sums) in span.zip(&mut sums) {
                    let count = 2.min(groups - group);
                    out.write(start + row, GROUP_ROWS * group, flat(&mut sums[..count]));
                }
            }
        }
    }
    SCRATCH.set(scratch);
}

/// Appends some rows of `x`, sixteen codes of each in turn.
fn interleave(x: Rows<'_>, rows: Range<usize>, out: &mut Vec<Sixteen>) {
    let (count, first) = (rows.len(), out.len());
    out.resize(first + count * x.row_bytes() / 16, [0; 16]);
    for (r, row) in rows.enumerate() {
        let out = out[first..].iter_mut().skip(r).step_by(count);
        for (out, codes) in out.zip(x.row(row).as_chunks::<16>().0) {
            *out = *codes;
        }
    }
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
    fn write(&mut self, _row: usize, _column: usize, sums: &mut [i32]) {
        black_box(sums);
    }

    fn expect(&self, _row: usize, _column: usize) {}
}
