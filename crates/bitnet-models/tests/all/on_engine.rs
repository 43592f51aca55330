//! Encoders, encoder–decoders and perceptrons on the CPU engine are those on Burn's tensors.

use bitnet_models::engine::sequence::{SequenceEngine, Writing};
use bitnet_models::engine::{DenseFormat, EngineError, FloatFormat, Options};
use bitnet_models::{
    ActivationQuantizer, BeamSearch, Classifier, EncoderDecoder, Granularity, HiddenAct,
    LinearKind, MlpKind, ModelConfig, Network, NormPlacement, Perceptron, PositionKind,
    QuantConfig, Sequences, ToEngineError,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

const BEGIN: u32 = 1;
const END: u32 = 2;

fn model() -> ModelConfig {
    ModelConfig {
        vocab_size: 31,
        num_labels: 3,
        input_size: 19,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_decoder_layers: Some(3),
        num_attention_heads: 4,
        num_key_value_heads: Some(2),
        max_position_embeddings: 40,
        initializer_range: 0.3,
        ..ModelConfig::default()
    }
}

/// Every placement of the norms with every form of the rest, float and ternary, and the other schemes once.
fn forms() -> Vec<(ModelConfig, QuantConfig)> {
    let mut forms = Vec::new();
    let norms = [
        NormPlacement::Pre,
        NormPlacement::Sub,
        NormPlacement::Inside,
        NormPlacement::Post,
    ];
    let kinds = [
        (PositionKind::Sinusoidal, MlpKind::Plain, HiddenAct::Relu),
        (PositionKind::Rotary, MlpKind::Plain, HiddenAct::Silu),
        (PositionKind::Rotary, MlpKind::Plain, HiddenAct::Relu2),
        (PositionKind::Rotary, MlpKind::Gated, HiddenAct::Silu),
        (PositionKind::Sinusoidal, MlpKind::Gated, HiddenAct::Relu2),
    ];
    for norm in norms {
        for (index, (position, mlp, hidden_act)) in kinds.into_iter().enumerate() {
            for linear in [LinearKind::Float, LinearKind::Ternary] {
                let model = ModelConfig {
                    linear,
                    position,
                    mlp,
                    hidden_act,
                    qk_norm: index == 1,
                    tie_word_embeddings: index % 2 == 0,
                    ..model()
                };
                let quant = QuantConfig {
                    norm,
                    ..QuantConfig::default()
                };
                forms.push((model, quant));
            }
        }
    }
    for (activations, granularity) in [
        (ActivationQuantizer::Int4, Granularity::Tensor),
        (ActivationQuantizer::Int8, Granularity::Row),
        (ActivationQuantizer::Float, Granularity::Tensor),
    ] {
        let linear = LinearKind::Ternary;
        let quant = QuantConfig {
            activations,
            granularity,
            ..QuantConfig::default()
        };
        forms.push((ModelConfig { linear, ..model() }, quant));
    }
    forms
}

fn options(threads: usize) -> Options {
    Options {
        threads,
        head: DenseFormat::F32,
        cache: FloatFormat::F32,
        ..Options::default()
    }
}

/// Sequences of 1 to 40 tokens, more rows than one job has.
fn texts() -> Vec<Vec<u32>> {
    let lengths = [5, 1, 40, 17, 33, 2, 40, 40, 9];
    let token = |i: usize, t: usize| (3 + (7 * i + 5 * t + i * t) % 28) as u32;
    let text = |(i, length): (usize, usize)| (0..length).map(|t| token(i, t)).collect();
    lengths.into_iter().enumerate().map(text).collect()
}

fn sequences(rows: &[Vec<u32>], device: &Device) -> Sequences {
    let width = rows.iter().map(Vec::len).max().unwrap();
    let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
    let padded = |row: &Vec<u32>| {
        let mut ids: Vec<i32> = row.iter().map(|id| *id as i32).collect();
        ids.resize(width, 0);
        ids
    };
    let ids: Vec<i32> = rows.iter().flat_map(padded).collect();
    Sequences::new(&ids, &lengths, width, device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// `‖a − b‖ / ‖b‖`.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let mut pairs = a.iter().zip(b).map(|(a, b)| f64::from(a - b));
    (square(&mut pairs) / square(&mut b.iter().map(|b| f64::from(*b)))).sqrt()
}

/// Sums in another order; in a ternary model such a difference may move an activation by one code, 1/127 (or with 4 bits
/// 1/7) of the largest of a row of 24.
fn bound(model: &ModelConfig, quant: &QuantConfig) -> f64 {
    match (model.linear, quant.activations) {
        (LinearKind::Float, _) | (_, ActivationQuantizer::Float) => 1e-5,
        (LinearKind::Ternary, ActivationQuantizer::Int4) => 0.2,
        (LinearKind::Ternary, _) => 2e-2,
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_classifier_scores_as_on_tensors() {
    let device = Device::flex();
    let texts = texts();
    let ids: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    for (model, quant) in forms() {
        let net = Classifier::new(&model, &quant, 3, &device).unwrap().pack();
        let expected = floats(net.forward(&sequences(&texts, &device)));
        let mut engine = net.engine(&quant, options(1)).unwrap();
        let found = engine.logits(&ids).unwrap();
        let error = distance(&found, &expected);
        assert!(
            error < bound(&model, &quant),
            "{model:?} {quant:?}: {error:e}"
        );
        // Neither the threads nor the other texts count.
        let mut engine = net.engine(&quant, options(3)).unwrap();
        assert_eq!(bits(&engine.logits(&ids).unwrap()), bits(&found));
        for (text, found) in ids.iter().zip(found.chunks(3)) {
            assert_eq!(bits(&engine.logits(&[text]).unwrap()), bits(found));
        }
        assert!(engine.logits(&[]).unwrap().is_empty());
    }
}

#[test]
fn a_perceptron_scores_as_on_tensors() {
    let device = Device::flex();
    let values: Vec<f32> = (0..300 * 19).map(|i| (i as f32 * 0.37).sin()).collect();
    for (model, quant) in forms() {
        let net = Perceptron::new(&model, &quant, 3, &device).unwrap().pack();
        let data = TensorData::new(values.clone(), [300, 19]);
        let expected = floats(net.forward(Tensor::from_data(data, &device)));
        let mut engine = net.engine(&model, &quant, options(1)).unwrap();
        let found = engine.logits(&values).unwrap();
        let error = distance(&found, &expected);
        assert!(
            error < bound(&model, &quant),
            "{model:?} {quant:?}: {error:e}"
        );
        let mut engine = net.engine(&model, &quant, options(3)).unwrap();
        assert_eq!(bits(&engine.logits(&values).unwrap()), bits(&found));
        assert_eq!(
            bits(&engine.logits(&values[..19]).unwrap()),
            bits(&found[..3])
        );
        let error = engine.logits(&values[..20]).unwrap_err();
        assert!(error.to_string().contains("20 values"), "{error}");
    }
}

/// Logits of every target position, of all targets.
fn scored(
    engine: &mut SequenceEngine,
    sources: &[Vec<u32>],
    targets: &[Vec<u32>],
) -> Vec<Vec<f32>> {
    let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
    let jobs = SequenceEngine::jobs(&lengths, 4);
    let results = engine.map(jobs.len(), |worker, job| {
        let sources: Vec<&[u32]> = jobs[job].iter().map(|i| &sources[*i][..]).collect();
        let memories = worker.read(&sources).unwrap();
        let mut written: Vec<_> = memories.iter().map(|_| worker.begin()).collect();
        let mut logits = vec![Vec::new(); memories.len()];
        // The first token alone, then the others.
        for part in 0..2 {
            let tokens = |target: &'_ [u32]| match part {
                0 => 0..1,
                _ => 1..target.len(),
            };
            let mut writing: Vec<Writing<'_>> = (memories.iter().zip(&mut written).zip(&jobs[job]))
                .map(|((memory, written), i)| Writing {
                    memory,
                    written,
                    tokens: &targets[*i][tokens(&targets[*i])],
                })
                .collect();
            worker
                .write(&mut writing, |target, _, row| {
                    logits[target].extend_from_slice(row)
                })
                .unwrap();
        }
        logits
    });
    let mut all = vec![Vec::new(); sources.len()];
    for (job, logits) in jobs.iter().zip(results) {
        job.iter()
            .zip(logits)
            .for_each(|(i, logits)| all[*i] = logits);
    }
    all
}

#[test]
fn an_encoder_decoder_scores_and_writes_as_on_tensors() {
    let device = Device::flex();
    let sources = texts();
    let token = |i: usize, t: usize| match t {
        0 => BEGIN,
        _ => (3 + (5 * i + 3 * t) % 28) as u32,
    };
    let target = |i: usize| (0..12).map(|t| token(i, t)).collect();
    let targets: Vec<Vec<u32>> = (0..sources.len()).map(target).collect();
    for (model, quant) in forms() {
        let net = EncoderDecoder::new(&model, &quant, 3, &device)
            .unwrap()
            .pack();
        let source = sequences(&sources, &device);
        let ids: Vec<i32> = targets.concat().iter().map(|id| *id as i32).collect();
        let ids = TensorData::new(ids, [targets.len(), 12]);
        let ids = Tensor::<2, Int>::from_data(ids, (&device, DType::I32));
        let expected = floats(net.forward(&source, ids));
        let mut engine = net.engine(&quant, options(1)).unwrap();
        let found = scored(&mut engine, &sources, &targets);
        let error = distance(&found.concat(), &expected);
        assert!(
            error < bound(&model, &quant),
            "{model:?} {quant:?}: {error:e}"
        );
        let mut threads = net.engine(&quant, options(3)).unwrap();
        let again = scored(&mut threads, &sources, &targets);
        assert_eq!(bits(&again.concat()), bits(&found.concat()));

        let search = BeamSearch {
            beam: 3,
            max_length: 9,
            length_penalty: 0.6,
            begin: BEGIN,
            end: END,
        };
        let expected = net.write(&search, &source, &device).unwrap();
        let sources: Vec<&[u32]> = sources.iter().map(Vec::as_slice).collect();
        let found = engine
            .map(1, |worker, _| search.write(worker, &sources).unwrap())
            .remove(0);
        // One by one they are the same.
        let alone = threads.map(sources.len(), |worker, i| {
            search.write(worker, &sources[i..=i]).unwrap().remove(0)
        });
        assert_eq!(found, alone);
        for (found, expected) in found.iter().zip(&expected) {
            let apart = f64::from(found.log_probability - expected.log_probability).abs();
            match bound(&model, &quant) < 1e-4 {
                true => assert!(found.tokens == expected.tokens && apart < 1e-3, "{apart}"),
                // A code that differs may turn a search elsewhere, to an output about as likely.
                false => assert!(apart < 2.0, "{model:?} {quant:?}: {apart}"),
            }
        }
    }
}

#[test]
fn what_a_model_cannot_read_is_refused() {
    let device = Device::flex();
    let quant = QuantConfig::default();
    let net = Classifier::new(&model(), &quant, 1, &device).unwrap();
    let mut engine = net.engine(&quant, options(1)).unwrap();
    let refused = |error| matches!(error, EngineError::NoTokens);
    assert!(refused(engine.logits(&[&[3], &[]]).unwrap_err()));
    let refused = |error| matches!(error, EngineError::UnknownToken { token: 31, .. });
    assert!(refused(engine.logits(&[&[3, 31]]).unwrap_err()));
    let refused = |error| matches!(error, EngineError::TooLong { capacity: 41, .. });
    assert!(refused(engine.logits(&[&[3; 41]]).unwrap_err()));

    let net = EncoderDecoder::new(&model(), &quant, 1, &device).unwrap();
    let mut engine = net.engine(&quant, options(1)).unwrap();
    let errors = engine.map(1, |worker, _| {
        let memory = worker.read(&[&[3, 4]]).unwrap().remove(0);
        let mut written = worker.begin();
        let mut write = |tokens: &[u32]| {
            let writing = Writing {
                memory: &memory,
                written: &mut written,
                tokens,
            };
            worker.write(&mut [writing], |_, _, _| ())
        };
        write(&[3; 40]).unwrap();
        let error = write(&[3]).unwrap_err();
        assert_eq!(written.len(), 40);
        error
    });
    assert!(refused(errors.into_iter().next().unwrap()));

    let wide = ModelConfig {
        hidden_act: HiddenAct::Relu,
        ..model()
    };
    let error = Classifier::new(&wide, &quant, 1, &device);
    assert!(error.is_err(), "a gate has no ReLU");
    let options = Options {
        head: DenseFormat::Int8,
        ..options(1)
    };
    let net = Classifier::new(&model(), &quant, 1, &device).unwrap();
    let found = net.engine(&quant, options);
    assert!(!matches!(found, Err(ToEngineError::Model(_))));
}
