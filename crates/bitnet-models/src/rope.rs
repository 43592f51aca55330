//! Rotary position embedding, rotate-half (NeoX) form, as in Hugging Face's LLaMA and BitNet.
//!
//! Dimension `i` of the first half of a head and dimension `i` of the second half are rotated together by the angle
//! `p · θ^(−2i/d)` at position `p`. (Burn's `RotaryEncoding` pairs neighbours instead: other weights, not this model.)

use bitnet_nn::float::rope;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

/// Tables of cosines and sines, `[positions, head_dim]`; the second half repeats the first.
#[derive(Module, Debug)]
pub struct RotaryEmbedding {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl RotaryEmbedding {
    /// Tables for positions `0..positions`. Angles are computed in f64.
    pub fn new(positions: usize, head_dim: usize, theta: f64, device: &Device) -> Self {
        let half = head_dim / 2;
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f32> = (0..positions)
                .flat_map(|p| {
                    (0..head_dim).map(move |d| {
                        let exponent = -2.0 * (d % half) as f64 / head_dim as f64;
                        f(p as f64 * theta.powf(exponent)) as f32
                    })
                })
                .collect();
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
