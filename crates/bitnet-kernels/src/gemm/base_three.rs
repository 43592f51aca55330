//! Five weights a byte: 1.6 bits per weight of the 1.585 that a ternary digit holds.
//!
//! # The byte
//!
//! Stored codes `w + 1` are digits in base three. A byte stores the fraction `v / 243` of
//! `v = 81·d₄ + 27·d₀ + 9·d₁ + 3·d₂ + d₃` in units of 1/256, `floor(256·v / 243)`. Multiplying a fraction by three moves
//! its first digit in front of the point, so digits come out from the top without any division (as in llama.cpp's
//! `TQ1_0`): with `b` one more than the byte, `d₄ = 3b >> 8`, then again with `3b mod 256`. The `b / 256` lies above
//! `v / 243` by at most 1/256, which is less than a unit of the last digit, so all five digits are right. `b` first
//! reaches 86 and 171, the thirds of 256, where the byte reaches 85 and 170; there `avg(byte, avg(byte, 0))` of two
//! rounding averages reaches 64 and 128, which is the cheapest way to the first digit in vectors.
//!
//! The digit in front is called d₄ because it is the odd one out: a table over bytes delivers d₀ to d₃ as the four
//! two-bit codes of a word's byte, and those averages deliver the first digit.
//!
//! # Which weight is which digit
//!
//! A line has 4 bytes of each of 16 rows: 16 weights as the quads 0..4 (byte `j` of quad `i` is digit `i` of byte `j`),
//! and one more quad, the digits d₄. Four lines make a block of 80 columns, which decodes to five words, and here every
//! word's quads are in the natural order:
//!
//! ```text
//! line b, byte j, digit i < 4:  column 80·block + 16b + 4i + j        word 5·block + b
//! line b, byte j, digit 4:      column 80·block + 64 + 4b + j         word 5·block + 4, quad b
//! ```
//!
//! The last block has only the `B ≤ 4` lines that its columns need, with its fourth digits from column `16·B` on.

use crate::format::{GROUP_ROWS, Line, TernaryWord};

/// Columns of a line: 4 bytes of 5.
const LINE_COLS: usize = 20;

/// Lines of a whole block, which decode to one word more.
pub(crate) const BLOCK_LINES: usize = 4;

/// Words of a whole block once decoded.
pub(crate) const BLOCK_WORDS: usize = BLOCK_LINES + 1;

/// How the columns of a row are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Blocks of 80 columns.
    pub(crate) full: usize,
    /// Lines of the shorter block after them, 0 if there is none.
    pub(crate) rest: usize,
}

impl Blocks {
    /// The cut of `cols` columns.
    pub(crate) fn of(cols: usize) -> Blocks {
        let block = BLOCK_LINES * LINE_COLS;
        Blocks {
            full: cols / block,
            rest: (cols % block).div_ceil(LINE_COLS),
        }
    }

    /// 64-byte lines of a group.
    pub(crate) fn lines(self) -> usize {
        BLOCK_LINES * self.full + self.rest
    }

    /// Words of a row once decoded.
    pub(crate) fn words(self) -> usize {
        BLOCK_WORDS * self.full + self.rest + usize::from(self.rest > 0)
    }
}

/// `d₀ + 4·d₁ + 16·d₂ + 64·d₃` of every byte: a word's byte. Bytes that stand for no weights decode to something.
pub(crate) static QUADS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut fraction = 3 * (byte + 1) % 256;
        let mut digit = 0;
        while digit < 4 {
            table[byte] |= ((3 * fraction / 256) << (2 * digit)) as u8;
            fraction = 3 * fraction % 256;
            digit += 1;
        }
        byte += 1;
    }
    table
};

/// The first digit of a byte.
#[inline(always)]
pub(crate) fn first_digit(byte: u32) -> u32 {
    (3 * (byte + 1)) >> 8
}

/// One row of canonical words to its lane of the group's lines; legal codes only.
pub(crate) fn encode_row(words: &[u32], cols: usize, lane: usize, lines: &mut [Line]) {
    let blocks = Blocks::of(cols);
    debug_assert_eq!(lines.len(), blocks.lines());
    let word = |index: usize| words.get(index).copied().unwrap_or(TernaryWord::ZERO.0);
    for (block, lines) in lines.chunks_mut(BLOCK_LINES).enumerate() {
        let first = BLOCK_WORDS * block;
        let last = word(first + lines.len());
        for (b, line) in lines.iter_mut().enumerate() {
            line.0[lane] = encode_word(word(first + b), last >> (8 * b));
        }
    }
}

/// Sixteen codes of a word and four of `last`, as four bytes.
#[inline(always)]
fn encode_word(word: u32, last: u32) -> u32 {
    let mut bytes = 0;
    for j in 0..4 {
        // Byte i holds the code of element 4i + j; the product leaves 27·d₀ + 9·d₁ + 3·d₂ + d₃ ≤ 80 in its top byte,
        // below which no sum reaches 256.
        let digits = (word >> (2 * j)) & 0x0303_0303;
        let value = (digits.wrapping_mul(0x1b09_0301) >> 24) + 81 * ((last >> (2 * j)) & 3);
        bytes |= (256 * value / 243) << (8 * j);
    }
    bytes
}

/// The lines of a group to its words: the scalar form of what the kernels do in registers.
pub(crate) fn decode_group(lines: &[Line], words: &mut [Line]) {
    for (lines, words) in lines.chunks(BLOCK_LINES).zip(words.chunks_mut(BLOCK_WORDS)) {
        let (words, last) = words.split_at_mut(lines.len());
        last[0] = Line([0; GROUP_ROWS]);
        for (b, (line, word)) in lines.iter().zip(words).enumerate() {
            for lane in 0..GROUP_ROWS {
                let bytes = line.0[lane].to_le_bytes();
                word.0[lane] = u32::from_le_bytes(bytes.map(|byte| QUADS[usize::from(byte)]));
                let firsts = bytes.map(|byte| first_digit(u32::from(byte)) as u8);
                last[0].0[lane] |= u32::from_le_bytes(firsts) << (2 * b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_gives_its_digits_back() {
        for value in 0..243u32 {
            let byte = 256 * value / 243;
            let quads = u32::from(QUADS[byte as usize]);
            let digits = [0, 2, 4, 6].map(|shift| (quads >> shift) & 3);
            let back = 81 * first_digit(byte) + 27 * digits[0] + 9 * digits[1] + 3 * digits[2];
            assert_eq!(back + digits[3], value);
            let average = |a: u32, b: u32| (a + b).div_ceil(2);
            assert_eq!(average(byte, average(byte, 0)) >> 6, first_digit(byte));
        }
    }

    #[test]
    fn columns_are_cut_without_gaps() {
        assert_eq!((Blocks::of(0).lines(), Blocks::of(0).words()), (0, 0));
        assert_eq!((Blocks::of(80).lines(), Blocks::of(80).words()), (4, 5));
        assert_eq!((Blocks::of(81).lines(), Blocks::of(81).words()), (5, 7));
        for cols in 0..400 {
            let blocks = Blocks::of(cols);
            assert!(20 * blocks.lines() >= cols && 20 * blocks.lines() < cols + 20);
            assert!(16 * blocks.words() >= cols);
        }
    }
}
