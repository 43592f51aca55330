//! The functions of an instruction set, and the proof that they may be called.

use std::ops::Range;

use super::Isa;
use crate::{
    BlockFormat,
    blocks::{BlockOperands, XBlock},
    dense::{FloatOutput, Int8Output, Line, Operands},
    gemm::{
        activations::Rows,
        base_three::Blocks,
        blocking::{Groups, Lanes, Output, Sixteen, Sums},
        scaled::{Floats, Segments},
    },
    system::shared_out::Rectangle,
};

/// The loops of an instruction set that was detected.
#[derive(Clone, Copy)]
pub(crate) struct Loops(&'static Isa);

impl Loops {
    /// For [`Kernel::loops`](crate::Kernel) alone, which has asked [`Isa::detect`].
    pub(super) fn of_detected(isa: &'static Isa) -> Loops {
        Loops(isa)
    }

    /// The descriptor.
    pub(crate) fn isa(self) -> &'static Isa {
        self.0
    }
}

/// Defines a table of functions, and calls of them on [`Loops`]. The functions are unsafe to call: they need what
/// [`Isa::detect`] has found.
macro_rules! loops {
    (
        $(#[$about:meta])*
        struct $table:ident in $field:ident {
            $($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)?;)*
        }
        $($(#[$value_doc:meta])* $value:ident: $value_type:ty;)*
    ) => {
        $(#[$about])*
        pub(crate) struct $table {
            $($(#[$doc])* pub(crate) $name: unsafe fn($($type),*) $(-> $out)?,)*
            $($(#[$value_doc])* pub(crate) $value: $value_type,)*
        }

        impl Loops {
            $(
                $(#[$doc])*
                #[inline]
                pub(crate) fn $name(self, $($arg: $type),*) $(-> $out)? {
                    // SAFETY: the functions of a descriptor need no more than its `detect` has found, and `Loops` are made
                    // of detected ones alone.
                    unsafe { (self.0.$field.$name)($($arg),*) }
                }
            )*
        }
    };
}

loops! {
    /// Loops over rows; lengths are those of the slices.
    struct RowLoops in rows {
        /// The largest `|x|` as a bit pattern (NaN above infinity above numbers).
        max_abs_bits(x: &[f32]) -> u32;
        /// `clamp(round(x · s), -128, 127)` of a finite row.
        quantize_row(x: &[f32], scale: f32, codes: &mut [i8]);
        /// `Σ|w|` of one block, in the order of `quantize::weights`.
        abs_block_sum(block: &[f32]) -> f32;
        /// Weights to packed words: 0 where `|w · s| ≤ 0.5` or NaN.
        pack_row(w: &[f32], scale: f32, words: &mut [u32]);
        /// `out[k] = values[stored k]`.
        unpack_row(words: &[u32], values: [f32; 4], out: &mut [f32]);
        /// `out = codes / s`.
        div_row(codes: &[i8], scale: f32, out: &mut [f32]);
        /// `out = (sums − excess) as f32 / s_w / s_x`: an excess and an `s_x` for each row, one `s_w` or one for each
        /// column.
        epilogue(sums: Sums<'_>, excess: Option<&[i32]>, sw: &[f32], sx: &[f32], out: Rectangle<'_, f32>);
        /// `out[r] += (sums[r] − excess[r]) as f32 · d` for rows of as many columns as there are `d`: a segment of K whose
        /// weights have scales of their own.
        accumulate(sums: &[i32], excess: &[i32], d: &[f32], out: &mut [f32]);
        /// `Σ codes`.
        sum(codes: &[i8]) -> i32;
        /// Writes a row of codes as the 4 × 4 transpositions of its sixteens (`gemm::layout`), zero past its end; their sum.
        transpose_row(codes: &[i8], out: &mut [i8]) -> i32;
        /// Writes a row of codes in its own order, zero past its end; their sum.
        copy_row(codes: &[i8], out: &mut [i8]) -> i32;
    }
}

loops! {
    /// Loops over groups of 16 output rows that stand side by side.
    struct PanelLoops in panels {
        /// `Σ stored · x` of each group of `words` lines with one row of codes.
        two_bit(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]);
        /// `Σ stored · x` of each group in base three.
        base_three(lines: &[Line], blocks: Blocks, x: &[i8], sums: &mut [Lanes]);
        /// The lines of a group in base three to words.
        decode(lines: &[Line], words: &mut [Line]);
        /// `sums[r][g] = Σ stored · x` of two groups of words with up to `rows_at_a_time` rows, sixteen codes of each
        /// in turn.
        gemm(groups: [&[Line]; 2], rows: usize, x: &[Sixteen], sums: &mut [[Lanes; 2]]);
        /// `Σ w · x` of each group of `words` lines with one row of codes, by additions and subtractions alone.
        signed(lines: &[Line], words: usize, x: &[i8], sums: &mut [Lanes]);
    }
    /// Rows of `x` at most in one call of `gemm`.
    rows_at_a_time: usize;
}

loops! {
    /// Products with float weights over whole lines, and the exponentials of attention: `dense`, `blocks`.
    struct DenseLoops in dense {
        /// Products with a matrix of f32.
        dense_f32(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>);
        /// Products with a matrix of bfloat16.
        dense_bf16(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>);
        /// As `dense_f32`, with a matrix of f16.
        dense_f16(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>);
        /// As `dense_f32`, with a matrix of int8 codes, which count as the numbers that they are.
        dense_codes(operands: Operands<'_, f32>, groups: Range<usize>, out: FloatOutput<'_>);
        /// Products of int8 with int8.
        dense_int8(operands: Operands<'_, [i8; 4]>, groups: Range<usize>, out: Int8Output<'_>);
        /// Activations to blocks.
        quantize_blocks(x: &[f32], out: &mut [XBlock]);
        /// Products with weights in blocks.
        blocks(format: BlockFormat, operands: BlockOperands<'_>, groups: Range<usize>, out: FloatOutput<'_>);
        /// Replaces scores by `e^(s - max)` and returns their sum.
        softmax(scores: &mut [f32]) -> f32;
    }
}

/// One row of codes with one group of weights, see [`ScaledLoops`]. As every function of a descriptor, it is unsafe to call
/// where [`Isa::detect`] has not found what it needs.
type OneRow = unsafe fn(Segments, &[Line], &[Sixteen], &[i32], &mut [Floats]);

/// Rows of codes with two groups of weights side by side. Unsafe to call as [`OneRow`] is.
type TwoGroups = unsafe fn(Segments, [&[Line]; 2], &[Sixteen], &[i32], &mut [[Floats; 2]]);

/// Products with groups of weights that have scales of their own, in registers from the codes to the floats:
/// [`Isa::scaled`]. What they need of the processor is the descriptor's.
#[derive(Clone, Copy)]
pub(crate) struct ScaledLoops {
    /// `one_row(w, lines, x, excess, out)`: of each 16 output rows in `lines` the product with one row of codes.
    pub(crate) one_row: OneRow,
    /// `rows(w, lines, x, excess, out)`: of two times 16 output rows the product with up to
    /// [`PanelLoops::rows_at_a_time`] rows, sixteen codes (and the excess of a segment) of each in turn.
    pub(crate) rows: TwoGroups,
}

/// A product of few rows with groups in base three: [`Isa::few_rows`].
#[derive(Clone, Copy)]
pub(crate) struct FewRows {
    /// Rows of `x` at most.
    pub(crate) max_rows: usize,
    /// `base_three(groups, rows, x, sums)`: `sums[r][g] = Σ stored · x` of two groups as they are stored with up to
    /// `max_rows` rows, sixteen codes of each in turn. What it needs of the processor is the descriptor's.
    pub(crate) base_three: PairByRows,
}

/// [`FewRows::base_three`]. Unsafe to call as [`OneRow`] is.
type PairByRows = unsafe fn([&[Line]; 2], usize, &[Sixteen], &mut [[Lanes; 2]]);

/// A product of many rows that arranges weights and activations in its own way: [`Isa::many_rows`], [`Isa::lookup`].
///
/// An instruction set provides it as `Some(ManyRows { min_rows, product })`. `product(w, x, out)` gives `out` the sums
/// `Σ stored · x` for each of the groups of `w` and every row of `x` (`stored = w + 1`; the caller corrects by `Σ x`): it
/// calls [`Output::write`] once for every row and every span of whole groups, in any order, and may call
/// [`Output::expect`] some hundred cycles before. An illegal code counts as 3 in [`Isa::many_rows`], and as anything in
/// [`Isa::lookup`]. It runs on the calling thread, and keeps what it needs between calls in a thread-local scratch.
#[derive(Clone, Copy)]
pub(crate) struct ManyRows {
    /// Rows of `x` from which it is faster, as measured.
    pub(crate) min_rows: usize,
    /// The product. What it needs of the processor is the descriptor's.
    pub(crate) product: unsafe fn(Groups<'_>, Rows<'_>, &mut dyn Output),
}
