//! Packed products on a GPU beside Burn's float ones, in turns, and what the device reads.
//!
//! `cargo bench --workspace --bench gpu [-- DEVICE]`: the WGPU adapter with that index (`bitnet doctor` lists them).

use std::error::Error;

use bitnet_benches::{in_turns, noise};
use bitnet_nn::{Granularity, QuantizedActivations, WeightQuantizer};
use bitnet_nn::{packed_linear_quantized, quantize_activations, quantize_weights};
use bitnet_train::Backend;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Features in and out of the widest layer of the 2B-4T shape.
const K: usize = 2560;
const N: usize = 6912;
/// Floats of the probe of the read bandwidth: 64 MB.
const PROBE: usize = 1 << 24;

fn main() -> Result<(), Box<dyn Error>> {
    let index = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(0);
    let device = Backend::Wgpu.device(index)?;
    let name = device.identity().map_or_else(String::new, |i| i.name);
    println!("{name}: y = x w^T with {K} features in, {N} out");
    let w = tensor(N, K, &device);
    let probe = Tensor::<1>::ones([PROBE], &device);
    let (sum, _, _) = in_turns(|| wait(probe.clone().sum()), || ());
    let bandwidth = (4 * PROBE) as f64 / sum;
    println!("  Burn's sum reads {:.1} GB/s", bandwidth / 1e9);
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
        if m == 1 {
            let read = (K * N / 4) as f64 / packed;
            println!(
                "           packed reads {:.2} GB/s of weights, {:.0} % of that",
                read / 1e9,
                100.0 * read / bandwidth
            );
        }
    }
    let x = tensor(256, K, &device);
    let (weights, activations, _) = in_turns(
        || {
            drop(wait_for_codes(quantize_weights(
                w.clone(),
                WeightQuantizer::AbsMean,
                Granularity::Tensor,
            )))
        },
        || drop(wait_for_codes(quantize_activations(x.clone()))),
    );
    println!(
        "  quantisers: {:.2} ms for the weights, {:.2} ms for 256 tokens",
        1e3 * weights,
        1e3 * activations
    );
    Ok(())
}

fn tensor(rows: usize, cols: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(noise(rows * cols), [rows, cols]), device)
}

fn wait_for_codes((codes, scales): (Tensor<2, Int>, Tensor<1>)) -> Tensor<2, Int> {
    wait(scales);
    codes
}

/// Until the device has computed it.
fn wait<const D: usize>(y: Tensor<D>) {
    let device = y.device();
    drop(y);
    device.sync().expect("a device that computes");
}
