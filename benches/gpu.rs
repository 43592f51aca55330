//! Packed products on a GPU beside Burn's float ones, in turns.
//!
//! `cargo bench --bench gpu [-- DEVICE]`: the WGPU adapter with that index (`bitnet doctor` lists them).

use std::error::Error;

use bitnet_benches::{in_turns, noise};
use bitnet_nn::{Granularity, QuantizedActivations, WeightQuantizer};
use bitnet_nn::{packed_linear_quantized, quantize_weights};
use bitnet_train::Backend;
use burn::tensor::{Device, Tensor, TensorData};

/// Features in and out of the widest layer of the 2B-4T shape.
const K: usize = 2560;
const N: usize = 6912;

fn main() -> Result<(), Box<dyn Error>> {
    let index = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(0);
    let device = Backend::Wgpu.device(index)?;
    let name = device.identity().map_or_else(String::new, |i| i.name);
    println!("{name}: y = x w^T with {K} features in, {N} out");
    let w = tensor(N, K, &device);
    let (codes, scales) =
        quantize_weights(w.clone(), WeightQuantizer::AbsMean, Granularity::Tensor);
    for m in [1, 4, 16, 64, 256] {
        let x = tensor(m, K, &device);
        let q = QuantizedActivations::new(x.clone());
        let wt = w.clone().transpose();
        let (float, packed, ratio) = in_turns(
            || wait(x.clone().matmul(wt.clone())),
            || wait(packed_linear_quantized(&q, codes.clone(), scales.clone())),
        );
        let speed = |seconds: f64| (m * K * N) as f64 / seconds / 1e9;
        println!(
            "  M = {m:<4} float {:8.2} ms ({:6.1} GMAC/s), packed {:8.2} ms ({:6.1} GMAC/s): {:.2} of its time",
            1e3 * float,
            speed(float),
            1e3 * packed,
            speed(packed),
            ratio
        );
    }
    Ok(())
}

fn tensor(rows: usize, cols: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(noise(rows * cols), [rows, cols]), device)
}

/// Until the device has computed it.
fn wait(y: Tensor<2>) {
    let device = y.device();
    drop(y);
    device.sync().expect("a device that computes");
}
