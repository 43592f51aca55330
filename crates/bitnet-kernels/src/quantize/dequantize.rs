//! Codes back to floats, for the paths that multiply in floats: `ŵ = code / s`, `x̂ = code / s`.
//!
//! Always a division by the multiplier, never a product with a reciprocal: another way differs by an ulp. In a group of
//! weights a code is [worth](crate::reference::code_worth) what it is in products. All bit patterns
//! of words decode: the illegal `0b11` of unchecked words gives 2, the same in every kernel, and is caught where words enter
//! ([`crate::PackedTernary::from_words`]).

use crate::{
    Granularity, Kernel, PackedView, format::words_per_row, reference::code_worth,
    system::parallel::for_each_row,
};

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
    let expected = w.rows.checked_mul(w.cols);
    assert_eq!(
        Some(out.len()),
        expected,
        "out is not {} x {}",
        w.rows,
        w.cols
    );
    let loops = Kernel::detect().loops();
    let size = w.granularity.group(w.cols).max(1);
    let worth = |s: f32| match w.granularity {
        Granularity::Tensor | Granularity::Row => 1.0 / s,
        Granularity::Group(_) => code_worth(s),
    };
    for_each_row(
        w.words,
        words_per_row(w.cols),
        out,
        w.cols,
        |row, words, out| {
            let groups = words.chunks(words_per_row(size)).zip(out.chunks_mut(size));
            for ((words, out), s) in groups.zip(w.row_scales(row)) {
                loops.unpack_row(words, values(worth(*s)), out);
            }
        },
    );
}

/// What each stored code stands for, if 1 is `worth` that.
pub(crate) fn values(worth: f32) -> [f32; 4] {
    // Products, so that nothing is finite where `worth` is not.
    [-1.0, 0.0, 1.0, 2.0].map(|code| code * worth)
}

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
    let loops = Kernel::detect().loops();
    for_each_row(codes, cols, out, cols, |row, codes, out| {
        loops.div_row(codes, scales[row], out);
    });
}
