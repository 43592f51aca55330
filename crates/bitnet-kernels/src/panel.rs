//! The order of work of a prepared product: groups of weights against rows of `x`, on one thread.

use crate::{
    Kernel, Layout,
    layout::{GROUP_ROWS, Line},
    quantized::Rows,
    scalar,
};

/// Sums of the 16 rows of a group with one row of `x`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [i32; GROUP_ROWS]);

/// Calls `write(row of x, first column, Σ stored · x)` for each of the `groups` of `lines` and every row of `x`.
pub(crate) fn product(
    _kernel: Kernel,
    layout: Layout,
    cols: usize,
    groups: usize,
    lines: &[Line],
    x: Rows<'_>,
    mut write: impl FnMut(usize, usize, &mut Lanes),
) {
    let (per_group, words) = (layout.lines(cols), layout.words(cols));
    let mut scratch = vec![Line::ZERO_WEIGHTS; words];
    for group in 0..groups {
        let lines = &lines[group * per_group..][..per_group];
        let words = match layout {
            Layout::TwoBit => lines,
            Layout::BaseThree => {
                crate::base_three::decode_group(lines, &mut scratch);
                &scratch
            }
        };
        for row in 0..x.len() {
            let mut sums = Lanes([0; GROUP_ROWS]);
            scalar::group_product(words, x.row(row), &mut sums);
            write(row, GROUP_ROWS * group, &mut sums);
        }
    }
}
