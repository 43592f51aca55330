//! Activations: absmax int8, one scale a row (token).
//!
//! ```text
//! s = 127 / max(max|x|, 1e-5)          q = clamp(round_ties_even(x · s), -128, 127)          x̂ = q / s
//! ```
//!
//! Source: arXiv 2402.17764 and its "Training Tips, Code and FAQ". One scale a row, never one a tensor: with a shared
//! scale the output of a token would depend on the rest of its batch. With its own scale a row never reaches -128.
//!
//! `max|x|` is taken on the bit patterns without the sign: for floats ≥ +0 the order of the integers is the order of
//! the numbers, with infinity above all finite values and NaN above infinity. The maximum is then exact, independent
//! of the order, and keeps a NaN, which `f32::max` would drop. A row whose maximum is not finite has all codes 0.

use rayon::prelude::*;

use crate::{
    EPS, Kernel,
    isa::Loops,
    system::parallel::{MIN_ELEMENTS, TASK_ELEMENTS, worth_threads},
};

/// `127 / max(max|row|, EPS)`; NaN if the row holds a NaN, else 0 if it holds an infinity.
///
/// ```
/// assert_eq!(bitnet_kernels::activation_scale(&[0.5, -2.0]), 63.5);
/// assert_eq!(bitnet_kernels::activation_scale(&[0.0]), 127.0 / 1e-5);
/// assert!(bitnet_kernels::activation_scale(&[0.5, f32::NAN]).is_nan());
/// ```
pub fn activation_scale(row: &[f32]) -> f32 {
    scale_with(Kernel::detect().loops(), row)
}

/// Quantises `x[rows, cols]` to `codes[rows, cols]` and `scales[rows]`.
///
/// ```
/// let (mut codes, mut scales) = ([0; 4], [0.0; 2]);
/// bitnet_kernels::quantize_activations(&[127.0, -0.5, 1.5, 0.0], 2, &mut codes, &mut scales);
/// assert_eq!((codes, scales), ([127, 0, 127, 0], [1.0, 127.0 / 1.5])); // -0.5 ties to even
/// ```
///
/// # Panics
///
/// If `x.len()`, `codes.len()` and `scales.len() * cols` differ.
pub fn quantize_activations(x: &[f32], cols: usize, codes: &mut [i8], scales: &mut [f32]) {
    let loops = Kernel::detect().loops();
    quantize_rows(x, cols, codes, scales, |row, codes| {
        quantize_row(loops, row, codes)
    });
}

/// Quantises one row and returns its scale.
pub(crate) fn quantize_row(loops: Loops, row: &[f32], codes: &mut [i8]) -> f32 {
    let scale = scale_with(loops, row);
    if is_usable(scale) {
        loops.quantize_row(row, scale, codes);
    } else {
        codes.fill(0);
    }
    scale
}

/// Replaces a row by its codes, as the numbers that they are, and returns what a code is to be multiplied by: `1 / s`.
///
/// ```
/// let mut row = [2.54, -1.0, 0.0];
/// let factor = bitnet_kernels::int8_codes(bitnet_kernels::Kernel::detect(), &mut row);
/// assert_eq!((row, factor), ([127.0, -50.0, 0.0], 1.0 / 50.0));
/// ```
///
/// # Panics
///
/// If the processor lacks `kernel`.
pub fn int8_codes(kernel: Kernel, row: &mut [f32]) -> f32 {
    let loops = kernel.loops();
    let scale = scale_with(loops, row);
    let mut codes = [0; 64];
    for row in row.chunks_mut(codes.len()) {
        let codes = &mut codes[..row.len()];
        if is_usable(scale) {
            loops.quantize_row(row, scale, codes);
        }
        for (code, value) in codes.iter().zip(row) {
            *value = f32::from(*code);
        }
    }
    1.0 / scale
}

fn scale_with(loops: Loops, row: &[f32]) -> f32 {
    let max = f32::from_bits(loops.max_abs_bits(row));
    // `f32::max` would turn NaN into EPS; one NaN of all payloads, so that scales compare bit for bit.
    if max.is_nan() {
        f32::NAN
    } else {
        127.0 / max.max(EPS)
    }
}

/// Whether the row was finite: 127 / f32::MAX is still a normal number, so 0 stands for an infinity only.
fn is_usable(scale: f32) -> bool {
    scale > 0.0
}

/// Shares the rows out: `quantize(x_row, codes_row)` returns the scale of the row.
fn quantize_rows(
    x: &[f32],
    cols: usize,
    codes: &mut [i8],
    scales: &mut [f32],
    quantize: impl Fn(&[f32], &mut [i8]) -> f32 + Sync,
) {
    assert_eq!(x.len(), codes.len(), "x and codes differ in length");
    assert_eq!(
        x.len(),
        scales.len() * cols,
        "x is not scales.len() rows of {cols}"
    );
    if cols == 0 {
        scales.fill(127.0 / EPS);
        return;
    }
    let run = |x: &[f32], codes: &mut [i8], scales: &mut [f32]| {
        for ((row, codes), scale) in x
            .chunks_exact(cols)
            .zip(codes.chunks_exact_mut(cols))
            .zip(scales)
        {
            *scale = quantize(row, codes);
        }
    };
    if worth_threads(x.len(), MIN_ELEMENTS) {
        let group = (TASK_ELEMENTS / cols).max(1);
        x.par_chunks(group * cols)
            .zip(codes.par_chunks_mut(group * cols))
            .zip(scales.par_chunks_mut(group))
            .for_each(|((x, codes), scales)| run(x, codes, scales));
    } else {
        run(x, codes, scales);
    }
}
