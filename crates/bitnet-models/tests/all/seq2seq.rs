//! The encoder–decoder, the classifier and the perceptron: masks, decoding, packing, and what other implementations got
//! wrong.

use bitnet_models::{
    BeamSearch, Classifier, EncoderDecoder, HiddenAct, LinearKind, MlpKind, ModelConfig, Network,
    NormPlacement, Perceptron, PositionKind, Projection, QuantConfig, Sequences, SingleLayer,
};
use burn::tensor::{DType, Device, Int, Tensor, TensorData, Tolerance};

const BEGIN: u32 = 1;
const END: u32 = 2;

/// The original form (sinusoidal, post-norm, plain ReLU) or a modern one (rotary, SubLN, gated).
fn config(original: bool, linear: LinearKind) -> (ModelConfig, QuantConfig) {
    let model = ModelConfig {
        linear,
        vocab_size: 11,
        num_labels: 3,
        input_size: 7,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_decoder_layers: Some(3),
        num_attention_heads: 2,
        max_position_embeddings: 12,
        initializer_range: 0.3,
        tie_word_embeddings: original,
        position: if original {
            PositionKind::Sinusoidal
        } else {
            PositionKind::Rotary
        },
        mlp: if original {
            MlpKind::Plain
        } else {
            MlpKind::Gated
        },
        hidden_act: if original {
            HiddenAct::Relu
        } else {
            HiddenAct::Silu
        },
        ..ModelConfig::default()
    };
    let norm = if original {
        NormPlacement::Post
    } else {
        NormPlacement::Sub
    };
    (
        model,
        QuantConfig {
            norm,
            ..QuantConfig::default()
        },
    )
}

fn forms() -> Vec<(ModelConfig, QuantConfig)> {
    let mut forms = Vec::new();
    for original in [true, false] {
        for linear in [LinearKind::Float, LinearKind::Ternary] {
            forms.push(config(original, linear));
        }
    }
    forms
}

fn sequences(rows: &[&[i32]], device: &Device) -> Sequences {
    let width = rows.iter().map(|row| row.len()).max().unwrap();
    let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
    let ids: Vec<i32> = rows
        .iter()
        .flat_map(|row| {
            row.iter()
                .copied()
                .chain(std::iter::repeat_n(0, width - row.len()))
        })
        .collect();
    Sequences::new(&ids, &lengths, width, device)
}

fn ids(rows: &[&[i32]], device: &Device) -> Tensor<2, Int> {
    let width = rows[0].len();
    let data = TensorData::new(rows.concat(), [rows.len(), width]);
    Tensor::from_data(data, (device, DType::I32))
}

fn close<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
    a.into_data()
        .assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(2e-4));
}

#[test]
fn padding_changes_nothing() {
    let device = Device::flex();
    for (model, quant) in forms() {
        let net = EncoderDecoder::new(&model, &quant, 1, &device).unwrap();
        let (long, short): (&[i32], &[i32]) = (&[3, 4, 5, 6, 7, 2], &[8, 9, 2]);
        let target = ids(&[&[1, 4, 5], &[1, 6, 7]], &device);
        let together = net.forward(&sequences(&[long, short], &device), target.clone());
        let alone = net.forward(&sequences(&[short], &device), target.narrow(0, 1, 1));
        close(together.narrow(0, 1, 1), alone);

        let net = Classifier::new(&model, &quant, 1, &device).unwrap();
        let together = net.forward(&sequences(&[long, short], &device));
        close(
            together.narrow(0, 1, 1),
            net.forward(&sequences(&[short], &device)),
        );
    }
}

#[test]
fn a_position_does_not_see_later_targets() {
    let device = Device::flex();
    for (model, quant) in forms() {
        let net = EncoderDecoder::new(&model, &quant, 2, &device).unwrap();
        let source = sequences(&[&[3, 4, 2]], &device);
        let one = net.forward(&source, ids(&[&[1, 4, 5, 6]], &device));
        let other = net.forward(&source, ids(&[&[1, 4, 9, 8]], &device));
        close(one.clone().narrow(1, 0, 2), other.clone().narrow(1, 0, 2));
        let moved = (one - other)
            .abs()
            .narrow(1, 2, 2)
            .max()
            .into_scalar::<f32>();
        assert!(moved > 1e-3, "the later positions do see them: {moved}");
    }
}

#[test]
fn step_by_step_gives_the_logits_of_the_whole() {
    let device = Device::flex();
    for (model, quant) in forms() {
        let net = EncoderDecoder::new(&model, &quant, 3, &device).unwrap();
        let source = sequences(&[&[3, 4, 5, 2], &[6, 2]], &device);
        let target: [&[i32]; 2] = [&[1, 4, 5, 6], &[1, 7, 8, 3]];
        let whole = net.forward(&source, ids(&target, &device));
        let mut decoding = net.start(&source);
        for t in 0..4 {
            let column = ids(&[&target[0][t..=t], &target[1][t..=t]], &device);
            let logits = net.step(column, &mut decoding);
            close(logits, whole.clone().narrow(1, t, 1).squeeze_dim(1));
        }
        // After a change of rows, the next step is that of the chosen rows.
        let rows = Tensor::from_data(TensorData::new(vec![1i32, 1], [2]), (&device, DType::I32));
        let mut swapped = decoding.clone().select(&rows);
        let logits = net.step(ids(&[&[9], &[9]], &device), &mut swapped);
        let expected = net
            .step(ids(&[&[9], &[9]], &device), &mut decoding)
            .narrow(0, 1, 1);
        close(logits.clone().narrow(0, 0, 1), expected.clone());
        close(logits.narrow(0, 1, 1), expected);
    }
}

/// `ln p` of an output and its end, teacher-forced.
fn log_probability(
    net: &EncoderDecoder,
    source: &Sequences,
    tokens: &[u32],
    device: &Device,
) -> f32 {
    let mut inputs = vec![BEGIN as i32];
    inputs.extend(tokens.iter().map(|token| *token as i32));
    let logits = net.forward(source, ids(&[&inputs], device));
    let vocab = logits.dims()[2];
    let logits = logits.into_data().try_to_vec::<f32>().unwrap();
    let targets = tokens.iter().copied().chain([END]);
    logits
        .chunks(vocab)
        .zip(targets)
        .map(|(row, target)| {
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            let sum: f32 = row.iter().map(|y| (y - top).exp()).sum();
            row[target as usize] - top - sum.ln()
        })
        .sum()
}

fn search(beam: usize, max_length: usize) -> BeamSearch {
    BeamSearch {
        beam,
        max_length,
        length_penalty: 0.0,
        begin: BEGIN,
        end: END,
    }
}

#[test]
fn a_wide_beam_finds_the_likeliest_output() {
    let device = Device::flex();
    let (mut model, quant) = config(false, LinearKind::Ternary);
    model.vocab_size = 5;
    for seed in 0..4 {
        let net = EncoderDecoder::new(&model, &quant, seed, &device).unwrap();
        let source = sequences(&[&[3, 4, 2]], &device);
        // All outputs of up to two tokens: a beam of all prefixes misses none.
        let mut best = (f32::MIN, Vec::new());
        let letters = [0u32, 1, 3, 4];
        let mut outputs = vec![vec![]];
        outputs.extend(letters.iter().map(|a| vec![*a]));
        outputs.extend(
            letters
                .iter()
                .flat_map(|a| letters.iter().map(|b| vec![*a, *b])),
        );
        for output in outputs {
            let log_p = log_probability(&net, &source, &output, &device);
            if log_p > best.0 {
                best = (log_p, output);
            }
        }
        let found = net
            .write(&search(25, 3), &source, &device)
            .unwrap()
            .remove(0);
        assert_eq!(found.tokens, best.1, "seed {seed}");
        assert!(found.finished && (found.log_probability - best.0).abs() < 1e-3);
    }
}

#[test]
fn a_beam_of_one_is_greedy_and_a_batch_changes_nothing() {
    let device = Device::flex();
    for (model, quant) in forms() {
        let net = EncoderDecoder::new(&model, &quant, 5, &device).unwrap();
        let rows: [&[i32]; 3] = [&[3, 4, 5, 6, 2], &[7, 2], &[8, 9, 10, 2]];
        let together = net
            .write(&search(1, 6), &sequences(&rows, &device), &device)
            .unwrap();
        for (row, found) in rows.iter().zip(&together) {
            let source = sequences(&[row], &device);
            let mut decoding = net.start(&source);
            let (mut token, mut greedy) = (BEGIN, Vec::new());
            for _ in 0..6 {
                let logits = net.step(ids(&[&[token as i32]], &device), &mut decoding);
                token = logits.argmax(1).into_scalar::<i64>() as u32;
                if token == END {
                    break;
                }
                greedy.push(token);
            }
            assert_eq!(found.tokens, greedy);
            let alone = net.write(&search(4, 6), &source, &device).unwrap();
            let wide = net
                .write(&search(4, 6), &sequences(&rows, &device), &device)
                .unwrap();
            let place = rows.iter().position(|other| other == row).unwrap();
            assert_eq!(wide[place].tokens, alone[0].tokens);
        }
    }
    let (model, quant) = config(true, LinearKind::Float);
    let net = EncoderDecoder::new(&model, &quant, 0, &device).unwrap();
    let source = sequences(&[&[3, 2]], &device);
    assert!(net.write(&search(0, 5), &source, &device).is_err());
}

#[test]
fn packed_models_answer_as_the_trained_ones() {
    let device = Device::flex();
    for original in [true, false] {
        let (model, quant) = config(original, LinearKind::Ternary);
        let source = sequences(&[&[3, 4, 5, 2], &[6, 2]], &device);
        let target = ids(&[&[1, 4, 5], &[1, 7, 8]], &device);
        let net = EncoderDecoder::new(&model, &quant, 4, &device).unwrap();
        let packed = net.pack();
        assert!(packed.projection_bytes() * 8 < net.projection_bytes());
        let (a, b) = (
            net.forward(&source, target.clone()),
            packed.forward(&source, target),
        );
        a.into_data().assert_eq(&b.into_data(), true);

        let net = Classifier::new(&model, &quant, 4, &device).unwrap();
        let (a, b) = (net.forward(&source), net.pack().forward(&source));
        a.into_data().assert_eq(&b.into_data(), true);

        let x = Tensor::<2>::random([5, 7], burn::tensor::Distribution::Default, &device);
        let net = Perceptron::new(&model, &quant, 4, &device).unwrap();
        let (a, b) = (net.forward(x.clone()), net.pack().forward(x.clone()));
        a.into_data().assert_eq(&b.into_data(), true);
        let net = SingleLayer::new(&model, &quant, 4, &device).unwrap();
        let (a, b) = (net.forward(x.clone()), net.pack().forward(x));
        a.into_data().assert_eq(&b.into_data(), true);
    }
}

/// Sets every weight of the projections whose name `which` accepts to zero.
fn zero(net: &mut impl Network, which: impl Fn(&str) -> bool) {
    let names: Vec<String> = net
        .projections()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for (name, projection) in names.iter().zip(net.projections_mut()) {
        let weight = match projection {
            Projection::Float(linear) => &mut linear.weight,
            Projection::Ternary(linear) => &mut linear.weight,
            Projection::Packed(_) => continue,
        };
        if which(name) {
            *weight = weight.clone().map(|w| w.zeros_like());
        }
    }
}

/// Not a residual that adds a part's output to itself: where all parts are silent, what enters comes out.
#[test]
fn a_residual_adds_what_entered() {
    let device = Device::flex();
    let (mut model, mut quant) = config(false, LinearKind::Float);
    model.num_hidden_layers = 4;
    quant.norm = NormPlacement::Pre;
    let mut deep = Classifier::new(&model, &quant, 6, &device).unwrap();
    zero(&mut deep, |name| {
        name.ends_with("o_proj") || name.ends_with("down_proj")
    });
    model.num_hidden_layers = 1;
    let mut shallow = Classifier::new(&model, &quant, 6, &device).unwrap();
    zero(&mut shallow, |name| {
        name.ends_with("o_proj") || name.ends_with("down_proj")
    });
    shallow.embed_tokens = deep.embed_tokens.clone();
    shallow.head = deep.head.clone();
    let source = sequences(&[&[3, 4, 5, 2]], &device);
    close(deep.forward(&source), shallow.forward(&source));
    let moved = deep.forward(&source).abs().max().into_scalar::<f32>();
    assert!(moved > 1e-2, "the stream is not silent: {moved}");
}

/// Not a cross-attention whose queries come from the encoder: there is one output for each *target* position, and it depends
/// on the target before it and on all of the source.
#[test]
fn the_decoder_asks_and_the_encoder_answers() {
    let device = Device::flex();
    for (model, quant) in forms() {
        let mut net = EncoderDecoder::new(&model, &quant, 7, &device).unwrap();
        let target = ids(&[&[1, 4]], &device);
        let logits = net.forward(&sequences(&[&[3, 4, 5, 6, 2]], &device), target.clone());
        assert_eq!(logits.dims(), [1, 2, 11]);
        let other = net.forward(&sequences(&[&[3, 4, 5, 9, 2]], &device), target.clone());
        let moved = (logits.clone() - other).abs().max_dim(2);
        assert!(moved.clone().min().into_scalar::<f32>() > 1e-4, "{moved}");

        // Queries decide nothing but the weights of the sum: with keys alike, all positions are weighted alike, and the
        // source's order no longer matters to cross-attention, whatever asks.
        zero(&mut net, |name| name.contains("cross_attn.k_proj"));
        let with_zero_keys = net.forward(&sequences(&[&[3, 4, 5, 6, 2]], &device), target.clone());
        zero(&mut net, |name| name.contains("cross_attn.q_proj"));
        let with_zero_queries = net.forward(&sequences(&[&[3, 4, 5, 6, 2]], &device), target);
        close(with_zero_keys, with_zero_queries);
    }
}

/// Not `d_k = 1`: scores are divided by the root of a head's width. Checked against attention written out.
#[test]
fn scores_are_scaled_by_the_width_of_a_head() {
    let device = Device::flex();
    let (mut model, mut quant) = config(true, LinearKind::Float);
    (model.num_attention_heads, model.num_hidden_layers) = (1, 1);
    quant.norm = NormPlacement::Post;
    let mut net = Classifier::new(&model, &quant, 8, &device).unwrap();
    zero(&mut net, |name| name.ends_with("down_proj"));
    let source = sequences(&[&[3, 4, 5]], &device);
    let found = net.forward(&source);

    let rows = |t: Tensor<2>| -> Vec<Vec<f32>> {
        let width = t.dims()[1];
        t.into_data()
            .try_to_vec::<f32>()
            .unwrap()
            .chunks(width)
            .map(<[f32]>::to_vec)
            .collect()
    };
    let weights = |name: &str| {
        let all = net.projections();
        let (_, projection) = all.iter().find(|(full, _)| full.ends_with(name)).unwrap();
        let Projection::Float(linear) = projection else {
            panic!("{name} is ternary")
        };
        rows(linear.weight.val())
    };
    let times = |w: &[Vec<f32>], x: &[f32]| -> Vec<f32> {
        w.iter()
            .map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum())
            .collect()
    };
    let norm = |x: Vec<f32>| -> Vec<f32> {
        let mean = x.iter().map(|v| v * v).sum::<f32>() / x.len() as f32;
        x.iter().map(|v| v / (mean + 1e-5).sqrt()).collect()
    };
    let table = rows(net.embed_tokens.weight.val());
    let width = 16;
    let x: Vec<Vec<f32>> = [3, 4, 5]
        .iter()
        .enumerate()
        .map(|(p, id)| {
            (0..width)
                .map(|d| {
                    let angle = p as f32 / 10_000f32.powf((d - d % 2) as f32 / width as f32);
                    4.0 * table[*id][d] + if d % 2 == 0 { angle.sin() } else { angle.cos() }
                })
                .collect()
        })
        .collect();
    let [q, k, v] = ["q_proj", "k_proj", "v_proj"].map(|name| {
        let w = weights(name);
        x.iter().map(|x| times(&w, x)).collect::<Vec<_>>()
    });
    let mut mean = vec![0.0; width];
    for (q, x) in q.iter().zip(&x) {
        let scores: Vec<f32> = k
            .iter()
            .map(|k| q.iter().zip(k).map(|(a, b)| a * b).sum::<f32>() / (width as f32).sqrt())
            .map(f32::exp)
            .collect();
        let total: f32 = scores.iter().sum();
        let mixed: Vec<f32> = (0..width)
            .map(|d| scores.iter().zip(&v).map(|(s, v)| s / total * v[d]).sum())
            .collect();
        let attended = times(&weights("o_proj"), &mixed);
        let y = norm(norm(x.iter().zip(attended).map(|(a, b)| a + b).collect()));
        mean.iter_mut().zip(y).for_each(|(m, y)| *m += y / 3.0);
    }
    let expected = times(&rows(net.head.val()), &mean);
    let data = TensorData::new(expected, [1, 3]);
    found
        .into_data()
        .assert_approx_eq::<f32>(&data, Tolerance::absolute(1e-3));
}

/// Not activations reduced to their sign: what differs only in magnitude gives different outputs.
#[test]
fn magnitudes_of_activations_count() {
    let device = Device::flex();
    let (model, quant) = config(true, LinearKind::Ternary);
    let net = SingleLayer::new(&model, &quant, 9, &device).unwrap();
    let x =
        |last: f32| Tensor::<2>::from_floats([[1.0, -0.5, 0.25, 2.0, -1.0, 0.75, last]], &device);
    let (weak, strong) = (net.forward(x(0.1)), net.forward(x(1.9)));
    let moved = (weak - strong).abs().max().into_scalar::<f32>();
    assert!(moved > 0.1, "{moved}");
}

/// Not random frozen scales: γ is the mean magnitude of the weights, and norms begin at 1 and are trained.
#[test]
fn scales_come_from_the_weights_and_norms_are_trained() {
    let device = Device::flex();
    let (model, quant) = config(false, LinearKind::Ternary);
    let net = SingleLayer::new(&model, &quant, 10, &device).unwrap();
    let mut doubled = net.clone();
    for projection in doubled.projections_mut() {
        let Projection::Ternary(linear) = projection else {
            panic!("a float layer in a ternary model")
        };
        linear.weight = linear.weight.clone().map(|w| w * 2.0);
    }
    let x = Tensor::<2>::from_floats([[1.0, -0.5, 0.25, 2.0, -1.0, 0.75, 0.5]], &device);
    close(net.forward(x.clone()) * 2.0, doubled.forward(x));

    let net = EncoderDecoder::new(&model, &quant, 10, &device.autodiff()).unwrap();
    let norm = net.encoder.layers[0]
        .self_attn_residual
        .norm
        .as_ref()
        .unwrap();
    assert!(
        norm.gamma
            .val()
            .into_data()
            .iter::<f32>()
            .all(|gamma| gamma == 1.0)
    );
    assert!(norm.gamma.val().is_require_grad());
}
