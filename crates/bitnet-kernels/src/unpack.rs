//! Packed words back to codes or weights, for the paths that multiply in floats.
//!
//! `code = stored - 1`, `ŵ = code / s`. All bit patterns decode: the illegal `0b11` of unchecked words gives 2, the
//! same in every kernel, and is caught where words enter ([`crate::PackedTernary::from_words`]).

use crate::{
    Kernel, kernel::dispatch, parallel::for_each_row, view::words_per_row, weight::scale_of,
};

/// Decodes packed rows to floats -1, 0, 1 in `out[rows, cols]`.
///
/// ```
/// let mut out = [9.0; 3];
/// bitnet_kernels::unpack_codes_f32(&[0b01_00_10], 1, 3, &mut out);
/// assert_eq!(out, [1.0, -1.0, 0.0]);
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape.
pub fn unpack_codes_f32(words: &[u32], rows: usize, cols: usize, out: &mut [f32]) {
    check(words, rows, cols, out.len());
    let kernel = Kernel::detect();
    for_each_row(words, words_per_row(cols), out, cols, |_, words, out| {
        dispatch!(kernel, unpack_row(words, [-1.0, 0.0, 1.0, 2.0], out));
    });
}

/// Decodes packed rows to integers -1, 0, 1 in `out[rows, cols]`.
///
/// ```
/// let mut out = [9; 3];
/// bitnet_kernels::unpack_codes_i8(&[0b01_00_10], 1, 3, &mut out);
/// assert_eq!(out, [1, -1, 0]);
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape.
pub fn unpack_codes_i8(words: &[u32], rows: usize, cols: usize, out: &mut [i8]) {
    check(words, rows, cols, out.len());
    for_each_row(words, words_per_row(cols), out, cols, |_, words, out| {
        for (word, out) in words.iter().zip(out.chunks_mut(16)) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = ((word >> (2 * i)) & 3) as i8 - 1;
            }
        }
    });
}

/// Decodes packed rows to weights `ŵ = code / s` in `out[rows, cols]`; `scales` holds 1 or `rows` values.
///
/// ```
/// let mut out = [9.0; 3];
/// bitnet_kernels::unpack_scaled_f32(&[0b01_00_10], 1, 3, &[4.0], &mut out);
/// assert_eq!(out, [0.25, -0.25, 0.0]);
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape.
pub fn unpack_scaled_f32(words: &[u32], rows: usize, cols: usize, scales: &[f32], out: &mut [f32]) {
    check(words, rows, cols, out.len());
    assert!(
        scales.len() == 1 || scales.len() == rows,
        "{} scales for {rows} rows",
        scales.len()
    );
    let kernel = Kernel::detect();
    for_each_row(words, words_per_row(cols), out, cols, |row, words, out| {
        let s = scale_of(scales, row);
        // Four quotients a row instead of one an element.
        dispatch!(
            kernel,
            unpack_row(words, [-1.0 / s, 0.0 / s, 1.0 / s, 2.0 / s], out)
        );
    });
}

fn check(words: &[u32], rows: usize, cols: usize, out: usize) {
    assert_eq!(
        words.len(),
        rows * words_per_row(cols),
        "words are not {rows} packed rows of {cols}"
    );
    assert_eq!(out, rows * cols, "out is not {rows} x {cols}");
}
