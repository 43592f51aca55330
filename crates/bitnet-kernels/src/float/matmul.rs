//! Float matrix products on strided views: a transposed operand is a view, never a copy.
//!
//! The `gemm` crate computes; this file says the shapes once, so that the three products of a linear layer,
//! `y = x·wᵀ`, `∂x = ∂y·w` and `∂w = ∂yᵀ·x`, read as they are written. Results do not depend on the number of threads:
//! `gemm` shares out rows and columns of the output and keeps the order of each sum.

use crate::system::parallel::worth_threads;

/// Multiply-adds below which a product stays on the calling thread: some 30 µs of one core, several times a hand-over.
const MIN_MACS: usize = 1 << 21;

/// A matrix in memory that someone else owns: element `(i, j)` at `i · row_stride + j · col_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(super) data: &'a [f32],
    rows: usize,
    cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major `[rows, cols]`, all of `data`.
    ///
    /// # Panics
    /// If `data` has another length.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        let expected = rows.checked_mul(cols);
        assert_eq!(Some(data.len()), expected, "not {rows} x {cols} elements");
        Self::strided(data, rows, cols, cols)
    }

    /// Rows of `cols` elements that begin `stride` apart.
    ///
    /// # Panics
    /// If the last row ends past `data`.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        let end = match rows.checked_sub(1) {
            None => Some(0),
            Some(last) => last.checked_mul(stride).and_then(|at| at.checked_add(cols)),
        };
        assert!(
            end.is_some_and(|end| end <= data.len()),
            "{rows} rows of {cols}, {stride} apart, in {} elements",
            data.len()
        );
        Self {
            data,
            rows,
            cols,
            row_stride: stride,
            col_stride: 1,
        }
    }

    /// Number of rows.
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(self) -> usize {
        self.cols
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// `a · b` as a new row-major matrix, on rayon's threads if it is large.
///
/// ```
/// use bitnet_kernels::float::{Matrix, matmul};
/// let a = Matrix::new(&[1.0, 2.0], 1, 2);
/// assert_eq!(matmul(a, a.t()), [5.0]);
/// assert_eq!(matmul(a.t(), a), [1.0, 2.0, 2.0, 4.0]);
/// ```
///
/// # Panics
/// If the inner dimensions differ.
pub fn matmul(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    assert_eq!(a.cols, b.rows, "the inner dimensions differ");
    let len = a.rows.checked_mul(b.cols);
    let len = len.unwrap_or_else(|| panic!("a {} x {} result is too large", a.rows, b.cols));
    #[cfg(target_arch = "x86_64")]
    if let Some(out) = on_tiles(a, b) {
        return out;
    }
    let mut out: Vec<f32> = Vec::with_capacity(len);
    let parallelism = if worth_threads(len.saturating_mul(a.cols), MIN_MACS) {
        gemm::Parallelism::Rayon(0)
    } else {
        gemm::Parallelism::None
    };
    // SAFETY: `out` has room for rows x cols elements with these strides and is written without being read; with
    // `a.cols == 0` the product writes zeros.
    unsafe {
        product(out.as_mut_ptr(), b.cols, false, 1.0, a, b, parallelism);
        out.set_len(len);
    }
    out
}

/// `a · b` from bf16 pieces, where the processor has tiles for them.
#[cfg(target_arch = "x86_64")]
fn on_tiles<'a>(a: Matrix<'a>, b: Matrix<'a>) -> Option<Vec<f32>> {
    use super::{
        Numerics, Precision,
        pieces::{Along, Floats, Passes, Tiled, product, worth_tiles},
    };
    let tiled = worth_tiles(a.rows, a.cols, b.cols).then(Tiled::get)?.ok()?;
    let passes = match Numerics::current().precision {
        Precision::F32 => Passes::Six,
        Precision::Bf16 => Passes::One,
    };
    let pieces = passes.pieces();
    // `rows` of `x` are outer.
    let floats = |x: Matrix<'a>, pieces| Floats {
        data: x.data,
        outer: x.rows,
        depth: x.cols,
        along: if x.col_stride == 1 {
            Along::Depth
        } else {
            Along::Outer
        },
        stride: x.row_stride.max(x.col_stride),
        scales: None,
        pieces,
    };
    Some(product(
        tiled,
        passes,
        &floats(a, pieces.0),
        &floats(b.t(), pieces.1),
        1.0,
    ))
}

/// `out ← [out +] scale · a · b` on the calling thread; rows of `out` begin `stride` apart.
///
/// # Safety
/// `out` must be valid for writes (and, if `add`, hold initialised values) at `i · stride + j` for every row `i` of `a`
/// and column `j` of `b`, and nothing else may access these elements meanwhile.
///
/// # Panics
/// If the inner dimensions differ.
pub(super) unsafe fn product_into(
    out: *mut f32,
    stride: usize,
    add: bool,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    // SAFETY: the caller's promise is that of `product`.
    unsafe { product(out, stride, add, scale, a, b, gemm::Parallelism::None) }
}

/// # Safety
/// As [`product_into`].
unsafe fn product(
    out: *mut f32,
    stride: usize,
    add: bool,
    scale: f32,
    a: Matrix<'_>,
    b: Matrix<'_>,
    parallelism: gemm::Parallelism,
) {
    assert_eq!(a.cols, b.rows, "the inner dimensions differ");
    // SAFETY: `out` by the caller; the views lie within their slices (checked when made) and are not written.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out,
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skipped::on_threads;

    #[test]
    #[should_panic(expected = "2 rows of 1")]
    fn strides_past_the_addresses_are_refused() {
        Matrix::strided(&[1.0], 2, 1, usize::MAX);
    }

    #[test]
    #[should_panic(expected = "None")]
    fn sizes_past_the_addresses_are_refused() {
        Matrix::new(&[], 1 << (usize::BITS / 2), 1 << (usize::BITS / 2));
    }

    #[test]
    #[should_panic(expected = "result is too large")]
    fn results_past_the_addresses_are_refused() {
        let large = 1 << (usize::BITS / 2);
        matmul(Matrix::new(&[], large, 0), Matrix::new(&[], 0, large));
    }

    #[test]
    fn strides_and_transposes() {
        // [2, 3] inside rows of 5.
        let data: Vec<f32> = (0..10).map(|i| i as f32).collect();
        let a = Matrix::strided(&data, 2, 3, 5);
        assert_eq!(matmul(a, a.t()), [5.0, 20.0, 20.0, 110.0]);
        let mut out = [1.0f32; 4];
        // SAFETY: out is 2 x 2.
        unsafe { product_into(out.as_mut_ptr(), 2, true, 2.0, a, a.t()) };
        assert_eq!(out, [11.0, 41.0, 41.0, 221.0]);
    }

    #[test]
    fn empty_products() {
        assert_eq!(
            matmul(Matrix::new(&[], 0, 3), Matrix::new(&[0.0; 6], 3, 2)),
            []
        );
        assert_eq!(
            matmul(Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 1)),
            [0.0, 0.0]
        );
    }

    #[test]
    fn large_products_are_shared_out_and_equal() {
        let noise = |len: usize| -> Vec<f32> {
            (0..len)
                .map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5)
                .collect()
        };
        let (m, k, n) = (257, 130, 129);
        let (a, b) = (noise(m * k), noise(n * k));
        let run = |threads: usize| {
            on_threads(threads, || {
                matmul(Matrix::new(&a, m, k), Matrix::new(&b, n, k).t())
            })
        };
        let y = run(1);
        assert_eq!(y, run(3));
        let exact: f64 = (0..k)
            .map(|i| f64::from(a[5 * k + i]) * f64::from(b[7 * k + i]))
            .sum();
        assert!((f64::from(y[5 * n + 7]) - exact).abs() < 1e-4);
    }
}
