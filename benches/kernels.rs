//! The CPU kernels of `bitnet-kernels`: quantisers, GEMV (one token) and GEMM (many).
//!
//! `cargo bench --bench kernels`. Counters are multiply-adds for products and elements for quantisers.

use bitnet_kernels::{
    Granularity, Kernel, PackedTernary, WeightQuantizer, linear_with, quantize_activations,
    weight_scales,
};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

/// Values in (−1, 1), the same on every machine.
fn noise(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Products `[m, k] × [n, k]ᵀ`: one token through small and large layers, and a training batch.
const SHAPES: [(usize, usize, usize); 5] = [
    (1, 128, 128),
    (1, 1536, 1536),
    (1, 6912, 2560),
    (768, 344, 128),
    (512, 2560, 2560),
];

#[divan::bench(args = SHAPES)]
fn linear(bencher: Bencher, (m, n, k): (usize, usize, usize)) {
    product(bencher, Kernel::detect(), (m, n, k));
}

#[divan::bench(args = [(1, 1536, 1536), (64, 344, 128)])]
fn linear_scalar(bencher: Bencher, (m, n, k): (usize, usize, usize)) {
    product(bencher, Kernel::Scalar, (m, n, k));
}

fn product(bencher: Bencher, kernel: Kernel, (m, n, k): (usize, usize, usize)) {
    let w = noise(n * k);
    let packed =
        PackedTernary::from_latent(&w, n, k, WeightQuantizer::AbsMean, Granularity::Tensor)
            .expect("finite weights");
    let x = noise(m * k);
    let mut y = vec![0.0; m * n];
    bencher
        .counter(ItemsCount::new(m * n * k))
        .bench_local(|| linear_with(kernel, &x, m, packed.view(), None, &mut y));
}

#[divan::bench(args = [(768, 128), (512, 2560)])]
fn activations(bencher: Bencher, (rows, cols): (usize, usize)) {
    let x = noise(rows * cols);
    let (mut codes, mut scales) = (vec![0i8; rows * cols], vec![0f32; rows]);
    bencher
        .counter(ItemsCount::new(rows * cols))
        .bench_local(|| quantize_activations(&x, cols, &mut codes, &mut scales));
}

#[divan::bench(args = [(344, 128), (6912, 2560)])]
fn absmean(bencher: Bencher, (rows, cols): (usize, usize)) {
    let w = noise(rows * cols);
    bencher
        .counter(ItemsCount::new(rows * cols))
        .bench_local(|| {
            weight_scales(
                &w,
                rows,
                cols,
                WeightQuantizer::AbsMean,
                Granularity::Tensor,
            )
        });
}
