//! A borrowed dense matrix of floats in the layout of `dense`, for whoever fills it element by element: attention.

use std::ops::Range;

use super::{FloatFormat, GROUP, Line, level::Level, portable, tile::Operands};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
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
        let width = GROUP * groups.len();
        self.product_at(
            Level::of(kernel),
            x,
            x_stride,
            rows,
            groups,
            width,
            out,
            out_stride,
        );
    }

    /// As [`product`](Self::product), with `width` outputs a row: the last group may have fewer than 16.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn product_at(
        &self,
        level: Level,
        x: &[f32],
        x_stride: usize,
        rows: usize,
        groups: Range<usize>,
        width: usize,
        out: &mut [f32],
        out_stride: usize,
    ) {
        assert!(
            level.is_available(),
            "{level:?} is not available on this processor"
        );
        let operands = Operands {
            lines: self.lines,
            depth: self.depth,
            stride: self.stride,
            step: self.step,
            x,
            x_stride,
            rows,
        };
        let first = groups.start;
        let emit = |row: usize, group: usize, sums: &[f32; GROUP]| {
            let column = GROUP * (group - first);
            let out = &mut out[row * out_stride + column..][..GROUP.min(width - column)];
            out.copy_from_slice(&sums[..out.len()]);
        };
        match (level, self.format) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, FloatFormat::F32) => {
                // SAFETY: the level is available, which the assertion above says.
                unsafe { avx512::f32(operands, groups, emit) }
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, FloatFormat::Bf16) => {
                // SAFETY: as above.
                unsafe { avx512::bf16(operands, groups, emit) }
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, FloatFormat::F32) => {
                // SAFETY: as above.
                unsafe { avx2::f32(operands, groups, emit) }
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, FloatFormat::Bf16) => {
                // SAFETY: as above.
                unsafe { avx2::bf16(operands, groups, emit) }
            }
            #[cfg(target_arch = "x86_64")]
            (Level::Portable, format) if std::is_x86_feature_detected!("fma") => {
                match format {
                    // SAFETY: the processor has FMA, as just detected.
                    FloatFormat::F32 => unsafe { portable::fused::f32(operands, groups, emit) },
                    // SAFETY: as above.
                    FloatFormat::Bf16 => unsafe { portable::fused::bf16(operands, groups, emit) },
                }
            }
            (Level::Portable, FloatFormat::F32) => portable::f32(operands, groups, emit),
            (Level::Portable, FloatFormat::Bf16) => portable::bf16(operands, groups, emit),
        }
    }
}
