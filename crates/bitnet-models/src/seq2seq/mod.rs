//! The encoder–decoder Transformer (Vaswani et al. 2017) with [`Projection`]s for linear layers.
//!
//! One vocabulary serves both languages, and one embedding table the source, the target and (tied) the head. By its
//! configuration it is the original (sinusoidal positions, post-norm, plain ReLU feed-forward) or a modern one (rotary
//! positions, pre-norm or SubLN, gated or ReLU²); the norm is RMSNorm in every form, and no layer has a bias.
//!
//! In cross-attention the *decoder* asks: queries come from the decoder, keys and values from the encoder.

mod decoder;

pub use decoder::{Decoder, DecoderLayer, Decoding};

use bitnet_generate::{BeamSearch, Hypothesis};
use bitnet_nn::float::linear;
use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::config::require;
use crate::dropout::{Dropout, DropoutState};
use crate::encoder::{Encoder, Sequences, embed};
use crate::init::Init;
use crate::network::Network;
use crate::positions::Positions;
use crate::projection::Projection;
use crate::{ConfigError, GenerateError, ModelConfig};

/// A model that reads one sequence and writes another.
#[derive(Module, Debug)]
pub struct EncoderDecoder {
    /// Token embedding of both sides, float.
    pub embed_tokens: Embedding,
    /// The encoder.
    pub encoder: Encoder,
    /// The decoder.
    pub decoder: Decoder,
    /// Head, float, `[vocab, hidden]`; absent when it shares the embedding's matrix.
    pub lm_head: Option<Param<Tensor<2>>>,
    pub(crate) positions: Positions,
    pub(crate) dropout: Dropout,
    #[module(skip)]
    pub(crate) config: ModelConfig,
}

impl EncoderDecoder {
    /// The configuration the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Logits of every target position, given the targets before it: source, target ids `[b, t]` → `[b, t, vocab]`.
    ///
    /// # Panics
    /// If a sequence exceeds `max_position_embeddings`.
    pub fn forward(&self, source: &Sequences, target_bt: Tensor<2, Int>) -> Tensor<3> {
        self.config.check_length(target_bt.dims()[1]);
        let memory_bsm = self.encode(source);
        let x_btm = self.embed(target_bt, 0);
        let x_btm = self.decoder.forward(
            x_btm,
            &memory_bsm,
            &self.positions,
            source.mask_pad.as_ref(),
        );
        self.logits(x_btm)
    }

    /// The encoder's view of the source, `[b, s, m]`.
    ///
    /// # Panics
    /// If a sequence exceeds `max_position_embeddings`.
    pub fn encode(&self, source: &Sequences) -> Tensor<3> {
        self.config.check_length(source.dims()[1]);
        let x_bsm = self.embed(source.ids.clone(), 0);
        self.encoder
            .forward(x_bsm, &self.positions, source.mask_pad.as_ref())
    }

    /// Begins to decode: the memory of `source`, and nothing written yet.
    ///
    /// # Panics
    /// If a sequence exceeds `max_position_embeddings`.
    pub fn start(&self, source: &Sequences) -> Decoding {
        let memory_bsm = self.encode(source);
        self.decoder.start(&memory_bsm, source.mask_pad.clone())
    }

    /// Logits `[b, vocab]` of what follows, after one more target token a row, `[b, 1]`.
    ///
    /// # Panics
    /// If `max_position_embeddings` tokens are written already.
    pub fn step(&self, tokens_b1: Tensor<2, Int>, decoding: &mut Decoding) -> Tensor<2> {
        self.config.check_length(decoding.len() + 1);
        let x_b1m = self.embed(tokens_b1, decoding.len());
        let x_b1m = self.decoder.step(x_b1m, &self.positions, decoding);
        self.logits(x_b1m).squeeze_dim(1)
    }

    /// The best output for each source, by beam search.
    ///
    /// # Errors
    /// If `beam` or `max_length` is 0, or the device fails.
    ///
    /// # Panics
    /// If a sequence or `max_length` exceeds `max_position_embeddings`.
    pub fn write(
        &self,
        search: &BeamSearch,
        source: &Sequences,
        device: &Device,
    ) -> Result<Vec<Hypothesis>, GenerateError> {
        let ints = |values: Vec<i32>, width| {
            let shape = [values.len() / width, width];
            Tensor::<2, Int>::from_data(TensorData::new(values, shape), (device, DType::I32))
        };
        let mut decoding = Some(self.start(source));
        search.search(source.dims()[0], |rows, last| {
            let rows = rows.map(|rows| rows.iter().map(|row| *row as i32).collect());
            let mut state = match (decoding.take(), rows) {
                (Some(state), Some(rows)) => state.select(&ints(rows, 1).squeeze_dim(1)),
                (Some(state), None) => state,
                (None, _) => self.start(source),
            };
            let last = last.iter().map(|token| *token as i32).collect();
            let logits = self.step(ints(last, 1), &mut state);
            decoding = Some(state);
            let failed = |error: &dyn std::fmt::Display| GenerateError::Read(error.to_string());
            let data = logits.try_into_data().map_err(|error| failed(&error))?;
            data.try_to_vec::<f32>().map_err(|error| failed(&error))
        })
    }

    fn embed(&self, ids_bt: Tensor<2, Int>, offset: usize) -> Tensor<3> {
        embed(
            &self.embed_tokens,
            ids_bt,
            &self.positions,
            offset,
            &self.dropout,
        )
    }

    fn logits(&self, x_btm: Tensor<3>) -> Tensor<3> {
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens.weight);
        linear(x_btm, head.val())
    }
}

impl Network for EncoderDecoder {
    fn build(init: &Init<'_>) -> Result<Self, ConfigError> {
        let model = init.model;
        model.validate()?;
        require("vocab_size", model.vocab_size)?;
        model.check_device(init.packed, init.device)?;
        let table = [model.vocab_size, model.hidden_size];
        Ok(Self {
            embed_tokens: Embedding {
                weight: init.unit_rows(table),
            },
            encoder: Encoder::new(init),
            decoder: Decoder::new(init),
            lm_head: (!model.tie_word_embeddings).then(|| init.unit_rows(table)),
            positions: Positions::new(model, init.device),
            dropout: init.dropout(),
            config: model.clone(),
        })
    }

    fn dropout_state(&self) -> Option<&DropoutState> {
        Some(self.dropout.state())
    }

    fn projections(&self) -> Vec<(String, &Projection)> {
        let mut all = self.encoder.projections();
        all.extend(self.decoder.projections());
        all
    }

    fn projections_mut(&mut self) -> Vec<&mut Projection> {
        let encoder = self.encoder.projections_mut();
        encoder.chain(self.decoder.projections_mut()).collect()
    }
}
