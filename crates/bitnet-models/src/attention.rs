//! Attention of all models: to the sequence itself, in both directions or causally, whole or step by step, and to
//! another one.
//!
//! Shape suffixes: b batch, t time (queries), s time (keys), h query heads, g key/value heads, d head width, m model width.

use bitnet_nn::float::{cached_attention, causal_attention, rms_norm};
use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::{Bool, Device, Int, Tensor, activation::softmax};

use crate::NormPlacement;
use crate::cache::LayerCache;
use crate::half::{in_dtype, in_f32};
use crate::init::Init;
use crate::positions::Positions;
use crate::projection::Projection;

/// Queries up to which attention to a cache is one operation; more of them are better served by matrix products.
const FEW: usize = 4;

/// Multi-head attention (Vaswani et al. 2017, section 3.2.2), scores scaled by `1/√d` with `d` the width of a head.
#[derive(Module, Debug)]
pub struct MultiHeadAttention {
    /// Queries, from the sequence that attends.
    pub q_proj: Projection,
    /// Keys, from the sequence that is attended to.
    pub k_proj: Projection,
    /// Values, from the same.
    pub v_proj: Projection,
    /// Output.
    pub o_proj: Projection,
    /// The norm of each query head, over its width, before it is rotated; with `qk_norm`.
    pub q_norm: Option<RmsNorm>,
    /// The same of each key head.
    pub k_norm: Option<RmsNorm>,
    /// The sub-norm before the output projection ("SubLN").
    pub attn_sub_norm: Option<RmsNorm>,
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_width: usize,
}

/// Keys and values `[b, g, s, d]`.
#[derive(Clone, Debug)]
pub(crate) struct KeysValues {
    keys: Tensor<4>,
    values: Tensor<4>,
}

impl KeysValues {
    /// Those of more positions.
    fn append(self, other: KeysValues) -> Self {
        Self {
            keys: Tensor::cat(vec![self.keys, other.keys], 2),
            values: Tensor::cat(vec![self.values, other.values], 2),
        }
    }

    /// The given rows of the batch, in that order.
    pub fn select(self, rows: &Tensor<1, Int>) -> Self {
        Self {
            keys: self.keys.select(0, rows.clone()),
            values: self.values.select(0, rows.clone()),
        }
    }
}

impl MultiHeadAttention {
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
            q_norm: config.qk_norm.then(|| init.norm(width)),
            k_norm: config.qk_norm.then(|| init.norm(width)),
            attn_sub_norm: (init.quant.norm == NormPlacement::Sub)
                .then(|| init.norm(heads * width)),
            heads,
            kv_heads,
            head_width: width,
        }
    }

    /// Self-attention in both directions: `x` `[b, t, m]` → `[b, t, m]`. `mask_pad` `[b, 1, 1, t]` is true at padding.
    pub(crate) fn bidirectional(
        &self,
        x_btm: Tensor<3>,
        positions: &Positions,
        mask_pad: Option<&Tensor<4, Bool>>,
    ) -> Tensor<3> {
        let [q, k, v] = self.own(x_btm);
        let q_bhtd = positions.rotate(q, 0).swap_dims(1, 2);
        let memory = KeysValues {
            keys: positions.rotate(k, 0).swap_dims(1, 2),
            values: v.swap_dims(1, 2),
        };
        self.attend(q_bhtd, memory, mask_pad)
    }

    /// Self-attention of each position to itself and those before it. Padding at the end needs no mask: nothing before it
    /// sees it.
    pub(crate) fn causal(&self, x_btm: Tensor<3>, positions: &Positions) -> Tensor<3> {
        let [q, k, v] = self.own(x_btm);
        let (cos, sin) = positions.tables(q.dims()[1]);
        self.output(causal_attention(q, k, v, cos, sin))
    }

    /// [`causal`](Self::causal) for one position after those whose keys and values are in `past`.
    pub(crate) fn step(
        &self,
        x_b1m: Tensor<3>,
        positions: &Positions,
        offset: usize,
        past: &mut Option<KeysValues>,
    ) -> Tensor<3> {
        let [q, k, v] = self.own(x_b1m);
        let q_bh1d = positions.rotate(q, offset).swap_dims(1, 2);
        let own = KeysValues {
            keys: positions.rotate(k, offset).swap_dims(1, 2),
            values: v.swap_dims(1, 2),
        };
        let all = match past.take() {
            Some(past) => past.append(own),
            None => own,
        };
        *past = Some(all.clone());
        self.attend(q_bh1d, all, None)
    }

    /// [`causal`](Self::causal) for positions from `offset` on whose predecessors are in the cache of a decoder-only model.
    pub(crate) fn cached(
        &self,
        x_btm: Tensor<3>,
        positions: &Positions,
        cache: &mut LayerCache,
        offset: usize,
    ) -> Tensor<3> {
        let [q, k, v] = self.own(x_btm);
        let q_bthd = positions.rotate(q, offset);
        let k_bgtd = positions.rotate(k, offset).swap_dims(1, 2);
        cache.write(k_bgtd, v.swap_dims(1, 2), offset);
        let time = q_bthd.dims()[1];
        if time <= FEW {
            let (keys, values) = cache.whole();
            return self.output(cached_attention(q_bthd, keys, values, offset));
        }
        let (keys, values) = cache.visible(offset + time);
        let mask = cache.mask(time, offset).unsqueeze();
        let memory = KeysValues { keys, values };
        self.attend(q_bthd.swap_dims(1, 2), memory, Some(&mask))
    }

    /// Cross-attention: queries from `x` `[b, t, m]`, keys and values from the other sequence.
    pub(crate) fn cross(
        &self,
        x_btm: Tensor<3>,
        memory: KeysValues,
        mask_pad: Option<&Tensor<4, Bool>>,
    ) -> Tensor<3> {
        let q_bthd = self.queries(self.q_proj.forward(x_btm));
        self.attend(q_bthd.swap_dims(1, 2), memory, mask_pad)
    }

    /// Keys and values of the sequence that [`cross`](Self::cross) attends to, `[b, s, m]`.
    pub(crate) fn memory(&self, x_bsm: Tensor<3>) -> KeysValues {
        let [k, v] = Projection::forward_shared([&self.k_proj, &self.v_proj], x_bsm);
        KeysValues {
            keys: self.keys(k).swap_dims(1, 2),
            values: self.split(v, self.kv_heads).swap_dims(1, 2),
        }
    }

    /// Queries `[b, t, h, d]`, keys and values `[b, t, g, d]` of one sequence; queries and keys normed and not rotated.
    fn own(&self, x_btm: Tensor<3>) -> [Tensor<4>; 3] {
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [q, k, v] = Projection::forward_shared(layers, x_btm);
        [self.queries(q), self.keys(k), self.split(v, self.kv_heads)]
    }

    fn queries(&self, q_btm: Tensor<3>) -> Tensor<4> {
        normed(&self.q_norm, self.split(q_btm, self.heads))
    }

    fn keys(&self, k_btm: Tensor<3>) -> Tensor<4> {
        normed(&self.k_norm, self.split(k_btm, self.kv_heads))
    }

    fn split(&self, x_btm: Tensor<3>, heads: usize) -> Tensor<4> {
        let [batch, time, _] = x_btm.dims();
        x_btm.reshape([batch, time, heads, self.head_width])
    }

    fn attend(
        &self,
        q_bhtd: Tensor<4>,
        memory: KeysValues,
        mask: Option<&Tensor<4, Bool>>,
    ) -> Tensor<3> {
        let scale = 1.0 / (self.head_width as f64).sqrt();
        let k_bhsd = repeat_kv(memory.keys, self.heads);
        let v_bhsd = repeat_kv(memory.values, self.heads);
        let dtype = q_bhtd.dtype();
        let scores_bhts = q_bhtd.mul_scalar(scale).matmul(k_bhsd.transpose());
        let scores_bhts = in_f32(scores_bhts);
        let scores_bhts = match mask {
            Some(mask) => scores_bhts.mask_fill(mask.clone(), f32::NEG_INFINITY),
            None => scores_bhts,
        };
        let probs_bhts = in_dtype(softmax(scores_bhts, 3), dtype);
        self.output(probs_bhts.matmul(v_bhsd).swap_dims(1, 2))
    }

    /// Joins the heads, `[b, t, h, d]` → `[b, t, m]`.
    fn output(&self, y_bthd: Tensor<4>) -> Tensor<3> {
        let [batch, time, heads, width] = y_bthd.dims();
        let y_btm = y_bthd.reshape([batch, time, heads * width]);
        self.o_proj.forward(normed(&self.attn_sub_norm, y_btm))
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

/// `x` through the norm, if there is one.
fn normed<const D: usize>(norm: &Option<RmsNorm>, x: Tensor<D>) -> Tensor<D> {
    match norm {
        Some(norm) => rms_norm(norm, x),
        None => x,
    }
}

/// Repeats each key/value head for the query heads that share it, `[b, g, s, d]` → `[b, h, s, d]`.
pub(crate) fn repeat_kv(x_bgsd: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, kv_heads, time, width] = x_bgsd.dims();
    let group = heads / kv_heads;
    if group == 1 {
        return x_bgsd;
    }
    x_bgsd
        .unsqueeze_dim::<5>(2)
        .expand([batch, kv_heads, group, time, width])
        .reshape([batch, heads, time, width])
}

/// The causal mask, true at future positions: queries stand at `offset..offset + time`, keys at `0..keys`.
pub(crate) fn causal_mask(
    time: usize,
    keys: usize,
    offset: usize,
    device: &Device,
) -> Tensor<2, Bool> {
    // `tril_mask` is true strictly above the given diagonal.
    Tensor::tril_mask([time, keys], offset as i64, device)
}
