//! The multi-layer perceptron for vectors and small images, and the single layer of a regression.

use bitnet_nn::float::{linear, rms_norm};
use burn::module::{Module, Param};
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use crate::config::require;
use crate::dropout::{Dropout, DropoutState};
use crate::feed_forward::activate;
use crate::init::Init;
use crate::network::Network;
use crate::projection::Projection;
use crate::{ConfigError, HiddenAct, NormPlacement};

/// One hidden layer: `act(W x)`, with an RMSNorm in front of every layer but the first.
#[derive(Module, Debug)]
pub struct HiddenLayer {
    /// Norm in front of the projection; absent in the first layer and where norms stand inside the projections.
    pub norm: Option<RmsNorm>,
    /// The projection.
    pub proj: Projection,
}

/// Vectors in, one score a class out: `num_hidden_layers` hidden layers of `hidden_size`, and a float head.
#[derive(Module, Debug)]
pub struct Perceptron {
    /// The hidden layers.
    pub layers: Vec<HiddenLayer>,
    /// Norm in front of the head.
    pub norm: RmsNorm,
    /// Head, float, `[classes, hidden]`.
    pub head: Param<Tensor<2>>,
    pub(crate) dropout: Dropout,
    #[module(skip)]
    pub(crate) act: HiddenAct,
}

impl Perceptron {
    /// `[b, input_size]` → `[b, classes]`.
    pub fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for layer in &self.layers {
            if let Some(norm) = &layer.norm {
                x = rms_norm(norm, x);
            }
            x = self
                .dropout
                .forward(activate(self.act, layer.proj.forward(x)));
        }
        linear(rms_norm(&self.norm, x), self.head.val())
    }
}

impl Network for Perceptron {
    fn build(init: &Init<'_>) -> Result<Self, ConfigError> {
        let model = init.model;
        model.validate()?;
        require("input_size", model.input_size)?;
        require("num_labels", model.num_labels)?;
        let hidden = model.hidden_size;
        let outside = init.quant.norm != NormPlacement::Inside;
        let layer = |index| HiddenLayer {
            norm: (outside && index > 0).then(|| init.norm(hidden)),
            proj: match index {
                0 => init.linear(model.input_size, hidden),
                _ => init.linear(hidden, hidden),
            },
        };
        Ok(Self {
            layers: (0..model.num_hidden_layers).map(layer).collect(),
            norm: init.norm(hidden),
            head: init.unit_rows([model.num_labels, hidden]),
            dropout: init.dropout(),
            act: model.hidden_act,
        })
    }

    fn dropout_state(&self) -> Option<&DropoutState> {
        Some(self.dropout.state())
    }

    fn projections(&self) -> Vec<(String, &Projection)> {
        let layers = self.layers.iter().enumerate();
        layers
            .map(|(index, layer)| (format!("layers.{index}.proj"), &layer.proj))
            .collect()
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        self.layers
            .iter_mut()
            .map(|layer| &mut layer.proj)
            .collect()
    }
}

/// One linear layer and nothing else: BitLinear against Linear on a regression.
#[derive(Module, Debug)]
pub struct SingleLayer {
    /// The layer.
    pub proj: Projection,
}

impl SingleLayer {
    /// `[b, input_size]` → `[b, num_labels]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.proj.forward(x)
    }
}

impl Network for SingleLayer {
    fn build(init: &Init<'_>) -> Result<Self, ConfigError> {
        init.model.validate()?;
        require("input_size", init.model.input_size)?;
        require("num_labels", init.model.num_labels)?;
        Ok(Self {
            proj: init.linear(init.model.input_size, init.model.num_labels),
        })
    }

    fn projections(&self) -> Vec<(String, &Projection)> {
        vec![("proj".to_owned(), &self.proj)]
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        vec![&mut self.proj]
    }
}
