//! The encoder: tokens in, one vector a token out, each seeing the whole sequence.

use bitnet_nn::float::{embedding, rms_norm};
use burn::module::Module;
use burn::nn::{Embedding, RmsNorm};
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

use crate::NormPlacement;
use crate::attention::MultiHeadAttention;
use crate::dropout::Dropout;
use crate::feed_forward::FeedForward;
use crate::init::Init;
use crate::positions::Positions;
use crate::projection::Projection;
use crate::residual::Residual;

/// Padded sequences on a device.
#[derive(Clone, Debug)]
pub struct Sequences {
    /// Token ids `[b, t]`.
    pub ids: Tensor<2, Int>,
    /// `[b, 1, 1, t]`, true where there is only padding; none if no sequence is padded.
    pub mask_pad: Option<Tensor<4, Bool>>,
    lengths: Vec<usize>,
}

impl Sequences {
    /// Rows of `width` ids, of which the first `lengths[row]` count.
    ///
    /// # Panics
    /// If `ids` is not `lengths.len()` rows of `width`.
    pub fn new(ids: &[i32], lengths: &[usize], width: usize, device: &Device) -> Self {
        let rows = lengths.len();
        assert_eq!(ids.len(), rows * width, "ids are not {rows} x {width}");
        let padded = lengths.iter().any(|length| *length < width);
        let mask_pad = padded.then(|| {
            let mask_pad: Vec<bool> = lengths
                .iter()
                .flat_map(|length| (0..width).map(move |t| t >= *length))
                .collect();
            Tensor::from_data(TensorData::new(mask_pad, [rows, 1, 1, width]), device)
        });
        let ids = TensorData::new(ids.to_vec(), [rows, width]);
        Self {
            ids: Tensor::from_data(ids, (device, DType::I32)),
            mask_pad,
            lengths: lengths.to_vec(),
        }
    }

    /// Rows and width.
    pub fn dims(&self) -> [usize; 2] {
        self.ids.dims()
    }

    /// The mean of `x` `[b, t, m]` over the tokens that count, `[b, m]`.
    pub(crate) fn mean(&self, x_btm: Tensor<3>) -> Tensor<2> {
        let [rows, width] = self.dims();
        let weights: Vec<f32> = self
            .lengths
            .iter()
            .flat_map(|length| {
                (0..width).map(move |t| match t < *length {
                    true => 1.0 / *length as f32,
                    false => 0.0,
                })
            })
            .collect();
        let weights = TensorData::new(weights, [rows, width, 1]);
        let weights = Tensor::<3>::from_data(weights, &x_btm.device());
        (x_btm * weights).sum_dim(1).squeeze_dim(1)
    }
}

/// One block of an encoder.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Self-attention.
    pub self_attn: MultiHeadAttention,
    /// Around it.
    pub self_attn_residual: Residual,
    /// Feed-forward part.
    pub mlp: FeedForward,
    /// Around it.
    pub mlp_residual: Residual,
}

/// The blocks of an encoder and the norm after them.
#[derive(Module, Debug)]
pub struct Encoder {
    /// The blocks.
    pub layers: Vec<EncoderLayer>,
    /// Final norm; absent where each block ends in one.
    pub norm: Option<RmsNorm>,
}

impl Encoder {
    pub(crate) fn new(init: &Init<'_>) -> Self {
        let layer = |_| EncoderLayer {
            self_attn: MultiHeadAttention::new(init),
            self_attn_residual: Residual::new(init),
            mlp: FeedForward::new(init),
            mlp_residual: Residual::new(init),
        };
        Self {
            layers: (0..init.model.num_hidden_layers).map(layer).collect(),
            norm: final_norm(init),
        }
    }

    /// Embedded tokens `[b, t, m]` → `[b, t, m]`.
    pub(crate) fn forward(
        &self,
        mut x_btm: Tensor<3>,
        positions: &Positions,
        mask_pad: Option<&Tensor<4, Bool>>,
    ) -> Tensor<3> {
        for layer in &self.layers {
            x_btm = layer.self_attn_residual.around(x_btm, |x| {
                layer.self_attn.bidirectional(x, positions, mask_pad)
            });
            x_btm = layer.mlp_residual.around(x_btm, |x| layer.mlp.forward(x));
        }
        apply(&self.norm, x_btm)
    }

    pub(crate) fn projections(&self) -> Vec<(String, &Projection)> {
        let layers = self.layers.iter().enumerate();
        layers
            .flat_map(|(index, layer)| {
                let named = |part: &str, name| format!("encoder.layers.{index}.{part}.{name}");
                let mut all = Vec::new();
                for (name, projection) in layer.self_attn.projections() {
                    all.push((named("self_attn", name), projection));
                }
                for (name, projection) in layer.mlp.projections() {
                    all.push((named("mlp", name), projection));
                }
                all
            })
            .collect()
    }

    pub(crate) fn projections_mut(&mut self) -> impl Iterator<Item = &mut Projection> {
        self.layers.iter_mut().flat_map(|layer| {
            let attention = layer.self_attn.projections_mut().into_iter();
            attention.chain(layer.mlp.projections_mut())
        })
    }
}

/// The norm after the blocks, where they do not end in one.
pub(crate) fn final_norm(init: &Init<'_>) -> Option<RmsNorm> {
    (init.quant.norm != NormPlacement::Post).then(|| init.norm(init.model.hidden_size))
}

pub(crate) fn apply(norm: &Option<RmsNorm>, x_btm: Tensor<3>) -> Tensor<3> {
    match norm {
        Some(norm) => rms_norm(norm, x_btm),
        None => x_btm,
    }
}

/// Token embedding times `√m`, with positions and dropout: rows of the table have length 1 (Vaswani et al. 2017, section
/// 3.4), so that embedding and sinusoids are of one size.
pub(crate) fn embed(
    table: &Embedding,
    ids_bt: Tensor<2, Int>,
    positions: &Positions,
    offset: usize,
    dropout: &Dropout,
) -> Tensor<3> {
    let weight = table.weight.val();
    let scale = (weight.dims()[1] as f64).sqrt();
    let x_btm = lookup(table, ids_bt).mul_scalar(scale);
    dropout.forward(positions.add(x_btm, offset))
}

/// Burn's own operation where it must be differentiable, else one that takes a table of any size.
pub(crate) fn lookup(table: &Embedding, ids_bt: Tensor<2, Int>) -> Tensor<3> {
    let weight = table.weight.val();
    match weight.device().is_autodiff() {
        true => table.forward(ids_bt),
        false => embedding(weight, ids_bt),
    }
}
