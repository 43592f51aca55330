//! The gated feed-forward block: `down(act(gate(x)) · up(x))`; SwiGLU with SiLU, or ReLU² as in BitNet b1.58 2B4T.

use bitnet_nn::float::{Gate, gated, rms_norm};
use burn::module::Module;
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use crate::NormPlacement;
use crate::init::Init;
use crate::projection::Projection;

/// Feed-forward part of one block.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Gate, through the activation.
    pub gate_proj: Projection,
    /// Value that the gate multiplies.
    pub up_proj: Projection,
    /// Back to the residual stream.
    pub down_proj: Projection,
    /// The sub-norm before the down projection ("SubLN").
    pub ffn_sub_norm: Option<RmsNorm>,
    #[module(skip)]
    pub(crate) gate: Gate,
}

impl Mlp {
    /// # Panics
    /// If the activation has no gate; [`ModelConfig::validate`](crate::ModelConfig::validate) refuses such a configuration.
    pub(crate) fn new(init: &Init<'_>) -> Self {
        let config = init.model;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        Self {
            gate_proj: init.linear(hidden, inner),
            up_proj: init.linear(hidden, inner),
            down_proj: init.residual(inner, hidden),
            ffn_sub_norm: (init.quant.norm == NormPlacement::Sub).then(|| init.norm(inner)),
            gate: config.hidden_act.gate().expect("an activation of a gate"),
        }
    }

    pub(crate) fn forward(&self, x_btm: Tensor<3>) -> Tensor<3> {
        let [gate, up] = Projection::forward_shared([&self.gate_proj, &self.up_proj], x_btm);
        let inner = gated(gate, up, self.gate);
        let inner = match &self.ffn_sub_norm {
            Some(norm) => rms_norm(norm, inner),
            None => inner,
        };
        self.down_proj.forward(inner)
    }

    pub(crate) fn projections(&self) -> [(&'static str, &Projection); 3] {
        [
            ("gate_proj", &self.gate_proj),
            ("up_proj", &self.up_proj),
            ("down_proj", &self.down_proj),
        ]
    }

    pub(crate) fn projections_mut(&mut self) -> [&mut Projection; 3] {
        [&mut self.gate_proj, &mut self.up_proj, &mut self.down_proj]
    }
}
