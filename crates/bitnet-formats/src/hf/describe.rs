//! From `config.json` and the names of the tensors to a description, each convention with its evidence.

use super::config::{HfConfig, QuantizationConfig, RopeParameters};
use crate::{
    error::{Fault, Place},
    model::{
        Activation, ActivationFormat, Family, Finding, LayerRole, ModelShape, Names, Norms,
        Projection, Role, Rope, RopeScaling, WeightFormat,
    },
    ternary::ScaleDirection,
};

/// What the names of a checkpoint's tensors show.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// `attn_sub_norm` or 1bitLLM's `inner_attn_ln`.
    pub(super) sub_norms: bool,
    /// The sub-norms have 1bitLLM's names.
    pub(super) one_bit_names: bool,
    pub(super) query_key_norms: bool,
    pub(super) projection_norms: bool,
    pub(super) head: bool,
    /// `weight_scale` beside a weight.
    pub(super) scales: bool,
    /// The first projection is stored as u8.
    pub(super) packed: bool,
    /// Rows of the first query matrix, as far as its storage tells.
    pub(super) query_rows: Option<usize>,
}

fn missing(key: &str) -> Fault {
    Fault::key(key, "is missing, expected in config.json")
}

fn refuse(key: &str, reason: impl std::fmt::Display, remedy: &str) -> Fault {
    Fault::unsupported(Place::Key(key.into()), reason, remedy)
}

/// Why a float of a configuration is none: NaN and infinities have no JSON, but 1e999 does.
fn positive(key: &str, value: f64) -> Result<f64, Fault> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Fault::key(
            key,
            format!("{value}, expected a positive number"),
        ))
    }
}

pub(super) fn family(config: &HfConfig, seen: Seen) -> Result<Finding<Family>, Fault> {
    let class = config.architectures.0.first().map_or("", String::as_str);
    let model_type = config.model_type.as_deref().unwrap_or("");
    let evidence = format!("architectures [{class}], model_type {model_type}");
    let family = match (class, model_type) {
        ("BitNetForCausalLM" | "BitnetForCausalLM" | "BitNetModel", _) | ("", "bitnet") => {
            if seen.one_bit_names {
                let evidence =
                    format!("{evidence}, sub-norms named inner_attn_ln and ffn_layernorm");
                return Ok(Finding::new(Family::OneBitLlm, evidence));
            }
            Family::BitNet
        }
        ("LlamaForCausalLM" | "LlamaModel", _) | ("", "llama") => Family::Llama,
        ("Qwen3ForCausalLM" | "Qwen3Model", _) | ("", "qwen3") => Family::Qwen3,
        (_, "gemma3_text" | "gemma3") => {
            let reason =
                "Gemma 3: GELU, embeddings times the root of their width, norm weights plus 1";
            return Err(refuse(
                "model_type",
                reason,
                "use transformers for this model",
            ));
        }
        (_, "minicpm") => {
            let reason = "MiniCPM: scaled embeddings, residuals and logits";
            return Err(refuse("model_type", reason, "use its GGUF with llama.cpp"));
        }
        _ => {
            let reason = format!("the class {class:?} of model_type {model_type:?} is unknown");
            let remedy = "known are BitNet, Llama and Qwen3 (…ForCausalLM)";
            return Err(refuse("architectures", reason, remedy));
        }
    };
    Ok(Finding::new(family, evidence))
}

/// Sizes. `head_dim` is checked against the query matrix: classes differ in their defaults.
pub(super) fn shape(config: &HfConfig, seen: Seen) -> Result<ModelShape, Fault> {
    let need = |key: &str, value: Option<usize>| value.ok_or_else(|| missing(key));
    let hidden_size = need("hidden_size", config.hidden_size)?;
    let heads = need("num_attention_heads", config.num_attention_heads)?;
    let head_dim = match config.head_dim {
        Some(head_dim) => head_dim,
        None if heads > 0 && hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => return Err(missing("head_dim")),
    };
    let shape = ModelShape {
        vocab_size: need("vocab_size", config.vocab_size)?,
        hidden_size,
        intermediate_size: need("intermediate_size", config.intermediate_size)?,
        num_hidden_layers: need("num_hidden_layers", config.num_hidden_layers)?,
        num_attention_heads: heads,
        num_key_value_heads: config.num_key_value_heads.unwrap_or(heads),
        head_dim,
        max_position_embeddings: need("max_position_embeddings", config.max_position_embeddings)?,
    };
    shape
        .check()
        .map_err(|problem| Fault::malformed(Place::File, problem))?;
    // A packed matrix has rows up to the next multiple of four.
    let expected = if seen.packed {
        shape.query_size().next_multiple_of(4)
    } else {
        shape.query_size()
    };
    let Some(rows) = seen.query_rows else {
        let role = Role::Layer(0, LayerRole::Projection(Projection::Query));
        return Err(Fault::tensor(
            &role.name(Names::HuggingFace),
            "is missing from the safetensors",
        ));
    };
    if rows != expected {
        let problem = format!(
            "{heads} heads of {head_dim} need {} rows of queries, q_proj of layer 0 has {rows}",
            shape.query_size(),
        );
        return Err(Fault::key("head_dim", problem));
    }
    Ok(shape)
}

pub(super) fn norms(config: &HfConfig, seen: Seen) -> Result<Finding<Norms>, Fault> {
    let eps = config.rms_norm_eps.ok_or_else(|| missing("rms_norm_eps"))?;
    let norms = Norms {
        eps: positive("rms_norm_eps", eps)?,
        sub_norms: seen.sub_norms,
        query_key_norms: seen.query_key_norms,
        projection_norms: seen.projection_norms,
    };
    let quantization = config.quantization_config.as_ref();
    let inner = quantization.and_then(|q| q.rms_norm_eps).unwrap_or(eps);
    if norms.projection_norms && inner != eps {
        let reason = format!("{inner} for the norms of projections beside {eps}");
        return Err(refuse(
            "quantization_config.rms_norm_eps",
            reason,
            "use transformers for this model",
        ));
    }
    Ok(Finding::new(
        norms,
        "rms_norm_eps, and the names of the tensors",
    ))
}

pub(super) fn activation(config: &HfConfig) -> Result<Finding<Activation>, Fault> {
    let name = config
        .hidden_act
        .as_deref()
        .ok_or_else(|| missing("hidden_act"))?;
    let activation = match name {
        "relu2" => Activation::Relu2,
        "silu" | "swish" => Activation::Silu,
        other => {
            let reason = format!("the activation {other:?} is not supported");
            return Err(refuse(
                "hidden_act",
                reason,
                "models with relu2 or silu are",
            ));
        }
    };
    Ok(Finding::new(activation, format!("hidden_act {name}")))
}

pub(super) fn rope(config: &HfConfig, shape: &ModelShape) -> Result<Finding<Rope>, Fault> {
    let parameters = config.rope_parameters.as_ref();
    let (theta, mut evidence) = match (config.rope_theta, parameters.and_then(|p| p.rope_theta)) {
        (Some(theta), _) => (theta, format!("rope_theta {theta}")),
        (None, Some(theta)) => (theta, format!("rope_parameters.rope_theta {theta}")),
        (None, None) if config.model_type.as_deref() == Some("llama") => (
            10_000.0,
            "no rope_theta: 10000, what the class Llama takes".into(),
        ),
        (None, None) => return Err(missing("rope_theta")),
    };
    let partial = parameters
        .and_then(|p| p.partial_rotary_factor)
        .or(config.partial_rotary_factor);
    if partial.is_some_and(|part| part != 1.0) {
        let reason = "only a part of each head is rotated";
        return Err(refuse(
            "partial_rotary_factor",
            reason,
            "use transformers for this model",
        ));
    }
    let scaling = match config.rope_scaling.as_ref().or(parameters) {
        Some(parameters) => rope_scaling(parameters, shape)?,
        None => None,
    };
    if let Some(scaling) = &scaling {
        evidence += &format!(", {scaling:?}");
    }
    let rope = Rope {
        theta: positive("rope_theta", theta)?,
        scaling,
        interleaved_in_file: false,
    };
    Ok(Finding::new(
        rope,
        format!("{evidence}; rotate-half, as all checkpoints of transformers"),
    ))
}

fn rope_scaling(
    parameters: &RopeParameters,
    shape: &ModelShape,
) -> Result<Option<RopeScaling>, Fault> {
    let kind = parameters
        .rope_type
        .as_deref()
        .or(parameters.r#type.as_deref());
    let need = |key: &str, value: Option<f64>| {
        let key = format!("rope_scaling.{key}");
        positive(&key, value.ok_or_else(|| missing(&key))?)
    };
    let original = parameters.original_max_position_embeddings;
    Ok(match kind {
        None | Some("default") => None,
        Some("linear") => Some(RopeScaling::Linear {
            factor: need("factor", parameters.factor)?,
        }),
        Some("llama3") => {
            let low = need("low_freq_factor", parameters.low_freq_factor)?;
            let high = need("high_freq_factor", parameters.high_freq_factor)?;
            // The ramp between them is divided by their difference.
            if high <= low {
                let problem = format!("{high}, expected more than low_freq_factor, {low}");
                return Err(Fault::key("rope_scaling.high_freq_factor", problem));
            }
            Some(RopeScaling::Llama3 {
                factor: need("factor", parameters.factor)?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original
                    .ok_or_else(|| missing("rope_scaling.original_max_position_embeddings"))?,
            })
        }
        Some("yarn") => Some(RopeScaling::Yarn {
            factor: need("factor", parameters.factor)?,
            original_max_position_embeddings: original.unwrap_or(shape.max_position_embeddings),
            attention_factor: parameters.attention_factor,
            beta_fast: parameters.beta_fast.unwrap_or(32.0),
            beta_slow: parameters.beta_slow.unwrap_or(1.0),
        }),
        Some(other) => {
            let reason = format!("the type {other:?} is not supported");
            return Err(refuse(
                "rope_scaling",
                reason,
                "default, linear, llama3 and yarn are",
            ));
        }
    })
}

/// What the projections hold and what they do to their input. Ternary values of floats are looked for elsewhere.
pub(super) fn formats(
    config: &HfConfig,
    family: Family,
    seen: Seen,
) -> Result<(Finding<WeightFormat>, Finding<ActivationFormat>), Fault> {
    let Some(quantization) = &config.quantization_config else {
        if seen.packed || seen.scales {
            let problem =
                "is missing, but weights are u8 or have a weight_scale: its direction is unknown";
            return Err(Fault::key("quantization_config", problem));
        }
        return Ok(without_config(family, seen));
    };
    let method = quantization.quant_method.as_deref().unwrap_or("");
    if method != "bitnet" {
        let reason = format!("the method {method:?} is not supported");
        return Err(refuse(
            "quantization_config.quant_method",
            reason,
            "bitnet is, and no method at all",
        ));
    }
    check_converted(quantization)?;
    let class = quantization.linear_class.as_deref();
    let direction = match class {
        Some("autobitlinear") => ScaleDirection::Multiply,
        None | Some("bitlinear") => ScaleDirection::Divide,
        Some(other) => {
            let reason =
                format!("the class {other:?} is unknown, so is the direction of its scales");
            return Err(refuse(
                "quantization_config.linear_class",
                reason,
                "autobitlinear and bitlinear are known",
            ));
        }
    };
    let mode = quantization.quantization_mode.as_deref();
    let named = format!(
        "linear_class {}, quantization_mode {}",
        class.unwrap_or("absent"),
        mode.unwrap_or("absent")
    );
    let weights = match (mode, seen.scales) {
        (Some("online"), false) => Finding::new(WeightFormat::OnlineAbsMean, named),
        (Some("offline") | None, true) => {
            let verb = if direction == ScaleDirection::Multiply {
                "multiply"
            } else {
                "divide"
            };
            let evidence = format!("{named}: scales {verb}");
            Finding::new(WeightFormat::Codes { direction }, evidence)
        }
        (Some("online"), true) => {
            let problem = "online, but weights have a weight_scale, expected none";
            return Err(Fault::key("quantization_config.quantization_mode", problem));
        }
        (Some("offline") | None, false) => {
            let problem = "offline, but weights have no weight_scale, expected one each";
            return Err(Fault::key("quantization_config.quantization_mode", problem));
        }
        (Some(other), _) => {
            let problem = format!("{other:?}, expected online or offline");
            return Err(Fault::key("quantization_config.quantization_mode", problem));
        }
    };
    let int8 = Finding::new(
        ActivationFormat::Int8,
        "quant_method bitnet: absmax of each token",
    );
    Ok((weights, int8))
}

fn without_config(
    family: Family,
    seen: Seen,
) -> (Finding<WeightFormat>, Finding<ActivationFormat>) {
    let evidence = match family {
        Family::OneBitLlm => "1bitLLM's class quantises master weights when it runs",
        Family::BitNet => "no quantization_config: transformers computes in floats",
        _ if seen.projection_norms => {
            "a norm in every projection: BitNet-embedding's master weights"
        }
        _ => "no quantization_config",
    };
    if family == Family::OneBitLlm || seen.projection_norms {
        let weights = Finding::new(WeightFormat::OnlineAbsMean, evidence);
        return (weights, Finding::new(ActivationFormat::Int8, evidence));
    }
    (
        Finding::new(WeightFormat::Float, evidence),
        Finding::new(ActivationFormat::Float, evidence),
    )
}

/// `modules_to_not_convert` may name the head, but no projection.
fn check_converted(quantization: &QuantizationConfig) -> Result<(), Fault> {
    let is_projection = |name: &&String| name.contains("proj") || name.contains("layers");
    match quantization
        .modules_to_not_convert
        .0
        .iter()
        .find(is_projection)
    {
        None => Ok(()),
        Some(name) => {
            let reason = format!("{name:?} is left in floats, others are not");
            Err(refuse(
                "quantization_config.modules_to_not_convert",
                reason,
                "use transformers for this model",
            ))
        }
    }
}

/// Whether the head is the embedding, and what is odd about it.
pub(super) fn tied_head(
    config: &HfConfig,
    seen: Seen,
) -> Result<(Finding<bool>, Option<String>), Fault> {
    let tied = match (config.tie_word_embeddings, seen.head) {
        (Some(true), false) => Finding::new(true, "tie_word_embeddings true, no lm_head"),
        (Some(true), true) => {
            let warning = "lm_head.weight is there although tie_word_embeddings is true: it is ignored, as in transformers";
            return Ok((
                Finding::new(true, "tie_word_embeddings true"),
                Some(warning.into()),
            ));
        }
        (Some(false), true) => Finding::new(false, "tie_word_embeddings false, lm_head is there"),
        (None, true) => Finding::new(false, "lm_head is there, no tie_word_embeddings"),
        (None, false) => Finding::new(true, "no lm_head, no tie_word_embeddings"),
        (Some(false), false) => {
            let problem = "is missing, expected because tie_word_embeddings is false";
            return Err(Fault::tensor("lm_head.weight", problem));
        }
    };
    Ok((tied, None))
}

/// Switches that no supported model sets.
pub(super) fn check_switches(config: &HfConfig) -> Result<(), Fault> {
    for (key, value) in [
        ("attention_bias", config.attention_bias),
        ("mlp_bias", config.mlp_bias),
        ("use_sliding_window", config.use_sliding_window),
    ] {
        if value == Some(true) {
            return Err(refuse(
                key,
                "true is not supported",
                "use transformers for this model",
            ));
        }
    }
    Ok(())
}
