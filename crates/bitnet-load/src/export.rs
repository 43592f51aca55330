//! A model of the engine as one that can be written: the reverse of `checkpoint` and `weights`.

use std::path::PathBuf;

use bitnet_engine::{
    ActivationQuantizer, Gate, LayerWeights, LinearWeights, Norms, Shape, Source, Table, Weights,
};
use bitnet_formats::ScaleDirection;
use bitnet_formats::{
    ModelFile, TernaryTensor, model,
    model::{
        Activation, ActivationFormat, Family, Finding, LayerRole, MemoryModel, ModelDescription,
        ModelShape, Pieces, Projection, Role, Rope, SpecialTokens, Tensor, TokenizerKind,
        WeightFormat,
    },
};

use crate::LoadError;

/// Takes a model's weights, block by block. `name` is what errors call it.
///
/// # Errors
///
/// If no other format has such a model, or its weights cannot be read.
pub fn export(
    name: impl Into<PathBuf>,
    shape: &Shape,
    source: &impl Source,
    pieces: Option<Pieces>,
) -> Result<ModelFile, LoadError> {
    let read = |error| LoadError::Engine(bitnet_engine::EngineError::Source(error));
    let mut tensors = vec![(Role::OutputNorm, vector(source.final_norm().map_err(read)?))];
    let tables = [
        (Table::Embedding, Role::Embedding),
        (Table::Head, Role::Head),
    ];
    for (table, role) in tables {
        if table == Table::Head && shape.tie_word_embeddings {
            continue;
        }
        let tensor = match source.table(table).map_err(read)? {
            Some(weights) => matrix(weights),
            None => {
                let mut values = vec![0.0; shape.vocab_size * shape.hidden_size];
                let rows = values.chunks_exact_mut(shape.hidden_size).enumerate();
                rows.for_each(|(token, row)| source.table_row(table, token, row));
                let shape = vec![shape.vocab_size, shape.hidden_size];
                Tensor::Float { shape, values }
            }
        };
        tensors.push((role, tensor));
    }
    let mut ternary = false;
    for index in 0..shape.num_hidden_layers {
        let layer = source.layer(index).map_err(read)?;
        ternary |= matches!(layer.q_proj.weights, Weights::Ternary(_));
        let roles = roles_of(layer);
        tensors.extend(
            roles
                .into_iter()
                .map(|(role, t)| (Role::Layer(index, role), t)),
        );
    }
    let description = describe(shape, ternary, pieces.as_ref())?;
    let model = MemoryModel::new(name, description, tensors, pieces)?;
    Ok(ModelFile::Memory(model))
}

fn vector(values: Vec<f32>) -> Tensor {
    let shape = vec![values.len()];
    Tensor::Float { shape, values }
}

fn matrix(weights: Weights) -> Tensor {
    let [rows, cols] = weights.dims();
    match weights {
        Weights::Ternary(packed) => Tensor::Ternary(TernaryTensor::from(packed)),
        weights => {
            let shape = vec![rows, cols];
            let values = weights.into_floats();
            Tensor::Float { shape, values }
        }
    }
}

fn roles_of(layer: LayerWeights) -> Vec<(LayerRole, Tensor)> {
    let LayerWeights {
        input_layernorm,
        q_proj,
        k_proj,
        v_proj,
        q_norm,
        k_norm,
        attn_sub_norm,
        o_proj,
        post_attention_layernorm,
        gate_proj,
        up_proj,
        ffn_sub_norm,
        down_proj,
    } = layer;
    let norms = [
        (LayerRole::AttentionNorm, input_layernorm),
        (LayerRole::QueryNorm, q_norm),
        (LayerRole::KeyNorm, k_norm),
        (LayerRole::AttentionSubNorm, attn_sub_norm),
        (LayerRole::FeedForwardNorm, post_attention_layernorm),
        (LayerRole::FeedForwardSubNorm, ffn_sub_norm),
    ];
    let mut roles: Vec<_> = norms
        .into_iter()
        .filter_map(|(role, gamma)| Some((role, vector(gamma?))))
        .collect();
    for (projection, linear) in [
        (Projection::Query, q_proj),
        (Projection::Key, k_proj),
        (Projection::Value, v_proj),
        (Projection::Output, o_proj),
        (Projection::Gate, gate_proj),
        (Projection::Up, up_proj),
        (Projection::Down, down_proj),
    ] {
        let LinearWeights { weights, norm } = linear;
        roles.push((LayerRole::Projection(projection), matrix(weights)));
        if let Some(norm) = norm {
            roles.push((LayerRole::InputNorm(projection), vector(norm)));
        }
    }
    roles
}

fn found<T>(value: T) -> Finding<T> {
    Finding {
        value,
        evidence: "the model in memory".into(),
    }
}

fn describe(
    shape: &Shape,
    ternary: bool,
    pieces: Option<&Pieces>,
) -> Result<ModelDescription, LoadError> {
    let Shape {
        vocab_size,
        hidden_size,
        intermediate_size,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        max_position_embeddings,
        rope_theta,
        rope_scaling,
        rms_norm_eps,
        gate,
        activations,
        norms: Norms { block, sub, inside },
        qk_norm,
        tie_word_embeddings,
    } = shape;
    if !block {
        return Err(LoadError::NoFormat {
            reason: "its norms stand inside of its layers and nowhere else (quant.norm = \"inside\")",
        });
    }
    if ternary && *activations == ActivationQuantizer::Int4 {
        return Err(LoadError::NoFormat {
            reason: "its activations are int4 (quant.activations)",
        });
    }
    let family = match (qk_norm, sub, gate) {
        (true, false, _) => Family::Qwen3,
        (true, true, _) => {
            return Err(LoadError::NoFormat {
                reason: "it has both sub-norms and norms of queries and keys",
            });
        }
        (false, true, Gate::Relu2) => Family::BitNet,
        (false, true, Gate::Silu) => Family::OneBitLlm,
        (false, false, _) => Family::Llama,
    };
    Ok(ModelDescription {
        family: found(family),
        shape: ModelShape {
            vocab_size: *vocab_size,
            hidden_size: *hidden_size,
            intermediate_size: *intermediate_size,
            num_hidden_layers: *num_hidden_layers,
            num_attention_heads: *num_attention_heads,
            num_key_value_heads: *num_key_value_heads,
            head_dim: *head_dim,
            max_position_embeddings: *max_position_embeddings,
        },
        norms: found(model::Norms {
            eps: f64::from(*rms_norm_eps),
            sub_norms: *sub,
            query_key_norms: *qk_norm,
            projection_norms: *inside,
        }),
        activation: found(match gate {
            Gate::Silu => Activation::Silu,
            Gate::Relu2 => Activation::Relu2,
        }),
        rope: found(Rope {
            theta: *rope_theta,
            scaling: rope_scaling.clone(),
            interleaved_in_file: false,
        }),
        tied_head: found(*tie_word_embeddings),
        weights: found(match ternary {
            true => WeightFormat::Codes {
                direction: ScaleDirection::Divide,
            },
            false => WeightFormat::Float,
        }),
        activations: found(match activations {
            ActivationQuantizer::Int8 if ternary => ActivationFormat::Int8,
            _ => ActivationFormat::Float,
        }),
        tokenizer: found(match pieces {
            Some(Pieces::Json(_)) => TokenizerKind::HuggingFace("BPE".into()),
            Some(Pieces::Bytes(_)) => TokenizerKind::GgufOther("rwkv".into()),
            Some(Pieces::Files(text)) => text.tokenizer().value.clone(),
            None => TokenizerKind::Missing,
        }),
        pooling: match pieces {
            Some(Pieces::Files(text)) => text.pooling().clone(),
            _ => found(model::Pooling::Unsaid),
        },
        special_tokens: match pieces {
            Some(Pieces::Files(text)) => text.special_tokens().clone(),
            _ => SpecialTokens::default(),
        },
        chat_template: match pieces {
            Some(Pieces::Files(text)) => text.chat_template().map(String::from),
            _ => None,
        },
        warnings: Vec::new(),
    })
}
