//! The product `y = x_q · w_qᵀ`: exact integer sums and the float epilogue.
//!
//! `x_q[m, k]` int8, `w[n, k]` packed, `y[m, n] = Σ_k x_q · w_q`, then `y as f32 / s_w / s_x + bias` in this order.
//!
//! # Why int32 is enough
//!
//! A partial sum is at most `Σ stored · |x| ≤ 3 · 128 · K` in size (3 allows even for illegal codes), and the
//! correction `Σ x` at most `128 · K`. With `K ≤ 2^20 = `[`MAX_COLS`] every intermediate stays within
//! `4 · 128 · 2^20 = 2^29 < 2^31`. Legal results are at most `2^27`; they convert to f32 exactly while
//! `K ≤ 2^17 = 131072` (|sum| ≤ 2^24), and are rounded to nearest above that.

use std::{cell::Cell, ops::Range};

use rayon::prelude::*;

use crate::{
    Granularity, Kernel, PackedView,
    gemm::interleaved::{Interleaved, MIN_ROWS},
    gemm::planes::Planes,
    gemm::tiles::{Tile, for_each_tile},
    isa::dispatch,
    quantize::quantize_row,
    system::parallel::{MIN_ELEMENTS, worth_threads},
};

/// The widest product: see "Why int32 is enough".
pub const MAX_COLS: usize = 1 << 20;

/// Bytes of scratch a thread keeps between calls; a larger one (a long prompt) is freed.
const KEEP_SCRATCH: usize = 8 << 20;

/// What a call needs besides its arguments; kept by the calling thread, so that decoding a token allocates nothing
/// and does not even clear a tile, which costs as much as a small product.
#[derive(Default)]
struct Scratch {
    planes: Planes,
    tile: Tile,
    interleaved: Interleaved,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// The exact sums `out[i, j] = Σ_k xq[i, k] · w[j, k]`, for `xq[m, k]` and `w[n, k]`.
///
/// ```
/// use bitnet_kernels::{Granularity, Kernel, PackedTernary, matmul_i32};
/// let w = PackedTernary::from_codes(&[1, -1, 0, 1, 1, 1], 2, 3, vec![1.0], Granularity::Tensor)?;
/// let mut out = [0; 2];
/// matmul_i32(&[10, 20, -128], 1, w.view(), Kernel::detect(), &mut out);
/// assert_eq!(out, [-10, -98]);
/// # Ok::<(), bitnet_kernels::Error>(())
/// ```
///
/// # Panics
///
/// If a length disagrees with the shape, if `w.cols > MAX_COLS`, or if the processor lacks `kernel`.
pub fn matmul_i32(xq: &[i8], m: usize, w: PackedView<'_>, kernel: Kernel, out: &mut [i32]) {
    assert_eq!(xq.len(), m * w.cols, "xq is not {m} x {}", w.cols);
    with_scratch(|scratch| {
        each_sum(scratch, kernel, xq, m, w, out, |_, _, sums, out| {
            out.copy_from_slice(sums);
        });
    });
}

/// BitLinear: quantises `x[m, k]` a row at a time and writes `out[m, n] = (x_q · w_qᵀ) / s_w / s_x + bias`.
///
/// Runs on the fastest kernel of this processor, and on rayon's threads if the product is large.
///
/// # Panics
///
/// If a length disagrees with the shape, or if `w.cols > MAX_COLS`.
pub fn linear(x: &[f32], m: usize, w: PackedView<'_>, bias: Option<&[f32]>, out: &mut [f32]) {
    linear_with(Kernel::detect(), x, m, w, bias, out);
}

/// As [`linear`], on a given kernel.
///
/// # Panics
///
/// As [`linear`], and if the processor lacks `kernel`.
pub fn linear_with(
    kernel: Kernel,
    x: &[f32],
    m: usize,
    w: PackedView<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let k = w.cols;
    assert_eq!(x.len(), m * k, "x is not {m} x {k}");
    if let Some(bias) = bias {
        assert_eq!(bias.len(), w.rows, "bias is not {} values", w.rows);
    }
    with_scratch(|scratch| {
        let mut codes = std::mem::take(&mut scratch.codes);
        let mut scales = std::mem::take(&mut scratch.scales);
        codes.resize(m * k, 0);
        scales.resize(m, 0.0);
        let quantize = |i: usize, codes: &mut [i8]| quantize_row(kernel, &x[i * k..][..k], codes);
        if k > 0 && worth_threads(x.len(), MIN_ELEMENTS) {
            codes
                .par_chunks_mut(k)
                .zip(&mut scales)
                .enumerate()
                .for_each(|(i, (c, s))| *s = quantize(i, c));
        } else {
            (0..m).for_each(|i| scales[i] = quantize(i, &mut codes[i * k..][..k]));
        }
        scaled_product(scratch, kernel, &codes, &scales, w, bias, out);
        (scratch.codes, scratch.scales) = (codes, scales);
    });
}

/// As [`linear`], for activations that are quantised already: codes `xq[m, k]` and a scale for each row.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_quantized(
    xq: &[i8],
    x_scales: &[f32],
    w: PackedView<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let (m, k, kernel) = (x_scales.len(), w.cols, Kernel::detect());
    assert_eq!(xq.len(), m * k, "xq is not {m} x {k}");
    if let Some(bias) = bias {
        assert_eq!(bias.len(), w.rows, "bias is not {} values", w.rows);
    }
    with_scratch(|scratch| scaled_product(scratch, kernel, xq, x_scales, w, bias, out));
}

/// All sums, with the epilogue `sum / s_w / s_x + bias`.
fn scaled_product(
    scratch: &mut Scratch,
    kernel: Kernel,
    xq: &[i8],
    x_scales: &[f32],
    w: PackedView<'_>,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let m = x_scales.len();
    assert!(
        !matches!(w.granularity, Granularity::Group(_)),
        "canonical products of groups are composed by the caller"
    );
    each_sum(scratch, kernel, xq, m, w, out, |i, n, sums, out| {
        let sw = match w.granularity {
            Granularity::Tensor => w.scales,
            Granularity::Row => &w.scales[n.clone()],
            Granularity::Group(_) => unreachable!("checked above"),
        };
        dispatch!(
            kernel,
            epilogue_row(sums, sw, x_scales[i], bias.map(|bias| &bias[n]), out)
        );
    });
}

/// Calls `write(i, n range, sums, out[i, n range])` until all of `out[m, n]` is written: a few rows of `x` meet the words
/// as they lie, many rows meet them interleaved.
fn each_sum<T: Send>(
    scratch: &mut Scratch,
    kernel: Kernel,
    xq: &[i8],
    m: usize,
    w: PackedView<'_>,
    out: &mut [T],
    write: impl Fn(usize, Range<usize>, &[i32], &mut [T]) + Sync,
) {
    let k = w.cols;
    w.assert_lengths();
    assert_eq!(xq.len(), m * k, "xq is not {m} x {k}");
    assert!(
        k <= MAX_COLS,
        "{k} columns: int32 sums are proven for at most {MAX_COLS}"
    );
    if m >= MIN_ROWS && k > 0 {
        scratch.interleaved.product(kernel, xq, m, w, out, write);
    } else {
        scratch.planes.fill(kernel, xq, m, k);
        for_each_tile(kernel, &scratch.planes, w, &mut scratch.tile, out, write);
    }
}

/// Lends the thread's scratch. A nested call on the same thread (rayon may steal one) finds none and makes its own.
fn with_scratch(f: impl FnOnce(&mut Scratch)) {
    let mut scratch = SCRATCH.take().unwrap_or_default();
    f(&mut scratch);
    scratch.interleaved.shrink();
    if scratch.planes.capacity() + scratch.codes.capacity() <= KEEP_SCRATCH {
        SCRATCH.set(Some(scratch));
    }
}
