//! Undoing the scales: integers back to floats.
//!
//! Always a division by the multiplier, first by `s_w` and then by `s_x`, never a product with a reciprocal: the
//! order is part of the format, since another one differs by an ulp and the next layer's ties with it.

use crate::{Kernel, isa::dispatch, system::parallel::for_each_row};

/// `out[r, c] = codes[r, c] / scales[r]`: the fake-quantised activations x̂.
///
/// ```
/// let mut out = [0.0; 2];
/// bitnet_kernels::codes_i8_to_f32_div(&[127, -3], 2, &[2.0], &mut out);
/// assert_eq!(out, [63.5, -1.5]);
/// ```
///
/// # Panics
///
/// If `codes.len()`, `out.len()` and `scales.len() * cols` differ.
pub fn codes_i8_to_f32_div(codes: &[i8], cols: usize, scales: &[f32], out: &mut [f32]) {
    assert_eq!(codes.len(), out.len(), "codes and out differ in length");
    assert_eq!(
        codes.len(),
        scales.len() * cols,
        "codes are not scales.len() rows of {cols}"
    );
    let kernel = Kernel::detect();
    for_each_row(codes, cols, out, cols, |row, codes, out| {
        dispatch!(kernel, div_row(codes, scales[row], out));
    });
}

/// `acc[i, j] = acc[i, j] / sw[j] / sx[i]` in place, for `acc[m, n]`; `sw` holds 1 or `n` values, `sx` holds `m`.
///
/// ```
/// let mut acc = [8.0, 8.0];
/// bitnet_kernels::scale_rows_cols(&mut acc, 1, 2, &[2.0, 4.0], &[0.5]);
/// assert_eq!(acc, [8.0, 4.0]);
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape.
pub fn scale_rows_cols(acc: &mut [f32], m: usize, n: usize, sw: &[f32], sx: &[f32]) {
    assert_eq!(acc.len(), m * n, "acc is not {m} x {n}");
    assert_eq!(sx.len(), m, "sx is not {m} scales");
    assert!(
        sw.len() == 1 || sw.len() == n,
        "{} weight scales for {n} columns",
        sw.len()
    );
    let kernel = Kernel::detect();
    for_each_row(sx, 1, acc, n, |_, sx, acc| {
        dispatch!(kernel, scale_row(acc, sw, sx[0]));
    });
}
