//! The Transformer on a WGPU adapter beside Flex.

#![cfg(all(feature = "wgpu", feature = "flex"))]

use std::io::Write as _;

use bitnet_models::{
    ActivationQuantizer, ConfigError, GenerateError, Granularity, HalfError, HiddenAct, KvCache,
    LinearKind, ModelConfig, Network, QuantConfig, Runner, Sampler, Sampling, TensorRunner,
    Transformer, device_limits, generate,
};
use burn::tensor::{DType, Device, DeviceType, FloatDType, Tensor, TensorData};

const TOKENS: usize = 256;

fn wgpu() -> Option<Device> {
    let device = Device::enumerate(DeviceType::Wgpu)
        .into_vec()
        .into_iter()
        .next();
    if device.is_none() {
        let message = "no WGPU adapter (a software one: Debian's mesa-vulkan-drivers)";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{message}");
        let _ = writeln!(std::io::stderr(), "SKIPPED: {message}");
    }
    device
}

fn config(linear: LinearKind) -> ModelConfig {
    ModelConfig {
        linear,
        vocab_size: 65,
        hidden_size: 64,
        intermediate_size: 176,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        max_position_embeddings: 512,
        initializer_range: 0.2,
        ..ModelConfig::default()
    }
}

/// With normed queries and keys, and heads that are not `hidden_size / num_attention_heads` wide.
fn qk_normed(linear: LinearKind) -> ModelConfig {
    ModelConfig {
        qk_norm: true,
        head_dim: Some(24),
        ..config(linear)
    }
}

/// Weights drawn at random answer chaotically: where float sums of another order move an activation over the edge of an int8
/// code, a ternary model may write on otherwise. So this is the float twin's test; trained ternary models are tested where
/// they are trained.
#[test]
fn greedy_tokens_are_those_of_flex() {
    let Some(gpu) = wgpu() else { return };
    let written = |device: &Device, config: &ModelConfig| {
        let model = Transformer::new(config, &QuantConfig::default(), 3, device).unwrap();
        let mut greedy = Sampler::new(Sampling::default()).unwrap();
        let mut runner = TensorRunner::new(&model, device);
        generate(&mut runner, &[1, 2, 3, 4, 5], TOKENS, &mut greedy, |_| true)
            .unwrap()
            .tokens
    };
    for config in [config(LinearKind::Float), qk_normed(LinearKind::Float)] {
        let (flex, gpu) = (written(&Device::flex(), &config), written(&gpu, &config));
        assert_eq!(flex.len(), TOKENS);
        let distinct: std::collections::BTreeSet<_> = flex.iter().collect();
        assert!(distinct.len() > 8, "it repeats itself: {flex:?}");
        assert_eq!(flex, gpu);
    }
}

/// Float sums in another order, and a backward pass of some 40 of them one after the other.
#[test]
fn gradients_of_query_and_key_norms_are_those_of_flex() {
    let Some(gpu) = wgpu() else { return };
    let gradients = |device: Device| {
        let device = device.autodiff();
        let config = qk_normed(LinearKind::Float);
        let model = Transformer::new(&config, &QuantConfig::default(), 3, &device).unwrap();
        let ids: Vec<i32> = (0..40).map(|i| i * 7 % 65).collect();
        let ids = Tensor::from_data(TensorData::new(ids, [2, 20]), (&device, DType::I32));
        let grads = model.forward(ids).powi_scalar(2).mean().backward();
        let attention = model.layers.iter().map(|block| &block.self_attn);
        let norms = attention.flat_map(|attention| [&attention.q_norm, &attention.k_norm]);
        let gammas = norms.map(|norm| norm.as_ref().unwrap().gamma.val());
        let gradients = gammas.map(|gamma| gamma.grad(&grads).unwrap().into_data());
        let all = gradients.flat_map(|data| data.try_to_vec::<f32>().unwrap());
        all.collect::<Vec<f32>>()
    };
    let (flex, gpu) = (gradients(Device::flex()), gradients(gpu));
    assert_eq!(flex.len(), 4 * 24);
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = flex.iter().zip(&gpu).map(|(a, b)| square(a - b)).sum();
    let size: f64 = flex.iter().map(|a| square(*a)).sum();
    let distance = (error / size).sqrt();
    assert!(size > 0.0 && distance < 1e-4, "{distance:e}");
}

/// A prompt longer than what a device reads at once, against the same prompt in other pieces.
#[test]
fn long_prompts_are_read_in_pieces() {
    let Some(gpu) = wgpu() else { return };
    let mut config = config(LinearKind::Ternary);
    config.max_position_embeddings = 600;
    let model = Transformer::new(&config, &QuantConfig::default(), 3, &gpu).unwrap();
    let prompt: Vec<u32> = (0..600).map(|i| i * 7 % 65).collect();
    let mut runner = TensorRunner::new(&model, &gpu);
    let mut read = |pieces: &[usize]| {
        runner.start(600).unwrap();
        let (mut logits, mut at) = (Vec::new(), 0);
        for piece in pieces {
            logits = runner.read(&prompt[at..at + piece]).unwrap().to_vec();
            at += piece;
        }
        logits
    };
    let (whole, pieces) = (read(&[600]), read(&[512, 88]));
    assert_eq!(whole, pieces);
    assert!(whole.iter().all(|logit| logit.is_finite()));
}

#[test]
fn what_the_adapter_does_not_bind_is_refused() {
    let Some(gpu) = wgpu() else { return };
    let limit = device_limits(&gpu).unwrap().binding_bytes;
    let mut config = config(LinearKind::Ternary);

    // The keys of a text. Its model is small: a million positions of 16 floats.
    let small = Transformer::new(&config, &QuantConfig::default(), 3, &gpu).unwrap();
    let keys = KvCache::buffer_bytes(&small, 512) / 512;
    let tokens = (limit / keys + 64) as usize;
    config.max_position_embeddings = tokens;
    config.num_hidden_layers = 1;
    let model = Transformer::new(&config, &QuantConfig::default(), 3, &gpu).unwrap();
    let error = TensorRunner::new(&model, &gpu).start(tokens).unwrap_err();
    assert!(
        matches!(error, GenerateError::CacheTooLarge { .. }),
        "{error}"
    );

    // A matrix: refused before anything of it is made.
    config.intermediate_size = (limit / (64 * 4) + 1) as usize;
    let error = Transformer::new(&config, &QuantConfig::default(), 3, &gpu).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("mlp.gate_proj"), "{error}");
}

/// f16 has 11 bits; a ternary model may also move an activation by one int8 code, 1/127 of the largest.
#[test]
fn half_precision_is_the_same_model() {
    let Some(gpu) = wgpu() else { return };
    if !gpu.supports_dtype(FloatDType::F16) {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no f16");
        let _ = writeln!(std::io::stderr(), "SKIPPED: the adapter has no f16");
        return;
    }
    for (config, bound) in [
        (config(LinearKind::Float), 5e-3),
        (config(LinearKind::Ternary), 5e-2),
        (qk_normed(LinearKind::Float), 5e-3),
        (qk_normed(LinearKind::Ternary), 5e-2),
    ] {
        let model = Transformer::new(&config, &QuantConfig::default(), 3, &gpu).unwrap();
        let model = model.pack();
        let half = model.clone().into_half(&gpu).unwrap();
        assert_eq!(half.dtype(), DType::F16);
        assert_eq!(
            2 * KvCache::buffer_bytes(&half, 100),
            KvCache::buffer_bytes(&model, 100)
        );
        let prompt: Vec<u32> = (0..90).map(|i| i * 7 % 65).collect();
        let logits = |model: &Transformer| {
            let mut runner = TensorRunner::new(model, &gpu);
            runner.start(100).unwrap();
            // A prompt, a few tokens, and one: matrix products, and the kernels of decoding.
            let mut all = runner.read(&prompt[..70]).unwrap().to_vec();
            all.extend_from_slice(runner.read(&prompt[70..73]).unwrap());
            for token in &prompt[73..] {
                all.extend_from_slice(runner.read(&[*token]).unwrap());
            }
            all
        };
        let whole = |model: &Transformer| {
            let ids: Vec<i32> = prompt.iter().map(|id| *id as i32).collect();
            let ids = TensorData::new(ids, [2, prompt.len() / 2]);
            let logits = model.forward(Tensor::from_data(ids, &gpu));
            logits.into_data().try_to_vec::<f32>().unwrap()
        };
        let full = [logits(&model), whole(&model)].concat();
        let half = [logits(&half), whole(&half)].concat();
        let square = |x: f32| f64::from(x) * f64::from(x);
        let error: f64 = full.iter().zip(&half).map(|(a, b)| square(a - b)).sum();
        let size: f64 = full.iter().map(|a| square(*a)).sum();
        let distance = (error / size).sqrt();
        assert!(
            distance > 1e-6 && distance < bound,
            "{config:?} {distance:e}"
        );
    }
}

#[test]
fn what_does_not_fit_f16_is_refused() {
    let quant = QuantConfig::default();
    let config = config(LinearKind::Ternary);
    let flex = Device::flex();
    let refused = |config: &ModelConfig, quant: &QuantConfig, device: &Device| {
        let model = Transformer::new(config, quant, 3, device).unwrap();
        model.into_half(device).unwrap_err()
    };
    assert_eq!(refused(&config, &quant, &flex), HalfError::Processor);
    let squares = ModelConfig {
        hidden_act: HiddenAct::Relu2,
        ..config.clone()
    };
    assert_eq!(refused(&squares, &quant, &flex), HalfError::Squares);
    for (activations, granularity) in [
        (ActivationQuantizer::Float, quant.granularity),
        (ActivationQuantizer::Int4, quant.granularity),
        (ActivationQuantizer::Int8, Granularity::Group(128)),
    ] {
        let quant = QuantConfig {
            activations,
            granularity,
            ..quant
        };
        assert_eq!(refused(&config, &quant, &flex), HalfError::Quantizer);
    }
}
