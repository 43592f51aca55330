//! Prepared products with 256-bit vectors: 8 output rows a register, two registers a line.
//!
//! A quad of codes meets four broadcast activations; what differs between processors is only how the products are
//! added ([`panel_functions`] takes it as `dot`, `widen` and `WIDEN`):
//!
//! - AVX2 multiplies with `vpmaddubsw` and adds in int16. A code is at most 3 (2 for legal words) and |x| at most 128, so
//!   a lane of one quad is at most `2 · 3 · 128 = 768` in size, a word's four quads 3072, and 10 words 30720 ≤ 32767. Then
//!   `vpmaddwd` by ones adds neighbours to int32. Neither `vpmaddubsw`'s saturation nor a wrap can occur.
//! - AVX-VNNI has `vpdpbusd`, which adds in int32 at once, but whose result is ready only 4 or 5 cycles later: one row of
//!   `x` has its quads added in four sums of their own.
//!
//! A block of 16 rows of `w` and 4 of `x` has 8 accumulators; words, codes, mask and activations take the other 8
//! registers. (AVX-VNNI needs none for a product yet to be added, and takes 6 rows.) Shifting and masking a quad takes 4
//! instructions beside the block's 8 or 16, so a GEMM of more than 4 rows does it once: the codes of a piece of K go to a
//! buffer in the nearest cache, and the blocks read them there.
//!
//! Base three is decoded to words by the averages that `base_three` describes: with `s` a byte, `3s + 2` is the
//! byte of the next digit. That is 9 instructions a digit where AVX-512 looks four up with 4, so this layout pays only
//! for what it saves in memory.

/// Defines `two_bit`, `base_three`, `decode` and `gemm` for a target feature: with the words between two widenings, the rows
/// of a block, and the sums in turn of a product with one row.
macro_rules! panel_functions {
    ($features:literal, $words:expr, $rows:expr, $chains:expr, $dot:ident, $widen:ident) => {
        use $crate::{
            format::Line,
            gemm::base_three::{BLOCK_LINES, Blocks},
            gemm::blocking::{Lanes, Sixteen},
        };

        /// Rows of `x` at most in one call of [`gemm`]: as many as share unpacked codes.
        pub(crate) const ROWS: usize = 5 * BLOCK_ROWS;

        /// Rows of `x` whose sums are in registers.
        const BLOCK_ROWS: usize = $rows;

        /// Rows of `x` for which unpacking does not pay.
        const FEW_ROWS: usize = 4;

        /// Words whose codes are unpacked at a time, to 10 KiB.
        const UNPACKED: usize = 40;

        /// The codes of one quad of a group.
        type Codes = [__m256i; 2];

        /// Blocks of base three that a product of one row decodes at a time.
        const BLOCKS: usize = 16;

        /// Words between two widenings.
        const WIDEN: usize = $words;

        /// Sums in turn of each half of a group in a product with one row.
        const CHAINS: usize = $chains;

        /// [`PanelLoops::two_bit`](crate::isa::PanelLoops).
        #[target_feature(enable = $features)]
        pub(crate) fn two_bit(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
            let x = x.as_chunks::<16>().0;
            for (lines, sums) in lines.chunks_exact(words).zip(sums) {
                *sums = Lanes::ZERO;
                add_block::<1, CHAINS>(lines, x, std::array::from_mut(sums));
            }
        }

        /// As [`two_bit`], for groups in base three: decoded a block at a time.
        #[target_feature(enable = $features)]
        pub(crate) fn base_three(lines: &[Line], blocks: Blocks, x: &[i8], sums: &mut [Lanes]) {
            let per_group = blocks.lines();
            assert_eq!(lines.len(), per_group * sums.len());
            let x = x.as_chunks::<16>().0;
            let mut words = [Line::ZERO_WEIGHTS; BLOCKS * (BLOCK_LINES + 1)];
            for (group, sums) in sums.iter_mut().enumerate() {
                *sums = Lanes::ZERO;
                let lines = &lines[group * per_group..][..per_group];
                // Several blocks at a time: 5 KiB of words stay in the nearest cache, and a start costs little.
                let parts = lines.chunks(BLOCKS * BLOCK_LINES);
                for (lines, x) in parts.zip(x.chunks(BLOCKS * (BLOCK_LINES + 1))) {
                    let words = &mut words[..x.len()];
                    decode(lines, words);
                    add_block::<1, CHAINS>(words, x, std::array::from_mut(sums));
                }
            }
        }

        /// `sums[r][g] = Σ stored · x` of two groups of words with `rows` rows, sixteen codes of each in turn.
        #[target_feature(enable = $features)]
        pub(crate) fn gemm(
            groups: [&[Line]; 2],
            rows: usize,
            x: &[Sixteen],
            sums: &mut [[Lanes; 2]],
        ) {
            if rows <= FEW_ROWS {
                return few(groups, rows, x, sums);
            }
            assert_eq!(x.len(), groups[0].len() * rows);
            let mut codes = [[_mm256_setzero_si256(); 2]; 4 * UNPACKED];
            for (g, words) in groups.into_iter().enumerate() {
                sums[..rows]
                    .iter_mut()
                    .for_each(|sums| sums[g] = Lanes::ZERO);
                for (words, x) in words.chunks(UNPACKED).zip(x.chunks(UNPACKED * rows)) {
                    let codes = &mut codes[..4 * words.len()];
                    unpack(words, codes);
                    for first in (0..rows).step_by(BLOCK_ROWS) {
                        let sums = &mut sums[first..rows];
                        match sums.len().min(BLOCK_ROWS) {
                            1 => add_unpacked::<1>(codes, x, rows, first, g, sums),
                            2 => add_unpacked::<2>(codes, x, rows, first, g, sums),
                            3 => add_unpacked::<3>(codes, x, rows, first, g, sums),
                            4 => add_unpacked::<4>(codes, x, rows, first, g, sums),
                            5 => add_unpacked::<5>(codes, x, rows, first, g, sums),
                            _ => add_unpacked::<BLOCK_ROWS>(codes, x, rows, first, g, sums),
                        }
                    }
                }
            }
        }

        /// [`gemm`] of one block.
        #[target_feature(enable = $features)]
        fn few(groups: [&[Line]; 2], rows: usize, x: &[Sixteen], sums: &mut [[Lanes; 2]]) {
            for (g, words) in groups.into_iter().enumerate() {
                let mut block = [Lanes::ZERO; FEW_ROWS];
                match rows {
                    1 => add_block::<1, 1>(words, x, block.first_chunk_mut().expect("4 rows")),
                    2 => add_block::<2, 1>(words, x, block.first_chunk_mut().expect("4 rows")),
                    3 => add_block::<3, 1>(words, x, block.first_chunk_mut().expect("4 rows")),
                    4 => add_block::<4, 1>(words, x, &mut block),
                    rows => unreachable!("{rows} rows in a block"),
                }
                for (sums, block) in sums.iter_mut().zip(&block[..rows]) {
                    sums[g] = *block;
                }
            }
        }

        /// The codes of each quad of some words.
        #[inline]
        #[target_feature(enable = $features)]
        fn unpack(words: &[Line], codes: &mut [Codes]) {
            let mask = _mm256_set1_epi8(3);
            for (line, codes) in words.iter().zip(codes.as_chunks_mut::<4>().0) {
                let [mut a, mut b] = load(line);
                for codes in codes {
                    *codes = [_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)];
                    (a, b) = (_mm256_srli_epi32::<2>(a), _mm256_srli_epi32::<2>(b));
                }
            }
        }

        /// Adds the products of unpacked codes of the group `g` with the first `R` of `sums`: those of the rows of `x` from
        /// `first` on.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_unpacked<const R: usize>(
            codes: &[Codes],
            x: &[Sixteen],
            rows: usize,
            first: usize,
            g: usize,
            sums: &mut [[Lanes; 2]],
        ) {
            let codes = codes.as_chunks::<4>().0;
            // In chunks of `rows` it would take a division for every few words.
            let mut x = x;
            for codes in codes.chunks(WIDEN) {
                let mut acc = [[_mm256_setzero_si256(); 2]; R];
                for quads in codes {
                    let (word, rest) = x.split_at(rows);
                    x = rest;
                    let x = word[first..].first_chunk::<R>().expect("R rows of codes");
                    for (quad, codes) in quads.iter().enumerate() {
                        for r in 0..R {
                            let x = broadcast(&x[r], quad);
                            acc[r][0] = $dot(acc[r][0], codes[0], x);
                            acc[r][1] = $dot(acc[r][1], codes[1], x);
                        }
                    }
                }
                for (sums, acc) in sums.iter_mut().zip(acc) {
                    add(acc, &mut sums[g]);
                }
            }
        }

        /// Adds the products of a group of words with `R` rows of `x`, quads in `C` sums in turn.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_block<const R: usize, const C: usize>(
            words: &[Line],
            x: &[Sixteen],
            sums: &mut [Lanes; R],
        ) {
            let x = x.as_chunks::<R>().0;
            assert_eq!(words.len(), x.len());
            let mask = _mm256_set1_epi8(3);
            for (words, x) in words.chunks(WIDEN).zip(x.chunks(WIDEN)) {
                let mut acc = [[[_mm256_setzero_si256(); 2]; R]; C];
                for (line, x) in words.iter().zip(x) {
                    let [mut a, mut b] = load(line);
                    for quad in 0..4 {
                        let codes = [_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)];
                        let acc = &mut acc[quad % C];
                        for r in 0..R {
                            let x = broadcast(&x[r], quad);
                            acc[r][0] = $dot(acc[r][0], codes[0], x);
                            acc[r][1] = $dot(acc[r][1], codes[1], x);
                        }
                        (a, b) = (_mm256_srli_epi32::<2>(a), _mm256_srli_epi32::<2>(b));
                    }
                }
                for acc in acc {
                    for (sums, acc) in sums.iter_mut().zip(acc) {
                        add(acc, sums);
                    }
                }
            }
        }

        /// Adds what has been summed up to a group's sums.
        #[inline]
        #[target_feature(enable = $features)]
        fn add(acc: [__m256i; 2], sums: &mut Lanes) {
            for (half, acc) in sums.0.as_chunks_mut::<8>().0.iter_mut().zip(acc) {
                let half = half.as_mut_ptr().cast::<__m256i>();
                // SAFETY: half is 8 int32: 32 bytes.
                unsafe {
                    let total = _mm256_add_epi32(_mm256_loadu_si256(half), $widen(acc));
                    _mm256_storeu_si256(half, total);
                }
            }
        }

        /// The lines of a group in base three to words.
        #[target_feature(enable = $features)]
        pub(crate) fn decode(lines: &[Line], words: &mut [Line]) {
            let (two, top) = (_mm256_set1_epi8(2), _mm256_set1_epi8(0xc0u8 as i8));
            let blocks = lines.chunks(BLOCK_LINES);
            for (lines, words) in blocks.zip(words.chunks_mut(BLOCK_LINES + 1)) {
                let mut last = [_mm256_setzero_si256(); 2];
                for (line, word) in lines.iter().zip(&mut *words) {
                    let mut quads = [_mm256_setzero_si256(); 2];
                    for (half, mut byte) in load(line).into_iter().enumerate() {
                        let first = _mm256_and_si256(first_digits(byte), top);
                        last[half] = _mm256_or_si256(_mm256_srli_epi32::<2>(last[half]), first);
                        for _ in 0..4 {
                            // Every digit enters at bits 7:6 and moves down as the next ones come.
                            let three = _mm256_add_epi8(_mm256_add_epi8(byte, byte), byte);
                            byte = _mm256_add_epi8(three, two);
                            let digit = _mm256_and_si256(first_digits(byte), top);
                            let moved = _mm256_srli_epi32::<2>(quads[half]);
                            quads[half] = _mm256_or_si256(moved, digit);
                        }
                    }
                    store(quads, word);
                }
                let unused = _mm_cvtsi32_si128(2 * (BLOCK_LINES - lines.len()) as i32);
                let last = [
                    _mm256_srl_epi32(last[0], unused),
                    _mm256_srl_epi32(last[1], unused),
                ];
                store(last, &mut words[lines.len()]);
            }
        }

        /// The digit in front of each byte, at bits 7:6.
        #[inline]
        #[target_feature(enable = $features)]
        fn first_digits(bytes: __m256i) -> __m256i {
            _mm256_avg_epu8(bytes, _mm256_avg_epu8(bytes, _mm256_setzero_si256()))
        }

        /// Four activations in every lane.
        #[inline]
        #[target_feature(enable = $features)]
        fn broadcast(x: &Sixteen, quad: usize) -> __m256i {
            let x = &x[4 * quad..][..4];
            // SAFETY: x is 4 bytes.
            _mm256_set1_epi32(unsafe { x.as_ptr().cast::<i32>().read_unaligned() })
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn load(line: &Line) -> [__m256i; 2] {
            let line = line.0.as_ptr().cast::<__m256i>();
            // SAFETY: a line is 64 bytes, aligned to 64.
            unsafe { [_mm256_load_si256(line), _mm256_load_si256(line.add(1))] }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn store(words: [__m256i; 2], line: &mut Line) {
            let line = line.0.as_mut_ptr().cast::<__m256i>();
            // SAFETY: a line is 64 bytes, aligned to 64.
            unsafe {
                _mm256_store_si256(line, words[0]);
                _mm256_store_si256(line.add(1), words[1]);
            }
        }
    };
}
pub(crate) use panel_functions;

use std::arch::{asm, x86_64::*};

panel_functions!("avx2", 10, 4, 1, dot, widen);

/// Adds `Σ codes · x` of neighbours in int16.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(acc: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    let mut sum = _mm256_add_epi16(acc, _mm256_maddubs_epi16(codes, x));
    // The compiler would add products to each other before it adds them to the sum, which takes more registers than there
    // are. What it cannot see through keeps the order, and is no instruction.
    // SAFETY: it does nothing.
    unsafe {
        asm!("/* {0} */", inlateout(ymm_reg) sum, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// Neighbours to int32.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(acc: __m256i) -> __m256i {
    _mm256_madd_epi16(acc, _mm256_set1_epi16(1))
}
