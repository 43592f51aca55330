//! The layers on every device: ranks, bias, norm, the float twin and Burn's `Linear`.

use crate::common::*;
use bitnet_nn::{
    BitLinear, BitLinearConfig, Granularity, Quantization, TrainingForm, WeightQuantizer,
    bitlinear, float::rms_norm,
};
use burn::module::Param;
use burn::nn::{Linear, LinearConfig, LinearLayout};
use burn::tensor::{Device, Distribution, Tensor};

#[test]
fn any_rank_is_rows_of_tokens() {
    let (n, k) = (7, 19);
    for target in targets() {
        let (device, mut random) = (&target.device, Random::new(20));
        let mut layer = latent_layer(&random.floats(n * k), [n, k], device);
        layer.bias = Some(Param::from_tensor(vector(&random.floats(n), device)));
        let x = random.floats(12 * k);
        let flat = layer.forward(tensor(&x, [12, k], device));
        assert_eq!(flat.dims(), [12, n]);
        let flat = floats(flat);
        let packed = layer.pack();

        let y = layer.forward(tensor(&x, [4, 3, k], device));
        assert_eq!(y.dims(), [4, 3, n]);
        assert_eq!(floats(y), flat, "{}", target.name);
        let y = packed.forward(tensor(&x, [4, 3, k], device));
        assert_eq!(y.dims(), [4, 3, n]);
        assert_eq!(floats(y), flat, "{}", target.name);

        let y = layer.forward(tensor(&x, [2, 3, 2, k], device));
        assert_eq!(y.dims(), [2, 3, 2, n]);
        assert_eq!(floats(y), flat, "{}", target.name);
        let y = packed.forward(tensor(&x, [2, 3, 2, k], device));
        assert_eq!(floats(y), flat, "{}", target.name);

        let y = layer.forward(vector(&x[..k], device));
        assert_eq!(y.dims(), [n]);
        assert_eq!(floats(y), flat[..n], "{}", target.name);
        assert_eq!(floats(packed.forward(vector(&x[..k], device))), flat[..n]);
    }
}

#[test]
fn a_bias_is_added_after_the_scales() {
    let (m, n, k) = (3, 5, 17);
    for target in targets() {
        let (device, mut random) = (&target.device, Random::new(21));
        let mut layer = latent_layer(&random.floats(n * k), [n, k], device);
        let (x, bias) = (
            tensor(&random.floats(m * k), [m, k], device),
            random.floats(n),
        );
        let plain = floats(layer.forward(x.clone()));
        layer.bias = Some(Param::from_tensor(vector(&bias, device)));
        let expected: Vec<f32> = plain
            .iter()
            .enumerate()
            .map(|(i, y)| y + bias[i % n])
            .collect();
        assert_eq!(floats(layer.forward(x)), expected, "{}", target.name);
    }
}

#[test]
fn the_norm_stands_before_the_quantiser() {
    for target in targets() {
        let (device, mut random) = (&target.device, Random::new(22));
        let mut layer = BitLinearConfig::new(17, 5)
            .with_norm_eps(Some(1e-6))
            .init(device);
        let gamma = random.floats(17);
        layer.norm.as_mut().expect("a norm").gamma = Param::from_tensor(vector(&gamma, device));
        let x = tensor(&random.floats(3 * 17), [3, 17], device);
        let normed = rms_norm(layer.norm.as_ref().expect("a norm"), x.clone());
        let weight = layer.weight.val();
        let expected = bitlinear(
            normed,
            weight,
            layer.quantization.weights,
            layer.quantization.granularity,
        );
        let y = layer.forward(x.clone());
        assert_eq!(floats(y.clone()), floats(expected), "{}", target.name);
        assert_eq!(
            floats(layer.pack().forward(x.clone())),
            floats(y.clone()),
            "{}",
            target.name
        );
        layer.norm = None;
        assert_ne!(floats(layer.forward(x)), floats(y), "{}", target.name);
    }
}

#[test]
fn the_config_sets_shapes_and_switches() {
    let layer = BitLinearConfig::new(6, 4)
        .with_bias(true)
        .with_quantization(Quantization {
            weights: WeightQuantizer::AbsMedian,
            granularity: Granularity::Row,
            ..Quantization::default()
        });
    for target in targets() {
        let layer = layer.init(&target.device);
        assert_eq!(layer.weight.dims(), [4, 6]);
        assert_eq!(layer.bias.as_ref().expect("a bias").dims(), [4]);
        assert!(layer.norm.is_none());
        assert_eq!(layer.quantization.weights, WeightQuantizer::AbsMedian);
        assert_eq!(layer.quantization.granularity, Granularity::Row);
        let shown = format!("{layer}");
        for part in [
            "AbsMedian",
            "granularity: row",
            "activations: Int8",
            "norm: false",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        // Kaiming uniform over the inputs, as `burn::nn::Linear`: within 1/√6, and not all on one side.
        let w = floats(layer.weight.val());
        assert!(w.iter().all(|w| w.abs() <= 1.0 / 6f32.sqrt()), "{w:?}");
        assert!(
            w.iter().any(|&w| w > 0.0) && w.iter().any(|&w| w < 0.0),
            "{w:?}"
        );
    }
}

/// Multiples of 1/64: the float products are exact, so that the two layers must agree whatever their order of adding.
fn float_linear([k, n]: [usize; 2], layout: LinearLayout, device: &Device) -> Linear {
    let mut random = Random::new(23);
    let mut linear = LinearConfig::new(k, n).with_layout(layout).init(device);
    linear.weight = Param::from_tensor(match layout {
        LinearLayout::Row => tensor(&random.dyadics(k * n), [k, n], device),
        LinearLayout::Col => tensor(&random.dyadics(k * n), [n, k], device).transpose(),
    });
    linear.bias = Some(Param::from_tensor(vector(&random.dyadics(n), device)));
    linear
}

#[test]
fn from_a_linear_with_either_layout_and_back_to_float() {
    let (large, small) = ([33, 7], [5, 3]);
    let cases = [
        (LinearLayout::Row, large),
        (LinearLayout::Col, large),
        (LinearLayout::Row, small),
    ];
    for target in targets() {
        for &(layout, [k, n]) in target.some_of(&cases) {
            let device = &target.device;
            let linear = float_linear([k, n], layout, device);
            let mut layer = BitLinear::from(linear.clone());
            let w = floats(linear.weight.val().transpose());
            assert_eq!(floats(layer.weight.val()), w, "{}", target.name);
            let x = tensor(&Random::new(24).dyadics(2 * k), [2, 1, k], device);

            let mut same = latent_layer(&w, [n, k], device);
            same.bias = linear.bias.clone();
            let (y, same) = (layer.forward(x.clone()), same.forward(x.clone()));
            assert_eq!(floats(y), floats(same), "{}", target.name);

            layer.set_form(TrainingForm {
                lambda: 0.0,
                ..TrainingForm::default()
            });
            let (y, expected) = (layer.forward(x.clone()), linear.forward(x));
            assert_eq!(floats(y), floats(expected), "{}", target.name);
        }
    }
}

#[cfg(feature = "autodiff")]
#[test]
fn from_a_linear_that_trains() {
    for target in targets() {
        let device = target.device.clone().autodiff();
        let layer = BitLinear::from(float_linear([5, 3], LinearLayout::Row, &device));
        assert!(layer.weight.val().is_require_grad(), "{}", target.name);
        let y = layer.forward(Tensor::<2>::ones([2, 5], &device));
        let grads = y.sum().backward();
        assert!(layer.weight.val().grad(&grads).is_some(), "{}", target.name);
    }
}

#[test]
#[should_panic(expected = "x has 4 features, w takes 5")]
fn a_wrong_width_is_refused() {
    let device = &targets()[0].device;
    BitLinearConfig::new(5, 3)
        .init(device)
        .forward(Tensor::<2>::ones([2, 4], device));
}

/// A layer around weights that are there costs no numbers of the device's generator.
#[test]
fn weights_that_are_given_are_not_drawn() {
    for target in targets() {
        let device = &target.device;
        let next = || floats(Tensor::<1>::random([4], Distribution::Default, device));
        device.seed(7);
        let expected = next();
        device.seed(7);
        let weight = Param::from_tensor(tensor(&[0.5; 6], [2, 3], device));
        let layer = BitLinearConfig::new(3, 2).with_weights(weight, device);
        assert_eq!(next(), expected, "{}", target.name);
        assert_eq!(floats(layer.weight.val()), [0.5; 6]);
    }
}
