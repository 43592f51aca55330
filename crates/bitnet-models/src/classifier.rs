//! The encoder-only classifier: the mean of the encoder's outputs through a float head.

use bitnet_nn::float::linear;
use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::tensor::Tensor;

use crate::config::require;
use crate::dropout::{Dropout, DropoutState};
use crate::encoder::{Encoder, Sequences, embed};
use crate::init::Init;
use crate::network::Network;
use crate::positions::Positions;
use crate::projection::Projection;
use crate::{ConfigError, ModelConfig};

/// Sequences in, one score a class out.
#[derive(Module, Debug)]
pub struct Classifier {
    /// Token embedding, float.
    pub embed_tokens: Embedding,
    /// The encoder.
    pub encoder: Encoder,
    /// Head, float, `[classes, hidden]`.
    pub head: Param<Tensor<2>>,
    pub(crate) positions: Positions,
    pub(crate) dropout: Dropout,
    #[module(skip)]
    pub(crate) config: ModelConfig,
}

impl Classifier {
    /// The configuration the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Scores of the classes, `[b, classes]`.
    ///
    /// # Panics
    /// If the sequences exceed `max_position_embeddings`.
    pub fn forward(&self, sequences: &Sequences) -> Tensor<2> {
        self.config.check_length(sequences.dims()[1]);
        let ids = sequences.ids.clone();
        let x_btm = embed(&self.embed_tokens, ids, &self.positions, 0, &self.dropout);
        let mask_pad = sequences.mask_pad.as_ref();
        let x_btm = self.encoder.forward(x_btm, &self.positions, mask_pad);
        let x_bm = self.dropout.forward(sequences.mean(x_btm));
        linear(x_bm, self.head.val())
    }
}

impl Network for Classifier {
    fn build(init: &Init<'_>) -> Result<Self, ConfigError> {
        let model = init.model;
        model.validate()?;
        require("vocab_size", model.vocab_size)?;
        require("num_labels", model.num_labels)?;
        model.check_device(init.packed, init.device)?;
        Ok(Self {
            embed_tokens: Embedding {
                weight: init.unit_rows([model.vocab_size, model.hidden_size]),
            },
            encoder: Encoder::new(init),
            head: init.unit_rows([model.num_labels, model.hidden_size]),
            positions: Positions::new(model, init.device),
            dropout: init.dropout(),
            config: model.clone(),
        })
    }

    fn dropout_state(&self) -> Option<&DropoutState> {
        Some(self.dropout.state())
    }

    fn projections(&self) -> Vec<(String, &Projection)> {
        self.encoder.projections()
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        self.encoder.projections_mut().collect()
    }
}
