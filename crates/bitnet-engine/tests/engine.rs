//! The engine against plain loops, and against itself on other threads, kernels, layouts and splits.

mod common;

use bitnet_engine::{
    ActivationQuantizer, Engine, EngineError, Granularity, Norms, Options, Part, Shape, Source,
    Table, Wanted,
};
use bitnet_kernels::{DenseFormat, FloatFormat, Kernel, Layout, Strategy, float::Gate};
use common::{Uneven, logits, options, shape};

const NORMS: [Norms; 3] = [Norms::PRE, Norms::INSIDE, Norms::SUB];

fn tokens(count: usize) -> Vec<u32> {
    (0..count)
        .map(|i| (i * i * 7 + i * 3 + 5) as u32 % 71)
        .collect()
}

fn scores(engine: &mut Engine, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut session = engine.session(tokens.len()).unwrap();
    let mut rows = Vec::new();
    engine
        .score(&mut session, tokens, |index, logits| {
            assert_eq!(index, rows.len());
            rows.push(logits.to_vec());
        })
        .unwrap();
    rows
}

fn worst(ours: &[Vec<f32>], exact: &[Vec<f64>]) -> f64 {
    assert_eq!(ours.len(), exact.len());
    let size = exact.iter().flatten().map(|y| y * y).sum::<f64>();
    let error: f64 = ours
        .iter()
        .flatten()
        .zip(exact.iter().flatten())
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum();
    (error / size).sqrt()
}

/// Of models with each placement of norms, both gates, tied and own heads: the shape, and the logits of the engine beside
/// those of the formula.
fn beside_the_formula(ternary: bool, mut check: impl FnMut(String, &[Vec<f32>], &[Vec<f64>])) {
    for norms in NORMS {
        for (gate, tied) in [(Gate::Silu, ternary), (Gate::Relu2, !ternary)] {
            let shape = Shape {
                qk_norm: tied,
                ..shape(norms, gate, tied)
            };
            let source = Uneven::new(&shape, ternary);
            let mut engine = Engine::new(shape.clone(), &source, options()).unwrap();
            let tokens = tokens(50);
            let ours = scores(&mut engine, &tokens);
            check(
                format!("{norms} {gate:?}"),
                &ours,
                &logits(&shape, &source, &tokens),
            );
        }
    }
}

/// Sums of at most 75 terms, some 30 of them one after the other: 30 · √75 · 2^-24.
const FLOAT_ERROR: f64 = 1.5e-5;

/// A rounding that goes the other way moves a code in one position and those after it: a float's error of 1e-7 decides for
/// 1e-5 of the activations. A wrong code of a weight, or a wrong scale, shows in every position, and the first have to agree
/// as floats do.
fn agree_at_first(model: &str, ours: &[Vec<f32>], exact: &[Vec<f64>]) {
    let error = worst(&ours[..5], &exact[..5]);
    assert!(
        error < FLOAT_ERROR,
        "{model}, the first positions: {error:e}"
    );
}

#[test]
fn the_float_model_is_the_formula() {
    beside_the_formula(false, |model, ours, exact| {
        let error = worst(ours, exact);
        assert!(error < FLOAT_ERROR, "{model}: {error:e}");
    });
}

#[test]
fn the_ternary_model_is_the_formula() {
    beside_the_formula(true, |model, ours, exact| {
        // Where rounding moves an activation over the edge between two codes, the model differs by 1/127 of one
        // of some 50 activations of a row: of 50 · 3 · 7 rows a few may do.
        let error = worst(ours, exact);
        assert!(error < 5e-3, "{model}: {error:e}");
        agree_at_first(&model, ours, exact);
    });
}

#[test]
fn every_scheme_is_the_formula_and_the_same_everywhere() {
    use {ActivationQuantizer as A, Granularity as G};
    for (activations, granularity) in [
        (A::Int8, G::Row),
        (A::Int8, G::Group(16)),
        (A::Int8, G::Group(48)),
        (A::Int8, G::Group(128)),
        (A::Int4, G::Tensor),
        (A::Int4, G::Group(32)),
        (A::Float, G::Tensor),
        (A::Float, G::Group(16)),
    ] {
        for norms in NORMS {
            let shape = Shape {
                activations,
                ..shape(norms, Gate::Silu, false)
            };
            let mut source = Uneven::new(&shape, true);
            source.0.ternary = Some(granularity);
            let tokens = tokens(50);
            let mut engine = Engine::new(shape.clone(), &source, options()).unwrap();
            let expected = scores(&mut engine, &tokens);
            let exact = logits(&shape, &source, &tokens);
            let error = worst(&expected, &exact);
            // Twice that of one scale a tensor: those of groups differ by up to 2. A code of 4 bits is 1/3 of an
            // average activation, where it moves at all; a float activation has none.
            let bound = match activations {
                A::Int8 => 1e-2,
                A::Int4 => 5e-2,
                A::Float => FLOAT_ERROR,
            };
            let model = format!("{activations:?} {granularity} {norms}");
            assert!(error < bound, "{model}: {error:e}");
            agree_at_first(&model, &expected, &exact);
            for kernel in Kernel::available() {
                let options = Options {
                    threads: 3,
                    kernel,
                    strategy: Strategy::detect(kernel),
                    ..options()
                };
                let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
                assert_eq!(scores(&mut engine, &tokens), expected, "{options:?}");
                let mut session = engine.session(50).unwrap();
                for (at, token) in tokens.iter().enumerate() {
                    let logits = engine.forward(&mut session, &[*token]).unwrap();
                    assert_eq!(logits, expected[at], "{options:?} at {at}");
                }
            }
        }
    }
}

#[test]
fn narrower_heads_cost_what_their_precision_says() {
    for tied in [false, true] {
        let shape = shape(Norms::PRE, Gate::Silu, tied);
        let source = Uneven::new(&shape, false);
        let tokens = tokens(40);
        let exact = logits(&shape, &source, &tokens);
        // Bf16 rounds by 2^-9 at most, here the head and the embedding. Int8 is half a step of 127 off in the weights and in
        // the activations, √(1/12) of one in the mean, and the largest of a row is some 3 to 4 times a typical element.
        let int8 = 2f64.sqrt() * 4.0 / (127.0 * 12f64.sqrt());
        for (head, bound) in [
            (DenseFormat::Bf16, 2f64.powi(-8)),
            (DenseFormat::Int8, int8),
        ] {
            let options = Options { head, ..options() };
            let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
            let error = worst(&scores(&mut engine, &tokens), &exact);
            assert!(error > 1e-5 && error < bound, "{head} {error:e}");
        }
    }
}

#[test]
fn a_narrower_cache_costs_what_its_precision_says() {
    let shape = shape(Norms::PRE, Gate::Silu, false);
    let source = Uneven::new(&shape, false);
    let tokens = tokens(40);
    let exact = logits(&shape, &source, &tokens);
    let cache = FloatFormat::Bf16;
    let options = Options { cache, ..options() };
    let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
    let error = worst(&scores(&mut engine, &tokens), &exact);
    // Rounded by 2^-9 at most, once as keys and once as values.
    assert!(error > 1e-5 && error < 2f64.powi(-8), "{error:e}");
    let bytes = |cache| {
        let engine = Engine::new(shape.clone(), &source, Options { cache, ..options }).unwrap();
        let bytes = engine.session(40).unwrap().bytes();
        assert_eq!(bytes, engine.cache_bytes(40), "{cache}");
        bytes
    };
    assert_eq!(bytes(FloatFormat::F32), 2 * bytes(FloatFormat::Bf16));
    let cache = FloatFormat::Int8;
    let mut engine = Engine::new(shape.clone(), &source, Options { cache, ..options }).unwrap();
    let coarse = worst(&scores(&mut engine, &tokens), &exact);
    // A 254th of a row's largest element at most, of a query as well.
    assert!(coarse > error && coarse < 2f64.powi(-5), "{coarse:e}");
    // A float for each key and each value besides its codes.
    let heads = shape.num_hidden_layers * shape.num_key_value_heads;
    let [keys, values] = [4, 16].map(|whole| shape.head_dim.next_multiple_of(whole));
    let expected = heads * 64 * (keys + 4 + values + 4);
    assert_eq!(bytes(FloatFormat::Int8), expected);
}

#[test]
fn a_shortened_text_is_as_if_nothing_had_followed() {
    let shape = shape(Norms::PRE, Gate::Silu, false);
    let source = Uneven::new(&shape, true);
    for cache in FloatFormat::ALL {
        let options = Options { cache, ..options() };
        let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
        let expected = scores(&mut engine, &tokens(33));
        for kept in [0, 1, 6, 7, 16, 31] {
            let mut session = engine.session(40).unwrap();
            let mut text = tokens(33);
            text[kept..].fill(9);
            engine.forward(&mut session, &text).unwrap();
            session.truncate(kept);
            for (end, token) in tokens(33).into_iter().enumerate().skip(kept) {
                let logits = engine.forward(&mut session, &[token]).unwrap();
                assert_eq!(logits, expected[end], "{cache}, {kept} kept, {end}");
            }
        }
    }
}

#[test]
fn threads_kernels_layouts_and_splits_change_nothing() {
    for (ternary, norms, qk_norm) in [
        (true, Norms::SUB, false),
        (true, Norms::INSIDE, true),
        (false, Norms::PRE, true),
    ] {
        let shape = Shape {
            qk_norm,
            ..shape(norms, Gate::Silu, false)
        };
        let source = Uneven::new(&shape, ternary);
        let tokens = tokens(70);
        for (head, cache) in [
            (DenseFormat::F32, FloatFormat::F32),
            (DenseFormat::Bf16, FloatFormat::Bf16),
            (DenseFormat::Int8, FloatFormat::Int8),
        ] {
            let options = Options {
                head,
                cache,
                ..options()
            };
            let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
            let expected = scores(&mut engine, &tokens);
            // Float products on a processor without fused multiply-add would round differently; it has none here.
            for kernel in Kernel::available() {
                for layout in Layout::ALL {
                    for threads in [1, 2, 3, 8] {
                        let options = Options {
                            threads,
                            kernel,
                            strategy: Strategy::detect(kernel),
                            layout: Some(layout),
                            head,
                            cache,
                        };
                        let mut engine = Engine::new(shape.clone(), &source, options).unwrap();
                        assert_eq!(scores(&mut engine, &tokens), expected, "{options:?}");
                        let mut session = engine.session(70).unwrap();
                        let pieces: &[usize] = if threads == 2 {
                            &[1; 70]
                        } else {
                            &[1, 16, 5, 40, 7, 1]
                        };
                        let mut at = 0;
                        for piece in pieces {
                            let logits = engine
                                .forward(&mut session, &tokens[at..at + piece])
                                .unwrap();
                            at += piece;
                            assert_eq!(logits, expected[at - 1], "{options:?} after {at}");
                        }
                    }
                }
            }
        }
    }
}

/// Heads of whole tiles with keys and values in bf16: a kernel may sum attention in an order of its own, but the same one
/// for every number of threads and every cut, and near the others'.
#[test]
fn attention_on_tiles_depends_on_the_kernel_alone() {
    let mut shape = shape(Norms::SUB, Gate::Silu, false);
    (shape.head_dim, shape.max_position_embeddings) = (64, 300);
    let tokens = tokens(290);
    for ternary in [true, false] {
        let source = Uneven::new(&shape, ternary);
        let engine_of = |kernel, threads, cache| {
            let options = Options {
                kernel,
                threads,
                cache,
                ..options()
            };
            Engine::new(shape.clone(), &source, options).unwrap()
        };
        let engine = |kernel, threads| engine_of(kernel, threads, FloatFormat::Bf16);
        let exact: Vec<Vec<f64>> = scores(&mut engine(Kernel::SCALAR, 2), &tokens)
            .into_iter()
            .map(|logits| logits.into_iter().map(f64::from).collect())
            .collect();
        // What rounding keys and values to bf16 has cost already.
        let cache = engine_of(Kernel::SCALAR, 2, FloatFormat::F32);
        let cache = worst(&scores(&mut { cache }, &tokens), &exact);
        for kernel in Kernel::available() {
            let expected = scores(&mut engine(kernel, 1), &tokens);
            // Two pieces of bf16 leave out 2^-16 of a query and of a weight, each at most a 128th of what its partner's
            // rounding to bf16 did. But a ternary model rounds to int8 after that, and small differences decide which
            // way.
            let error = worst(&expected, &exact);
            let bound = if ternary { cache } else { cache / 32.0 };
            assert!(error < bound, "{kernel}: {error:e}, bound {bound:e}");
            for (threads, pieces) in [(2, vec![1; 290]), (3, vec![150, 1, 7, 100, 31, 1])] {
                let mut engine = engine(kernel, threads);
                let mut session = engine.session(290).unwrap();
                let mut at = 0;
                for piece in pieces {
                    let logits = engine
                        .forward(&mut session, &tokens[at..at + piece])
                        .unwrap();
                    at += piece;
                    assert_eq!(
                        logits,
                        expected[at - 1],
                        "{kernel}, {threads} threads, {at}"
                    );
                }
            }
        }
    }
}

#[test]
fn long_prompts_go_in_pieces() {
    let mut shape = shape(Norms::PRE, Gate::Silu, true);
    shape.max_position_embeddings = 1200;
    let source = Uneven::new(&shape, true);
    let mut engine = Engine::new(
        shape,
        &source,
        Options {
            threads: 2,
            ..options()
        },
    )
    .unwrap();
    let tokens = tokens(1100);
    let expected = scores(&mut engine, &tokens);
    let mut session = engine.session(1100).unwrap();
    assert_eq!(
        engine.forward(&mut session, &tokens).unwrap(),
        expected[1099]
    );
    session.truncate(700);
    assert_eq!(
        engine.forward(&mut session, &tokens[700..703]).unwrap(),
        expected[702]
    );
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_lost() {
    let shape = shape(Norms::PRE, Gate::Silu, false);
    let source = Uneven::new(&shape, true);
    let mut engine = Engine::new(shape.clone(), &source, options()).unwrap();
    assert!(matches!(
        engine.session(91),
        Err(EngineError::TooLong { .. })
    ));
    let mut session = engine.session(4).unwrap();
    let expected = engine.forward(&mut session, &[1, 2, 3]).unwrap().to_vec();
    session.truncate(2);
    let full = engine.forward(&mut session, &[3, 4, 5]).unwrap_err();
    assert_eq!(
        full.to_string(),
        "the session holds 4 tokens: 2 are in it and 3 more were given"
    );
    assert!(matches!(
        engine.forward(&mut session, &[]),
        Err(EngineError::NoTokens)
    ));
    let unknown = engine.forward(&mut session, &[71]).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "token 71 is outside the model's vocabulary of 71"
    );
    assert_eq!(engine.forward(&mut session, &[3]).unwrap(), expected);
    let other = Shape {
        num_hidden_layers: 1,
        ..shape.clone()
    };
    let other = Engine::new(other, &source, options()).unwrap();
    let mut foreign = other.session(4).unwrap();
    assert!(matches!(
        engine.forward(&mut foreign, &[1]),
        Err(EngineError::ForeignSession)
    ));

    for (field, change) in [
        (
            "hidden_size",
            (|s: &mut Shape| s.hidden_size = 0) as fn(&mut Shape),
        ),
        ("num_key_value_heads", |s| s.num_key_value_heads = 4),
        ("head_dim", |s| s.head_dim = 9),
    ] {
        let mut bad = shape.clone();
        change(&mut bad);
        let error = Engine::new(bad, &source, options()).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
}

/// The head of a hidden state is the logits: Σ_k h[k] · W[n, k], in another order of sums.
#[test]
fn hidden_states_are_what_the_head_reads() {
    let shape = shape(Norms::PRE, Gate::Silu, false);
    let source = Uneven::new(&shape, true);
    let mut engine = Engine::new(shape.clone(), &source, options()).unwrap();
    let text = tokens(9);
    let mut session = engine.session(9).unwrap();
    let mut states = Vec::new();
    let each = |_: usize, _: usize, state: &[f32]| states.push(state.to_vec());
    let part = Part {
        session: &mut session,
        tokens: &text,
        logits: Wanted::All,
    };
    engine.hidden_states(&mut [part], each).unwrap();
    assert_eq!(states.len(), text.len());
    session.truncate(0);
    let mut logits = Vec::new();
    let each = |_: usize, row: &[f32]| logits.push(row.to_vec());
    engine.score(&mut session, &text, each).unwrap();
    let mut row = vec![0.0; shape.hidden_size];
    for (state, logits) in states.iter().zip(&logits) {
        for (token, logit) in logits.iter().enumerate() {
            source.table_row(Table::Head, token, &mut row);
            let terms = state
                .iter()
                .zip(&row)
                .map(|(a, b)| f64::from(*a) * f64::from(*b));
            let magnitude: f64 = terms.clone().map(f64::abs).sum();
            // K roundings of 2^-24 each, at most.
            let bound = shape.hidden_size as f64 * 2f64.powi(-24) * magnitude;
            let error = (terms.sum::<f64>() - f64::from(*logit)).abs();
            assert!(error <= bound, "{error:e} of {bound:e}");
        }
    }
}
