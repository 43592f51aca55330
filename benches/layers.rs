//! BitLinear and its float twin in a Burn model on Flex: forward, forward and backward.
//!
//! `cargo bench --workspace --bench layers`. The shapes are those of the quick start's blocks; compare the twins within
//! one run.

use bitnet_nn::{BitLinear, BitLinearConfig, LinearKind};
use burn::tensor::{Device, Distribution, Tensor};
use divan::Bencher;

fn main() {
    divan::main();
}

const ROWS: usize = 768;
const SHAPES: [(usize, usize); 3] = [(128, 128), (128, 344), (344, 128)];

fn layer(kind: LinearKind, (d_input, d_output): (usize, usize), device: &Device) -> BitLinear {
    BitLinearConfig::new(d_input, d_output)
        .with_kind(kind)
        .init(device)
}

fn forward(bencher: Bencher, kind: LinearKind, shape: (usize, usize)) {
    let device = Device::flex();
    let layer = layer(kind, shape, &device);
    let x = Tensor::<2>::random([ROWS, shape.0], Distribution::Default, &device);
    bencher.bench_local(|| layer.forward(x.clone()));
}

fn backward(bencher: Bencher, kind: LinearKind, shape: (usize, usize)) {
    let device = Device::flex().autodiff();
    let layer = layer(kind, shape, &device);
    let x = Tensor::<2>::random([ROWS, shape.0], Distribution::Default, &device).require_grad();
    bencher.bench_local(|| layer.forward(x.clone()).sum().backward());
}

#[divan::bench(args = SHAPES)]
fn forward_float(bencher: Bencher, shape: (usize, usize)) {
    forward(bencher, LinearKind::Float, shape);
}

#[divan::bench(args = SHAPES)]
fn forward_ternary(bencher: Bencher, shape: (usize, usize)) {
    forward(bencher, LinearKind::Ternary, shape);
}

#[divan::bench(args = SHAPES)]
fn backward_float(bencher: Bencher, shape: (usize, usize)) {
    backward(bencher, LinearKind::Float, shape);
}

#[divan::bench(args = SHAPES)]
fn backward_ternary(bencher: Bencher, shape: (usize, usize)) {
    backward(bencher, LinearKind::Ternary, shape);
}
