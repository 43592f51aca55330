//! BitLinear and its float twin in a Burn model on Flex: forward, forward and backward.
//!
//! `cargo bench --workspace --bench layers`. The shapes are those of the quick start's blocks; compare the twins within
//! one run.

use bitnet_nn::BitLinearConfig;
use bitnet_nn::float::linear;
use burn::tensor::{Device, Distribution, Tensor};
use divan::Bencher;

fn main() {
    divan::main();
}

const ROWS: usize = 768;
const SHAPES: [(usize, usize); 3] = [(128, 128), (128, 344), (344, 128)];

/// A layer's function; the float one's is that of `bitnet_models::Linear`.
fn layer(
    ternary: bool,
    (d_input, d_output): (usize, usize),
    device: &Device,
) -> impl Fn(Tensor<2>) -> Tensor<2> {
    let layer = BitLinearConfig::new(d_input, d_output).init(device);
    move |x| {
        if ternary {
            layer.forward(x)
        } else {
            linear(x, layer.weight.val())
        }
    }
}

fn forward(bencher: Bencher, ternary: bool, shape: (usize, usize)) {
    let device = Device::flex();
    let layer = layer(ternary, shape, &device);
    let x = Tensor::<2>::random([ROWS, shape.0], Distribution::Default, &device);
    bencher.bench_local(|| layer(x.clone()));
}

fn backward(bencher: Bencher, ternary: bool, shape: (usize, usize)) {
    let device = Device::flex().autodiff();
    let layer = layer(ternary, shape, &device);
    let x = Tensor::<2>::random([ROWS, shape.0], Distribution::Default, &device).require_grad();
    bencher.bench_local(|| layer(x.clone()).sum().backward());
}

#[divan::bench(args = SHAPES)]
fn forward_float(bencher: Bencher, shape: (usize, usize)) {
    forward(bencher, false, shape);
}

#[divan::bench(args = SHAPES)]
fn forward_ternary(bencher: Bencher, shape: (usize, usize)) {
    forward(bencher, true, shape);
}

#[divan::bench(args = SHAPES)]
fn backward_float(bencher: Bencher, shape: (usize, usize)) {
    backward(bencher, false, shape);
}

#[divan::bench(args = SHAPES)]
fn backward_ternary(bencher: Bencher, shape: (usize, usize)) {
    backward(bencher, true, shape);
}
