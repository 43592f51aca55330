//! Rotary position embedding, rotate-half (NeoX) form, as in Hugging Face's LLaMA and BitNet.
//!
//! Dimension `i` of the first half of a head and dimension `i` of the second half are rotated together by the angle
//! `p · θ^(−2i/d)` at position `p`, or by another that a scaling makes of it. (Burn's `RotaryEncoding` pairs neighbours
//! instead: other weights, not this model.)

use bitnet_nn::float::{rope, rope_frequencies};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::ModelConfig;

/// Tables of cosines and sines, `[positions, head_dim]`; the second half repeats the first.
#[derive(Module, Debug)]
pub struct RotaryEmbedding {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl RotaryEmbedding {
    /// Tables for all positions of a model. Angles are computed in f64.
    pub fn new(model: &ModelConfig, device: &Device) -> Self {
        let (positions, head_dim) = (model.max_position_embeddings, model.head_width());
        let (frequencies, amplitude) =
            rope_frequencies(model.rope_theta, head_dim, model.rope_scaling.as_ref());
        let table = |f: fn(f64) -> f64| {
            let of_position = |p: usize| {
                let halves = frequencies.iter().chain(&frequencies);
                halves.map(move |frequency| (f(p as f64 * frequency) * amplitude) as f32)
            };
            let values: Vec<f32> = (0..positions).flat_map(of_position).collect();
            Tensor::from_data(TensorData::new(values, [positions, head_dim]), device)
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// Tables that rotate by nothing: cosines 1, sines 0.
    pub(crate) fn identity(positions: usize, head_dim: usize, device: &Device) -> Self {
        Self {
            cos: Tensor::ones([positions, head_dim], device),
            sin: Tensor::zeros([positions, head_dim], device),
        }
    }

    /// The tables of positions `0..time`, `[time, head_dim]` each: cosines and sines.
    pub fn tables(&self, time: usize) -> (Tensor<2>, Tensor<2>) {
        let first = |table: &Tensor<2>| table.clone().narrow(0, 0, time);
        (first(&self.cos), first(&self.sin))
    }

    /// Rotates `x` `[batch, time, heads, head_dim]`, whose first token stands at `offset`.
    pub fn forward(&self, x_bthd: Tensor<4>, offset: usize) -> Tensor<4> {
        let time = x_bthd.dims()[1];
        let at = |table: &Tensor<2>| table.clone().narrow(0, offset, time);
        rope(x_bthd, at(&self.cos), at(&self.sin))
    }
}
