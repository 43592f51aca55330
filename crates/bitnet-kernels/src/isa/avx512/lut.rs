//! Products of many rows in two kinds of instructions at once: dot products, and sums looked up in tables.
//!
//! Three ternary weights take 27 values, so what they make of three activations is one of 27 sums. A table of those (32
//! words of 16 bits) is one register, and `vpermw` looks up 32 output rows in it at once: 96 multiply-adds for a
//! permutation and an addition, without a multiplication. On Zen 4 that alone is no faster than `vpdpbusd` (64
//! multiply-adds a cycle), but the two use different units: with four columns of weights multiplied for every three
//! that are looked up, a step of 7 columns takes a quarter longer than its four multiplied ones alone, which is 1.4
//! times the peak of the dot product. Other ratios (8 columns to 3, 6 to 3, 4 to 4) were slower. Where permutations
//! share their unit with the dot product there is little to gain, so which form runs is measured
//! ([`Kernel::detect`](crate::Kernel::detect)).
//!
//! # A piece of K
//!
//! [`PIECE_WORDS`] words of 16 codes are multiplied at a time, so that their weights for 64 output rows (18 KiB) stay in
//! the level-one cache while all rows of `x` pass, tile by tile of [`TILE_ROWS`]. Of its quads of codes the first ones are
//! multiplied and the last ones, three quads for four lookups, are looked up ([`Plan`]).
//!
//! | | steps `0..lookups` | steps `lookups..dots` |
//! |---|---|---|
//! | weights, lines of 64 bytes | 2 of indices (two groups each), 4 of codes | 4 of codes |
//! | tables, lines | one for each row of the tile | none |
//! | activations, int8 × 4 | one for each row of the tile | the same |
//!
//! An index `i = c₀ + 3·c₁ + 9·c₂` of stored codes `c = w + 1` is 16 bits; those of an even group are in the low halves of
//! the 16 double words, those of the odd group after it in the high ones, and so are the sums, which two shifts take apart.
//!
//! # Why int16 is enough
//!
//! A looked-up sum is at most `3 · 128` in size, and a piece has at most 44 lookups: `44 · 384 = 16,896 < 2^15`. Then they
//! are added to the int32 sums of the multiplied columns.

use std::arch::x86_64::*;

use super::gemv::load;
use crate::{
    format::{GROUP_ROWS, Line},
    gemm::blocking::Lanes,
};

/// Words of 16 codes in a piece of K: a multiple of base three's blocks of 5.
pub(crate) const PIECE_WORDS: usize = 20;

/// Rows of `x` that are multiplied at a time.
pub(crate) const TILE_ROWS: usize = 4;

/// Groups of 16 output rows that are multiplied at a time.
pub(crate) const TILE_GROUPS: usize = 4;

/// Sums of a tile.
pub(crate) type Tile = [[Lanes; TILE_GROUPS]; TILE_ROWS];

/// How the columns of a piece are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Quads that are multiplied: the first ones.
    pub(crate) dots: usize,
    /// Threes of columns that are looked up: what is left. A multiple of 4, and no more than `dots`.
    pub(crate) lookups: usize,
}

impl Plan {
    /// The plan of a piece of so many words.
    pub(crate) fn of(words: usize) -> Plan {
        let quads = 4 * words;
        let units = quads / 7;
        Plan {
            dots: quads - 3 * units,
            lookups: 4 * units,
        }
    }

    /// Lines of weights of one tile.
    pub(crate) fn weight_lines(self) -> usize {
        2 * self.lookups + TILE_GROUPS * self.dots
    }

    /// Tables of one tile.
    pub(crate) fn tables(self) -> usize {
        TILE_ROWS * self.lookups
    }

    /// Quads of activations of one tile.
    pub(crate) fn multiplied(self) -> usize {
        TILE_ROWS * self.dots
    }
}

/// The weights of a tile in the order in which [`multiply`] reads them, from the words of its groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn arrange_weights(plan: Plan, words: [&[Line]; TILE_GROUPS], out: &mut [Line]) {
    assert!(words.iter().all(|w| w.len() == words[0].len()));
    assert_eq!(plan, Plan::of(words[0].len()));
    assert_eq!(out.len(), plan.weight_lines());
    let mask = _mm512_set1_epi8(3);
    let quad = |group: usize, quad: usize| {
        let shift = _mm_cvtsi32_si128(2 * (quad % 4) as i32);
        _mm512_and_si512(_mm512_srl_epi32(load(&words[group][quad / 4]), shift), mask)
    };
    // The factors of a quad's four codes in the indices that it is part of, first code in the lowest byte.
    let factors = |bytes: [u8; 4]| _mm512_set1_epi32(i32::from_le_bytes(bytes));
    let first = [
        factors([1, 3, 9, 0]),
        factors([0, 0, 0, 1]),
        factors([0, 0, 1, 3]),
        factors([0, 1, 3, 9]),
    ];
    let second = [factors([3, 9, 0, 0]), factors([9, 0, 0, 0])];
    let (with_lookups, without) = out.split_at_mut(6 * plan.lookups);
    let (units, _) = with_lookups.as_chunks_mut::<24>();
    for (unit, lines) in units.iter_mut().enumerate() {
        let at = plan.dots + 3 * unit;
        let mut indices = [[_mm512_setzero_si512(); 2]; 4];
        for pair in 0..2 {
            // The odd group first: its indices are shifted up before the even group's are added below them.
            for group in [2 * pair + 1, 2 * pair] {
                let q = [quad(group, at), quad(group, at + 1), quad(group, at + 2)];
                for (i, index) in indices.iter_mut().enumerate() {
                    let index = &mut index[pair];
                    *index = _mm512_slli_epi32::<16>(*index);
                    *index = match i {
                        0 => _mm512_dpbusd_epi32(*index, q[0], first[0]),
                        1 => _mm512_dpbusd_epi32(
                            _mm512_dpbusd_epi32(*index, q[0], first[1]),
                            q[1],
                            second[0],
                        ),
                        2 => _mm512_dpbusd_epi32(
                            _mm512_dpbusd_epi32(*index, q[1], first[2]),
                            q[2],
                            second[1],
                        ),
                        _ => _mm512_dpbusd_epi32(*index, q[2], first[3]),
                    };
                }
            }
        }
        for (i, lines) in lines.as_chunks_mut::<6>().0.iter_mut().enumerate() {
            store(indices[i][0], &mut lines[0]);
            store(indices[i][1], &mut lines[1]);
            for group in 0..TILE_GROUPS {
                store(quad(group, 4 * unit + i), &mut lines[2 + group]);
            }
        }
    }
    for (step, lines) in without
        .as_chunks_mut::<TILE_GROUPS>()
        .0
        .iter_mut()
        .enumerate()
    {
        for (group, line) in lines.iter_mut().enumerate() {
            store(quad(group, plan.lookups + step), line);
        }
    }
}

/// The tables and the multiplied activations of one row of a tile, each [`TILE_ROWS`] apart, from the row's codes; returns
/// the sum of the codes that are looked up.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn arrange_row(
    plan: Plan,
    codes: &[i8],
    row: usize,
    tables: &mut [Line],
    dots: &mut [i32],
) -> i32 {
    assert_eq!(codes.len(), 4 * plan.dots + 3 * plan.lookups);
    assert_eq!(tables.len(), plan.tables());
    assert_eq!(dots.len(), plan.multiplied());
    let (multiplied, looked_up) = codes.split_at(4 * plan.dots);
    let dots = dots.iter_mut().skip(row).step_by(TILE_ROWS);
    for (out, codes) in dots.zip(multiplied.as_chunks::<4>().0) {
        let [a, b, c, d] = *codes;
        *out = i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]);
    }
    let (ab, c) = (load(&SIGNS[0]), load(&SIGNS[1]));
    // SAFETY: an array of 32 bytes.
    let order = unsafe { _mm256_loadu_si256(PAIRS.as_ptr().cast()) };
    let mut tables = tables.iter_mut().skip(row).step_by(TILE_ROWS);
    let mut total = _mm_setzero_si128();
    for codes in looked_up.as_chunks::<12>().0 {
        // SAFETY: the mask reads the 12 bytes of the codes.
        let codes = unsafe { _mm_maskz_loadu_epi8(0x0fff, codes.as_ptr()) };
        total = _mm_dpbusd_epi32(total, _mm_set1_epi8(1), codes);
        // Of each three codes (a, b, c) the bytes a b a b c 0 c 0, made unsigned: the 0 becomes 128.
        let pairs =
            _mm256_maskz_permutexvar_epi8(0x5f5f_5f5f, order, _mm256_castsi128_si256(codes));
        let pairs = _mm256_xor_si256(pairs, _mm256_set1_epi8(-128));
        let mut halves = [0i32; 8];
        // SAFETY: an array of 32 bytes.
        unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), pairs) };
        for half in halves.as_chunks::<2>().0 {
            let sums = _mm512_add_epi16(
                _mm512_maddubs_epi16(_mm512_set1_epi32(half[0]), ab),
                _mm512_maddubs_epi16(_mm512_set1_epi32(half[1]), c),
            );
            store(sums, tables.next().expect("a table for every three codes"));
        }
    }
    let mut lanes = [0i32; 4];
    // SAFETY: an array of 16 bytes.
    unsafe { _mm_storeu_si128(lanes.as_mut_ptr().cast(), total) };
    lanes.iter().sum()
}

/// `sums += Σ stored · x` of a tile and a piece, or `=` for the first one, where `lookup_sums` are `Σ x` of its looked-up
/// columns: these are summed as `Σ w · x`, which is less by as much.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
pub(crate) fn multiply(
    plan: Plan,
    weights: &[Line],
    tables: &[Line],
    dots: &[i32],
    lookup_sums: [i32; TILE_ROWS],
    first: bool,
    sums: &mut Tile,
) {
    assert_eq!(weights.len(), plan.weight_lines());
    assert_eq!(tables.len(), plan.tables());
    assert_eq!(dots.len(), plan.multiplied());
    assert!(plan.lookups <= plan.dots);
    let mut looked_up = [[_mm512_setzero_si512(); 2]; TILE_ROWS];
    let mut acc = [[_mm512_setzero_si512(); TILE_GROUPS]; TILE_ROWS];
    let (both, rest) = weights.split_at(6 * plan.lookups);
    let (dots, dots_rest) = dots.split_at(TILE_ROWS * plan.lookups);
    let tables = tables.as_chunks::<TILE_ROWS>().0;
    let dots = dots.as_chunks::<TILE_ROWS>().0;
    for ((weights, tables), x) in both.as_chunks::<6>().0.iter().zip(tables).zip(dots) {
        let indices = [load(&weights[0]), load(&weights[1])];
        for r in 0..TILE_ROWS {
            let table = load(&tables[r]);
            for p in 0..2 {
                let sums = _mm512_permutexvar_epi16(indices[p], table);
                looked_up[r][p] = _mm512_add_epi16(looked_up[r][p], sums);
            }
        }
        let codes = weights.last_chunk().expect("four lines after two");
        add_quads(&mut acc, codes, x);
    }
    let rest = rest.as_chunks::<TILE_GROUPS>().0;
    for (weights, x) in rest.iter().zip(dots_rest.as_chunks::<TILE_ROWS>().0) {
        add_quads(&mut acc, weights, x);
    }
    let kept = if first { 0 } else { 0xffff };
    for r in 0..TILE_ROWS {
        let lookup_sum = _mm512_set1_epi32(lookup_sums[r]);
        for g in 0..TILE_GROUPS {
            let pair = looked_up[r][g / 2];
            let words = match g % 2 {
                0 => _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(pair)),
                _ => _mm512_srai_epi32::<16>(pair),
            };
            let piece = _mm512_add_epi32(_mm512_add_epi32(words, lookup_sum), acc[r][g]);
            let out: *mut i32 = sums[r][g].0.as_mut_ptr();
            // SAFETY: lanes are 64 bytes, aligned to 64.
            unsafe {
                let before = _mm512_maskz_load_epi32(kept, out);
                _mm512_store_si512(out.cast(), _mm512_add_epi32(before, piece));
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn add_quads(
    acc: &mut [[__m512i; TILE_GROUPS]; TILE_ROWS],
    codes: &[Line; TILE_GROUPS],
    x: &[i32; TILE_ROWS],
) {
    for r in 0..TILE_ROWS {
        let x = _mm512_set1_epi32(x[r]);
        for g in 0..TILE_GROUPS {
            acc[r][g] = _mm512_dpbusd_epi32(acc[r][g], load(&codes[g]), x);
        }
    }
}

/// Where the bytes of [`arrange_row`]'s pairs come from; the places of a 0 are masked.
const PAIRS: [u8; 32] = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 4 {
        let (a, b, c) = (3 * i as u8, 3 * i as u8 + 1, 3 * i as u8 + 2);
        let bytes = [a, b, a, b, c, 0, c, 0];
        let mut j = 0;
        while j < 8 {
            order[8 * i + j] = bytes[j];
            j += 1;
        }
        i += 1;
    }
    order
};

/// For every index the weights of (a, b), and of (c, 128): the second makes up for the 128 that each of three unsigned
/// activations is too large by.
static SIGNS: [Line; 2] = {
    let mut tables = [Line([0; GROUP_ROWS]); 2];
    let mut index = 0;
    while index < 27 {
        let w = [
            (index % 3) as i8 - 1,
            (index / 3 % 3) as i8 - 1,
            (index / 9) as i8 - 1,
        ];
        let words = [
            u16::from_le_bytes([w[0] as u8, w[1] as u8]),
            u16::from_le_bytes([w[2] as u8, -(w[0] + w[1] + w[2]) as u8]),
        ];
        let mut t = 0;
        while t < 2 {
            tables[t].0[index / 2] |= (words[t] as u32) << (16 * (index % 2));
            t += 1;
        }
        index += 1;
    }
    tables
};

#[inline]
#[target_feature(enable = "avx512f")]
fn store(value: __m512i, line: &mut Line) {
    // SAFETY: a line is 64 bytes, aligned to 64.
    unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_cover_every_column() {
        for words in 0..=PIECE_WORDS {
            let Plan { dots, lookups } = Plan::of(words);
            assert_eq!(4 * dots + 3 * lookups, 16 * words, "{words} words");
            assert!(lookups <= dots && lookups.is_multiple_of(4));
            assert!(lookups * 3 * 128 < 1 << 15);
        }
    }
}
