//! WGPU with fusion: the layers among element-wise operations that fusion collects into kernels of its own.

#![cfg(all(feature = "wgpu", feature = "fusion", feature = "flex"))]

use crate::common::*;
use bitnet_nn::{BitLinearConfig, Granularity, WeightQuantizer, bitlinear, quantize_weights};
use burn::backend::{Backend, Dispatch};
use burn::module::Param;
use burn::tensor::{Device, Tensor, activation::relu};

const M: usize = 6;
const K: usize = 40;

/// Element-wise work before, between and after two ternary layers, with tensors used again later.
///
/// Inputs are multiples of 1/64, so what stands before the first quantiser is exact on every device, and the second one
/// reads integers: no rounding of a device can push a value over the edge of a code.
fn chain(device: &Device) -> [Vec<f32>; 3] {
    let mut random = Random::new(50);
    let a = tensor(&random.dyadics(M * K), [M, K], device);
    let b = tensor(&random.dyadics(K), [1, K], device);
    let w1 = tensor(&random.dyadics(K * K), [K, K], device);
    let w2 = tensor(&random.dyadics(3 * K), [3, K], device);
    let x = relu(a.clone() * 2.0 + b.clone()) - a.clone() * b;
    let h = bitlinear(x.clone(), w1, WeightQuantizer::AbsMean, Granularity::Tensor);
    let rounded = (h.clone() * 4.0).round() + (a * 64.0);
    let y = bitlinear(
        rounded.clone(),
        w2,
        WeightQuantizer::AbsMedian,
        Granularity::Row,
    );
    let z = relu(y * 0.5 + 1.0) - x.slice([0..M, 0..3]);
    [floats(h), floats(rounded), floats(z)]
}

#[test]
fn a_fused_graph_gives_what_flex_gives() {
    let Some(device) = wgpu() else { return };
    let name = Dispatch::name(device.as_dispatch());
    assert!(name.contains("fusion"), "{name} does not fuse");
    let [h, rounded, z] = chain(&device);
    let [h2, rounded2, z2] = chain(&Device::flex());
    // Two divisions, and those of a scale of the weights and one of the activations.
    let limit = 6 * DIVISION_ULPS;
    assert_ulps(&h, &h2, limit, "first layer");
    assert_eq!(rounded, rounded2);
    // z = y/2 + 1 − x: y errs as h does, two additions round; all terms below 512.
    let limits = vec![512.0 * f64::from(limit + 2) * f64::from(f32::EPSILON); z.len()];
    assert!(z2.iter().all(|z| z.abs() < 250.0), "{z2:?}");
    assert_within(&z, &z2, &limits, "last layer");
}

/// An operation with two outputs of which one is dropped before anything runs.
#[test]
fn an_output_may_be_dropped_unread() {
    let Some(device) = wgpu() else { return };
    let w = Random::new(51).dyadics(5 * K);
    let run = |device: &Device| {
        let w = tensor(&w, [5, K], device) * 2.0;
        let quantizer = WeightQuantizer::AbsMean;
        let (codes, _) = quantize_weights(w.clone(), quantizer, Granularity::Row);
        let (_, scales) = quantize_weights(w, quantizer, Granularity::Row);
        (words(codes), floats(scales))
    };
    let ((codes, scales), (codes2, scales2)) = (run(&device), run(&Device::flex()));
    assert_eq!(codes, codes2);
    assert_ulps(&scales, &scales2, 2 * DIVISION_ULPS, "scales");
}

#[test]
fn a_layer_survives_moves_between_devices() {
    let Some(device) = wgpu() else { return };
    let mut random = Random::new(52);
    let flex = Device::flex();
    let mut layer = BitLinearConfig::new(K, 7).init(&flex);
    layer.weight = Param::from_tensor(tensor(&random.dyadics(7 * K), [7, K], &flex));
    let packed = layer.pack();
    let x = random.dyadics(M * K);
    let y = floats(packed.forward(tensor(&x, [M, K], &flex)));
    let moved = burn::module::Module::to_device(packed, &device);
    assert_eq!(moved.words.val().device(), device);
    let there: Tensor<2> = moved.forward(tensor(&x, [M, K], &device));
    assert_ulps(&floats(there), &y, 3 * DIVISION_ULPS, "moved");
}
