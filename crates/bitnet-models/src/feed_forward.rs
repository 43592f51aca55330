//! The feed-forward block of encoders and decoders: gated, or plain as in the original Transformer.

use bitnet_nn::float::rms_norm;
use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::{
    Tensor,
    activation::{relu, silu},
};

use crate::init::Init;
use crate::mlp::Mlp;
use crate::projection::Projection;
use crate::{HiddenAct, MlpKind, NormPlacement};

/// Feed-forward part of one block.
// A model holds a handful of them, each in a block that is larger still.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum FeedForward {
    /// `down(act(gate(x)) · up(x))`.
    Gated(Mlp),
    /// `down(act(up(x)))`.
    Plain(PlainMlp),
}

/// `down(act(up(x)))`.
#[derive(Module, Debug)]
pub struct PlainMlp {
    /// To the inner width.
    pub up_proj: Projection,
    /// Back to the residual stream.
    pub down_proj: Projection,
    /// The sub-norm before the down projection ("SubLN").
    pub ffn_sub_norm: Option<RmsNorm>,
    #[module(skip)]
    pub(crate) act: HiddenAct,
}

impl FeedForward {
    pub(crate) fn new(init: &Init<'_>) -> Self {
        let (hidden, inner) = (init.model.hidden_size, init.model.intermediate_size);
        match init.model.mlp {
            MlpKind::Gated => FeedForward::Gated(Mlp::new(init)),
            MlpKind::Plain => FeedForward::Plain(PlainMlp {
                up_proj: init.linear(hidden, inner),
                down_proj: init.residual(inner, hidden),
                ffn_sub_norm: (init.quant.norm == NormPlacement::Sub).then(|| init.norm(inner)),
                act: init.model.hidden_act,
            }),
        }
    }

    /// `[b, t, m]` → `[b, t, m]`.
    pub(crate) fn forward(&self, x_btm: Tensor<3>) -> Tensor<3> {
        match self {
            FeedForward::Gated(mlp) => mlp.forward(x_btm),
            FeedForward::Plain(mlp) => {
                let inner = activate(mlp.act, mlp.up_proj.forward(x_btm));
                let inner = match &mlp.ffn_sub_norm {
                    Some(norm) => rms_norm(norm, inner),
                    None => inner,
                };
                mlp.down_proj.forward(inner)
            }
        }
    }

    pub(crate) fn projections(&self) -> Vec<(&'static str, &Projection)> {
        match self {
            FeedForward::Gated(mlp) => mlp.projections().to_vec(),
            FeedForward::Plain(mlp) => {
                vec![("up_proj", &mlp.up_proj), ("down_proj", &mlp.down_proj)]
            }
        }
    }

    pub(crate) fn projections_mut(&mut self) -> Vec<&mut Projection> {
        match self {
            FeedForward::Gated(mlp) => mlp.projections_mut().into_iter().collect(),
            FeedForward::Plain(mlp) => vec![&mut mlp.up_proj, &mut mlp.down_proj],
        }
    }
}

pub(crate) fn activate<const D: usize>(act: HiddenAct, x: Tensor<D>) -> Tensor<D> {
    match act {
        HiddenAct::Silu => silu(x),
        HiddenAct::Relu => relu(x),
        HiddenAct::Relu2 => {
            let x = relu(x);
            x.clone() * x
        }
    }
}
