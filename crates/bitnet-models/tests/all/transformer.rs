//! The Transformer as a whole: causality, the cache, packing, seeds, gradients, generation.

use bitnet_models::engine::{DenseFormat, FloatFormat, Kernel, Layout, Options, Strategy};
use bitnet_models::{
    ActivationQuantizer, EngineRunner, GenerateError, Granularity, HiddenAct, KvCache, LinearKind,
    ModelConfig, Network, NormPlacement, Purpose, QuantConfig, Runner, Sampler, Sampling, Stop,
    TensorRunner, Transformer, generate,
};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};

fn config(linear: LinearKind) -> ModelConfig {
    ModelConfig {
        linear,
        vocab_size: 11,
        hidden_size: 24,
        intermediate_size: 36,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        head_dim: None,
        max_position_embeddings: 96,
        initializer_range: 0.2,
        ..ModelConfig::default()
    }
}

fn variants() -> Vec<(ModelConfig, QuantConfig)> {
    let mut variants = Vec::new();
    for norm in [
        NormPlacement::Pre,
        NormPlacement::Inside,
        NormPlacement::Sub,
    ] {
        for linear in [LinearKind::Ternary, LinearKind::Float] {
            let quant = QuantConfig {
                norm,
                ..QuantConfig::default()
            };
            variants.push((config(linear), quant));
        }
    }
    variants[0].0.tie_word_embeddings = true;
    variants[1].0.hidden_act = HiddenAct::Relu2;
    variants[2].0.num_key_value_heads = None;
    variants[3].0.head_dim = Some(10);
    for linear in [LinearKind::Ternary, LinearKind::Float] {
        let model = ModelConfig {
            qk_norm: true,
            head_dim: Some(14),
            ..config(linear)
        };
        variants.push((model, QuantConfig::default()));
    }
    variants
}

fn tokens(len: usize) -> Vec<i32> {
    (0..len as i32).map(|i| i * 7 % 11).collect()
}

fn tensor(tokens: &[i32], device: &Device) -> Tensor<2, Int> {
    let data = TensorData::new(tokens.to_vec(), [1, tokens.len()]);
    Tensor::from_data(data, (device, DType::I32))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

#[test]
fn a_later_token_changes_no_earlier_logit() {
    let device = Device::flex();
    for (model, quant) in variants() {
        let transformer = Transformer::new(&model, &quant, 1, &device).unwrap();
        let mut ids = tokens(9);
        let before = values(transformer.forward(tensor(&ids, &device)));
        ids[6] = (ids[6] + 1) % 11;
        let after = values(transformer.forward(tensor(&ids, &device)));
        assert_eq!(before[..6 * 11], after[..6 * 11], "{model:?} {quant:?}");
        assert_ne!(before[6 * 11..], after[6 * 11..]);
    }
}

/// The cache changes the shapes of the matrix products and so the order of float sums: some ulps per layer. For a
/// ternary model such an ulp may flip an activation's code at a tie, which moves a logit by far more; twenty positions
/// of small models stay well inside the bound below, and a wrong mask, position or cache slot is far outside.
#[test]
fn the_cache_gives_the_logits_of_the_whole_text() {
    let device = Device::flex();
    for (model, quant) in variants() {
        let transformer = Transformer::new(&model, &quant, 2, &device).unwrap();
        let ids = tokens(80); // past the cache's first step of 64 positions
        let whole = values(transformer.forward(tensor(&ids, &device)));
        let mut cache = KvCache::new(&transformer, 1, 96, &device);
        let mut at = 0;
        for take in [5, 1, 1, 57, 1, 1, 14] {
            let piece = tensor(&ids[at..at + take], &device);
            let last = values(transformer.forward_cached(piece, &mut cache));
            at += take;
            let expected = &whole[(at - 1) * 11..at * 11];
            for (a, b) in last.iter().zip(expected) {
                assert!((a - b).abs() < 0.05, "{model:?} at {at}: {a} {b}");
            }
        }
        assert_eq!(cache.len(), 80);
    }
}

#[test]
fn packing_changes_no_bit_of_a_logit() {
    let device = Device::flex();
    for (model, quant) in variants() {
        let transformer = Transformer::new(&model, &quant, 3, &device).unwrap();
        let ids = tensor(&tokens(30), &device);
        let latent = values(transformer.forward(ids.clone()));
        let packed = transformer.pack();
        assert_eq!(latent, values(packed.forward(ids)));
        let bytes = packed.projection_bytes();
        let weights = packed.projection_weights();
        match model.linear {
            LinearKind::Float => assert_eq!(bytes, 4 * weights),
            LinearKind::Ternary => assert!(bytes < weights / 2),
        }
    }
}

#[test]
fn a_seed_is_a_model() {
    let device = Device::flex();
    let (model, quant) = (config(LinearKind::Ternary), QuantConfig::default());
    let logits = |seed| {
        let transformer = Transformer::new(&model, &quant, seed, &device).unwrap();
        values(transformer.forward(tensor(&tokens(4), &device)))
    };
    assert_eq!(logits(5), logits(5));
    assert_ne!(logits(5), logits(6));
}

#[test]
fn every_parameter_gets_a_gradient() {
    struct Missing<'a>(&'a Gradients, usize);
    impl ModuleVisitor for Missing<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let grad = param.val().grad(self.0).expect("a gradient");
            let largest = values(grad.abs().max());
            assert!(largest[0] > 0.0 && largest[0].is_finite());
            self.1 += 1;
        }
    }
    let device = Device::flex().autodiff();
    for (model, quant) in variants() {
        let transformer = Transformer::new(&model, &quant, 4, &device).unwrap();
        let ids = tensor(&tokens(12), &device);
        let grads = transformer.forward(ids).powi_scalar(2).mean().backward();
        let mut missing = Missing(&grads, 0);
        transformer.visit(&mut missing);
        assert!(missing.1 > 14, "{} parameters", missing.1);
    }
}

/// γ of query and key norms that is not 1 everywhere, nor the same in any two.
fn uneven_qk_norms(transformer: &mut Transformer) {
    for (index, block) in transformer.layers.iter_mut().enumerate() {
        let attention = &mut block.self_attn;
        for (side, norm) in [&mut attention.q_norm, &mut attention.k_norm]
            .into_iter()
            .enumerate()
        {
            let Some(norm) = norm else { continue };
            let gamma: Vec<f32> = (0..norm.gamma.dims()[0])
                .map(|d| 0.5 + ((d * 7 + index * 3 + side * 5) % 11) as f32 / 11.0)
                .collect();
            norm.gamma = Param::from_data(&gamma[..], &norm.gamma.device());
        }
    }
}

/// `(L(γ + h) − L(γ − h)) / 2h` is the gradient up to `h²` and to the rounding of L divided by h: 1e-2 of it, as measured.
#[test]
fn gradients_of_query_and_key_norms_are_differences() {
    let device = Device::flex().autodiff();
    let model = ModelConfig {
        qk_norm: true,
        head_dim: Some(8),
        initializer_range: 0.5,
        ..config(LinearKind::Float)
    };
    let mut transformer = Transformer::new(&model, &QuantConfig::default(), 4, &device).unwrap();
    uneven_qk_norms(&mut transformer);
    let ids = tensor(&tokens(12), &device);
    let loss = |transformer: &Transformer| transformer.forward(ids.clone()).powi_scalar(2).mean();
    let grads = loss(&transformer).backward();
    let norm = |transformer: &Transformer, side: usize| {
        let attention = &transformer.layers[1].self_attn;
        [&attention.q_norm, &attention.k_norm][side]
            .clone()
            .unwrap()
    };
    for side in [0, 1] {
        let gamma = norm(&transformer, side).gamma.val();
        let found = values(gamma.grad(&grads).unwrap());
        let gamma = values(gamma);
        let h = 0.05;
        let at = |d: usize, step: f32| {
            let mut gamma = gamma.clone();
            gamma[d] += step;
            let mut moved = transformer.clone();
            let attention = &mut moved.layers[1].self_attn;
            let norm = [&mut attention.q_norm, &mut attention.k_norm]
                .into_iter()
                .nth(side);
            let norm = norm.unwrap().as_mut().unwrap();
            norm.gamma = Param::from_data(&gamma[..], &device);
            f64::from(values(loss(&moved))[0])
        };
        let expected: Vec<f32> = (0..8)
            .map(|d| ((at(d, h) - at(d, -h)) / f64::from(2.0 * h)) as f32)
            .collect();
        let error = distance(&found, &expected);
        assert!(error < 2e-2, "side {side}: {found:?} {expected:?}");
    }
}

#[test]
fn greedy_text_is_the_argmax_of_the_whole_text() {
    let device = Device::flex();
    let model = config(LinearKind::Float);
    let transformer = Transformer::new(&model, &QuantConfig::default(), 5, &device).unwrap();
    let mut greedy = Sampler::new(Sampling::default()).unwrap();
    let mut seen = Vec::new();
    let mut runner = TensorRunner::new(&transformer, &device);
    let generation = generate(&mut runner, &[1, 2, 3], 10, &mut greedy, |token| {
        seen.push(token);
        true
    })
    .unwrap();
    assert_eq!(generation.stop, Stop::Length);
    assert_eq!(generation.tokens, seen);
    let mut text = vec![1, 2, 3];
    for &token in &generation.tokens {
        let logits = values(transformer.forward(tensor(&text, &device)));
        let last = &logits[logits.len() - 11..];
        let best = (0..11)
            .max_by(|&a, &b| last[a].total_cmp(&last[b]))
            .unwrap();
        assert_eq!(token as usize, best);
        text.push(token as i32);
    }
}

/// `‖a − b‖ / ‖b‖`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let pairs = a.iter().zip(b).map(|(a, b)| f64::from(a - b));
    (square(&mut { pairs }) / square(&mut b.iter().map(|b| f64::from(*b)))).sqrt()
}

#[test]
fn the_engine_is_the_same_model() {
    let device = Device::flex();
    let schemes = [
        (ActivationQuantizer::Int8, Granularity::Group(16)),
        (ActivationQuantizer::Int4, Granularity::Tensor),
        (ActivationQuantizer::Int4, Granularity::Group(16)),
        (ActivationQuantizer::Float, Granularity::Group(16)),
    ];
    let schemes = schemes.map(|(activations, granularity)| {
        let quant = QuantConfig {
            activations,
            granularity,
            ..QuantConfig::default()
        };
        (config(LinearKind::Ternary), quant)
    });
    for (model, quant) in variants().into_iter().chain(schemes) {
        let mut transformer = Transformer::new(&model, &quant, 8, &device).unwrap();
        uneven_qk_norms(&mut transformer);
        let options = Options {
            threads: 2,
            kernel: Kernel::detect(),
            strategy: Strategy::Dot,
            layout: Some(Layout::TwoBit),
            head: DenseFormat::F32,
            cache: FloatFormat::F32,
        };
        let mut engine = EngineRunner::new(transformer.engine(options).unwrap());
        let mut tensors = TensorRunner::new(&transformer, &device);
        let text: Vec<u32> = tokens(80).iter().map(|t| *t as u32).collect();
        engine.start(80).unwrap();
        tensors.start(80).unwrap();
        for piece in [0..60, 60..61, 61..80] {
            let expected = tensors.read(&text[piece.clone()]).unwrap().to_vec();
            let found = engine.read(&text[piece]).unwrap();
            let error = distance(found, &expected);
            // Float sums in another order; in a ternary model such a difference may move an activation by one code,
            // 1/127 of the largest of a row of 24.
            let bound = match (model.linear, quant.activations) {
                (LinearKind::Float, _) | (_, ActivationQuantizer::Float) => 1e-5,
                (LinearKind::Ternary, _) => 2e-2,
            };
            assert!(error < bound, "{model:?} {quant:?}: {error:e}");
        }
    }
}

/// A model, as the engine takes it, made into modules again.
#[test]
fn a_model_comes_back_from_its_source() {
    let device = Device::flex();
    let groups = QuantConfig {
        granularity: Granularity::Group(16),
        ..QuantConfig::default()
    };
    let more = (config(LinearKind::Ternary), groups);
    for (model, quant) in variants().into_iter().chain([more]) {
        let mut transformer = Transformer::new(&model, &quant, 8, &device).unwrap();
        uneven_qk_norms(&mut transformer);
        let (shape, source) = transformer.source().unwrap();
        let (found, scheme) =
            ModelConfig::of_shape(&shape, model.linear, quant.granularity).unwrap();
        assert_eq!(found.engine_shape(&scheme), model.engine_shape(&quant));
        let text: Vec<u32> = tokens(40).iter().map(|t| *t as u32).collect();
        let logits = |model: &Transformer| {
            let mut runner = TensorRunner::new(model, &device);
            runner.start(40).unwrap();
            runner.read(&text).unwrap().to_vec()
        };
        let expected = logits(&transformer.pack());
        for purpose in [Purpose::Inference, Purpose::Training] {
            let back =
                Transformer::from_source(&found, &scheme, &source, purpose, &device).unwrap();
            let error = distance(&logits(&back), &expected);
            // Latent weights made of codes have the same codes again, and a mean magnitude that is the scale but for its
            // rounding, which may move an activation by one code, 1/127 of the largest of a row of 24.
            let bound = match (model.linear, purpose) {
                (LinearKind::Ternary, Purpose::Training) => 2e-2,
                _ => 0.0,
            };
            assert!(error <= bound, "{model:?} {purpose:?}: {error:e}");
        }
    }
}

#[test]
fn runners_refuse_what_does_not_fit() {
    let device = Device::flex();
    let model = config(LinearKind::Ternary);
    let transformer = Transformer::new(&model, &QuantConfig::default(), 8, &device).unwrap();
    let mut runners: [Box<dyn Runner + '_>; 2] = [
        Box::new(TensorRunner::new(&transformer, &device)),
        Box::new(EngineRunner::new(
            transformer.engine(Options::default()).unwrap(),
        )),
    ];
    for runner in &mut runners {
        assert!(matches!(runner.read(&[1]), Err(GenerateError::Full { .. })));
        assert!(matches!(
            runner.start(97),
            Err(GenerateError::TooLong { .. })
        ));
        runner.start(3).unwrap();
        assert!(matches!(runner.read(&[]), Err(GenerateError::EmptyPrompt)));
        assert!(matches!(
            runner.read(&[11]),
            Err(GenerateError::UnknownToken { .. })
        ));
        runner.read(&[1, 2]).unwrap();
        assert!(runner.read(&[1, 2]).is_err());
        assert_eq!(runner.read(&[3]).unwrap().len(), 11);
    }
}

#[test]
fn generation_ends_with_the_context_and_refuses_bad_prompts() {
    let device = Device::flex();
    let mut model = config(LinearKind::Ternary);
    model.max_position_embeddings = 8;
    let transformer = Transformer::new(&model, &QuantConfig::default(), 6, &device).unwrap();
    let run = |prompt: &[u32]| {
        let mut greedy = Sampler::new(Sampling::default()).unwrap();
        let mut runner = TensorRunner::new(&transformer, &device);
        generate(&mut runner, prompt, 100, &mut greedy, |_| true)
    };
    let full = run(&[1, 2, 3]).unwrap();
    // The last token needs no place in the context: nothing is predicted after it.
    assert_eq!((full.tokens.len(), full.stop), (6, Stop::ContextFull));
    assert!(matches!(run(&[]), Err(GenerateError::EmptyPrompt)));
    assert!(matches!(
        run(&[0; 9]),
        Err(GenerateError::PromptTooLong { .. })
    ));
    assert!(matches!(
        run(&[11]),
        Err(GenerateError::UnknownToken { .. })
    ));
}
