//! Prepared products with 256-bit vectors: 8 output rows a register, two registers a line.
//!
//! A quad of codes meets four broadcast activations; what differs between processors is only how the products are
//! added ([`panel_functions`] takes it as `dot`, `widen` and `WIDEN`):
//!
//! - AVX2 multiplies with `vpmaddubsw` and adds in int16. A code is at most 3 (2 for legal words) and |x| at most 128, so
//!   a lane of one quad is at most `2 · 3 · 128 = 768` in size, a word's four quads 3072, and 8 words 24576 ≤ 32767. Then
//!   `vpmaddwd` by ones adds neighbours to int32. Neither `vpmaddubsw`'s saturation nor a wrap can occur.
//! - AVX-VNNI has `vpdpbusd`, which adds in int32 at once.
//!
//! A block of 16 rows of `w` and 4 of `x` has 8 accumulators; words, codes, mask and activations take the other 8
//! registers. Base three is decoded to words by the averages that `base_three` describes: with `s` a byte, `3s + 2` is the
//! byte of the next digit. That is 9 instructions a digit where AVX-512 looks four up with 4, so this layout pays only
//! for what it saves in memory.

/// Defines `two_bit`, `base_three`, `decode` and `gemm` for a target feature.
macro_rules! panel_functions {
    ($features:literal, $words:expr, $dot:ident, $widen:ident) => {
        use $crate::{
            base_three::{BLOCK_LINES, Blocks},
            layout::Line,
            panel::{Lanes, Sixteen},
        };

        /// Rows of `x` at most in one call of [`gemm`].
        pub(crate) const ROWS: usize = 4;

        /// Blocks of base three that a product of one row decodes at a time.
        const BLOCKS: usize = 16;

        /// Words between two widenings.
        const WIDEN: usize = $words;

        /// `Σ stored · x` of each group of `words` lines with one row of codes.
        #[target_feature(enable = $features)]
        pub(crate) fn two_bit(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
            assert_eq!(lines.len(), words * sums.len());
            let x = x.as_chunks::<16>().0;
            for (group, sums) in sums.iter_mut().enumerate() {
                *sums = Lanes::ZERO;
                let lines = &lines[group * words..][..words];
                add_block::<1>(lines, x, std::array::from_mut(sums));
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
                    add_block::<1>(words, x, std::array::from_mut(sums));
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
            for (g, words) in groups.into_iter().enumerate() {
                let mut block = [Lanes::ZERO; ROWS];
                match rows {
                    1 => add_block::<1>(words, x, block.first_chunk_mut().expect("4 rows")),
                    2 => add_block::<2>(words, x, block.first_chunk_mut().expect("4 rows")),
                    3 => add_block::<3>(words, x, block.first_chunk_mut().expect("4 rows")),
                    4 => add_block::<4>(words, x, &mut block),
                    rows => unreachable!("{rows} rows in a block"),
                }
                for (sums, block) in sums.iter_mut().zip(&block[..rows]) {
                    sums[g] = *block;
                }
            }
        }

        /// Adds the products of a group of words with `R` rows of `x`.
        #[inline]
        #[target_feature(enable = $features)]
        fn add_block<const R: usize>(words: &[Line], x: &[Sixteen], sums: &mut [Lanes; R]) {
            let x = x.as_chunks::<R>().0;
            assert_eq!(words.len(), x.len());
            let mask = _mm256_set1_epi8(3);
            for (words, x) in words.chunks(WIDEN).zip(x.chunks(WIDEN)) {
                let mut acc = [[_mm256_setzero_si256(); 2]; R];
                for (line, x) in words.iter().zip(x) {
                    let [mut a, mut b] = load(line);
                    for quad in 0..4 {
                        let codes = [_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)];
                        for r in 0..R {
                            let x = broadcast(&x[r], quad);
                            acc[r][0] = $dot(acc[r][0], codes[0], x);
                            acc[r][1] = $dot(acc[r][1], codes[1], x);
                        }
                        (a, b) = (_mm256_srli_epi32::<2>(a), _mm256_srli_epi32::<2>(b));
                    }
                }
                for r in 0..R {
                    let (halves, _) = sums[r].0.as_chunks_mut::<8>();
                    for (half, acc) in halves.iter_mut().zip(acc[r]) {
                        let half = half.as_mut_ptr().cast::<__m256i>();
                        // SAFETY: half is 8 int32: 32 bytes.
                        unsafe {
                            let total = _mm256_add_epi32(_mm256_loadu_si256(half), $widen(acc));
                            _mm256_storeu_si256(half, total);
                        }
                    }
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

use std::arch::x86_64::*;

panel_functions!("avx2", 8, dot, widen);

/// Adds `Σ codes · x` of neighbours in int16.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(acc: __m256i, codes: __m256i, x: __m256i) -> __m256i {
    _mm256_add_epi16(acc, _mm256_maddubs_epi16(codes, x))
}

/// Neighbours to int32.
#[inline]
#[target_feature(enable = "avx2")]
fn widen(acc: __m256i) -> __m256i {
    _mm256_madd_epi16(acc, _mm256_set1_epi16(1))
}
