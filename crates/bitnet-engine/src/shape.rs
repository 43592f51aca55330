//! The shape of a decoder-only Transformer, in Hugging Face's field names.

use std::fmt;

use bitnet_kernels::{
    ActivationQuantizer,
    float::{Gate, RopeScaling},
};

use crate::EngineError;

/// Where RMSNorm stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norms {
    /// Before the attention and before the feed-forward part.
    pub block: bool,
    /// Before `o_proj` and `down_proj`.
    pub sub: bool,
    /// In front of the quantiser of every linear layer, one of its own each.
    pub inside: bool,
}

impl Norms {
    /// LLaMA's: before the attention and before the feed-forward part.
    pub const PRE: Norms = Norms {
        block: true,
        sub: false,
        inside: false,
    };
    /// In front of every quantiser and nowhere else (the "Training Tips" of BitNet b1.58).
    pub const INSIDE: Norms = Norms {
        block: false,
        sub: false,
        inside: true,
    };
    /// As `PRE`, and once more before `o_proj` and `down_proj` (SubLN; BitNet b1.58 2B4T).
    pub const SUB: Norms = Norms {
        block: true,
        sub: true,
        inside: false,
    };
}

impl fmt::Display for Norms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Norms { block, sub, inside } = *self;
        let names = [(block, "pre"), (sub, "sub"), (inside, "inside")];
        let names = names.into_iter().filter(|(stands, _)| *stands);
        let names: Vec<&str> = names.map(|(_, name)| name).collect();
        f.pad(&names.join(" + "))
    }
}

/// What the weights are arranged as.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key/value heads, each shared by the same number of query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Base of the rotary embedding.
    pub rope_theta: f64,
    /// How its frequencies are changed for longer contexts.
    pub rope_scaling: Option<RopeScaling>,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f32,
    /// Activation of the gate.
    pub gate: Gate,
    /// How ternary layers quantise what they are given. With [`ActivationQuantizer::Float`] they do not, and their
    /// products are float ones: they are held as floats.
    pub activations: ActivationQuantizer,
    /// Placement of the norms.
    pub norms: Norms,
    /// Whether every query and key head is normed (RMSNorm with one γ `[head_dim]` for all query heads of a block, and
    /// one for all key heads) before it is rotated, as in Qwen3.
    pub qk_norm: bool,
    /// Whether the head is the embedding's matrix.
    pub tie_word_embeddings: bool,
}

impl Shape {
    /// Width of all query heads together.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads together.
    pub fn kv_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Weights in the linear layers of the blocks.
    pub fn linear_weights(&self) -> usize {
        let attention = 2 * self.hidden_size * (self.query_width() + self.kv_width());
        let feed_forward = 3 * self.hidden_size * self.intermediate_size;
        self.num_hidden_layers * (attention + feed_forward)
    }

    /// # Errors
    ///
    /// Names the field that is zero, odd or indivisible.
    pub(crate) fn validate(&self) -> Result<(), EngineError> {
        let fields = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        check_fields(&fields)?;
        check_heads(self.num_attention_heads, self.num_key_value_heads)?;
        check_rotated(self.head_dim)
    }
}

/// Names the field that is zero.
pub(crate) fn check_fields(fields: &[(&'static str, usize)]) -> Result<(), EngineError> {
    match fields.iter().find(|(_, value)| *value == 0) {
        Some((field, _)) => Err(EngineError::Zero { field }),
        None => Ok(()),
    }
}

/// Every key/value head serves as many query heads.
pub(crate) fn check_heads(heads: usize, kv_heads: usize) -> Result<(), EngineError> {
    if heads.is_multiple_of(kv_heads) {
        return Ok(());
    }
    Err(EngineError::Heads { heads, kv_heads })
}

/// RoPE turns pairs of dimensions.
pub(crate) fn check_rotated(head_dim: usize) -> Result<(), EngineError> {
    if head_dim.is_multiple_of(2) {
        return Ok(());
    }
    Err(EngineError::OddHead(head_dim))
}
