//! Sizes that no memory has: safe functions refuse them, in builds without overflow checks too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bitnet_kernels::float::{Matrix, matmul};
use bitnet_kernels::{DenseFormat, DenseMatrix, FloatFormat, Kernel, Line, Panels};

#[track_caller]
fn refused<R>(what: &str, run: impl FnOnce() -> R) {
    let outcome = catch_unwind(AssertUnwindSafe(run));
    assert!(outcome.is_err(), "{what} is not refused");
}

#[test]
#[cfg_attr(
    panic = "abort",
    ignore = "nothing is caught where a panic ends the process"
)]
fn sizes_past_the_addresses_are_refused() {
    let half = 1 << (usize::BITS / 2);
    refused("a stride", || Matrix::strided(&[1.0], 2, 1, usize::MAX));
    refused("a size", || Matrix::new(&[], half, half));
    refused("a result", || {
        matmul(Matrix::new(&[], half, 0), Matrix::new(&[], 0, half))
    });
    for kernel in Kernel::available() {
        // Lengths that wrap around to 1 line and 2 elements.
        for format in [FloatFormat::F32, FloatFormat::Bf16] {
            let panels = Panels {
                format,
                lines: &[Line::of([0.0; 16])],
                depth: (1 << (usize::BITS - 1)) + 1,
                stride: 1,
                step: 2,
            };
            refused("a depth", || {
                panels.product(kernel, &[1.0, 1.0], 2, 1, 0..1, &mut [0.0; 16], 16);
            });
        }
    }
    // Its lines would take a number of bytes that wraps around to 0.
    for format in [DenseFormat::F32, DenseFormat::Bf16, DenseFormat::Int8] {
        let rows = 1 << (usize::BITS - 2);
        refused("a matrix", || {
            DenseMatrix::from_rows(rows, 1, format, Kernel::SCALAR, |_, row| row.fill(1.0))
        });
    }
}
