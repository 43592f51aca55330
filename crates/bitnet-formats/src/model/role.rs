//! What a tensor is in a decoder-only Transformer, and its names in Hugging Face's checkpoints and in GGUF.
//!
//! | role | Hugging Face (`model.`) | GGUF |
//! |---|---|---|
//! | embedding, last norm, head | `embed_tokens`, `norm`, `lm_head` (no `model.`) | `token_embd`, `output_norm`, `output` |
//! | a block | `layers.N.` | `blk.N.` |
//! | norms of the block | `input_layernorm`, `post_attention_layernorm` | `attn_norm`, `ffn_norm` |
//! | projections | `self_attn.{q,k,v,o}_proj`, `mlp.{gate,up,down}_proj` | `attn_{q,k,v,output}`, `ffn_{gate,up,down}` |
//! | norms of heads | `self_attn.{q,k}_norm` | `attn_{q,k}_norm` |
//! | sub-norms | `self_attn.attn_sub_norm`, `mlp.ffn_sub_norm` | `attn_sub_norm`, `ffn_sub_norm` |
//! | the same of 1bitLLM | `self_attn.inner_attn_ln`, `mlp.ffn_layernorm` | |
//! | norm of a projection's input | `X_proj.norm` or `X_proj.rms_norm` | `attn_q_norm_in`, … |

use super::ModelShape;

/// A tensor's place in the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// `[vocab_size, hidden_size]`.
    Embedding,
    /// A tensor of a block.
    Layer(usize, LayerRole),
    /// The norm after the last block.
    OutputNorm,
    /// `[vocab_size, hidden_size]`, absent if tied.
    Head,
}

/// A tensor's place in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerRole {
    /// The norm before attention.
    AttentionNorm,
    /// A weight matrix.
    Projection(Projection),
    /// The norm of each head's query.
    QueryNorm,
    /// The norm of each head's key.
    KeyNorm,
    /// The norm before `o`.
    AttentionSubNorm,
    /// The norm before the feed-forward part.
    FeedForwardNorm,
    /// The norm before `down`.
    FeedForwardSubNorm,
    /// A norm of its own that a projection applies to its input.
    InputNorm(Projection),
}

/// The weight matrices of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the field's")]
pub enum Projection {
    Query,
    Key,
    Value,
    Output,
    Gate,
    Up,
    Down,
}

impl Projection {
    /// All of a block.
    pub const ALL: [Self; 7] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::Output,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];

    /// Name in Hugging Face's checkpoints and in GGUF.
    fn names(self) -> [&'static str; 2] {
        match self {
            Self::Query => ["self_attn.q_proj", "attn_q"],
            Self::Key => ["self_attn.k_proj", "attn_k"],
            Self::Value => ["self_attn.v_proj", "attn_v"],
            Self::Output => ["self_attn.o_proj", "attn_output"],
            Self::Gate => ["mlp.gate_proj", "ffn_gate"],
            Self::Up => ["mlp.up_proj", "ffn_up"],
            Self::Down => ["mlp.down_proj", "ffn_down"],
        }
    }

    /// Rows and columns.
    pub fn shape(self, shape: &ModelShape) -> [usize; 2] {
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        match self {
            Self::Query => [shape.query_size(), hidden],
            Self::Key | Self::Value => [shape.key_value_size(), hidden],
            Self::Output => [hidden, shape.query_size()],
            Self::Gate | Self::Up => [inner, hidden],
            Self::Down => [hidden, inner],
        }
    }
}

/// Whose names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    HuggingFace = 0,
    Gguf = 1,
}

/// The roles with a fixed name, each in Hugging Face's checkpoints and in GGUF; the sub-norms also with 1bitLLM's.
const NORMS: [(LayerRole, [&str; 2]); 8] = [
    (LayerRole::AttentionNorm, ["input_layernorm", "attn_norm"]),
    (
        LayerRole::FeedForwardNorm,
        ["post_attention_layernorm", "ffn_norm"],
    ),
    (LayerRole::QueryNorm, ["self_attn.q_norm", "attn_q_norm"]),
    (LayerRole::KeyNorm, ["self_attn.k_norm", "attn_k_norm"]),
    (
        LayerRole::AttentionSubNorm,
        ["self_attn.attn_sub_norm", "attn_sub_norm"],
    ),
    (
        LayerRole::FeedForwardSubNorm,
        ["mlp.ffn_sub_norm", "ffn_sub_norm"],
    ),
    (
        LayerRole::AttentionSubNorm,
        ["self_attn.inner_attn_ln", "attn_sub_norm"],
    ),
    (
        LayerRole::FeedForwardSubNorm,
        ["mlp.ffn_layernorm", "ffn_sub_norm"],
    ),
];

impl Role {
    /// The role of a name without its `.weight`; Hugging Face's without `model.` too.
    pub(crate) fn parse(name: &str, names: Names) -> Option<Self> {
        let (embedding, norm, head, layers) = match names {
            Names::HuggingFace => ("embed_tokens", "norm", "lm_head", "layers."),
            Names::Gguf => ("token_embd", "output_norm", "output", "blk."),
        };
        if name == embedding {
            return Some(Self::Embedding);
        } else if name == norm {
            return Some(Self::OutputNorm);
        } else if name == head {
            return Some(Self::Head);
        }
        let (index, rest) = name.strip_prefix(layers)?.split_once('.')?;
        let layer = index
            .parse()
            .ok()
            .filter(|n: &usize| n.to_string() == index)?;
        Some(Self::Layer(layer, LayerRole::parse(rest, names)?))
    }

    /// The name with its `.weight`, as transformers and llama.cpp have it.
    pub(crate) fn name(self, names: Names) -> String {
        match (self, names) {
            (Self::Embedding, Names::HuggingFace) => "model.embed_tokens.weight".into(),
            (Self::OutputNorm, Names::HuggingFace) => "model.norm.weight".into(),
            (Self::Head, Names::HuggingFace) => "lm_head.weight".into(),
            (Self::Embedding, Names::Gguf) => "token_embd.weight".into(),
            (Self::OutputNorm, Names::Gguf) => "output_norm.weight".into(),
            (Self::Head, Names::Gguf) => "output.weight".into(),
            (Self::Layer(n, role), Names::HuggingFace) => {
                format!("model.layers.{n}.{}.weight", role.name(names))
            }
            (Self::Layer(n, role), Names::Gguf) => format!("blk.{n}.{}.weight", role.name(names)),
        }
    }

    /// The shape that a tensor of this role has in a model.
    pub fn shape(self, shape: &ModelShape) -> Vec<usize> {
        match self {
            Self::Embedding | Self::Head => vec![shape.vocab_size, shape.hidden_size],
            Self::OutputNorm => vec![shape.hidden_size],
            Self::Layer(_, role) => match role {
                LayerRole::AttentionNorm | LayerRole::FeedForwardNorm => vec![shape.hidden_size],
                LayerRole::QueryNorm | LayerRole::KeyNorm => vec![shape.head_dim],
                LayerRole::AttentionSubNorm => vec![shape.query_size()],
                LayerRole::FeedForwardSubNorm => vec![shape.intermediate_size],
                LayerRole::Projection(projection) => projection.shape(shape).into(),
                LayerRole::InputNorm(projection) => vec![projection.shape(shape)[1]],
            },
        }
    }
}

impl LayerRole {
    fn parse(name: &str, names: Names) -> Option<Self> {
        let matches = |other: &[&str; 2]| other[names as usize] == name;
        if let Some((role, _)) = NORMS.iter().find(|(_, other)| matches(other)) {
            return Some(*role);
        }
        let projection = |name: &str| {
            let mut all = Projection::ALL.into_iter();
            all.find(|projection| projection.names()[names as usize] == name)
        };
        let inner = match names {
            Names::HuggingFace => name
                .strip_suffix(".rms_norm")
                .or(name.strip_suffix(".norm")),
            Names::Gguf => name.strip_suffix("_norm_in"),
        };
        match inner {
            Some(name) => projection(name).map(Self::InputNorm),
            None => projection(name).map(Self::Projection),
        }
    }

    fn name(self, names: Names) -> String {
        let norm = NORMS.iter().find(|(role, _)| *role == self);
        match (self, norm) {
            (_, Some((_, name))) => name[names as usize].into(),
            (Self::Projection(projection), _) => projection.names()[names as usize].into(),
            (Self::InputNorm(projection), _) => {
                let suffix = if names == Names::Gguf {
                    "_norm_in"
                } else {
                    ".norm"
                };
                format!("{}{suffix}", projection.names()[names as usize])
            }
            // NORMS has every other role.
            (_, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_under_its_names() {
        let norms = NORMS.map(|(role, _)| role);
        let projections = Projection::ALL.map(LayerRole::Projection);
        let inputs = Projection::ALL.map(LayerRole::InputNorm);
        let layer = norms.into_iter().chain(projections).chain(inputs);
        let layer = layer.map(|role| Role::Layer(12, role));
        for role in layer.chain([Role::Embedding, Role::OutputNorm, Role::Head]) {
            for names in [Names::HuggingFace, Names::Gguf] {
                let name = role.name(names);
                let bare = name.strip_suffix(".weight").unwrap();
                let bare = bare.strip_prefix("model.").unwrap_or(bare);
                assert_eq!(Role::parse(bare, names), Some(role), "{name}");
            }
        }
        let hf = |name| Role::parse(name, Names::HuggingFace);
        assert_eq!(
            hf("layers.3.mlp.ffn_layernorm"),
            Some(Role::Layer(3, LayerRole::FeedForwardSubNorm))
        );
        for name in [
            "layers.03.input_layernorm",
            "layers.+3.input_layernorm",
            "layers.3.x",
            "x",
        ] {
            assert_eq!(hf(name), None, "{name}");
        }
    }
}
