//! The decoder-only Transformer of BitNet b1.58: LLaMA's blocks with [`Projection`]s for linear layers.
//!
//! Embedding, norms and head stay in float in both twins; the projections of the blocks are ternary or float by
//! `linear` in the config, and nothing else differs.

use bitnet_nn::fused::{embedding, linear, rms_norm};
use burn::module::{Module, Param};
use burn::nn::{Embedding, RmsNorm};
use burn::tensor::{Device, Int, Tensor};

use crate::attention::Attention;
use crate::cache::KvCache;
use crate::init::Init;
use crate::mlp::Mlp;
use crate::projection::Projection;
use crate::rope::RotaryEmbedding;
use crate::{ConfigError, ModelConfig, NormPlacement, QuantConfig};

/// One block: attention and feed-forward, each added to the residual stream.
#[derive(Module, Debug)]
pub struct Block {
    /// Norm before the attention; absent when norms stand inside the linear layers.
    pub input_layernorm: Option<RmsNorm>,
    /// Self-attention.
    pub self_attn: Attention,
    /// Norm before the feed-forward part; absent when norms stand inside the linear layers.
    pub post_attention_layernorm: Option<RmsNorm>,
    /// Feed-forward part.
    pub mlp: Mlp,
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
    rope: RotaryEmbedding,
    #[module(skip)]
    config: ModelConfig,
}

impl Transformer {
    /// A model with fresh latent weights, ready to train. The seed gives the same weights on every backend.
    ///
    /// # Errors
    /// If the configuration cannot be built, or `vocab_size` is still 0.
    pub fn new(
        model: &ModelConfig,
        quant: &QuantConfig,
        seed: u64,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        Self::build(&Init::new(model, quant, false, seed, device))
    }

    /// A model whose projections are packed and empty, to load a packed record into.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn new_packed(
        model: &ModelConfig,
        quant: &QuantConfig,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        Self::build(&Init::new(model, quant, true, 0, device))
    }

    fn build(init: &Init<'_>) -> Result<Self, ConfigError> {
        let model = init.model;
        model.validate()?;
        if model.vocab_size == 0 {
            return Err(ConfigError::Zero {
                field: "vocab_size",
            });
        }
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
                    self_attn: Attention::new(init),
                    post_attention_layernorm: block_norm(),
                    mlp: Mlp::new(init),
                })
                .collect(),
            norm: init.norm(hidden),
            lm_head: (!model.tie_word_embeddings)
                .then(|| init.normal([model.vocab_size, hidden], 1.0)),
            rope: RotaryEmbedding::new(
                model.max_position_embeddings,
                model.head_width(),
                model.rope_theta,
                init.device,
            ),
            config: model.clone(),
        })
    }

    /// The configuration the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Logits of every position: `tokens` `[b, t]` → `[b, t, vocab]`.
    ///
    /// # Panics
    /// If `t` exceeds `max_position_embeddings`.
    pub fn forward(&self, tokens_bt: Tensor<2, Int>) -> Tensor<3> {
        let time = tokens_bt.dims()[1];
        self.check_length(time);
        let mut x_btm = self.embed(tokens_bt);
        for block in &self.layers {
            x_btm = block.forward(x_btm, |block, x| block.self_attn.forward(x, &self.rope));
        }
        self.logits(x_btm)
    }

    /// Logits of the last position after `tokens` `[b, t]`, which are appended to the cache: `[b, vocab]`.
    ///
    /// # Panics
    /// If the cache has no room for `t` more tokens, or they exceed `max_position_embeddings`.
    pub fn forward_cached(&self, tokens_bt: Tensor<2, Int>, cache: &mut KvCache) -> Tensor<2> {
        let (time, offset) = (tokens_bt.dims()[1], cache.len());
        self.check_length(offset + time);
        assert!(
            offset + time <= cache.capacity(),
            "the cache holds {} tokens, {} were given",
            cache.capacity(),
            offset + time
        );
        let mut x_btm = self.embed(tokens_bt);
        let mut hidden_ts = None;
        for (block, layer) in self.layers.iter().zip(&mut cache.layers) {
            let hidden_ts = hidden_ts
                .get_or_insert_with(|| layer.mask(time, offset))
                .clone();
            x_btm = block.forward(x_btm, |block, x| {
                let attention = &block.self_attn;
                attention.forward_cached(x, &self.rope, &hidden_ts, layer, offset)
            });
        }
        cache.advance(time);
        let last_b1m = x_btm.narrow(1, time - 1, 1);
        self.logits(last_b1m).squeeze_dim(1)
    }

    /// The model for inference: each ternary projection packed to 2 bits per weight. A float model comes back as it is.
    pub fn pack(&self) -> Self {
        let layers = self.layers.iter().map(Block::pack).collect();
        Self {
            layers,
            ..self.clone()
        }
    }

    /// The projections of all blocks, in order.
    pub fn projections(&self) -> impl Iterator<Item = &Projection> {
        self.layers.iter().flat_map(|block| {
            block
                .self_attn
                .projections()
                .into_iter()
                .chain(block.mlp.projections())
        })
    }

    /// Burn's own operation where it must be differentiable, else one that takes a table of any size.
    fn embed(&self, tokens_bt: Tensor<2, Int>) -> Tensor<3> {
        let table = self.embed_tokens.weight.val();
        match table.device().is_autodiff() {
            true => self.embed_tokens.forward(tokens_bt),
            false => embedding(table, tokens_bt),
        }
    }

    fn logits(&self, x_btm: Tensor<3>) -> Tensor<3> {
        let x_btm = rms_norm(&self.norm, x_btm);
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens.weight);
        linear(x_btm, head.val())
    }

    fn check_length(&self, tokens: usize) {
        assert!(
            tokens <= self.config.max_position_embeddings,
            "{tokens} tokens exceed max_position_embeddings = {}",
            self.config.max_position_embeddings
        );
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
        let x_btm = x_btm + attended;
        let fed = self
            .mlp
            .forward(normed(&self.post_attention_layernorm, &x_btm));
        x_btm + fed
    }

    fn pack(&self) -> Self {
        Self {
            self_attn: self.self_attn.pack(),
            mlp: self.mlp.pack(),
            ..self.clone()
        }
    }
}
