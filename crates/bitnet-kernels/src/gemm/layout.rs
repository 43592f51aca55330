//! How weights lie in memory while a model runs: two layouts, both made of groups of 16 rows.
//!
//! The canonical words (`packed`) are row-major, so a product over one row ends in a horizontal sum and reads 16 rows as
//! 16 streams. At run time the rows stand side by side instead: a [`Line`] is 64 bytes, 4 bytes of each of 16 rows, and
//! a group is one sequence of lines. A vector register then holds 16 rows (or 8, or 4), four activations broadcast to
//! all lanes meet four codes of every row, sums stay in their lanes, and memory is read front to back.
//!
//! | layout | a line holds, of each of 16 rows | bits per weight |
//! |---|---|---|
//! | [`TwoBit`](Layout::TwoBit) | one canonical word: 16 weights | 2 |
//! | [`BaseThree`](Layout::BaseThree) | 4 bytes of 5 weights each (`base_three`): 20 weights | 1.6 |
//!
//! # Which activation meets which code
//!
//! Both are multiplied as *words* of four *quads*: `(word >> 2i) & 3` in byte `j` of lane `r` is the stored code `w + 1`
//! of the row's element `4i + j` **in the order of the layout**, and the four activations of that quad are consecutive
//! bytes. For `BaseThree` this is the natural order. For `TwoBit` bits `2i` of byte `j` hold element `4j + i`, so each 16
//! activations are transposed as a 4 × 4 block, once a row of `x`.

use std::{fmt, str::FromStr};

use super::base_three;
use crate::{
    Error, Granularity, Kernel, PackedView,
    format::{GROUP_ROWS, Line, TernaryWord, words_per_row},
};

impl Line {
    /// Sixteen rows of weights 0.
    pub(crate) const ZERO_WEIGHTS: Line = Line([TernaryWord::ZERO.0; GROUP_ROWS]);
}

/// Puts the canonical words of the 16 rows of a group side by side, weights 0 where there is no row.
pub(crate) fn interleave(w: PackedView<'_>, group: usize, lines: &mut [Line]) {
    let first = GROUP_ROWS * group;
    let mut rows = [&[][..]; GROUP_ROWS];
    for (row, index) in rows.iter_mut().zip(first..w.rows) {
        *row = &w.row_words(index)[..lines.len()];
    }
    if first + GROUP_ROWS > w.rows {
        lines.fill(Line::ZERO_WEIGHTS);
        for (lane, row) in rows.into_iter().enumerate() {
            for (line, word) in lines.iter_mut().zip(row) {
                line.0[lane] = *word;
            }
        }
        return;
    }
    for (at, line) in lines.iter_mut().enumerate() {
        for (word, row) in line.0.iter_mut().zip(rows) {
            *word = row[at];
        }
    }
}

/// How the weights of a [`PrepackedTernary`](crate::PrepackedTernary) are stored.
///
/// ```
/// use bitnet_kernels::Layout;
/// assert_eq!("base-three".parse::<Layout>(), Ok(Layout::BaseThree));
/// assert_eq!(Layout::TwoBit.to_string(), "two-bit");
/// assert!("three-bit".parse::<Layout>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Four weights a byte: the cheapest to decode.
    TwoBit,
    /// Five weights a byte: a fifth less to read, at more instructions a weight.
    BaseThree,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 2] = [Layout::TwoBit, Layout::BaseThree];

    /// The layout in which a kernel decodes a model that is larger than the caches in the shortest time, as measured
    /// (`cargo bench --workspace --bench kernels`). Base three pays where decoding it keeps up with the memory: with byte
    /// permutations.
    ///
    /// # Panics
    ///
    /// If the processor lacks the kernel.
    pub fn suited_to(kernel: Kernel, granularity: Granularity) -> Layout {
        match granularity {
            Granularity::Tensor | Granularity::Row => kernel.loops().isa().layout,
            // The only one that holds groups.
            Granularity::Group(_) => Layout::TwoBit,
        }
    }

    /// Why [`Layout::suited_to`] chose it.
    pub fn reason(self) -> &'static str {
        match self {
            Layout::TwoBit => {
                "2 bits a weight: without byte permutations a denser layout takes longer to decode than to read"
            }
            Layout::BaseThree => {
                "1.6 bits a weight: a fifth less to read, and byte permutations decode it as fast as memory delivers"
            }
        }
    }

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Layout::TwoBit => "two-bit",
            Layout::BaseThree => "base-three",
        }
    }

    /// Words of a row of `cols` elements once decoded.
    pub(crate) fn words(self, cols: usize) -> usize {
        match self {
            Layout::TwoBit => words_per_row(cols),
            Layout::BaseThree => base_three::Blocks::of(cols).words(),
        }
    }

    /// Lines of a group of rows of `cols` elements, as stored.
    pub(crate) fn lines(self, cols: usize) -> usize {
        match self {
            Layout::TwoBit => words_per_row(cols),
            Layout::BaseThree => base_three::Blocks::of(cols).lines(),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(name: &str) -> Result<Layout, Error> {
        Layout::ALL
            .into_iter()
            .find(|layout| layout.name() == name)
            .ok_or_else(|| Error::UnknownLayout {
                name: name.to_owned(),
            })
    }
}
