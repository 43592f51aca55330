//! Products with groups of weights that have scales of their own: `Granularity::Group`.
//!
//! ```text
//! y[m, n] = (Σ_g (Σ_{k ∈ g} x_q[m, k] · w_q[n, k]) as f32 · d[n, g]) / s_x[m]
//! ```
//!
//! with `d` the worth of a code ([`reference::code_worth`]), products and sums rounded one by one, from the first group to
//! the last: the same bits on every kernel, for every number of rows and threads.
//!
//! # Lines
//!
//! A group of weights is a *segment* of K for 16 output rows that stand side by side. Its scales lie in front of its codes,
//! so that a product reads one stream: a line of 16 f32, or, where f16 holds them all exactly (as files do), one of 2 × 16
//! f16 for two segments.
//!
//! | f32 | 16 scales | codes of segment 0 | 16 scales | codes of segment 1 | … |
//! |---|---|---|---|---|---|
//! | **f16** | **2 × 16 scales** | **codes of segments 0 and 1** | **2 × 16 scales** | **codes of segments 2 and 3** | **…** |
//!
//! The order of work is that of [`blocking`](super::blocking): groups pass once for one row, and in pairs for a block of
//! rows that stays in the level-two cache. A processor's own loops keep a segment's sums in registers until they are floats.

use std::{cell::Cell, ops::Range};

use half::f16;

use super::{
    QuantizedRows,
    activations::Rows,
    blocking::{BLOCK_BYTES, Lanes, MAX_ROWS, Sixteen, equal_parts, flat},
    layout,
};
use crate::{
    PackedView, Strategy,
    format::{GROUP_ROWS, Line, words_per_row},
    isa::Loops,
    reference,
    system::shared_out::fetch,
};

/// Sums of the 16 rows of a group with one row of `x`, as floats.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Floats(pub(crate) [f32; GROUP_ROWS]);

impl Floats {
    /// No sum yet.
    pub(crate) const ZERO: Floats = Floats([0.0; GROUP_ROWS]);
}

/// How the rows of a matrix fall into segments with scales of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    /// Words of a row.
    pub(crate) words: usize,
    /// Words of a segment; the last one may be shorter.
    pub(crate) each: usize,
    /// Whether scales are f16.
    pub(crate) half: bool,
}

/// A segment within the lines of a group.
struct Segment {
    /// The line of its scales.
    scales: usize,
    /// Whether they are the second ones of the line.
    second: bool,
    /// The lines of its codes.
    lines: Range<usize>,
    /// Its words within the row.
    words: Range<usize>,
}

impl Segments {
    /// Those of a matrix whose rows fall into groups.
    pub(crate) fn of(w: PackedView<'_>) -> Segments {
        let words = words_per_row(w.cols);
        Segments {
            words,
            each: words_per_row(w.granularity.group(w.cols)).clamp(1, words.max(1)),
            half: w.scales.iter().all(|scale| {
                let worth = reference::code_worth(*scale);
                f16::from_f32(worth).to_f32() == worth
            }),
        }
    }

    /// Segments of a row.
    pub(crate) fn count(self) -> usize {
        self.words.div_ceil(self.each)
    }

    /// Segments whose scales share a line.
    pub(crate) fn per_line(self) -> usize {
        if self.half { 2 } else { 1 }
    }

    /// Lines of a group of 16 rows: codes and scales.
    pub(crate) fn lines(self) -> usize {
        self.words + self.count().div_ceil(self.per_line())
    }

    fn segments(self) -> impl Iterator<Item = Segment> {
        (0..self.count()).map(move |s| {
            let words = s * self.each..((s + 1) * self.each).min(self.words);
            let lines = s / self.per_line() + 1;
            Segment {
                scales: words.start - s % self.per_line() * self.each + lines - 1,
                second: s % self.per_line() == 1,
                lines: words.start + lines..words.end + lines,
                words,
            }
        })
    }

    /// What the codes of a segment are worth.
    fn worth(self, lines: &[Line], segment: &Segment) -> [f32; GROUP_ROWS] {
        let line = lines[segment.scales].0;
        if !self.half {
            return line.map(f32::from_bits);
        }
        let halves = &line[8 * usize::from(segment.second)..];
        // Exact for all that are finite and not negative: f16's bits with f32's exponent, less its bias.
        let float = |bits: u32| f32::from_bits(bits << 13) * f32::from_bits((127 + 112) << 23);
        std::array::from_fn(|lane| float(halves[lane / 2] >> (16 * (lane % 2)) & 0xffff))
    }

    /// The words of each segment of a group's row, and what its codes are worth.
    pub(crate) fn row(self, lines: &[Line], lane: usize) -> impl Iterator<Item = (Vec<u32>, f32)> {
        self.segments().map(move |segment| {
            let worth = self.worth(lines, &segment)[lane];
            let codes = &lines[segment.lines];
            (codes.iter().map(|line| line.0[lane]).collect(), worth)
        })
    }

    /// Writes the lines of a group of 16 rows.
    pub(crate) fn fill(self, w: PackedView<'_>, group: usize, lines: &mut [Line]) {
        let mut codes = vec![Line::ZERO_WEIGHTS; self.words];
        layout::interleave(w, group, &mut codes);
        for (s, segment) in self.segments().enumerate() {
            lines[segment.lines].copy_from_slice(&codes[segment.words]);
            let scales = &mut lines[segment.scales];
            if !segment.second {
                *scales = Line([0; GROUP_ROWS]);
            }
            for lane in 0..GROUP_ROWS.min(w.rows - GROUP_ROWS * group) {
                let worth = reference::code_worth(w.row_scales(GROUP_ROWS * group + lane)[s]);
                if self.half {
                    let at = 16 * usize::from(segment.second) + lane;
                    let bits = u32::from(f16::from_f32(worth).to_bits());
                    scales.0[at / 2] |= bits << (16 * (at % 2));
                } else {
                    scales.0[lane] = worth.to_bits();
                }
            }
        }
    }
}

/// Groups of 16 rows of a matrix, as they are stored.
#[derive(Clone, Copy)]
pub(crate) struct Scaled<'a> {
    pub(crate) segments: Segments,
    pub(crate) lines: &'a [Line],
    /// Output columns: those of the groups, less what the last one is padded by.
    pub(crate) columns: usize,
}

/// Groups of one call with one row of `x`.
const GROUPS: usize = 8;

/// What a product needs besides its arguments; kept from call to call.
#[derive(Default)]
struct Scratch {
    /// Rows of `x`, part after part: for each word the codes of the part's rows.
    x: Vec<Sixteen>,
    /// `Σ x` of each segment, in the order of `x`.
    excess: Vec<i32>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Writes the product with some rows of `x`, a row `stride` after the other.
pub(crate) fn product(
    loops: Loops,
    strategy: Strategy,
    w: Scaled<'_>,
    (x, rows): (&QuantizedRows, Range<usize>),
    out: &mut [f32],
    stride: usize,
) {
    let mut out = Out {
        out,
        stride,
        columns: w.columns,
        scales: &x.scales()[rows.clone()],
    };
    let x = x.block(rows);
    let mut scratch = SCRATCH.take();
    if x.row_bytes() == 0 {
        for (row, column) in
            (0..x.len()).flat_map(|row| (0..w.columns).map(move |column| (row, column)))
        {
            out.write(row, column, &[0.0]);
        }
    } else if x.len() == 1 || strategy == Strategy::Signed {
        for row in 0..x.len() {
            one_row(loops, strategy, w, (x, row), &mut scratch, &mut out);
        }
    } else {
        let block = (BLOCK_BYTES / x.row_bytes()).max(1);
        let block = block.next_multiple_of(loops.isa().panels.rows_at_a_time);
        for first in (0..x.len()).step_by(block) {
            let rows = first..(first + block).min(x.len());
            many_rows(loops, w, (x, rows), &mut scratch, &mut out);
        }
    }
    SCRATCH.set(scratch);
}

/// Groups in the order of memory.
fn one_row(
    loops: Loops,
    strategy: Strategy,
    w: Scaled<'_>,
    (x, row): (Rows<'_>, usize),
    scratch: &mut Scratch,
    out: &mut Out<'_>,
) {
    let x = x.row(row).as_chunks::<16>().0;
    let excess = |x: &[Sixteen]| match strategy {
        Strategy::Signed => 0,
        Strategy::Dot | Strategy::Lookup => loops.sum(x.as_flattened()),
    };
    scratch.excess.clear();
    scratch.excess.extend(x.chunks(w.segments.each).map(excess));
    let (per_group, mut sums) = (w.segments.lines(), [Floats::ZERO; GROUPS]);
    for (index, lines) in w.lines.chunks(GROUPS * per_group).enumerate() {
        let sums = &mut sums[..lines.len() / per_group];
        match loops.isa().scaled {
            Some(scaled) if strategy != Strategy::Signed => {
                // SAFETY: it is that of a detected instruction set, and needs no more.
                unsafe { (scaled.one_row)(w.segments, lines, x, &scratch.excess, sums) };
            }
            _ => {
                for (lines, sums) in lines.chunks_exact(per_group).zip(&mut *sums) {
                    *sums = Floats::ZERO;
                    for (segment, excess) in w.segments.segments().zip(&scratch.excess) {
                        let (codes, mut exact) = (&lines[segment.lines.clone()], [Lanes::ZERO]);
                        let x = x[segment.words.clone()].as_flattened();
                        match strategy {
                            Strategy::Signed => loops.signed(codes, codes.len(), x, &mut exact),
                            Strategy::Dot | Strategy::Lookup => {
                                loops.two_bit(codes, codes.len(), x, &mut exact)
                            }
                        }
                        let worth = w.segments.worth(lines, &segment);
                        loops.accumulate(
                            flat(&mut exact),
                            std::slice::from_ref(excess),
                            &worth,
                            &mut sums.0,
                        );
                    }
                }
            }
        }
        for (group, sums) in sums.iter().enumerate() {
            out.write(row, GROUP_ROWS * (GROUPS * index + group), &sums.0);
        }
    }
}

/// A block of rows meets pairs of groups one after the other.
fn many_rows(
    loops: Loops,
    w: Scaled<'_>,
    (x, block): (Rows<'_>, Range<usize>),
    scratch: &mut Scratch,
    out: &mut Out<'_>,
) {
    let Segments { words, each, .. } = w.segments;
    let (per_group, segments) = (w.segments.lines(), w.segments.count());
    let at_a_time = loops.isa().panels.rows_at_a_time;
    let parts = || equal_parts(block.len(), at_a_time);
    x.part(block.clone()).interleave(at_a_time, &mut scratch.x);
    scratch.excess.clear();
    for span in parts() {
        let rows = block.start + span.start..block.start + span.end;
        for bytes in (0..x.row_bytes()).step_by(16 * each) {
            let bytes = bytes..(bytes + 16 * each).min(x.row_bytes());
            let excess = rows
                .clone()
                .map(|row| loops.sum(&x.row(row)[bytes.clone()]));
            scratch.excess.extend(excess);
        }
    }
    let groups = w.lines.len() / per_group;
    let (mut exact, mut sums) = ([[Lanes::ZERO; 2]; MAX_ROWS], [[Floats::ZERO; 2]; MAX_ROWS]);
    for group in (0..groups).step_by(2) {
        // The last group of an odd number is multiplied twice and written once.
        let pair = [group, (group + 1).min(groups - 1)];
        let pair = pair.map(|group| &w.lines[group * per_group..][..per_group]);
        for span in parts() {
            let (first, rows) = (block.start + span.start, span.len());
            (first..first + rows).for_each(|row| out.expect(row, GROUP_ROWS * group));
            let x = &scratch.x[span.start * words..span.end * words];
            let excess = &scratch.excess[span.start * segments..span.end * segments];
            let sums = &mut sums[..rows];
            match loops.isa().scaled {
                Some(scaled) => {
                    // SAFETY: it is that of a detected instruction set, and needs no more.
                    unsafe { (scaled.rows)(w.segments, pair, x, excess, sums) };
                }
                None => {
                    sums.fill([Floats::ZERO; 2]);
                    for (segment, excess) in w.segments.segments().zip(excess.chunks_exact(rows)) {
                        let codes = pair.map(|lines| &lines[segment.lines.clone()]);
                        let x = &x[rows * segment.words.start..rows * segment.words.end];
                        loops.gemm(codes, rows, x, &mut exact);
                        let worth = pair.map(|lines| w.segments.worth(lines, &segment));
                        let exact = flat(exact[..rows].as_flattened_mut());
                        loops.accumulate(exact, excess, worth.as_flattened(), floats(sums));
                    }
                }
            }
            for (row, sums) in (first..).zip(&*sums) {
                for (group, sums) in (group..groups).zip(sums) {
                    out.write(row, GROUP_ROWS * group, &sums.0);
                }
            }
        }
    }
}

/// Pairs of sums as one slice.
fn floats(sums: &mut [[Floats; 2]]) -> &mut [f32] {
    let sums = sums.as_flattened_mut();
    // SAFETY: `Floats` is `repr(C)` of 16 f32 in 64 bytes, so n of them are 16n initialised values, borrowed exclusively.
    unsafe { std::slice::from_raw_parts_mut(sums.as_mut_ptr().cast(), GROUP_ROWS * sums.len()) }
}

/// Where a product goes.
struct Out<'a> {
    out: &'a mut [f32],
    stride: usize,
    columns: usize,
    /// Of the rows of `x`.
    scales: &'a [f32],
}

impl Out<'_> {
    /// Takes sums of a row from a column on, the last of which may be padding.
    #[inline]
    fn write(&mut self, row: usize, column: usize, sums: &[f32]) {
        let width = sums.len().min(self.columns - column);
        let out = &mut self.out[row * self.stride + column..][..width];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum / self.scales[row];
        }
    }

    /// Fetches the lines of 32 columns, which will be written soon.
    #[inline]
    fn expect(&self, row: usize, column: usize) {
        fetch(self.out.as_ptr().wrapping_add(row * self.stride + column));
    }
}
