//! The loops of a dense product, written once and compiled for every instruction set.
//!
//! A tile is `R` rows of `x` by `G` groups of weights: `R · G` accumulators of 16 outputs each stay in registers while k
//! runs over the lines. Per line a tile loads `G` lines and `R` activations and makes `R · G` multiply-adds, so a large
//! tile is limited by arithmetic alone. Groups are the outer loop: the tile's groups (`G · K · 4` bytes at most) stay in
//! the level-two cache while all rows of `x` pass over them.

use std::ops::Range;

use super::{GROUP, Line};

/// The operands of a product over whole lines.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a, X> {
    /// Weights; line `k` of group `g` is the one at `g · stride + k · step`.
    pub lines: &'a [Line],
    /// Lines of a group that are used.
    pub depth: usize,
    /// Lines from one group to the next.
    pub stride: usize,
    /// Lines from one line of a group to the next.
    pub step: usize,
    /// Activations, `rows` rows of `x_stride` each.
    pub x: &'a [X],
    /// Elements from one row of `x` to the next.
    pub x_stride: usize,
    /// Rows of `x`.
    pub rows: usize,
    /// Bytes from a line that is read for a single row of `x` to one that is asked for then, to be read later; 0 for none.
    pub ahead: isize,
}

impl<'a, X> Operands<'a, X> {
    /// From the first line of a group to its last one.
    #[inline(always)]
    pub fn group(&self, group: usize) -> &'a [Line] {
        match self.depth {
            0 => &[],
            // A length that wraps around would be too short for the loops, which do not check again.
            depth => {
                let len = (depth - 1)
                    .checked_mul(self.step)
                    .and_then(|at| at.checked_add(1));
                &self.lines[group * self.stride..][..len.expect("a depth that memory has")]
            }
        }
    }

    /// Row `row` of `x`, `steps` elements for each line.
    #[inline(always)]
    pub fn row(&self, row: usize, steps: usize) -> &'a [X] {
        let len = self.depth.checked_mul(steps);
        &self.x[row * self.x_stride..][..len.expect("a depth that memory has")]
    }
}

/// Where the outputs of a product of floats go.
pub(crate) struct FloatOutput<'a> {
    /// `[rows, stride]`, `width` of each row.
    pub out: &'a mut [f32],
    /// From one row to the next.
    pub stride: usize,
    /// Outputs of a row; the last group may have fewer than 16.
    pub width: usize,
    /// The group of the first output.
    pub first_group: usize,
}

impl FloatOutput<'_> {
    /// The place of a group's outputs of a row, and the column of the first.
    #[inline(always)]
    fn place(&mut self, row: usize, group: usize) -> &mut [f32] {
        let column = GROUP * (group - self.first_group);
        &mut self.out[row * self.stride + column..][..GROUP.min(self.width - column)]
    }

    /// Takes the outputs of a group.
    #[inline(always)]
    pub fn write(&mut self, row: usize, group: usize, sums: &[f32; GROUP]) {
        let out = self.place(row, group);
        match out.first_chunk_mut::<GROUP>() {
            // No call for a copy whose length the compiler knows.
            Some(out) => *out = *sums,
            None => out.copy_from_slice(&sums[..out.len()]),
        }
    }
}

/// Where the outputs of a product of int8 go: `sum / s_w / s_x`, or `sum · s_w · s_x`.
pub(crate) struct Int8Output<'a> {
    /// The floats.
    pub to: FloatOutput<'a>,
    /// The scale of each row of weights.
    pub w_scales: &'a [f32],
    /// The scale of each row of `x`.
    pub x_scales: &'a [f32],
    /// Whether the scales are factors: multiplied, not divided by.
    pub factors: bool,
    /// `Σ x` of each row of `x`.
    pub x_sums: &'a [i32],
    /// What the weights were multiplied with too much: `excess · Σx` is taken off each sum.
    pub excess: i32,
}

impl Int8Output<'_> {
    /// Takes the sums of a group.
    #[inline(always)]
    pub fn write(&mut self, row: usize, group: usize, sums: &[i32; GROUP]) {
        let (excess, x_scale) = (self.excess * self.x_sums[row], self.x_scales[row]);
        let w_scales = &self.w_scales[GROUP * group..];
        let out = self.to.place(row, group);
        // Whole groups apart, and from values to a value: the compiler makes vectors of such loops (not of `map`).
        if let (Some(out), Some(w_scales)) = (
            out.first_chunk_mut::<GROUP>(),
            w_scales.first_chunk::<GROUP>(),
        ) {
            let (w_scales, mut y) = (*w_scales, [0.0; GROUP]);
            for lane in 0..GROUP {
                y[lane] = (sums[lane] - excess) as f32;
            }
            if self.factors {
                for lane in 0..GROUP {
                    y[lane] = y[lane] * w_scales[lane] * x_scale;
                }
            } else {
                for lane in 0..GROUP {
                    y[lane] = y[lane] / w_scales[lane] / x_scale;
                }
            }
            *out = y;
            return;
        }
        for ((out, sum), w_scale) in out.iter_mut().zip(sums).zip(w_scales) {
            let sum = (sum - excess) as f32;
            *out = match self.factors {
                true => sum * w_scale * x_scale,
                false => sum / w_scale / x_scale,
            };
        }
    }
}

/// Defines `fn $name(operands, groups, out)`, which computes the groups of all rows and hands each 16 outputs to
/// `out.write(row, group, sums)`.
///
/// `rows` lists the tile heights, largest first and down to 1; `wide` and `narrow` are the groups of a tile of several
/// rows and of one. The instruction set provides `zero`, `load(line) -> [operand; steps]`, `fma(sum, operand, x)` and
/// `store(sum) -> [$sum; 16]`.
macro_rules! product {
    (
        $(#[$meta:meta])*
        $name:ident($x:ty) -> $sum:ty => $out:ident, steps $steps:literal, rows [$($height:literal),+], wide $wide:literal,
        narrow $narrow:literal, $zero:path, $load:path, $fma:path, $store:path
    ) => {
        $(#[$meta])*
        pub(crate) fn $name(
            operands: $crate::dense::Operands<'_, $x>,
            groups: std::ops::Range<usize>,
            mut out: $crate::dense::$out<'_>,
        ) {
            use $crate::{dense::{Operands, tiles}, system::shared_out::fetch_line};

            #[inline]
            $(#[$meta])*
            fn tile<const R: usize, const G: usize>(
                operands: &Operands<'_, $x>,
                row: usize,
                group: usize,
                out: &mut $crate::dense::$out<'_>,
            ) {
                // Loops, not `array::map`: a closure has the instruction set of this function, `map` does not, and the
                // compiler then inlines neither into the other.
                let mut lines: [&[$crate::dense::Line]; G] = [&[]; G];
                for g in 0..G {
                    lines[g] = operands.group(group + g);
                }
                let mut x: [&[$x]; R] = [&[]; R];
                for r in 0..R {
                    x[r] = operands.row(row + r, $steps);
                }
                // Groups side by side are streams that are over before the processor knows where they go on. The first of
                // several rows that meet them ask for what the next groups have in the place of each line.
                let ahead = match operands.step {
                    _ if R == 1 => operands.ahead,
                    1 if G > 1 && row == 0 => (G * operands.stride * size_of::<$crate::dense::Line>()) as isize,
                    _ => 0,
                };
                let mut sums = [[$zero(); G]; R];
                for k in 0..operands.depth {
                    let mut loaded = [$load(&$crate::dense::Line::ZERO); G];
                    for g in 0..G {
                        // SAFETY: `group` and `row` have checked that each slice reaches line `depth - 1` and holds
                        // `depth · steps` activations, and `k < depth`.
                        let line = unsafe { lines[g].get_unchecked(k * operands.step) };
                        if ahead != 0 {
                            fetch_line(std::ptr::from_ref(line).wrapping_byte_offset(ahead));
                        }
                        loaded[g] = $load(line);
                    }
                    for step in 0..$steps {
                        for r in 0..R {
                            // SAFETY: as above, `step < steps`.
                            let x = unsafe { *x[r].get_unchecked(k * $steps + step) };
                            for g in 0..G {
                                sums[r][g] = $fma(sums[r][g], loaded[g][step], x);
                            }
                        }
                    }
                }
                // By index: an array that is moved into an iterator leaves the registers.
                for r in 0..R {
                    for g in 0..G {
                        out.write(row + r, group + g, &$store(sums[r][g]));
                    }
                }
            }

            let span = if operands.rows == 1 { $narrow } else { $wide };
            for (group, full) in tiles(groups, span) {
                let mut row = 0;
                $(
                    while operands.rows - row >= $height {
                        match full {
                            false => tile::<$height, 1>(&operands, row, group, &mut out),
                            true if $height > 1 || operands.rows > 1 => {
                                tile::<$height, $wide>(&operands, row, group, &mut out)
                            }
                            true => tile::<1, $narrow>(&operands, row, group, &mut out),
                        }
                        row += $height;
                    }
                )+
            }
        }
    };
}
pub(crate) use product;

/// The groups in runs of `span` (true), and the rest one by one (false).
pub(crate) fn tiles(groups: Range<usize>, span: usize) -> impl Iterator<Item = (usize, bool)> {
    let whole = groups.len() / span * span;
    let rest = groups.start + whole..groups.end;
    let runs = (groups.start..groups.start + whole).step_by(span);
    runs.map(|group| (group, true))
        .chain(rest.map(|group| (group, false)))
}
