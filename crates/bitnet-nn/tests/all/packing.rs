//! Packing on every device: it changes no bit of the output, leaves autodiff, and takes two bits a weight.

use crate::common::*;
use bitnet_nn::{BitLinearConfig, Granularity, PackedBitLinear, Quantization, WeightQuantizer};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

#[test]
fn packing_changes_no_bit() {
    for target in targets() {
        let mut random = Random::new(25);
        for (m, n, k) in [(1, 1, 1), (2, 3, 15), (5, 16, 64), (8, 33, 129)] {
            for (quantizer, granularity) in quantisers() {
                let device = &target.device;
                let mut layer = latent_layer(&random.floats(n * k), [n, k], device);
                layer.quantization.weights = quantizer;
                layer.quantization.granularity = granularity;
                layer.bias = Some(Param::from_tensor(vector(&random.floats(n), device)));
                let x = tensor(&random.floats(m * k), [m, k], device);
                let (y, packed) = (layer.forward(x.clone()), layer.pack().forward(x));
                y.into_data().assert_eq(&packed.into_data(), true);
            }
        }
    }
}

#[cfg(feature = "autodiff")]
#[test]
fn packing_a_training_layer_leaves_autodiff() {
    for target in targets() {
        let (plain, device) = (&target.device, target.device.clone().autodiff());
        let config = BitLinearConfig::new(20, 6)
            .with_bias(true)
            .with_norm_eps(Some(1e-5));
        let layer = config.init(&device);
        let packed = layer.pack();
        let x = Random::new(26).floats(3 * 20);
        let y = packed.forward(tensor(&x, [3, 20], plain));
        assert!(!y.device().is_autodiff(), "{}", target.name);
        // The same outputs as in validation. (In training, fusion may contract the norm's arithmetic otherwise.)
        let expected = floats(layer.valid().forward(tensor(&x, [3, 20], plain)));
        assert_eq!(floats(y), expected, "{}", target.name);
    }
}

#[test]
fn two_bits_a_weight() {
    for target in targets() {
        for (granularity, scales) in [(Granularity::Tensor, 1), (Granularity::Row, 32)] {
            let config = BitLinearConfig::new(64, 32).with_quantization(Quantization {
                granularity,
                ..Quantization::default()
            });
            let bytes = config.init(&target.device).pack().weight_bytes();
            assert_eq!(bytes, 64 * 32 * 2 / 8 + 4 * scales);
        }
        // A row of 17 takes two words.
        let padded = BitLinearConfig::new(17, 3).init(&target.device).pack();
        assert_eq!(padded.weight_bytes(), 4 * (3 * 2 + 1));
    }
}

#[test]
fn packed_weights_come_back_from_the_device() {
    for target in targets() {
        let mut random = Random::new(27);
        for (n, k) in [(1, 1), (3, 17), (16, 64)] {
            for granularity in GRANULARITIES {
                let w = random.floats(n * k);
                let (quantizer, device) = (WeightQuantizer::AbsMean, &target.device);
                let packed =
                    bitnet_kernels::PackedTernary::from_latent(&w, n, k, quantizer, granularity)
                        .expect("finite weights");
                let layer = PackedBitLinear::from_packed(&packed, device);
                assert_eq!(
                    layer.to_packed().expect("what went in"),
                    packed,
                    "{}",
                    target.name
                );
            }
        }
    }
}

/// 17 and 18 features take the same number of words: the width itself must be checked.
#[test]
#[should_panic(expected = "must be d_input")]
fn a_wrong_width_is_refused_by_the_packed_layer() {
    let device = &targets()[0].device;
    let packed = BitLinearConfig::new(17, 3).init(device).pack();
    packed.forward(Tensor::<2>::ones([2, 18], device));
}
