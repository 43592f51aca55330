//! The decoder-only Transformer of BitNet b1.58: LLaMA's blocks with [`Projection`]s for linear layers.
//!
//! Embedding, norms and head stay in float in both twins; the projections of the blocks are ternary or float by
//! `linear` in the config, and nothing else differs.

use bitnet_nn::float::{linear, rms_norm};
use burn::module::{Module, Param};
use burn::nn::{Embedding, RmsNorm};
use burn::tensor::{Int, Tensor};

use crate::attention::MultiHeadAttention;
use crate::cache::KvCache;
use crate::config::require;
use crate::dropout::{Dropout, DropoutState};
use crate::encoder::lookup;
use crate::half::in_f32;
use crate::init::Init;
use crate::mlp::Mlp;
use crate::network::Network;
use crate::positions::Positions;
use crate::projection::Projection;
use crate::{ConfigError, ModelConfig, NormPlacement, QuantConfig};

/// One block: attention and feed-forward, each added to the residual stream.
#[derive(Module, Debug)]
pub struct Block {
    /// Norm before the attention; absent when norms stand inside the linear layers.
    pub input_layernorm: Option<RmsNorm>,
    /// Self-attention.
    pub self_attn: MultiHeadAttention,
    /// Norm before the feed-forward part; absent when norms stand inside the linear layers.
    pub post_attention_layernorm: Option<RmsNorm>,
    /// Feed-forward part.
    pub mlp: Mlp,
    pub(crate) dropout: Dropout,
}

/// A language model: token ids in, logits out.
#[derive(Module, Debug)]
pub struct Transformer {
    /// Token embedding, float.
    pub embed_tokens: Embedding,
    /// The blocks.
    pub layers: Vec<Block>,
    /// Final norm.
    pub norm: RmsNorm,
    /// Head, float, `[vocab, hidden]`; absent when it shares the embedding's matrix.
    pub lm_head: Option<Param<Tensor<2>>>,
    pub(crate) positions: Positions,
    pub(crate) dropout: Dropout,
    #[module(skip)]
    pub(crate) config: ModelConfig,
    #[module(skip)]
    pub(crate) quant: QuantConfig,
}

impl Transformer {
    /// The configuration the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How its layers quantise, and where its norms stand.
    pub fn quant(&self) -> &QuantConfig {
        &self.quant
    }

    /// Logits of every position: `tokens` `[b, t]` → `[b, t, vocab]`.
    ///
    /// # Panics
    /// If `t` exceeds `max_position_embeddings`.
    pub fn forward(&self, tokens_bt: Tensor<2, Int>) -> Tensor<3> {
        self.logits(self.hidden(tokens_bt))
    }

    /// What the head reads, of every position: `tokens` `[b, t]` → `[b, t, hidden]`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn hidden(&self, tokens_bt: Tensor<2, Int>) -> Tensor<3> {
        let mut x_btm = self.embedded(tokens_bt);
        for index in 0..self.layers.len() {
            x_btm = self.block(index, x_btm);
        }
        self.normed(x_btm)
    }

    /// What the first block reads: `tokens` `[b, t]` → `[b, t, hidden]`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn embedded(&self, tokens_bt: Tensor<2, Int>) -> Tensor<3> {
        self.config.check_length(tokens_bt.dims()[1]);
        self.dropout.forward(lookup(&self.embed_tokens, tokens_bt))
    }

    /// A block over every position: `[b, t, hidden]` → `[b, t, hidden]`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn block(&self, index: usize, x_btm: Tensor<3>) -> Tensor<3> {
        self.layers[index].forward(x_btm, |block, x| block.self_attn.causal(x, &self.positions))
    }

    /// What the head reads of what the last block writes: `[b, t, hidden]` → `[b, t, hidden]`.
    pub fn normed(&self, x_btm: Tensor<3>) -> Tensor<3> {
        rms_norm(&self.norm, in_f32(x_btm))
    }

    /// The head's weight, `[vocab, hidden]`.
    pub fn head(&self) -> Tensor<2> {
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens.weight);
        head.val()
    }

    /// Logits of the last position after `tokens` `[b, t]`, which are appended to the cache: `[b, vocab]`.
    ///
    /// # Panics
    /// If the cache has no room for `t` more tokens, or they exceed `max_position_embeddings`.
    pub fn forward_cached(&self, tokens_bt: Tensor<2, Int>, cache: &mut KvCache) -> Tensor<2> {
        let (time, offset) = (tokens_bt.dims()[1], cache.len());
        self.config.check_length(offset + time);
        assert!(
            offset + time <= cache.capacity(),
            "the cache holds {} tokens, {} were given",
            cache.capacity(),
            offset + time
        );
        let mut x_btm = lookup(&self.embed_tokens, tokens_bt);
        for (block, layer) in self.layers.iter().zip(&mut cache.layers) {
            x_btm = block.forward(x_btm, |block, x| {
                let attention = &block.self_attn;
                attention.cached(x, &self.positions, layer, offset)
            });
        }
        cache.advance(time);
        let last_b1m = x_btm.narrow(1, time - 1, 1);
        let last_b1m = rms_norm(&self.norm, in_f32(last_b1m));
        self.logits(last_b1m).squeeze_dim(1)
    }

    /// Logits of what the head reads: `[b, t, hidden]` → `[b, t, vocab]`.
    pub fn logits(&self, normed_btm: Tensor<3>) -> Tensor<3> {
        linear(normed_btm, self.head())
    }
}

impl Network for Transformer {
    fn build(init: &Init<'_>) -> Result<Self, ConfigError> {
        let model = init.model;
        model.validate()?;
        model.check_decoder_only(init.quant)?;
        require("vocab_size", model.vocab_size)?;
        model.check_device(init.packed, init.device)?;
        let hidden = model.hidden_size;
        let block_norm = || (init.quant.norm != NormPlacement::Inside).then(|| init.norm(hidden));
        Ok(Self {
            embed_tokens: Embedding {
                weight: init.normal([model.vocab_size, hidden], 1.0),
            },
            layers: (0..model.num_hidden_layers)
                .map(|_| Block {
                    input_layernorm: block_norm(),
                    self_attn: MultiHeadAttention::new(init),
                    post_attention_layernorm: block_norm(),
                    mlp: Mlp::new(init),
                    dropout: init.dropout(),
                })
                .collect(),
            norm: init.norm(hidden),
            lm_head: (!model.tie_word_embeddings)
                .then(|| init.normal([model.vocab_size, hidden], 1.0)),
            positions: Positions::new(model, init.device),
            dropout: init.dropout(),
            config: model.clone(),
            quant: *init.quant,
        })
    }

    fn dropout_state(&self) -> Option<&DropoutState> {
        Some(self.dropout.state())
    }

    fn projections(&self) -> Vec<(String, &Projection)> {
        let blocks = self.layers.iter().enumerate();
        blocks
            .flat_map(|(index, block)| {
                let attention = block.self_attn.projections().into_iter();
                let attention = attention
                    .map(move |(name, layer)| (format!("layers.{index}.self_attn.{name}"), layer));
                let mlp = block.mlp.projections().into_iter();
                attention.chain(
                    mlp.map(move |(name, layer)| (format!("layers.{index}.mlp.{name}"), layer)),
                )
            })
            .collect()
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        let blocks = self.layers.iter_mut();
        blocks
            .flat_map(|block| {
                let attention = block.self_attn.projections_mut().into_iter();
                attention.chain(block.mlp.projections_mut())
            })
            .collect()
    }
}

impl Block {
    fn forward(
        &self,
        x_btm: Tensor<3>,
        attend: impl FnOnce(&Self, Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        let normed = |norm: &Option<RmsNorm>, x: &Tensor<3>| match norm {
            Some(norm) => rms_norm(norm, x.clone()),
            None => x.clone(),
        };
        let attended = attend(self, normed(&self.input_layernorm, &x_btm));
        let x_btm = x_btm + self.dropout.forward(attended);
        let fed = self
            .mlp
            .forward(normed(&self.post_attention_layernorm, &x_btm));
        x_btm + self.dropout.forward(fed)
    }
}
