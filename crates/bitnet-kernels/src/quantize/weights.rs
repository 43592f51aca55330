//! Weights: ternary by absmean or another scale, one scale a tensor, a row or a group of a row, and their packing.
//!
//! ```text
//! s = 1 / max(mean|w|, 1e-5)          code = clamp(round_ties_even(w · s), -1, 1)          ŵ = code / s
//! ```
//!
//! Sources: absmean arXiv 2402.17764, absmedian arXiv 2407.09527. Because ties go to even, the code is 0 exactly when
//! `|w · s| ≤ 0.5` (or NaN), so the fast kernels compare and never round.
//!
//! # The order of the sum
//!
//! Float addition is not associative, and one ulp of `s` can flip a code at a tie. So `Σ|w|` has one order, the same
//! for every kernel and every number of threads. The weights that share a scale (the whole
//! tensor in memory order, a row, or a group of a row) are cut
//! in blocks of [`SUM_BLOCK`] elements, the last one shorter. Within a block, f32 lane `j` of [`SUM_LANES`] adds the
//! elements `j, j + 32, j + 64, ...` in order, starting from 0; then lanes are folded in halves (`lane[j] += lane[j +
//! 16]`, then 8, 4, 2, 1). Block sums are added in order in f64, divided by the count in f64, and rounded to f32.
//! A lane adds at most 128 values, so the relative error stays below (128 + 5) · 2^-24 ≈ 8e-6 for any size.

use rayon::prelude::*;

use crate::{
    EPS, Granularity, Kernel, TernaryWord, WeightQuantizer,
    format::{row_scales, words_per_row},
    isa::Loops,
    quantize::optimum,
    system::parallel::{MIN_ELEMENTS, TASK_ELEMENTS, for_each_row, worth_threads},
};

/// Elements of one block of the sum: 16 KiB, half of a level-one cache.
pub const SUM_BLOCK: usize = 4096;

/// Lanes of a block: four 256-bit accumulators, enough to hide the 4 cycles of a vector addition.
pub const SUM_LANES: usize = 32;

/// The scales of `w[rows, cols]`: one, one for each row, or `[rows, groups]`. `s = 1 / max(c, EPS)` with `c = mean|w|`,
/// `median|w|`, or the α of least squared error (`optimum.rs`).
///
/// The median of an even count is the mean of the two middle values. An empty group has `s = 1 / EPS`; a group with a
/// NaN has `s = NaN`, one whose mean is infinite has `s = 0`, and both have all codes 0.
///
/// ```
/// use bitnet_kernels::{Granularity, WeightQuantizer, weight_scales};
/// let w = [1.0, -3.0, 0.0, 0.5];
/// assert_eq!(weight_scales(&w, 2, 2, WeightQuantizer::AbsMean, Granularity::Row), [0.5, 4.0]);
/// assert_eq!(weight_scales(&w, 2, 2, WeightQuantizer::AbsMedian, Granularity::Tensor), [1.0 / 0.75]);
/// ```
///
/// # Panics
///
/// If `w.len() != rows * cols`.
pub fn weight_scales(
    w: &[f32],
    rows: usize,
    cols: usize,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> Vec<f32> {
    assert_eq!(w.len(), rows * cols, "w is not {rows} x {cols}");
    if granularity == Granularity::Tensor {
        return vec![group_scale(w, quantizer)];
    }
    if cols == 0 {
        return vec![1.0 / EPS; granularity.scales(rows, cols)];
    }
    let mut scales = vec![0.0; granularity.scales(rows, cols)];
    let groups = granularity.groups(cols);
    for_each_row(w, cols, &mut scales, groups, |_, w, scales| {
        for (scale, group) in scales.iter_mut().zip(w.chunks(granularity.group(cols))) {
            *scale = group_scale(group, quantizer);
        }
    });
    scales
}

/// Quantises `w[rows, cols]` with its scales and writes the packed rows to `words`.
///
/// ```
/// let mut words = [0];
/// let tensor = bitnet_kernels::Granularity::Tensor;
/// bitnet_kernels::pack_weights(&[1.0, -1.0, 0.25], 1, 3, &[2.0], tensor, &mut words);
/// assert_eq!(words[0] & 0b111111, 0b01_00_10); // 0.25 · 2 = 0.5 ties to even: weight 0, stored as 1
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape.
pub fn pack_weights(
    w: &[f32],
    rows: usize,
    cols: usize,
    scales: &[f32],
    granularity: Granularity,
    words: &mut [u32],
) {
    check(w, rows, cols, words);
    let expected = granularity.scales(rows, cols);
    assert_eq!(
        scales.len(),
        expected,
        "scales of a {rows} x {cols} matrix by {granularity}"
    );
    let loops = Kernel::detect().loops();
    for_each_row(w, cols, words, words_per_row(cols), |row, w, words| {
        let groups = w.chunks(granularity.group(cols));
        let words = words.chunks_mut(words_per_row(granularity.group(cols)));
        let scales = row_scales(scales, granularity, cols, row);
        for ((w, words), scale) in groups.zip(words).zip(scales) {
            loops.pack_row(w, *scale, words);
        }
    });
}

fn check(w: &[f32], rows: usize, cols: usize, words: &[u32]) {
    assert_eq!(w.len(), rows * cols, "w is not {rows} x {cols}");
    assert_eq!(
        words.len(),
        rows * words_per_row(cols),
        "words are not {rows} packed rows of {cols}"
    );
}

/// Writes the codes of [`WeightQuantizer::Sign`] to `words`: 1 where `w > mean(w)` of its group, else −1 (NaN too).
///
/// The mean is summed in f64 in memory order.
pub(crate) fn pack_signs(
    w: &[f32],
    rows: usize,
    cols: usize,
    granularity: Granularity,
    words: &mut [u32],
) {
    check(w, rows, cols, words);
    let mean = |group: &[f32]| {
        let sum: f64 = group.iter().copied().map(f64::from).sum();
        (sum / group.len().max(1) as f64) as f32
    };
    let of_tensor = mean(w);
    let size = granularity.group(cols).max(1);
    for_each_row(w, cols, words, words_per_row(cols), |_, w, words| {
        for (w, words) in w.chunks(size).zip(words.chunks_mut(words_per_row(size))) {
            let centre = match granularity {
                Granularity::Tensor => of_tensor,
                Granularity::Row | Granularity::Group(_) => mean(w),
            };
            let sign = |w: &f32| if *w > centre { 1 } else { -1 };
            for (word, w) in words.iter_mut().zip(w.chunks(TernaryWord::WEIGHTS)) {
                *word = TernaryWord::pack(w.iter().map(sign)).0;
            }
        }
    });
}

/// Scales and packed rows of `w[rows, cols]` by any quantiser: [`weight_scales`], then [`pack_weights`], or its form
/// for signs.
///
/// # Panics
///
/// If a length disagrees with the shape.
pub fn quantize_weights(
    w: &[f32],
    rows: usize,
    cols: usize,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> (Vec<u32>, Vec<f32>) {
    let scales = weight_scales(w, rows, cols, quantizer, granularity);
    let mut words = vec![0; rows * words_per_row(cols)];
    match quantizer {
        WeightQuantizer::Sign => pack_signs(w, rows, cols, granularity, &mut words),
        WeightQuantizer::AbsMean
        | WeightQuantizer::AbsMedian
        | WeightQuantizer::Rms
        | WeightQuantizer::Mse => {
            pack_weights(w, rows, cols, &scales, granularity, &mut words);
        }
    }
    (words, scales)
}

fn group_scale(w: &[f32], quantizer: WeightQuantizer) -> f32 {
    let centre = match quantizer {
        WeightQuantizer::AbsMean | WeightQuantizer::Sign => mean_abs(Kernel::detect().loops(), w),
        WeightQuantizer::AbsMedian => median_abs(w),
        WeightQuantizer::Rms => optimum::normal(w),
        WeightQuantizer::Mse => optimum::exact(w),
    };
    // `f32::max` would turn NaN into EPS; one NaN of all payloads, so that scales compare bit for bit.
    if centre.is_nan() {
        f32::NAN
    } else {
        1.0 / centre.max(EPS)
    }
}

/// `mean|w|` in the order that the file's head describes; 0 for an empty group.
fn mean_abs(loops: Loops, w: &[f32]) -> f32 {
    let block_sum = |block: &[f32]| f64::from(loops.abs_block_sum(block));
    let sum: f64 = if worth_threads(w.len(), MIN_ELEMENTS) {
        let sums: Vec<f64> = w
            .par_chunks(SUM_BLOCK)
            .with_min_len(TASK_ELEMENTS / SUM_BLOCK)
            .map(block_sum)
            .collect();
        sums.into_iter().sum()
    } else {
        w.chunks(SUM_BLOCK).map(block_sum).sum()
    };
    (sum / w.len().max(1) as f64) as f32
}

/// The exact median of `|w|`; 0 for an empty group, NaN if there is a NaN.
fn median_abs(w: &[f32]) -> f32 {
    // Bit patterns without the sign are ordered as the numbers are, NaN last.
    let mut bits: Vec<u32> = w.iter().map(|v| v.abs().to_bits()).collect();
    if w.is_empty() {
        return 0.0;
    }
    if w.iter().any(|v| v.is_nan()) {
        return f32::NAN;
    }
    let (below, &mut upper, _) = bits.select_nth_unstable(w.len() / 2);
    let upper = f32::from_bits(upper);
    match below.iter().max() {
        Some(&lower) if w.len().is_multiple_of(2) => (f32::from_bits(lower) + upper) * 0.5,
        _ => upper,
    }
}
