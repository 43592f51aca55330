//! A borrowed dense matrix of floats in the layout of `dense`, for whoever fills it element by element: attention.

use std::ops::Range;

use super::{FloatFormat, FloatOutput, GROUP, Line, Operands};
use crate::Kernel;

/// Groups of 16 rows of floats: line `k` of group `g` is the one at `g · stride + k · step`.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    /// Element format.
    pub format: FloatFormat,
    /// All lines.
    pub lines: &'a [Line],
    /// Lines of a group that hold elements: `⌈K / per_lane⌉`.
    pub depth: usize,
    /// Lines from the start of one group to the start of the next.
    pub stride: usize,
    /// Lines from one line of a group to its next: 1 where a group lies in one piece.
    pub step: usize,
}

impl Panels<'_> {
    /// `out[i, n - n0] = Σ_k x[i, k] · W[n, k]` for the rows `n` of `groups`, `n0 = 16 · groups.start`, in the order of
    /// operations that the module states. Every group has 16 outputs, `depth · per_lane` values of a row of `x` are read.
    ///
    /// # Shapes
    ///
    /// `x` `[rows, x_stride]`, `out` `[rows, out_stride]`.
    ///
    /// # Panics
    ///
    /// If a slice is too short, or the processor lacks `kernel`.
    #[allow(clippy::too_many_arguments)]
    pub fn product(
        &self,
        kernel: Kernel,
        x: &[f32],
        x_stride: usize,
        rows: usize,
        groups: Range<usize>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        self.product_asking(kernel, 0, x, x_stride, rows, groups, out, out_stride);
    }

    /// As [`Panels::product`]; for a single row each line that is read asks for the one so many bytes on, unless that is 0.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn product_asking(
        &self,
        kernel: Kernel,
        ahead: isize,
        x: &[f32],
        x_stride: usize,
        rows: usize,
        groups: Range<usize>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        let loops = kernel.loops();
        let operands = Operands {
            ahead,
            lines: self.lines,
            depth: self.depth,
            stride: self.stride,
            step: self.step,
            x,
            x_stride,
            rows,
        };
        let out = FloatOutput {
            out,
            stride: out_stride,
            width: GROUP * groups.len(),
            first_group: groups.start,
        };
        match self.format {
            FloatFormat::F32 => loops.dense_f32(operands, groups, out),
            FloatFormat::Bf16 => loops.dense_bf16(operands, groups, out),
            FloatFormat::Int8 => loops.dense_codes(operands, groups, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "a depth that memory has")]
    fn depths_past_the_addresses_are_refused() {
        let panels = Panels {
            format: FloatFormat::Bf16,
            lines: &[Line::ZERO],
            depth: (1 << (usize::BITS - 1)) + 1,
            stride: 0,
            step: 2,
        };
        panels.product(Kernel::SCALAR, &[1.0; 2], 0, 1, 0..1, &mut [0.0; 16], 16);
    }
}
