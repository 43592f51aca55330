//! The specification in plain loops: slow, obvious, and what every fast path is tested against.
//!
//! Sources: arXiv 2402.17764 and its "Training Tips, Code and FAQ"; absmedian arXiv 2407.09527. Shapes: `x[m, k]`,
//! `w[n, k]`, `y[m, n]`. Functions of this module have the names and the contracts of those at the crate's root,
//! wrong lengths panic likewise, and non-finite values follow the rule of the crate's front page.

use std::ops::Range;

use crate::{EPS, Granularity, PackedView, SUM_BLOCK, SUM_LANES, WeightQuantizer};

/// `127 / max(max|x|, EPS)`; NaN if there is a NaN.
pub fn activation_scale(row: &[f32]) -> f32 {
    let mut max = 0.0;
    for x in row {
        if x.is_nan() {
            return f32::NAN;
        }
        if x.abs() > max {
            max = x.abs();
        }
    }
    127.0 / max.max(EPS)
}

/// `clamp(round_ties_even(x · s), -128, 127)`; NaN is 0.
///
/// ```
/// use bitnet_kernels::reference::activation_code;
/// assert_eq!([0.5, 1.5, 2.5, -0.5, 300.0, f32::NAN].map(|x| activation_code(x, 1.0)), [0, 2, 2, 0, 127, 0]);
/// ```
pub fn activation_code(x: f32, scale: f32) -> i8 {
    let v = x * scale;
    if v.is_nan() {
        0
    } else {
        v.round_ties_even().clamp(-128.0, 127.0) as i8
    }
}

/// Codes and scales of `x[rows, cols]`. All codes of a row whose scale is NaN or 0 (not finite) are 0.
pub fn quantize_activations(x: &[f32], cols: usize, codes: &mut [i8], scales: &mut [f32]) {
    for (row, scale) in scales.iter_mut().enumerate() {
        let x = &x[row * cols..(row + 1) * cols];
        *scale = activation_scale(x);
        for k in 0..cols {
            codes[row * cols + k] = activation_code(x[k], *scale);
        }
    }
}

/// `clamp(round_ties_even(w · s), -1, 1)`; NaN is 0.
///
/// ```
/// use bitnet_kernels::reference::weight_code;
/// assert_eq!([0.5, -0.5, 0.50001, -9.0, f32::NAN].map(|w| weight_code(w, 1.0)), [0, 0, 1, -1, 0]);
/// ```
pub fn weight_code(w: f32, scale: f32) -> i8 {
    let v = w * scale;
    if v.is_nan() {
        0
    } else {
        v.round_ties_even().clamp(-1.0, 1.0) as i8
    }
}

/// `mean|w|` in the order that [`crate::weight_scales`]' file describes: lanes in f32, blocks in f64.
pub fn mean_abs(w: &[f32]) -> f32 {
    let mut sum = 0.0f64;
    for block in w.chunks(SUM_BLOCK) {
        let mut lanes = [0.0f32; SUM_LANES];
        for (k, w) in block.iter().enumerate() {
            lanes[k % SUM_LANES] += w.abs();
        }
        for half in [16, 8, 4, 2, 1] {
            for j in 0..half {
                lanes[j] += lanes[j + half];
            }
        }
        sum += f64::from(lanes[0]);
    }
    if w.is_empty() {
        0.0
    } else {
        (sum / w.len() as f64) as f32
    }
}

/// The median of `|w|`, by sorting; the mean of the two middle values for an even count.
pub fn median_abs(w: &[f32]) -> f32 {
    let mut sorted: Vec<f32> = w.iter().map(|w| w.abs()).collect();
    sorted.sort_by(f32::total_cmp);
    let half = sorted.len() / 2;
    match sorted.last() {
        None => 0.0,
        Some(last) if last.is_nan() => f32::NAN,
        Some(_) if sorted.len() % 2 == 1 => sorted[half],
        Some(_) => (sorted[half - 1] + sorted[half]) * 0.5,
    }
}

/// `1.224 · √mean w²`, summed in f64 by eight lanes: lane `j` adds the squares `j, j + 8, …`, then lanes are added in order.
pub fn normal_optimum(w: &[f32]) -> f32 {
    let mut lanes = [0.0f64; 8];
    for (k, w) in w.iter().enumerate() {
        lanes[k % 8] += f64::from(*w) * f64::from(*w);
    }
    let sum: f64 = lanes.iter().sum();
    match w.len() {
        0 => 0.0,
        n => (WeightQuantizer::RMS_OPTIMUM * (sum / n as f64).sqrt()) as f32,
    }
}

/// The α of least `Σ (w − α·q)²` over all ternary `q`, by trying every threshold. For the `k` largest magnitudes with the
/// sum `S` as ±1, the best α is `S / k` and the error `Σ w² − S² / k`; of equal ones the fewest.
pub fn exact_optimum(w: &[f32]) -> f32 {
    let mut sorted: Vec<f64> = w.iter().map(|w| f64::from(w.abs())).collect();
    if sorted.iter().any(|w| w.is_nan()) {
        return f32::NAN;
    }
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut best, mut gain) = (0.0, 0.0);
    for k in 1..=sorted.len() {
        let sum: f64 = sorted[..k].iter().sum();
        let mean = sum / k as f64;
        if sum * mean > gain {
            (best, gain) = (mean, sum * mean);
        }
    }
    best as f32
}

/// One scale, one for each row, or `[rows, groups]`.
pub fn weight_scales(
    w: &[f32],
    rows: usize,
    cols: usize,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> Vec<f32> {
    let scale = |group: &[f32]| {
        let centre = match quantizer {
            WeightQuantizer::AbsMean | WeightQuantizer::Sign => mean_abs(group),
            WeightQuantizer::AbsMedian => median_abs(group),
            WeightQuantizer::Rms => normal_optimum(group),
            WeightQuantizer::Mse => exact_optimum(group),
        };
        if centre.is_nan() {
            f32::NAN
        } else {
            1.0 / centre.max(EPS)
        }
    };
    match granularity {
        Granularity::Tensor => vec![scale(w)],
        Granularity::Row => (0..rows)
            .map(|row| scale(&w[row * cols..(row + 1) * cols]))
            .collect(),
        Granularity::Group(size) => (0..rows)
            .flat_map(|row| w[row * cols..(row + 1) * cols].chunks(size))
            .map(scale)
            .collect(),
    }
}

/// The scale of the weight at `[row, col]`.
fn scale_at(scales: &[f32], granularity: Granularity, cols: usize, row: usize, col: usize) -> f32 {
    match granularity {
        Granularity::Tensor => scales[0],
        Granularity::Row => scales[row],
        Granularity::Group(size) => scales[row * cols.div_ceil(size) + col / size],
    }
}

/// `out[i, j] = Σ_k xq[i, k] · w[j, k]`.
pub fn matmul_i32(xq: &[i8], m: usize, w: PackedView<'_>, out: &mut [i32]) {
    for i in 0..m {
        for j in 0..w.rows {
            out[i * w.rows + j] = (0..w.cols)
                .map(|k| i32::from(xq[i * w.cols + k]) * i32::from(w.code(j, k)))
                .sum();
        }
    }
}

/// What a code of a group of weights with the scale `s` is worth: the f16 whose reciprocal is `s`, if there is one, as files
/// give it; else `1 / s`.
///
/// ```
/// use bitnet_kernels::reference::code_worth;
/// let d = half::f16::from_f32(0.7).to_f32();
/// assert_eq!(code_worth(1.0 / d), d);
/// assert_eq!(code_worth(3.0), 1.0 / 3.0);
/// ```
pub fn code_worth(s: f32) -> f32 {
    let half = half::f16::from_f32(1.0 / s).to_f32();
    if 1.0 / half == s { half } else { 1.0 / s }
}

/// Inference: `out = (x_q · w_qᵀ) as f32 / s_w / s_x + bias`, in that order; with groups
/// `(Σ_g (x_q · w_qᵀ)_g as f32 · d_g) / s_x + bias`, where `d` is [what a code is worth](code_worth), and the sum goes from
/// the first group to the last.
pub fn linear(x: &[f32], m: usize, w: PackedView<'_>, bias: Option<&[f32]>, out: &mut [f32]) {
    let (mut codes, mut scales) = (vec![0; x.len()], vec![0.0; m]);
    quantize_activations(x, w.cols, &mut codes, &mut scales);
    let group = w.granularity.group(w.cols);
    for i in 0..m {
        for j in 0..w.rows {
            let sum_of = |columns: Range<usize>| -> i32 {
                columns
                    .map(|k| i32::from(codes[i * w.cols + k]) * i32::from(w.code(j, k)))
                    .sum()
            };
            let y = match w.granularity {
                Granularity::Tensor | Granularity::Row => {
                    let s = scale_at(w.scales, w.granularity, w.cols, j, 0);
                    sum_of(0..w.cols) as f32 / s / scales[i]
                }
                Granularity::Group(_) => {
                    let mut y = 0.0;
                    for start in (0..w.cols).step_by(group.max(1)) {
                        let s = scale_at(w.scales, w.granularity, w.cols, j, start);
                        let sum = sum_of(start..(start + group).min(w.cols));
                        y += sum as f32 * code_worth(s);
                    }
                    y / scales[i]
                }
            };
            out[i * w.rows + j] = bias.map_or(y, |bias| y + bias[j]);
        }
    }
}

/// Training's forward: the float product of `x̂ = x_q / s_x` and `ŵ = w_q / s_w`, summed in f64.
///
/// For quantisers that round (all but `Sign`). Equal to [`linear`] up to float rounding: each of `x̂`, `ŵ` and
/// the two divisions of `linear` rounds once.
pub fn fake_quant_linear(
    x: &[f32],
    m: usize,
    w: &[f32],
    rows: usize,
    cols: usize,
    quantizer: WeightQuantizer,
    granularity: Granularity,
) -> Vec<f32> {
    let sw = weight_scales(w, rows, cols, quantizer, granularity);
    let (mut codes, mut sx) = (vec![0; x.len()], vec![0.0; m]);
    quantize_activations(x, cols, &mut codes, &mut sx);
    let mut out = vec![0.0; m * rows];
    for i in 0..m {
        for j in 0..rows {
            let mut sum = 0.0f64;
            for k in 0..cols {
                let s = scale_at(&sw, granularity, cols, j, k);
                let x_hat = f32::from(codes[i * cols + k]) / sx[i];
                let w_hat = f32::from(weight_code(w[j * cols + k], s)) / s;
                sum += f64::from(x_hat) * f64::from(w_hat);
            }
            out[i * rows + j] = sum as f32;
        }
    }
    out
}

/// Codes and d of a block of activations: `d = max|x| / 127`, `q = round_ties_even(x · (127 / max|x|))`; zeros where that
/// is infinite, and d = NaN for a block that is not finite.
///
/// ```
/// use bitnet_kernels::reference::quantize_block;
/// assert_eq!(quantize_block(&[254.0, -3.0, 5.0]), (vec![127, -2, 2], 2.0)); // ties to even
/// ```
pub fn quantize_block(x: &[f32]) -> (Vec<i8>, f32) {
    let max = x.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    let inverse = 127.0 / max;
    if !x.iter().all(|x| x.is_finite()) {
        (vec![0; x.len()], f32::NAN)
    } else if inverse.is_infinite() {
        (vec![0; x.len()], 0.0)
    } else {
        let codes = x.iter().map(|x| activation_code(*x, inverse));
        (codes.collect(), max / 127.0)
    }
}

/// `y[m, n] = x · wᵀ` with weights in blocks: `codes[n, k]`, a scale for each `per_scale` of them (16 or 32) and, unless
/// empty, a minimum for each 32. In the order of operations that [`BlockMatrix`](crate::BlockMatrix) promises.
pub fn linear_blocks(
    x: &[f32],
    k: usize,
    codes: &[i8],
    scales: &[f32],
    per_scale: usize,
    minimums: &[f32],
) -> Vec<f32> {
    let mut y = Vec::new();
    for x in x.chunks(k) {
        for (n, w) in codes.chunks(k).enumerate() {
            let mut acc = 0.0f32;
            for (b, x) in x.chunks(crate::BLOCK).enumerate() {
                let (q, d) = quantize_block(x);
                let at = b * crate::BLOCK;
                for first in (0..crate::BLOCK).step_by(per_scale) {
                    let range = first..first + per_scale;
                    let pairs = q[range].iter().zip(&w[at + first..]);
                    let sum: i32 = pairs.map(|(q, w)| i32::from(*q) * i32::from(*w)).sum();
                    let scale = scales[(n * k + at + first) / per_scale];
                    acc = (sum as f32).mul_add(scale * d, acc);
                }
                if let Some(m) = minimums.get((n * k + at) / crate::BLOCK) {
                    let sum: i32 = q.iter().map(|q| i32::from(*q)).sum();
                    acc = m.mul_add(d * sum as f32, acc);
                }
            }
            y.push(acc);
        }
    }
    y
}
