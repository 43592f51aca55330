//! Where a token stands: rotary embedding of queries and keys, or sines and cosines added to the token embedding.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

use crate::rope::RotaryEmbedding;
use crate::{ModelConfig, PositionKind};

/// The positions of an encoder or decoder.
#[derive(Module, Debug)]
pub struct Positions {
    rotary: RotaryEmbedding,
    /// `[positions, hidden_size]`: `sin(p · 10000^(−2i/m))` at `2i`, the cosine at `2i + 1` (Vaswani et al. 2017,
    /// section 3.5).
    table: Option<Tensor<2>>,
}

impl Positions {
    pub(crate) fn new(model: &ModelConfig, device: &Device) -> Self {
        let positions = model.max_position_embeddings;
        match model.position {
            PositionKind::Rotary => Self {
                rotary: RotaryEmbedding::new(model, device),
                table: None,
            },
            PositionKind::Sinusoidal => Self {
                rotary: RotaryEmbedding::identity(positions, model.head_width(), device),
                table: Some(sinusoids(positions, model.hidden_size, device)),
            },
        }
    }

    /// Adds the sinusoids to embedded tokens `[b, t, m]` whose first stands at `offset`, if these positions are added.
    pub(crate) fn add(&self, x_btm: Tensor<3>, offset: usize) -> Tensor<3> {
        match &self.table {
            Some(table) => {
                let time = x_btm.dims()[1];
                x_btm + table.clone().narrow(0, offset, time).unsqueeze()
            }
            None => x_btm,
        }
    }

    /// Rotates `x` `[b, t, h, d]`, whose first token stands at `offset`, if these positions rotate.
    pub(crate) fn rotate(&self, x_bthd: Tensor<4>, offset: usize) -> Tensor<4> {
        match self.table {
            Some(_) => x_bthd,
            None => self.rotary.forward(x_bthd, offset),
        }
    }

    /// Cosines and sines for the fused causal attention; where nothing is rotated, ones and zeros.
    pub(crate) fn tables(&self, time: usize) -> (Tensor<2>, Tensor<2>) {
        self.rotary.tables(time)
    }
}

fn sinusoids(positions: usize, width: usize, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..positions)
        .flat_map(|p| {
            (0..width).map(move |d| {
                let exponent = -((d - d % 2) as f64) / width as f64;
                let angle = p as f64 * 10_000f64.powf(exponent);
                (if d % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
            })
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [positions, width]), device)
}
