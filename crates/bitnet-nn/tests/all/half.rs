//! Activations of 16 bits on a GPU: each kernel reads f16 exactly, computes in f32, and rounds once.
#![cfg(feature = "wgpu")]

use crate::common::*;
use bitnet_nn::float::{cached_attention, embedding, linear, rms_norm, rope};
use bitnet_nn::{
    BitLinearConfig, Granularity, QuantizedActivations, WeightQuantizer, packed_linear,
    packed_linear_quantized, quantize_activations, quantize_weights,
};
use burn::nn::RmsNormConfig;
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData, f16};

/// A GPU with 16-bit floats. The project's own checks fail here without one; a user's adapter may not have them.
fn gpu() -> Option<Device> {
    let device = wgpu()?;
    if !device.supports_dtype(FloatDType::F16) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no f16");
        skipped("the WGPU adapter has no 16-bit floats");
        return None;
    }
    Some(device)
}

/// Values that f16 holds, in f16 and in f32.
fn both<const D: usize>(seed: u64, shape: [usize; D], device: &Device) -> (Tensor<D>, Tensor<D>) {
    let mut random = Random::new(seed);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| f16::from_f32(3.0 * random.float()).to_f32())
        .collect();
    let wide: Tensor<D> = Tensor::from_data(TensorData::new(values, shape), device);
    let half = wide.clone().cast(FloatDType::F16);
    assert_eq!(half.dtype(), DType::F16);
    (half, wide)
}

fn halves<const D: usize>(x: Tensor<D>) -> Vec<f16> {
    assert_eq!(x.dtype(), DType::F16);
    x.into_data().try_to_vec().unwrap()
}

/// A place of f16: an adapter may round either way.
const ULP: f32 = 1.0 / 1024.0;

/// `half` is `wide` rounded once.
fn assert_rounded<const D: usize>(half: Tensor<D>, wide: Tensor<D>, what: &str) {
    let (half, wide) = (halves(half), floats(wide));
    assert_eq!(half.len(), wide.len(), "{what}");
    for (i, (h, w)) in half.iter().zip(&wide).enumerate() {
        let error = (h.to_f32() - w).abs();
        assert!(error <= w.abs() * ULP + 1e-6, "{what} [{i}]: {h} {w}");
    }
}

#[test]
fn codes_and_scales_are_those_of_the_same_numbers_in_f32() {
    let Some(device) = gpu() else { return };
    for (m, k) in [(1, 1), (2, 33), (5, 129), (8, 640)] {
        let (half, wide) = both(7, [m, k], &device);
        let ((codes, scales), (codes_32, scales_32)) =
            (quantize_activations(half), quantize_activations(wide));
        assert_eq!(words(codes), words(codes_32), "{m} x {k}");
        assert_eq!(floats(scales), floats(scales_32), "{m} x {k}");
    }
}

#[test]
fn the_ternary_product_is_rounded_once() {
    let Some(device) = gpu() else { return };
    // GEMV and GEMM.
    for (m, n, k) in [(1, 5, 33), (4, 33, 129), (9, 17, 100), (40, 33, 64)] {
        let (half, wide) = both(11, [m, k], &device);
        let (_, w) = both(13, [n, k], &device);
        let (codes, scales) = quantize_weights(w, WeightQuantizer::AbsMean, Granularity::Row);
        let y = packed_linear(half.clone(), codes.clone(), scales.clone());
        let what = format!("{m} x {n} x {k}");
        let expected = packed_linear(wide, codes.clone(), scales.clone());
        // Shared codes give the type of the values that they came with, and the same numbers.
        let shared = packed_linear_quantized(&QuantizedActivations::new(half), codes, scales);
        assert_eq!(halves(shared), halves(y.clone()), "{what}");
        assert_rounded(y, expected, &what);
    }
}

#[test]
fn a_latent_layer_takes_f16() {
    let Some(device) = gpu() else { return };
    let layer = BitLinearConfig::new(40, 24).init(&device);
    let (half, wide) = both(17, [3, 40], &device);
    assert_rounded(layer.forward(half), layer.forward(wide), "BitLinear");
}

#[test]
fn blocks_compute_in_f32() {
    let Some(device) = gpu() else { return };
    let (half, wide) = both(19, [2, 3, 48], &device);
    let norm = RmsNormConfig::new(48).init(&device);
    assert_rounded(rms_norm(&norm, half), rms_norm(&norm, wide), "RMSNorm");

    let (half, wide) = both(23, [2, 3, 4, 8], &device);
    let (_, cos) = both(29, [3, 8], &device);
    let (_, sin) = both(31, [3, 8], &device);
    let turned = rope(half, cos.clone(), sin.clone());
    // Differences of two products may cancel: the error is that of the larger one.
    let (turned, turned_32) = (halves(turned), floats(rope(wide, cos, sin)));
    for (h, w) in turned.iter().zip(turned_32) {
        assert!((h.to_f32() - w).abs() <= ULP * w.abs().max(1.0), "{h} {w}");
    }
}

#[test]
fn attention_to_a_cache_of_f16() {
    let Some(device) = gpu() else { return };
    for (time, heads, kv_heads, width, offset) in [(1, 4, 2, 16, 200), (3, 2, 2, 8, 5)] {
        let (q, q_32) = both(37, [1, time, heads, width], &device);
        let shape = [1, kv_heads, 256, width];
        let ((k, k_32), (v, v_32)) = (both(41, shape, &device), both(43, shape, &device));
        let y = halves(cached_attention(q, k, v, offset));
        let y_32 = floats(cached_attention(q_32, k_32, v_32, offset));
        for (h, w) in y.iter().zip(y_32) {
            assert!((h.to_f32() - w).abs() <= ULP * w.abs().max(1.0), "{h} {w}");
        }
    }
}

#[test]
fn tables_of_f16() {
    let Some(device) = gpu() else { return };
    let (table, table_32) = both(47, [50, 24], &device);
    let ids = Tensor::<2, Int>::from_data([[3, 49, 0], [7, 7, 21]], &device);
    let (rows, rows_32) = (
        embedding(table.clone(), ids.clone()),
        embedding(table_32.clone(), ids),
    );
    assert_rounded(rows, rows_32, "embedding");
    for m in [1, 4, 9] {
        let (x, x_32) = both(53, [m, 24], &device);
        let logits = floats(linear(x_32.clone(), table_32.clone()));
        // f32 in, f32 out: a head of f16 costs the precision of its weights only.
        let mixed = linear(x_32, table.clone());
        assert_eq!(mixed.dtype(), DType::F32);
        for (a, b) in floats(mixed).iter().zip(&logits) {
            assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{m}: {a} {b}");
        }
        for (a, b) in halves(linear(x, table.clone())).iter().zip(&logits) {
            let error = (a.to_f32() - b).abs();
            assert!(error <= 2.0 * ULP * b.abs().max(1.0), "{m}: {a} {b}");
        }
    }
}
