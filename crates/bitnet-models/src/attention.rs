//! Causal self-attention with grouped queries.
//!
//! Shape suffixes: b batch, t time (queries), s time (keys), h query heads, g key/value heads, d head width, m model width.

use bitnet_nn::fused::{causal_attention, rms_norm};
use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::{Bool, Device, Tensor, activation::softmax};

use crate::NormPlacement;
use crate::cache::LayerCache;
use crate::init::Init;
use crate::projection::Projection;
use crate::rope::RotaryEmbedding;

/// Attention of one block.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries.
    pub q_proj: Projection,
    /// Keys.
    pub k_proj: Projection,
    /// Values.
    pub v_proj: Projection,
    /// Output.
    pub o_proj: Projection,
    /// The sub-norm before the output projection ("SubLN").
    pub attn_sub_norm: Option<RmsNorm>,
    heads: usize,
    kv_heads: usize,
    head_width: usize,
}

impl Attention {
    pub(crate) fn new(init: &Init<'_>) -> Self {
        let config = init.model;
        let (heads, kv_heads, width) = (
            config.num_attention_heads,
            config.kv_heads(),
            config.head_width(),
        );
        Self {
            q_proj: init.linear(config.hidden_size, heads * width),
            k_proj: init.linear(config.hidden_size, kv_heads * width),
            v_proj: init.linear(config.hidden_size, kv_heads * width),
            o_proj: init.residual(heads * width, config.hidden_size),
            attn_sub_norm: (init.quant.norm == NormPlacement::Sub)
                .then(|| init.norm(heads * width)),
            heads,
            kv_heads,
            head_width: width,
        }
    }

    /// `x` `[b, t, m]` → `[b, t, m]`, each position attending to itself and those before it.
    pub(crate) fn forward(&self, x_btm: Tensor<3>, rope: &RotaryEmbedding) -> Tensor<3> {
        let [q_bthd, k_btgd, v_btgd] = self.heads_of(x_btm);
        let (cos, sin) = rope.tables(q_bthd.dims()[1]);
        self.output(causal_attention(q_bthd, k_btgd, v_btgd, cos, sin))
    }

    /// As [`forward`](Self::forward), for positions from `offset` on whose predecessors are in the cache. `hidden_ts` is
    /// true where a query may not look.
    pub(crate) fn forward_cached(
        &self,
        x_btm: Tensor<3>,
        rope: &RotaryEmbedding,
        hidden_ts: &Tensor<2, Bool>,
        cache: &mut LayerCache,
        offset: usize,
    ) -> Tensor<3> {
        let [q_bthd, k_btgd, v_btgd] = self.heads_of(x_btm);
        let q_bhtd = rope.forward(q_bthd, offset).swap_dims(1, 2);
        let k_bgtd = rope.forward(k_btgd, offset).swap_dims(1, 2);
        let (k_bgsd, v_bgsd) = cache.update(k_bgtd, v_btgd.swap_dims(1, 2), offset);
        let (k_bhsd, v_bhsd) = (self.share(k_bgsd), self.share(v_bgsd));

        let scale = 1.0 / (self.head_width as f64).sqrt();
        let scores_bhts = q_bhtd.mul_scalar(scale).matmul(k_bhsd.transpose());
        let scores_bhts =
            scores_bhts.mask_fill(hidden_ts.clone().unsqueeze::<4>(), f32::NEG_INFINITY);
        self.output(softmax(scores_bhts, 3).matmul(v_bhsd).swap_dims(1, 2))
    }

    /// Queries `[b, t, h, d]`, keys and values `[b, t, g, d]`.
    fn heads_of(&self, x_btm: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, time, _] = x_btm.dims();
        let split = |x: Tensor<3>, heads| x.reshape([batch, time, heads, self.head_width]);
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [q, k, v] = Projection::forward_shared(layers, x_btm);
        [
            split(q, self.heads),
            split(k, self.kv_heads),
            split(v, self.kv_heads),
        ]
    }

    /// Joins the heads, `[b, t, h, d]` → `[b, t, m]`.
    fn output(&self, y_bthd: Tensor<4>) -> Tensor<3> {
        let [batch, time, heads, width] = y_bthd.dims();
        let y_btm = y_bthd.reshape([batch, time, heads * width]);
        let y_btm = match &self.attn_sub_norm {
            Some(norm) => rms_norm(norm, y_btm),
            None => y_btm,
        };
        self.o_proj.forward(y_btm)
    }

    /// Repeats each key/value head for the query heads that share it.
    fn share(&self, x_bgsd: Tensor<4>) -> Tensor<4> {
        let group = self.heads / self.kv_heads;
        if group == 1 {
            return x_bgsd;
        }
        let [batch, kv_heads, time, width] = x_bgsd.dims();
        x_bgsd
            .unsqueeze_dim::<5>(2)
            .expand([batch, kv_heads, group, time, width])
            .reshape([batch, self.heads, time, width])
    }

    pub(crate) fn projections(&self) -> [(&'static str, &Projection); 4] {
        [
            ("q_proj", &self.q_proj),
            ("k_proj", &self.k_proj),
            ("v_proj", &self.v_proj),
            ("o_proj", &self.o_proj),
        ]
    }

    pub(crate) fn projections_mut(&mut self) -> [&mut Projection; 4] {
        [
            &mut self.q_proj,
            &mut self.k_proj,
            &mut self.v_proj,
            &mut self.o_proj,
        ]
    }
}

/// True where a query may not look: queries stand at `offset..offset + time`, keys at `0..keys`.
pub(crate) fn causal_mask(
    time: usize,
    keys: usize,
    offset: usize,
    device: &Device,
) -> Tensor<2, Bool> {
    // `tril_mask` is true strictly above the given diagonal.
    Tensor::tril_mask([time, keys], offset as i64, device)
}
