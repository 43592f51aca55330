//! The order of work of a product of many rows on int8 tiles, on one thread.
//!
//! A block of rows of `x` is packed to panels of 32 rows that stay in the level-two cache. 32 output columns at a time (two
//! groups, as they are stored) are unpacked to bytes, once for the block, [`STEPS`] steps of k at a time: that part of B
//! stays in the level-one cache while all panels of A stream past it, and where K is longer, the panels' sums wait in the
//! level-two cache for the next part. Stored codes are `w + 1`, unsigned, so nothing is changed about them; the
//! caller subtracts the sum of each row of `x`.

use std::{cell::Cell, ops::Range};

use super::{Block, Pair, SIDE, Start, Tiles, Unit};
use crate::{
    Layout,
    format::{GROUP_ROWS, Line},
    gemm::{
        activations::Rows,
        base_three::decode_group,
        blocking::{Groups, Output, Sums},
    },
    isa::avx512::{self, decode},
};

/// Bytes of packed rows at most (if one panel is not more), of a level-two cache of 2 MiB. With 256 rows of 2,560 (640
/// KiB) a product was a tenth faster than with 512.
const BLOCK_BYTES: usize = 640 << 10;

/// Steps of 64 codes that are unpacked at a time: 28 KiB of a level-one cache of 48 KiB. 20 steps were slower by a sixth (A
/// pushes B out), 10 as fast.
const STEPS: usize = 14;

/// Rows of `x` from which it is faster than dot products: in the 0.7 B shape, weights from memory, a prompt of 12 rows
/// took a tenth longer than with dot products, one of 16 a fifth less, one of 32 half.
pub(super) const MIN_ROWS: usize = 14;

/// What a product needs besides its arguments.
#[derive(Default)]
struct Scratch {
    /// The block of `x`, panel after panel.
    a: Vec<Pair>,
    /// A part of two groups.
    b: Vec<Pair>,
    /// Two groups decoded from base three, one after the other.
    words: Vec<Line>,
    /// Of each panel the sums with two groups. What an earlier product left is not read.
    sums: Vec<Block<i32>>,
}

thread_local! {
    /// Kept from call to call.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// [`product`] on the processor's tiles.
///
/// # Panics
///
/// If this process may not use them.
pub(super) fn on_tiles(w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let tiles = Tiles::get().unwrap_or_else(|refusal| panic!("{}", refusal.reason()));
    product(&tiles.configure(), w, x, out);
}

/// Gives `out` the sums `Σ stored · x` for each of the groups and every row of `x`. The code `0b11`, which stands for no
/// weight, counts as 3.
pub(crate) fn product(unit: &impl Unit, w: Groups<'_>, x: Rows<'_>, out: &mut dyn Output) {
    let mut scratch = SCRATCH.take();
    let steps = x.row_bytes().div_ceil(size_of::<Line>());
    let panels = x.len().div_ceil(SIDE);
    let at_a_time = (BLOCK_BYTES / (steps * size_of::<Pair>()).max(1)).max(1);
    // Equal blocks: weights are unpacked for each, a short one as for a long one.
    for block in parts(0..panels, panels.div_ceil(at_a_time)) {
        let rows = SIDE * block.start..(SIDE * block.end).min(x.len());
        scratch
            .a
            .resize((block.len() * steps).max(scratch.a.len()), Pair::ZERO);
        let packed = scratch.a.chunks_exact_mut(steps.max(1));
        for (panel, packed) in block.clone().zip(packed) {
            pack(x, SIDE * panel..(SIDE * (panel + 1)).min(x.len()), packed);
        }
        for group in (0..w.count).step_by(2) {
            columns(unit, w, group, steps, rows.clone(), &mut scratch, out);
        }
    }
    SCRATCH.set(scratch);
}

/// The sums of packed rows with one or two groups.
fn columns(
    unit: &impl Unit,
    w: Groups<'_>,
    group: usize,
    steps: usize,
    rows: Range<usize>,
    scratch: &mut Scratch,
    out: &mut dyn Output,
) {
    let Scratch { a, b, words, sums } = scratch;
    let (per_group, per_row) = (w.layout.lines(w.cols), w.layout.words(w.cols));
    // The last group of an odd number is multiplied twice and written once.
    let pair = [group, (group + 1).min(w.count - 1)];
    let stored = pair.map(|group| &w.lines[group * per_group..][..per_group]);
    let pair: [&[Line]; 2] = match w.layout {
        Layout::TwoBit => stored,
        Layout::BaseThree => {
            words.resize(2 * per_row, Line::ZERO_WEIGHTS);
            let (first, second) = words.split_at_mut(per_row);
            decode_words(stored[0], first);
            decode_words(stored[1], second);
            [first, second]
        }
    };
    let panels = rows.len().div_ceil(SIDE);
    if sums.len() < panels {
        sums.resize(panels, Block::zero());
    }
    b.resize(STEPS, Pair::ZERO);
    let (column, width) = (GROUP_ROWS * group, GROUP_ROWS * 2.min(w.count - group));
    let next = &w.lines[((group + 2) * per_group).min(w.lines.len())..];
    let next = &next[..next.len().min(2 * per_group)];
    let cuts = steps.div_ceil(STEPS).max(1);
    for (cut, span) in parts(0..steps, cuts).enumerate() {
        let b = &mut b[..span.len()];
        unpack(pair, span.start, b);
        for (panel, sums) in sums[..panels].iter_mut().enumerate() {
            fetch_part(next, cut * panels + panel, cuts * panels);
            let first = rows.start + SIDE * panel;
            let rows = first..(first + SIDE).min(rows.end);
            let last = cut + 1 == cuts;
            if last {
                rows.clone().for_each(|row| out.expect(row, column));
            }
            let start = match cut {
                0 => Start::Zero,
                _ => Start::Add,
            };
            let a = &a[panel * steps..][span.clone()];
            unit.int8(a, b, start, sums);
            if last {
                let sums = Sums::new(sums.0.as_flattened(), SIDE, rows.len(), width);
                out.write(rows.start, column, sums);
            }
        }
    }
}

/// A range in equal parts.
fn parts(range: Range<usize>, count: usize) -> impl Iterator<Item = Range<usize>> {
    let cut = move |index: usize| range.start + index * range.len() / count;
    (0..count).map(move |index| cut(index)..cut(index + 1))
}

/// Up to 32 rows of codes as a panel, zero past the end of each. Rows that there are not keep what they have: nobody reads
/// their sums.
fn pack(x: Rows<'_>, rows: Range<usize>, out: &mut [Pair]) {
    for (r, row) in rows.enumerate() {
        let codes: &[u8] = bytemuck::cast_slice(x.row(row));
        let (lines, rest) = codes.as_chunks::<64>();
        for (Pair(tiles), line) in out.iter_mut().zip(lines) {
            tiles[r / 16].0[r % 16] = *line;
        }
        if let Some(Pair(tiles)) = out.get_mut(lines.len()) {
            let line = &mut tiles[r / 16].0[r % 16];
            line[..rest.len()].copy_from_slice(rest);
            line[rest.len()..].fill(0);
        }
    }
}

/// The words of two groups from `start` steps on, as bytes: a word of 16 rows makes four lines of a tile.
fn unpack(words: [&[Line]; 2], start: usize, out: &mut [Pair]) {
    #[target_feature(enable = "avx512f")]
    fn unpack_avx512(words: [&[Line]; 2], out: &mut [Pair]) {
        body(words, out);
    }
    #[inline(always)]
    fn body(words: [&[Line]; 2], out: &mut [Pair]) {
        for (tile, words) in words.into_iter().enumerate() {
            for (Pair(tiles), words) in out.iter_mut().zip(words.chunks(4)) {
                let (quads, past) = tiles[tile].0.split_at_mut(4 * words.len());
                for (quads, word) in quads.as_chunks_mut::<4>().0.iter_mut().zip(words) {
                    for (i, quad) in quads.iter_mut().enumerate() {
                        let codes = word.0.map(|word| word >> (2 * i) & 0x0303_0303);
                        quad.copy_from_slice(bytemuck::cast_slice(&codes));
                    }
                }
                past.iter_mut().for_each(|quad| *quad = [0; 64]);
            }
        }
    }
    let words = words.map(|words| &words[4 * start..(4 * (start + out.len())).min(words.len())]);
    if (avx512::ISA.detect)().is_ok() {
        // SAFETY: the kernel stands for AVX-512, among others.
        unsafe { unpack_avx512(words, out) }
    } else {
        body(words, out);
    }
}

/// A group in base three to words.
fn decode_words(lines: &[Line], words: &mut [Line]) {
    if (avx512::ISA.detect)().is_ok() {
        // SAFETY: the kernel stands for what the function needs.
        unsafe { decode(lines, words) }
    } else {
        decode_group(lines, words);
    }
}

/// Brings the `part`-th of so many parts of some lines to the level-two cache.
fn fetch_part(lines: &[Line], part: usize, parts: usize) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    for line in &lines[part * lines.len() / parts..(part + 1) * lines.len() / parts] {
        // SAFETY: SSE, which every x86-64 has; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(line).cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Granularity, Kernel, PackedTernary, PrepackedTernary, QuantizedRows,
        isa::amx::{Model, Tiles},
        reference,
        skipped::skipped,
    };

    /// All sums, and how often each was written.
    struct Written {
        columns: usize,
        sums: Vec<i32>,
        writes: Vec<usize>,
    }

    impl Output for Written {
        fn write(&mut self, row: usize, column: usize, sums: Sums<'_>) {
            for i in 0..sums.rows() {
                for (j, sum) in (column..self.columns).zip(sums.row(i)) {
                    self.sums[(row + i) * self.columns + j] = *sum;
                    self.writes[(row + i) * self.columns + j] += 1;
                }
            }
        }

        fn expect(&self, _row: usize, _column: usize) {}
    }

    fn random(seed: u64) -> impl FnMut() -> u64 {
        let mut state = seed | 1;
        move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 16
        }
    }

    fn check(unit: &impl Unit, m: usize, n: usize, k: usize, x: &[i8], w: &[i8]) {
        let packed = PackedTernary::from_codes(w, n, k, vec![1.0], Granularity::Tensor).unwrap();
        let mut expected = vec![0; m * n];
        reference::matmul_i32(x, m, packed.view(), &mut expected);
        for layout in Layout::ALL {
            let prepacked =
                PrepackedTernary::new(packed.view(), layout, Kernel::SCALAR, crate::Strategy::Dot)
                    .unwrap();
            let mut codes = QuantizedRows::new();
            codes.set_codes(Kernel::SCALAR, layout, x, &vec![1.0; m], k);
            let groups = Groups {
                layout,
                cols: k,
                count: prepacked.groups(),
                lines: prepacked.stored(0..prepacked.groups()),
            };
            let mut out = Written {
                columns: n,
                sums: vec![0; m * n],
                writes: vec![0; m * n],
            };
            product(unit, groups, codes.block(0..m), &mut out);
            for (i, sums) in out.sums.chunks_exact_mut(n).enumerate() {
                sums.iter_mut().for_each(|sum| *sum -= codes.sums()[i]);
            }
            assert_eq!(out.sums, expected, "{layout} {m} x {n} x {k}");
            assert!(out.writes.iter().all(|writes| *writes == 1), "{layout}");
        }
    }

    /// Shapes around the edges of tiles, panels, parts of k and blocks of rows.
    fn check_shapes(unit: &impl Unit, shapes: &[(usize, usize, usize)]) {
        let mut random = random(11);
        for &(m, n, k) in shapes {
            let x: Vec<i8> = (0..m * k).map(|_| random() as i8).collect();
            let w: Vec<i8> = (0..n * k).map(|_| (random() % 3) as i8 - 1).collect();
            check(unit, m, n, k, &x, &w);
        }
    }

    const SHAPES: [(usize, usize, usize); 10] = [
        (1, 1, 1),
        (2, 16, 64),
        (16, 17, 65),
        (31, 32, 63),
        (32, 33, 80),
        (33, 48, 79),
        (7, 31, 895),
        (40, 65, 897),
        (3, 20, 64 * 15),
        (65, 5, 1811),
    ];

    #[test]
    fn the_arrangement_is_right() {
        check_shapes(&Model, &SHAPES);
    }

    #[test]
    fn the_instructions_agree() {
        let tiles = match Tiles::get() {
            Ok(tiles) => tiles,
            Err(refusal) => return skipped(refusal.reason()),
        };
        let unit = tiles.configure();
        check_shapes(&unit, &SHAPES);
        // More rows than a block, which one panel fills already.
        check_shapes(&unit, &[(100, 17, 11_000), (290, 40, 2560)]);
        for k in [150, 897, 1 << 20] {
            for (x, w) in [(-128, 1), (-128, -1), (127, 1), (127, -1)] {
                check(&unit, 2, 2, k, &vec![x; 2 * k], &vec![w; 2 * k]);
            }
        }
    }
}
