//! The shape of encoders and of encoder–decoders.

use bitnet_kernels::{
    ActivationQuantizer,
    float::{Gate, RopeScaling, activated_row},
};

use crate::{
    EngineError,
    shape::{check_fields, check_heads, check_rotated},
};

/// How a model knows where a token stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// Queries and keys are rotated.
    Rotary {
        /// Base of the frequencies.
        theta: f64,
        /// How they are changed for longer contexts.
        scaling: Option<RopeScaling>,
    },
    /// Sines and cosines are added to the embedding (Vaswani et al. 2017, section 3.5).
    Sinusoidal,
}

/// What stands between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)²`.
    Relu2,
}

/// Form of the feed-forward part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForward {
    /// `down(act(gate(x)) · up(x))`.
    Gated(Gate),
    /// `down(act(up(x)))`.
    Plain(Activation),
}

/// Where RMSNorm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Before each part of a block: `x + f(norm(x))`.
    Pre,
    /// As `Pre`, and once more before `o_proj` and `down_proj`.
    Sub,
    /// In front of the quantiser of every linear layer, one of its own each.
    Inside,
    /// After the sum: `norm(x + f(x))` (Vaswani et al. 2017).
    Post,
}

/// What the weights of an encoder, or of an encoder and a decoder, are arranged as.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceShape {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key/value heads, each shared by the same number of query heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// How positions are told.
    pub positions: Positions,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f32,
    /// The feed-forward part.
    pub feed_forward: FeedForward,
    /// How ternary layers quantise what they are given.
    pub activations: ActivationQuantizer,
    /// Placement of the norms.
    pub norms: Placement,
    /// Whether every query and key head is normed before it is rotated.
    pub qk_norm: bool,
}

impl Activation {
    /// Applies it to every element. NaN stays NaN.
    pub(crate) fn apply(self, x: &mut [f32]) {
        let positive = |x: &mut f32| {
            if *x < 0.0 {
                *x = 0.0;
            }
        };
        match self {
            Activation::Silu => activated_row(Gate::Silu, x),
            Activation::Relu => x.iter_mut().for_each(positive),
            Activation::Relu2 => activated_row(Gate::Relu2, x),
        }
    }
}

impl SequenceShape {
    pub(crate) fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    pub(crate) fn kv_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Query heads that share keys and values.
    pub(crate) fn sharing(&self) -> usize {
        self.num_attention_heads / self.num_key_value_heads
    }

    /// # Errors
    ///
    /// Names the field that is zero, odd or indivisible.
    pub(crate) fn validate(&self) -> Result<(), EngineError> {
        let fields = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        check_fields(&fields)?;
        check_heads(self.num_attention_heads, self.num_key_value_heads)?;
        match self.positions {
            Positions::Rotary { .. } => check_rotated(self.head_dim),
            Positions::Sinusoidal => Ok(()),
        }
    }

    /// Checks that a model reads such a sequence.
    pub(crate) fn check(&self, tokens: &[u32]) -> Result<(), EngineError> {
        if tokens.is_empty() {
            return Err(EngineError::NoTokens);
        }
        self.check_tokens(tokens)?;
        self.check_length(tokens.len())
    }

    /// Checks that a model knows all of these tokens.
    pub(crate) fn check_tokens(&self, tokens: &[u32]) -> Result<(), EngineError> {
        let vocab_size = self.vocab_size;
        match tokens.iter().find(|token| **token as usize >= vocab_size) {
            Some(&token) => Err(EngineError::UnknownToken { token, vocab_size }),
            None => Ok(()),
        }
    }

    /// Checks that a model has so many positions.
    pub(crate) fn check_length(&self, capacity: usize) -> Result<(), EngineError> {
        let positions = self.max_position_embeddings;
        match capacity > positions {
            true => Err(EngineError::TooLong {
                capacity,
                positions,
            }),
            false => Ok(()),
        }
    }
}
