//! The weights of encoders and decoders. They are small beside those of language models, and handed over whole.

use crate::LinearWeights;

/// A part of a block and the norm around it, which [`Placement`](super::Placement) puts before the part or after the sum.
#[derive(Clone, Debug)]
pub struct Sublayer<T> {
    /// The part.
    pub part: T,
    /// γ of its norm; none where norms stand inside the linear layers.
    pub norm: Option<Vec<f32>>,
}

/// Attention, to the sequence itself or to another one. The names are Hugging Face's.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct AttentionWeights {
    pub q_proj: LinearWeights,
    pub k_proj: LinearWeights,
    pub v_proj: LinearWeights,
    pub o_proj: LinearWeights,
    pub q_norm: Option<Vec<f32>>,
    pub k_norm: Option<Vec<f32>>,
    pub attn_sub_norm: Option<Vec<f32>>,
}

/// The feed-forward part.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct FeedForwardWeights {
    /// Of the gated form alone.
    pub gate_proj: Option<LinearWeights>,
    pub up_proj: LinearWeights,
    pub down_proj: LinearWeights,
    pub ffn_sub_norm: Option<Vec<f32>>,
}

/// A block of an encoder, or with `cross_attn` of a decoder.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct BlockWeights {
    pub self_attn: Sublayer<AttentionWeights>,
    pub cross_attn: Option<Sublayer<AttentionWeights>>,
    pub mlp: Sublayer<FeedForwardWeights>,
}

/// Blocks and the norm after them, which is absent where each block ends in one.
#[derive(Clone, Debug)]
pub struct StackWeights {
    /// The blocks, in order.
    pub blocks: Vec<BlockWeights>,
    /// γ of the final norm.
    pub norm: Option<Vec<f32>>,
}

/// A float matrix, row-major.
#[derive(Clone, Debug)]
pub struct TableWeights {
    /// `[rows, columns]`.
    pub values: Vec<f32>,
    /// Rows.
    pub rows: usize,
}
