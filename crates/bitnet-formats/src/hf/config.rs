//! `config.json`, with the names that transformers gives the keys; unknown keys are ignored.

use serde::Deserialize;

use crate::json::Few;

/// Token ids: one, several or `null`.
pub type TokenIds = Few<u32, 256>;

/// The keys of `config.json` that a decoder-only model is described by.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are transformers' own")]
pub struct HfConfig {
    pub architectures: Few<String, 16>,
    pub model_type: Option<String>,
    pub vocab_size: Option<usize>,
    pub hidden_size: Option<usize>,
    pub intermediate_size: Option<usize>,
    pub num_hidden_layers: Option<usize>,
    pub num_attention_heads: Option<usize>,
    pub num_key_value_heads: Option<usize>,
    pub head_dim: Option<usize>,
    pub max_position_embeddings: Option<usize>,
    pub hidden_act: Option<String>,
    pub rms_norm_eps: Option<f64>,
    pub rope_theta: Option<f64>,
    pub rope_scaling: Option<RopeParameters>,
    /// transformers 5 writes `rope_theta` and `rope_scaling` as one.
    pub rope_parameters: Option<RopeParameters>,
    pub partial_rotary_factor: Option<f64>,
    pub tie_word_embeddings: Option<bool>,
    pub attention_bias: Option<bool>,
    pub mlp_bias: Option<bool>,
    pub use_sliding_window: Option<bool>,
    pub bos_token_id: Option<u32>,
    pub eos_token_id: TokenIds,
    pub pad_token_id: Option<i64>,
    pub quantization_config: Option<QuantizationConfig>,
}

/// `rope_scaling`, and `rope_parameters` of transformers 5.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are transformers' own")]
pub struct RopeParameters {
    pub rope_type: Option<String>,
    /// The older name of `rope_type`.
    pub r#type: Option<String>,
    pub rope_theta: Option<f64>,
    pub factor: Option<f64>,
    pub low_freq_factor: Option<f64>,
    pub high_freq_factor: Option<f64>,
    pub original_max_position_embeddings: Option<usize>,
    pub attention_factor: Option<f64>,
    pub beta_fast: Option<f64>,
    pub beta_slow: Option<f64>,
    pub partial_rotary_factor: Option<f64>,
}

/// `quantization_config`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the names are transformers' own")]
pub struct QuantizationConfig {
    pub quant_method: Option<String>,
    pub linear_class: Option<String>,
    pub quantization_mode: Option<String>,
    pub use_rms_norm: Option<bool>,
    pub rms_norm_eps: Option<f64>,
    pub modules_to_not_convert: Few<String, 4096>,
}
