//! The same Transformer in plain loops and f64.

#![allow(dead_code)] // every test file has its own copy, and needs a part of it

use bitnet_engine::{
    ActivationQuantizer, Granularity, LayerWeights, LinearWeights, Norms, Options, RandomWeights,
    Shape, Source, SourceError, Table, Weights,
};
use bitnet_kernels::{
    DenseFormat, FloatFormat, Kernel, Layout, Strategy, float::Gate, quantize_activations,
    quantize_activations_int4,
};

/// One thread, dot products, and everything in f32.
pub fn options() -> Options {
    Options {
        threads: 1,
        kernel: Kernel::detect(),
        strategy: Strategy::Dot,
        layout: Some(Layout::TwoBit),
        head: DenseFormat::F32,
        cache: FloatFormat::F32,
    }
}

/// Small and odd: widths that are no multiples of 16, shared key/value heads.
pub fn shape(norms: Norms, gate: Gate, tied: bool) -> Shape {
    Shape {
        vocab_size: 71,
        hidden_size: 44,
        intermediate_size: 75,
        num_hidden_layers: 3,
        num_attention_heads: 6,
        num_key_value_heads: 2,
        head_dim: 10,
        max_position_embeddings: 90,
        rope_theta: 500.0,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        gate,
        activations: ActivationQuantizer::Int8,
        norms,
        qk_norm: false,
        tie_word_embeddings: tied,
    }
}

/// Random weights with norms that are not all 1.
pub struct Uneven(pub RandomWeights);

impl Uneven {
    pub fn new(shape: &Shape, ternary: bool) -> Uneven {
        Uneven(RandomWeights {
            shape: shape.clone(),
            ternary: ternary.then_some(Granularity::Tensor),
            seed: 7,
        })
    }
}

fn uneven(gamma: &mut [f32], seed: usize) {
    for (i, g) in gamma.iter_mut().enumerate() {
        *g = 0.5 + ((i * 31 + seed * 17) % 23) as f32 / 23.0;
    }
}

impl Source for Uneven {
    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        self.0.table_row(table, token, out);
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        let mut layer = self.0.layer(index)?;
        let norms = [
            &mut layer.input_layernorm,
            &mut layer.attn_sub_norm,
            &mut layer.post_attention_layernorm,
            &mut layer.ffn_sub_norm,
            &mut layer.q_norm,
            &mut layer.k_norm,
            &mut layer.q_proj.norm,
            &mut layer.k_proj.norm,
            &mut layer.v_proj.norm,
            &mut layer.o_proj.norm,
            &mut layer.gate_proj.norm,
            &mut layer.up_proj.norm,
            &mut layer.down_proj.norm,
        ];
        for (i, gamma) in norms.into_iter().flatten().enumerate() {
            uneven(gamma, 100 * index + i);
        }
        Ok(layer)
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        let mut gamma = self.0.final_norm()?;
        uneven(&mut gamma, 999);
        Ok(gamma)
    }
}

type Row = Vec<f64>;

fn rms_norm(x: &Row, gamma: &Option<Vec<f32>>, epsilon: f32) -> Row {
    let Some(gamma) = gamma else {
        return x.clone();
    };
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let r = 1.0 / (mean + f64::from(epsilon)).sqrt();
    x.iter()
        .zip(gamma)
        .map(|(x, g)| x * r * f64::from(*g))
        .collect()
}

/// A ternary layer quantises what it is given as f32, as every implementation does: the codes are part of the model.
fn linear(
    layer: &LinearWeights,
    x: &Row,
    (epsilon, activations): (f32, ActivationQuantizer),
) -> Row {
    let x = rms_norm(x, &layer.norm, epsilon);
    match &layer.weights {
        Weights::Float { values, rows, cols } => (0..*rows)
            .map(|n| {
                (0..*cols)
                    .map(|k| x[k] * f64::from(values[n * cols + k]))
                    .sum()
            })
            .collect(),
        Weights::Ternary(w) => {
            let x: Vec<f32> = x.iter().map(|x| *x as f32).collect();
            let (mut codes, mut scale) = (vec![0i8; x.len()], [0f32]);
            match activations {
                ActivationQuantizer::Int8 => {
                    quantize_activations(&x, x.len(), &mut codes, &mut scale);
                }
                ActivationQuantizer::Int4 => {
                    quantize_activations_int4(&x, x.len(), &mut codes, &mut scale);
                }
                ActivationQuantizer::Float => {}
            }
            let quantized = |k: usize| match activations {
                ActivationQuantizer::Float => f64::from(x[k]),
                _ => f64::from(codes[k]) / f64::from(scale[0]),
            };
            let group = w.granularity().group(x.len());
            let groups = x.len().div_ceil(group);
            let weight_scale = |n: usize, k: usize| match w.granularity() {
                Granularity::Tensor => w.scales()[0],
                Granularity::Row => w.scales()[n],
                Granularity::Group(_) => w.scales()[n * groups + k / group],
            };
            let product =
                |n, k| quantized(k) * f64::from(w.code(n, k)) / f64::from(weight_scale(n, k));
            (0..w.rows())
                .map(|n| (0..x.len()).map(|k| product(n, k)).sum())
                .collect()
        }
        Weights::Dense(_) | Weights::Blocks(_) => unreachable!("random weights are neither"),
    }
}

fn rotate(x: &[f64], position: usize, theta: f64) -> Row {
    let half = x.len() / 2;
    (0..x.len())
        .map(|d| {
            let angle = position as f64 * theta.powf(-2.0 * (d % half) as f64 / x.len() as f64);
            let other = if d < half { -x[d + half] } else { x[d - half] };
            x[d] * angle.cos() + other * angle.sin()
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Logits of every token.
pub fn logits(shape: &Shape, source: &impl Source, tokens: &[u32]) -> Vec<Row> {
    let (width, eps) = (shape.head_dim, shape.rms_norm_eps);
    let scheme = (eps, shape.activations);
    let row = |fill: &dyn Fn(usize, &mut [f32]), index: usize| -> Row {
        let mut values = vec![0.0; shape.hidden_size];
        fill(index, &mut values);
        values.into_iter().map(f64::from).collect()
    };
    let embedding = |token: usize| row(&|t, out| source.table_row(Table::Embedding, t, out), token);
    let mut xs: Vec<Row> = tokens.iter().map(|t| embedding(*t as usize)).collect();
    for index in 0..shape.num_hidden_layers {
        let layer = source.layer(index).unwrap();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for (position, x) in xs.iter_mut().enumerate() {
            let normed = rms_norm(x, &layer.input_layernorm, eps);
            let q = linear(&layer.q_proj, &normed, scheme);
            let k = linear(&layer.k_proj, &normed, scheme);
            keys.push(
                k.chunks(width)
                    .map(|k| rms_norm(&k.to_vec(), &layer.k_norm, eps))
                    .flat_map(|k| rotate(&k, position, shape.rope_theta))
                    .collect::<Row>(),
            );
            values.push(linear(&layer.v_proj, &normed, scheme));
            let mut attended = Vec::new();
            for (head, q) in q.chunks(width).enumerate() {
                let kv = head / (shape.num_attention_heads / shape.num_key_value_heads);
                let span = kv * width..(kv + 1) * width;
                let q = rms_norm(&q.to_vec(), &layer.q_norm, eps);
                let q = rotate(&q, position, shape.rope_theta);
                let scores: Row = keys
                    .iter()
                    .map(|k| dot(&q, &k[span.clone()]) / (width as f64).sqrt())
                    .collect();
                let max = scores.iter().copied().fold(f64::MIN, f64::max);
                let weights: Row = scores.iter().map(|s| (s - max).exp()).collect();
                let total: f64 = weights.iter().sum();
                for d in span {
                    let column: Row = values.iter().map(|v| v[d]).collect();
                    attended.push(dot(&weights, &column) / total);
                }
            }
            let attended = rms_norm(&attended, &layer.attn_sub_norm, eps);
            for (x, y) in x.iter_mut().zip(linear(&layer.o_proj, &attended, scheme)) {
                *x += y;
            }
            let normed = rms_norm(x, &layer.post_attention_layernorm, eps);
            let gate = linear(&layer.gate_proj, &normed, scheme);
            let up = linear(&layer.up_proj, &normed, scheme);
            let act = |g: f64| match shape.gate {
                Gate::Silu => g / (1.0 + (-g).exp()),
                Gate::Relu2 => g.max(0.0).powi(2),
            };
            let inner = gate.iter().zip(&up).map(|(g, u)| act(*g) * u).collect();
            let inner = rms_norm(&inner, &layer.ffn_sub_norm, eps);
            for (x, y) in x.iter_mut().zip(linear(&layer.down_proj, &inner, scheme)) {
                *x += y;
            }
        }
    }
    let norm = Some(source.final_norm().unwrap());
    let head: Vec<Row> = (0..shape.vocab_size)
        .map(|token| match shape.tie_word_embeddings {
            true => embedding(token),
            false => row(&|t, out| source.table_row(Table::Head, t, out), token),
        })
        .collect();
    xs.iter()
        .map(|x| {
            let x = rms_norm(x, &norm, eps);
            head.iter().map(|w| dot(w, &x)).collect()
        })
        .collect()
}
