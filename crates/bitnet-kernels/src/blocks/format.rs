//! What a block holds, and in which lines of its group.

use std::fmt;

use super::{BLOCK, QUADS};

/// How the weights of a block are stored.
///
/// | | codes | for each block | bits a weight | from |
/// |---|---|---|---|---|
/// | `Int8` | −128 … 127 | a scale | 8.5 | Q8_0 |
/// | `Int4` | −8 … 7 | a scale | 4.5 | Q4_0 |
/// | `Int4Min` | 0 … 15 | a scale and a minimum | 5 | Q4_1 |
/// | `Int8Halves` | −128 … 127 | a scale in f32 for each 16 | 10 | Q6_K |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// `w = d · q`, q of 8 bits.
    Int8,
    /// `w = d · q`, q of 4 bits.
    Int4,
    /// `w = d · q + m`, q of 4 bits without a sign.
    Int4Min,
    /// `w = d · q`, q of 8 bits, d an f32 of each half of a block.
    Int8Halves,
}

impl BlockFormat {
    /// Every format.
    pub const ALL: [BlockFormat; 4] = [
        BlockFormat::Int8,
        BlockFormat::Int4,
        BlockFormat::Int4Min,
        BlockFormat::Int8Halves,
    ];

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            BlockFormat::Int8 => "int8",
            BlockFormat::Int4 => "int4",
            BlockFormat::Int4Min => "int4-min",
            BlockFormat::Int8Halves => "int8-halves",
        }
    }

    /// The smallest and the largest code.
    pub fn codes(self) -> (i8, i8) {
        match self {
            BlockFormat::Int8 | BlockFormat::Int8Halves => (i8::MIN, i8::MAX),
            BlockFormat::Int4 => (-8, 7),
            BlockFormat::Int4Min => (0, 15),
        }
    }

    /// Weights that share a scale.
    pub fn per_scale(self) -> usize {
        match self {
            BlockFormat::Int8Halves => BLOCK / 2,
            _ => BLOCK,
        }
    }

    /// Whether blocks have a minimum.
    pub fn has_minimums(self) -> bool {
        self == BlockFormat::Int4Min
    }

    /// Lines of a group with so many blocks a row.
    pub(super) fn lines(self, blocks: usize) -> usize {
        match self {
            BlockFormat::Int8 => QUADS * blocks + blocks.div_ceil(2),
            BlockFormat::Int4 => QUADS / 2 * blocks + blocks.div_ceil(2),
            BlockFormat::Int4Min => (QUADS / 2 + 1) * blocks,
            BlockFormat::Int8Halves => (QUADS + 2) * blocks,
        }
    }

    /// The line of the scales of a block, and that of its first codes. 16-bit scales of even blocks are the first half of
    /// their line, those of odd ones (and all minimums) the second; the f32 scales of halves stand in front of 4 lines each.
    #[inline(always)]
    pub(crate) const fn place(self, block: usize) -> (usize, usize) {
        let (pair, odd) = (block / 2, block % 2);
        match self {
            BlockFormat::Int8 => {
                let scales = (2 * QUADS + 1) * pair;
                (scales, scales + 1 + QUADS * odd)
            }
            BlockFormat::Int4 => {
                let scales = (QUADS + 1) * pair;
                (scales, scales + 1 + QUADS / 2 * odd)
            }
            BlockFormat::Int4Min => ((QUADS / 2 + 1) * block, (QUADS / 2 + 1) * block + 1),
            BlockFormat::Int8Halves => ((QUADS + 2) * block, (QUADS + 2) * block + 1),
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
