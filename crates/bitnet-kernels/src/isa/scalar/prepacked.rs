//! Prepared products in plain loops: 16 sums side by side, which a compiler can keep in vectors.

use crate::{
    format::{GROUP_ROWS, Line},
    gemm::base_three::{self, Blocks},
    gemm::blocking::{Lanes, Sixteen},
};

/// [`PanelLoops::two_bit`](crate::isa::PanelLoops).
pub(crate) fn two_bit(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
    for (lines, sums) in lines.chunks_exact(words).zip(sums) {
        *sums = group_product(lines, x);
    }
}

/// As [`two_bit`], for groups in base three: decoded a block at a time.
pub(crate) fn base_three(lines: &[Line], blocks: Blocks, x: &[i8], sums: &mut [Lanes]) {
    const LINES: usize = base_three::BLOCK_LINES;
    let per_group = blocks.lines();
    for (group, sums) in sums.iter_mut().enumerate() {
        *sums = Lanes([0; GROUP_ROWS]);
        let lines = &lines[group * per_group..][..per_group];
        for (lines, x) in lines.chunks(LINES).zip(x.chunks(16 * (LINES + 1))) {
            let mut words = [Line::ZERO_WEIGHTS; LINES + 1];
            let words = &mut words[..lines.len() + 1];
            base_three::decode_group(lines, words);
            let block = group_product(words, x);
            sums.0.iter_mut().zip(block.0).for_each(|(a, b)| *a += b);
        }
    }
}

/// `sums[r][g] = Σ stored · x` of one or two groups of words with `rows` rows, sixteen codes of each in turn.
pub(crate) fn gemm(groups: [&[Line]; 2], rows: usize, x: &[Sixteen], sums: &mut [[Lanes; 2]]) {
    for (row, sums) in sums.iter_mut().enumerate().take(rows) {
        *sums = groups.map(|words| {
            let mut sums = Lanes([0; GROUP_ROWS]);
            for (line, x) in words.iter().zip(x.iter().skip(row).step_by(rows)) {
                add_line(line, x, &mut sums);
            }
            sums
        });
    }
}

/// `Σ w · x` of each group of `words` lines with one row of codes, by additions and subtractions alone.
pub(crate) fn signed(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]) {
    for (group, sums) in sums.iter_mut().enumerate() {
        *sums = Lanes::ZERO;
        let lines = &lines[group * words..][..words];
        for (line, x) in lines.iter().zip(x.as_chunks::<16>().0) {
            for (sum, word) in sums.0.iter_mut().zip(line.0) {
                for (at, x) in x.iter().enumerate() {
                    match (word >> (8 * (at % 4) + 2 * (at / 4))) & 3 {
                        2 => *sum += i32::from(*x),
                        0 => *sum -= i32::from(*x),
                        _ => {}
                    }
                }
            }
        }
    }
}

fn group_product(words: &[Line], x: &[i8]) -> Lanes {
    let mut sums = Lanes([0; GROUP_ROWS]);
    for (line, x) in words.iter().zip(x.as_chunks::<16>().0) {
        add_line(line, x, &mut sums);
    }
    sums
}

fn add_line(line: &Line, x: &Sixteen, sums: &mut Lanes) {
    for (sum, word) in sums.0.iter_mut().zip(line.0) {
        for (at, x) in x.iter().enumerate() {
            // Quad at / 4, byte at % 4.
            let code = (word >> (8 * (at % 4) + 2 * (at / 4))) & 3;
            *sum += code as i32 * i32::from(*x);
        }
    }
}
