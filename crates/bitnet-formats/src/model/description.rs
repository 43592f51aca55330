//! What a model is, with the evidence for each convention: what the file says, or what it was concluded from.

use std::fmt;

use bitnet_kernels::{Granularity, float::RopeScaling};

use super::{LayerRole, Projection, Role};
use crate::ternary::ScaleDirection;

/// A convention and what it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding<T> {
    /// The convention.
    pub value: T,
    /// The key, name or count that says so.
    pub evidence: String,
}

impl<T> Finding<T> {
    pub(crate) fn new(value: T, evidence: impl Into<String>) -> Self {
        let evidence = evidence.into();
        Self { value, evidence }
    }
}

/// A decoder-only Transformer, as its files describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelDescription {
    /// Which block it is made of.
    pub family: Finding<Family>,
    /// Sizes.
    pub shape: ModelShape,
    /// Where it normalises.
    pub norms: Finding<Norms>,
    /// What is applied to the gate.
    pub activation: Finding<Activation>,
    /// How positions are encoded.
    pub rope: Finding<Rope>,
    /// Whether the head is the embedding.
    pub tied_head: Finding<bool>,
    /// What the matrices of the projections hold.
    pub weights: Finding<WeightFormat>,
    /// What the projections do to their input.
    pub activations: Finding<ActivationFormat>,
    /// What text becomes token ids with.
    pub tokenizer: Finding<TokenizerKind>,
    /// How a text's hidden states become its vector.
    pub pooling: Finding<Pooling>,
    /// Ids with a meaning.
    pub special_tokens: SpecialTokens,
    /// The template of a chat, in Jinja.
    pub chat_template: Option<String>,
    /// What was read although it is suspicious.
    pub warnings: Vec<String>,
}

impl ModelDescription {
    /// The tensors that the model has.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        let norms = self.norms.value;
        let mut layer = vec![LayerRole::AttentionNorm, LayerRole::FeedForwardNorm];
        layer.extend(Projection::ALL.map(LayerRole::Projection));
        if norms.sub_norms {
            layer.extend([LayerRole::AttentionSubNorm, LayerRole::FeedForwardSubNorm]);
        }
        if norms.query_key_norms {
            layer.extend([LayerRole::QueryNorm, LayerRole::KeyNorm]);
        }
        if norms.projection_norms {
            layer.extend(Projection::ALL.map(LayerRole::InputNorm));
        }
        let layers = 0..self.shape.num_hidden_layers;
        let layers = layers.flat_map(move |n| {
            let layer = layer.clone().into_iter();
            layer.map(move |role| Role::Layer(n, role))
        });
        let head = (!self.tied_head.value).then_some(Role::Head);
        let ends = [Role::Embedding, Role::OutputNorm];
        ends.into_iter().chain(head).chain(layers)
    }
}

/// Sizes, with Hugging Face's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Hugging Face's")]
pub struct ModelShape {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
}

impl ModelShape {
    /// Columns of the queries: `num_attention_heads · head_dim`.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads.saturating_mul(self.head_dim)
    }

    /// Columns of the keys and of the values: `num_key_value_heads · head_dim`.
    pub fn key_value_size(&self) -> usize {
        self.num_key_value_heads.saturating_mul(self.head_dim)
    }

    /// Why no model has these sizes.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Self {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
        } = *self;
        for (name, value) in [
            ("vocab_size", vocab_size),
            ("hidden_size", hidden_size),
            ("intermediate_size", intermediate_size),
            ("num_hidden_layers", num_hidden_layers),
            ("num_attention_heads", num_attention_heads),
            ("num_key_value_heads", num_key_value_heads),
            ("head_dim", head_dim),
            ("max_position_embeddings", max_position_embeddings),
        ] {
            // Token ids and offsets are 32-bit; no product of two sizes overflows.
            if !(1..1 << 31).contains(&value) {
                return Err(format!("{name} is {value}, expected 1 to 2^31 - 1"));
            }
        }
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            return Err(format!(
                "{num_attention_heads} attention heads are not a multiple of {num_key_value_heads} key and value heads"
            ));
        }
        if !head_dim.is_multiple_of(2) {
            return Err(format!("head_dim is {head_dim}, RoPE needs an even one"));
        }
        Ok(())
    }
}

/// The block of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// microsoft/bitnet-b1.58-2B-4T: sub-norms before `o` and `down`, ReLU².
    BitNet,
    /// 1bitLLM/bitnet_b1_58: the same sub-norms under other names, SiLU.
    OneBitLlm,
    /// Llama: no sub-norms.
    Llama,
    /// Qwen3: norms of each head's query and key before RoPE.
    Qwen3,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BitNet => "BitNet",
            Self::OneBitLlm => "BitNet (1bitLLM)",
            Self::Llama => "Llama",
            Self::Qwen3 => "Qwen3",
        })
    }
}

/// RMSNorms besides the two of a block and the last one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// Added to the mean square.
    pub eps: f64,
    /// Before `o` and before `down`.
    pub sub_norms: bool,
    /// Of each head's query and key, before RoPE.
    pub query_key_norms: bool,
    /// Of the input of every projection, besides the block's norms.
    pub projection_norms: bool,
}

/// The function of the gate: `down(f(gate(x)) · up(x))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)²`.
    Relu2,
    /// `x · sigmoid(x)`.
    Silu,
}

/// Rotary position embedding. Tensors are always handed out in rotate-half order, see `rope_rows`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub theta: f64,
    /// How frequencies are changed for longer contexts.
    pub scaling: Option<RopeScaling>,
    /// Whether the file keeps rows of `q` and `k` in pairs (interleaved), which are un-permuted when they are read.
    pub interleaved_in_file: bool,
}

/// What the matrices of the projections hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WeightFormat {
    /// Floats, used as they are.
    Float,
    /// Floats that the model quantises by absmean when it runs: master weights.
    OnlineAbsMean,
    /// Codes with scales, packed by Hugging Face's layout (four rows a byte) or as floats -1, 0, 1.
    Codes {
        /// What the scale does.
        direction: ScaleDirection,
    },
    /// Blocks of a ternary type of GGUF.
    Blocks,
    /// Floats that are -s, 0 or s.
    TernaryValues {
        /// What shares an s in the tensors that were looked at.
        granularity: Granularity,
    },
}

/// What projections do to their input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationFormat {
    /// int8 by absmax of each token, as in BitNet.
    Int8,
    /// Floats.
    Float,
    /// The file does not say.
    Unknown,
}

/// What text becomes token ids with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerKind {
    /// A `tokenizer.json`, of this model (`BPE`, `Unigram`, …).
    HuggingFace(String),
    /// A sentencepiece file without a `tokenizer.json`.
    SentencePiece,
    /// Byte-level BPE in the GGUF file, cut by the named rules (`tokenizer.ggml.pre`).
    GgufBpe {
        /// The name of the rules.
        pre: String,
    },
    /// SentencePiece in the GGUF file.
    GgufSentencePiece,
    /// Another kind in the GGUF file, by its name.
    GgufOther(String),
    /// There is none.
    Missing,
}

/// How a text's hidden states become its vector, as the files say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// That of the last token.
    Last,
    /// The mean of all.
    Mean,
    /// Nothing is said.
    Unsaid,
    /// Something else, in words.
    Other(String),
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Last => "last token",
            Self::Mean => "mean of all tokens",
            Self::Unsaid => "not said",
            Self::Other(words) => words,
        })
    }
}

/// Ids with a meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// What a text starts with.
    pub bos: Option<u32>,
    /// What ends an answer: any of these.
    pub eos: Vec<u32>,
    /// What fills a batch.
    pub pad: Option<u32>,
    /// Whether the tokenizer puts `bos` in front, if the file says it.
    pub add_bos: Option<bool>,
}
