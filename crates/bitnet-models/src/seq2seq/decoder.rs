//! The decoder: causal self-attention, cross-attention to the encoder's output, feed-forward.

use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::{Bool, Int, Tensor};

use crate::attention::{KeysValues, MultiHeadAttention};
use crate::encoder::{apply, final_norm};
use crate::feed_forward::FeedForward;
use crate::init::Init;
use crate::positions::Positions;
use crate::projection::Projection;
use crate::residual::Residual;

/// One block of a decoder.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Self-attention.
    pub self_attn: MultiHeadAttention,
    /// Around it.
    pub self_attn_residual: Residual,
    /// Attention to the encoder's output.
    pub cross_attn: MultiHeadAttention,
    /// Around it.
    pub cross_attn_residual: Residual,
    /// Feed-forward part.
    pub mlp: FeedForward,
    /// Around it.
    pub mlp_residual: Residual,
}

/// The blocks of a decoder and the norm after them.
#[derive(Module, Debug)]
pub struct Decoder {
    /// The blocks.
    pub layers: Vec<DecoderLayer>,
    /// Final norm; absent where each block ends in one.
    pub norm: Option<RmsNorm>,
}

/// What has been read and written so far: keys and values of the source and of the target's beginning.
#[derive(Clone, Debug)]
pub struct Decoding {
    layers: Vec<LayerDecoding>,
    mask_pad: Option<Tensor<4, Bool>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct LayerDecoding {
    memory: KeysValues,
    past: Option<KeysValues>,
}

impl Decoding {
    /// Target tokens written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Goes on with the given rows of the batch, in that order; a row may be repeated.
    pub fn select(self, rows: &Tensor<1, Int>) -> Self {
        let layers = self.layers.into_iter();
        Self {
            layers: layers
                .map(|layer| LayerDecoding {
                    memory: layer.memory.select(rows),
                    past: layer.past.map(|past| past.select(rows)),
                })
                .collect(),
            // As integers: not every backend selects booleans.
            mask_pad: self
                .mask_pad
                .map(|mask_pad| mask_pad.int().select(0, rows.clone()).equal_elem(1)),
            len: self.len,
        }
    }
}

impl Decoder {
    pub(crate) fn new(init: &Init<'_>) -> Self {
        let layer = |_| DecoderLayer {
            self_attn: MultiHeadAttention::new(init),
            self_attn_residual: Residual::new(init),
            cross_attn: MultiHeadAttention::new(init),
            cross_attn_residual: Residual::new(init),
            mlp: FeedForward::new(init),
            mlp_residual: Residual::new(init),
        };
        Self {
            layers: (0..init.model.decoder_layers()).map(layer).collect(),
            norm: final_norm(init),
        }
    }

    /// Embedded targets `[b, t, m]` and the encoder's output `[b, s, m]` → `[b, t, m]`.
    pub(crate) fn forward(
        &self,
        mut x_btm: Tensor<3>,
        memory_bsm: &Tensor<3>,
        positions: &Positions,
        mask_pad: Option<&Tensor<4, Bool>>,
    ) -> Tensor<3> {
        for layer in &self.layers {
            x_btm = layer
                .self_attn_residual
                .around(x_btm, |x| layer.self_attn.causal(x, positions));
            let memory = layer.cross_attn.memory(memory_bsm.clone());
            x_btm = layer
                .cross_attn_residual
                .around(x_btm, |x| layer.cross_attn.cross(x, memory, mask_pad));
            x_btm = layer.mlp_residual.around(x_btm, |x| layer.mlp.forward(x));
        }
        apply(&self.norm, x_btm)
    }

    pub(crate) fn start(
        &self,
        memory_bsm: &Tensor<3>,
        mask_pad: Option<Tensor<4, Bool>>,
    ) -> Decoding {
        let layer = |layer: &DecoderLayer| LayerDecoding {
            memory: layer.cross_attn.memory(memory_bsm.clone()),
            past: None,
        };
        Decoding {
            layers: self.layers.iter().map(layer).collect(),
            mask_pad,
            len: 0,
        }
    }

    /// One more position, `[b, 1, m]` → `[b, 1, m]`.
    pub(crate) fn step(
        &self,
        mut x_b1m: Tensor<3>,
        positions: &Positions,
        decoding: &mut Decoding,
    ) -> Tensor<3> {
        let (offset, mask_pad) = (decoding.len, decoding.mask_pad.as_ref());
        for (layer, state) in self.layers.iter().zip(&mut decoding.layers) {
            x_b1m = layer.self_attn_residual.around(x_b1m, |x| {
                let past = &mut state.past;
                layer.self_attn.step(x, positions, offset, past)
            });
            let memory = state.memory.clone();
            x_b1m = layer
                .cross_attn_residual
                .around(x_b1m, |x| layer.cross_attn.cross(x, memory, mask_pad));
            x_b1m = layer.mlp_residual.around(x_b1m, |x| layer.mlp.forward(x));
        }
        decoding.len += 1;
        apply(&self.norm, x_b1m)
    }

    pub(crate) fn projections(&self) -> Vec<(String, &Projection)> {
        let mut all = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let parts = [
                ("self_attn", layer.self_attn.projections().to_vec()),
                ("cross_attn", layer.cross_attn.projections().to_vec()),
                ("mlp", layer.mlp.projections()),
            ];
            for (part, projections) in parts {
                for (name, projection) in projections {
                    all.push((format!("decoder.layers.{index}.{part}.{name}"), projection));
                }
            }
        }
        all
    }

    pub(crate) fn projections_mut(&mut self) -> impl Iterator<Item = &mut Projection> {
        self.layers.iter_mut().flat_map(|layer| {
            let own = layer.self_attn.projections_mut().into_iter();
            own.chain(layer.cross_attn.projections_mut())
                .chain(layer.mlp.projections_mut())
        })
    }
}
