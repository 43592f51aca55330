//! Dequantisers on every device: a value is its code over its scale, and quantises to the same code again.

use crate::common::*;
use bitnet_kernels::reference;
use bitnet_nn::{
    dequantize_activations, dequantize_weights, quantize_activations, quantize_weights,
};

#[test]
fn dequantised_values_are_code_over_scale_and_quantise_to_the_same_codes() {
    for target in targets() {
        let mut random = Random::new(4);
        for (n, k) in [(1, 1), (3, 15), (5, 33), (16, 129)] {
            let values = random.floats(n * k);
            let context = format!("{}, {n} x {k}", target.name);
            for (quantizer, granularity) in quantisers() {
                let w = tensor(&values, [n, k], &target.device);
                let (codes, scales) = quantize_weights(w, quantizer, granularity);
                let value = dequantize_weights(codes.clone(), scales.clone(), k);
                let scales = floats(scales);
                let expected: Vec<f32> = (0..n * k)
                    .map(|i| {
                        let scale = scale_at(&scales, i / k);
                        f32::from(reference::weight_code(values[i], scale)) / scale
                    })
                    .collect();
                let found = floats(value.clone());
                assert_ulps(&found, &expected, target.ulps(DIVISION_ULPS), &context);
                // The mean and the median of |ŵ| are at most 1/s: a code ±1 stays ±1.
                let (again, _) = quantize_weights(value, quantizer, granularity);
                assert_eq!(words(again), words(codes), "{context}");
            }
            let (codes, scales) = quantize_activations(tensor(&values, [n, k], &target.device));
            let value = dequantize_activations(codes.clone(), scales.clone(), k);
            let scales = floats(scales);
            let expected: Vec<f32> = (0..n * k)
                .map(|i| {
                    let scale = scales[i / k];
                    f32::from(reference::activation_code(values[i], scale)) / scale
                })
                .collect();
            let found = floats(value.clone());
            assert_ulps(&found, &expected, target.ulps(DIVISION_ULPS), &context);
            let (again, _) = quantize_activations(value);
            assert_eq!(words(again), words(codes), "{context}");
        }
    }
}
