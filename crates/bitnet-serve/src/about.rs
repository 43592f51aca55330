//! What is told of a model: how large it is, and the energy of a token's arithmetic, modelled.

use bitnet_engine::{Engine, Shape};
use bitnet_results::{
    Linear,
    energy::{FloatWidth, Process, Products},
};
use serde_json::{Value, json};

/// The most positions that a modelled token attends to; one of a long context costs as much as its weights.
const ATTENDED: usize = 512;

/// Fields of `meta` in `/v1/models` that follow from the engine.
pub(crate) fn about(engine: &Engine) -> Value {
    let shape = engine.shape();
    let is_ternary = engine.layout().is_some();
    json!({
        "embedding_length": shape.hidden_size,
        "layers": shape.num_hidden_layers,
        "parameters": parameters(shape),
        "linear_weights": shape.linear_weights(),
        "ternary": is_ternary,
        "weight_bytes": engine.weight_bytes(),
        "bytes_per_token": engine.read_bytes(),
        "modelled_energy": energy(shape, is_ternary),
    })
}

/// Inputs and outputs of the linear layers of a block.
fn linears(shape: &Shape) -> [(usize, usize); 7] {
    let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
    let (query, kv) = (shape.query_width(), shape.kv_width());
    [
        (hidden, query),
        (hidden, kv),
        (hidden, kv),
        (query, hidden),
        (hidden, inner),
        (hidden, inner),
        (inner, hidden),
    ]
}

/// Linear layers, embedding, head and norms.
fn parameters(shape: &Shape) -> usize {
    let norms = &shape.norms;
    let inputs: usize = linears(shape).iter().map(|(inputs, _)| inputs).sum();
    let block = [
        (norms.block, 2 * shape.hidden_size),
        (norms.sub, shape.query_width() + shape.intermediate_size),
        (norms.inside, inputs),
        (shape.qk_norm, 2 * shape.head_dim),
    ];
    let block: usize = block
        .iter()
        .map(|(has, width)| usize::from(*has) * width)
        .sum();
    let tables = if shape.tie_word_embeddings { 1 } else { 2 };
    shape.linear_weights()
        + shape.num_hidden_layers * block
        + shape.hidden_size
        + tables * shape.vocab_size * shape.hidden_size
}

/// Picojoules of a token by the model that the reports use, at 7 nm with FP16 where a product is float.
fn energy(shape: &Shape, is_ternary: bool) -> Value {
    let context = shape.max_position_embeddings.min(ATTENDED);
    let [hidden, vocab, head, attended] =
        [shape.hidden_size, shape.vocab_size, shape.head_dim, context].map(|size| size as u64);
    let heads = (shape.num_hidden_layers * shape.num_attention_heads) as u64;
    let blocks = (0..shape.num_hidden_layers).flat_map(|_| linears(shape));
    let products = Products {
        linear: blocks
            .map(|(inputs, outputs)| (inputs as u64, outputs as u64))
            .collect(),
        float: Some(Products::head_and_attention(
            hidden, vocab, heads, head, attended,
        )),
    };
    let kind = if is_ternary {
        Linear::Ternary
    } else {
        Linear::Float
    };
    let (width, process) = (FloatWidth::Fp16, Process::Nm7);
    let linear = products.linear_pj(kind, width, process);
    let rest = products.float_pj(width, process).unwrap_or_default();
    json!({
        "picojoules_per_token": (linear + rest).round(),
        "of": format!(
            "linear layers, head and attention to {context} tokens, {}, {}",
            width.name(),
            process.name()
        ),
    })
}
