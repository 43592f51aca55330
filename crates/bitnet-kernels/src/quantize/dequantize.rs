//! Packed words back to codes or weights, for the paths that multiply in floats.
//!
//! `code = stored - 1`, `ŵ = code / s`. All bit patterns decode: the illegal `0b11` of unchecked words gives 2, the
//! same in every kernel, and is caught where words enter ([`crate::PackedTernary::from_words`]).

use crate::{
    Kernel, PackedView, TernaryWord, format::words_per_row, isa::dispatch,
    system::parallel::for_each_row,
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
        for (word, out) in words.iter().zip(out.chunks_mut(TernaryWord::WEIGHTS)) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = TernaryWord(*word).code(i);
            }
        }
    });
}

/// Decodes a packed matrix to weights `ŵ = code / s` in `out[rows, cols]`.
///
/// ```
/// use bitnet_kernels::{Granularity, PackedView, unpack_scaled_f32};
/// let w = PackedView::new(&[0b01_00_10], &[4.0], Granularity::Tensor, 1, 3)?;
/// let mut out = [9.0; 3];
/// unpack_scaled_f32(w, &mut out);
/// assert_eq!(out, [0.25, -0.25, 0.0]);
/// # Ok::<(), bitnet_kernels::Error>(())
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape.
pub fn unpack_scaled_f32(w: PackedView<'_>, out: &mut [f32]) {
    w.assert_lengths();
    check(w.words, w.rows, w.cols, out.len());
    let kernel = Kernel::detect();
    let size = w.granularity.group(w.cols).max(1);
    for_each_row(
        w.words,
        words_per_row(w.cols),
        out,
        w.cols,
        |row, words, out| {
            let groups = words.chunks(words_per_row(size)).zip(out.chunks_mut(size));
            for ((words, out), s) in groups.zip(w.row_scales(row)) {
                // Four quotients a group instead of one an element.
                let values = [-1.0 / s, 0.0 / s, 1.0 / s, 2.0 / s];
                dispatch!(kernel, unpack_row(words, values, out));
            }
        },
    );
}

fn check(words: &[u32], rows: usize, cols: usize, out: usize) {
    assert_eq!(
        words.len(),
        rows * words_per_row(cols),
        "words are not {rows} packed rows of {cols}"
    );
    assert_eq!(out, rows * cols, "out is not {rows} x {cols}");
}
