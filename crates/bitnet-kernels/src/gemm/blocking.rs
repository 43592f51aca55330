//! The order of work of a prepared product, on one thread: groups of weights against rows of `x`.
//!
//! One row of `x` (GEMV): groups pass once, in the order of memory. Many rows (GEMM): a block of `x` that stays in the
//! level-two cache meets pairs of groups one after the other; a pair (`K / 4 · 32` bytes: 20 KiB at K = 2560) is decoded
//! from base three once a block, and stays in the level-one or -two cache while the rows of the block pass by, as many
//! at a time as the kernel has registers for. Those rows are copied side by side first (16 codes of each in turn), so
//! that a kernel reads one stream with fixed distances instead of ten rows from ten pages. With [`Kernel::Avx512Lookup`]
//! `lut` has its own order.

use std::{cell::Cell, ops::Range};

#[cfg(target_arch = "x86_64")]
use super::lut;
use crate::{
    Kernel, Layout,
    format::{GROUP_ROWS, Line},
    gemm::activations::Rows,
    gemm::base_three::Blocks,
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
const MAX_ROWS: usize = 30;

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

/// Calls a function of the module of the kernel's instruction set.
macro_rules! dispatch_panel {
    ($kernel:expr, $name:ident ( $($arg:expr),* $(,)? )) => {
        match $kernel.proven() {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni | Kernel::Avx512Lookup => {
                // SAFETY: the functions of `avx512` need what this kernel stands for, which `proven` has detected.
                unsafe { crate::isa::avx512::$name($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::AvxVnni => {
                // SAFETY: the functions of `avx_vnni` need AVX2 and AVX-VNNI, which `proven` has detected.
                unsafe { crate::isa::avx_vnni::$name($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => {
                // SAFETY: the functions of `avx2` need AVX2, which `proven` has detected.
                unsafe { crate::isa::avx2::$name($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon => {
                // SAFETY: the functions of `neon` need NEON and dotprod, which `proven` has detected.
                unsafe { crate::isa::neon::$name($($arg),*) }
            }
            _ => crate::isa::scalar::$name($($arg),*),
        }
    };
}

/// Rows of `x` at most in one call of the kernel's `gemm`.
fn rows_at_a_time(kernel: Kernel) -> usize {
    match kernel {
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512Vnni | Kernel::Avx512Lookup => crate::isa::avx512::ROWS,
        #[cfg(target_arch = "x86_64")]
        Kernel::AvxVnni => crate::isa::avx_vnni::ROWS,
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => crate::isa::avx2::ROWS,
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon => crate::isa::neon::ROWS,
        _ => crate::isa::scalar::ROWS,
    }
}

/// Groups of a matrix of `cols` columns, as they are stored.
#[derive(Clone, Copy)]
pub(crate) struct Groups<'a> {
    pub(crate) layout: Layout,
    pub(crate) cols: usize,
    pub(crate) count: usize,
    pub(crate) lines: &'a [Line],
}

/// Gives `out` the sums `Σ stored · x` for each of the groups and every row of `x`. An illegal code counts as 3, but not with
/// [`Kernel::Avx512Lookup`], which takes legal ones alone.
pub(crate) fn product(kernel: Kernel, w: Groups<'_>, x: Rows<'_>, out: &mut impl Output) {
    if x.len() == 1 {
        gemv(kernel, w, x.row(0), out);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if kernel == Kernel::Avx512Lookup && x.len() >= lut::MIN_ROWS && w.cols > 0 {
        return lut::product(w, x, out);
    }
    gemm(kernel, w, x, out);
}

fn gemv(kernel: Kernel, w: Groups<'_>, x: &[i8], out: &mut impl Output) {
    let per_group = w.layout.lines(w.cols);
    let mut sums = [Lanes::ZERO; GEMV_GROUPS];
    for first in (0..w.count).step_by(GEMV_GROUPS) {
        let count = GEMV_GROUPS.min(w.count - first);
        let (lines, sums) = (
            &w.lines[first * per_group..][..count * per_group],
            &mut sums[..count],
        );
        match w.layout {
            Layout::TwoBit => dispatch_panel!(kernel, two_bit(lines, per_group, x, sums)),
            Layout::BaseThree => {
                dispatch_panel!(kernel, base_three(lines, Blocks::of(w.cols), x, sums));
            }
        }
        out.write(0, GROUP_ROWS * first, flat(sums));
    }
}

/// `Σ w · x` of groups of words with one row, by additions and subtractions alone.
pub(crate) fn signed(kernel: Kernel, words: usize, lines: &[Line], x: &[i8], out: &mut [i32]) {
    out.fill(0);
    let mut sums = [Lanes::ZERO; GEMV_GROUPS];
    let lines = lines.chunks(GEMV_GROUPS * words.max(1));
    for (lines, out) in lines.zip(out.chunks_mut(GEMV_GROUPS * GROUP_ROWS)) {
        let sums = &mut sums[..out.len().div_ceil(GROUP_ROWS)];
        match kernel.proven() {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni | Kernel::Avx512Lookup => {
                // SAFETY: `signed` needs what this kernel stands for, which `proven` has detected.
                unsafe { crate::isa::avx512::signed(lines, words, x, sums) }
            }
            _ => crate::isa::scalar::signed(lines, words, x, sums),
        }
        out.copy_from_slice(&flat(sums)[..out.len()]);
    }
}

fn gemm(kernel: Kernel, w: Groups<'_>, x: Rows<'_>, out: &mut impl Output) {
    let Groups {
        layout,
        cols,
        count: groups,
        lines,
    } = w;
    let (per_group, words) = (layout.lines(cols), layout.words(cols));
    let at_a_time = rows_at_a_time(kernel);
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
                    let (a, b) = scratch.words.split_at_mut(words);
                    dispatch_panel!(kernel, decode(stored[0], a));
                    dispatch_panel!(kernel, decode(stored[1], b));
                    [&*a, &*b]
                }
            };
            for span in (0..parts).map(part) {
                let rows = span.len();
                span.clone()
                    .for_each(|row| out.expect(start + row, GROUP_ROWS * group));
                let x = &scratch.x[span.start * words..span.end * words];
                dispatch_panel!(kernel, gemm(pair, rows, x, &mut sums));
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
