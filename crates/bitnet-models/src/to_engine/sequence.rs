//! Encoders, encoder–decoders and perceptrons for the CPU engine, which runs all of them.

use bitnet_engine::sequence::{
    Activation, AttentionWeights, BlockWeights, ClassifierEngine, FeedForward as EngineFeedForward,
    FeedForwardWeights, Placement, Positions as EnginePositions, SequenceEngine, SequenceShape,
    StackWeights, Sublayer, TableWeights,
};
use bitnet_engine::{
    EngineError, HiddenWeights, Options, PerceptronEngine, PerceptronShape, SourceError,
};
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use super::{NotOnEngine, ToEngineError, floats, gamma, linear};
use crate::attention::MultiHeadAttention;
use crate::encoder::{Encoder, EncoderLayer};
use crate::feed_forward::{FeedForward, PlainMlp};
use crate::mlp::Mlp;
use crate::perceptron::HiddenLayer;
use crate::residual::Residual;
use crate::seq2seq::{Decoder, DecoderLayer};
use crate::{
    Classifier, EncoderDecoder, HiddenAct, MlpKind, ModelConfig, NormPlacement, Perceptron,
    PositionKind, QuantConfig,
};

impl From<HiddenAct> for Activation {
    fn from(act: HiddenAct) -> Self {
        match act {
            HiddenAct::Silu => Activation::Silu,
            HiddenAct::Relu => Activation::Relu,
            HiddenAct::Relu2 => Activation::Relu2,
        }
    }
}

impl ModelConfig {
    /// The shape of an encoder, or of an encoder and a decoder, as the engine runs it.
    ///
    /// # Errors
    /// If the gate has an activation that no gate has.
    pub(crate) fn sequence_shape(&self, quant: &QuantConfig) -> Result<SequenceShape, NotOnEngine> {
        let ModelConfig {
            // Both kinds run, layer by layer.
            linear: _,
            vocab_size,
            // Those of the head and of vectors.
            num_labels: _,
            input_size: _,
            hidden_size,
            intermediate_size,
            // There are as many as come.
            num_hidden_layers: _,
            num_decoder_layers: _,
            // Applied when the configuration was loaded.
            width_multiple: _,
            num_attention_heads,
            num_key_value_heads: _,
            head_dim: _,
            qk_norm,
            max_position_embeddings,
            rope_theta,
            rope_scaling,
            position,
            mlp,
            hidden_act,
            // For training.
            dropout: _,
            // A head that is there is another one.
            tie_word_embeddings: _,
            rms_norm_eps,
            initializer_range: _,
        } = self;
        let QuantConfig {
            // Every quantiser makes the same kind of codes and scales.
            weights: _,
            // Comes with the weights.
            granularity: _,
            activations,
            norm,
            // For training.
            learned_scale: _,
        } = quant;
        let feed_forward = match (mlp, hidden_act.gate()) {
            (MlpKind::Gated, Some(gate)) => EngineFeedForward::Gated(gate),
            (MlpKind::Gated, None) => {
                return Err(NotOnEngine {
                    field: "model.hidden_act",
                    value: "relu",
                    reason: "its gates are silu and relu2",
                });
            }
            (MlpKind::Plain, _) => EngineFeedForward::Plain((*hidden_act).into()),
        };
        Ok(SequenceShape {
            vocab_size: *vocab_size,
            hidden_size: *hidden_size,
            intermediate_size: *intermediate_size,
            num_attention_heads: *num_attention_heads,
            num_key_value_heads: self.kv_heads(),
            head_dim: self.head_width(),
            max_position_embeddings: *max_position_embeddings,
            positions: match position {
                PositionKind::Rotary => EnginePositions::Rotary {
                    theta: *rope_theta,
                    scaling: rope_scaling.clone(),
                },
                PositionKind::Sinusoidal => EnginePositions::Sinusoidal,
            },
            rms_norm_eps: *rms_norm_eps as f32,
            feed_forward,
            activations: *activations,
            norms: match norm {
                NormPlacement::Pre => Placement::Pre,
                NormPlacement::Sub => Placement::Sub,
                NormPlacement::Inside => Placement::Inside,
                NormPlacement::Post => Placement::Post,
            },
            qk_norm: *qk_norm,
        })
    }
}

impl Classifier {
    /// The model for the CPU engine: ternary layers packed, float ones as they are.
    ///
    /// # Errors
    /// If the weights cannot be read from the device, or the engine cannot run with these options.
    pub fn engine(
        &self,
        quant: &QuantConfig,
        options: Options,
    ) -> Result<ClassifierEngine, ToEngineError> {
        let Classifier {
            embed_tokens,
            encoder,
            head,
            // Made by the engine from the shape.
            positions: _,
            // For training.
            dropout: _,
            config,
        } = self;
        let shape = config.sequence_shape(quant)?;
        let embedding = table(embed_tokens.weight.val())?;
        let encoder = encoder_weights(encoder).map_err(EngineError::Source)?;
        let classes = table(head.val())?;
        let engine = ClassifierEngine::new(shape, &embedding, encoder, &classes, options)?;
        Ok(engine)
    }
}

impl EncoderDecoder {
    /// The model for the CPU engine: ternary layers packed, float ones as they are.
    ///
    /// # Errors
    /// As [`Classifier::engine`].
    pub fn engine(
        &self,
        quant: &QuantConfig,
        options: Options,
    ) -> Result<SequenceEngine, ToEngineError> {
        let EncoderDecoder {
            embed_tokens,
            encoder,
            decoder,
            lm_head,
            // Made by the engine from the shape.
            positions: _,
            // For training.
            dropout: _,
            config,
        } = self;
        let shape = config.sequence_shape(quant)?;
        let embedding = table(embed_tokens.weight.val())?;
        let encoder = encoder_weights(encoder).map_err(EngineError::Source)?;
        let decoder = decoder_weights(decoder).map_err(EngineError::Source)?;
        let head = lm_head.as_ref().map(|head| table(head.val())).transpose()?;
        let engine =
            SequenceEngine::new(shape, &embedding, encoder, decoder, head.as_ref(), options)?;
        Ok(engine)
    }
}

impl Perceptron {
    /// The model for the CPU engine: ternary layers packed, float ones as they are.
    ///
    /// # Errors
    /// As [`Classifier::engine`].
    pub fn engine(
        &self,
        model: &ModelConfig,
        quant: &QuantConfig,
        options: Options,
    ) -> Result<PerceptronEngine, ToEngineError> {
        let Perceptron {
            layers,
            norm,
            head,
            // For training.
            dropout: _,
            act,
        } = self;
        let shape = PerceptronShape {
            input_size: model.input_size,
            activation: (*act).into(),
            activations: quant.activations,
            rms_norm_eps: model.rms_norm_eps as f32,
        };
        let layer = |layer: &HiddenLayer| -> Result<_, SourceError> {
            let HiddenLayer { norm, proj } = layer;
            Ok(HiddenWeights {
                norm: gamma(norm)?,
                proj: linear(proj)?,
            })
        };
        let hidden: Result<_, _> = layers.iter().map(layer).collect();
        let norm = floats(norm.gamma.val()).map_err(EngineError::Source)?;
        let classes = table(head.val())?;
        let hidden = hidden.map_err(EngineError::Source)?;
        let engine = PerceptronEngine::new(shape, hidden, (norm, &classes), options)?;
        Ok(engine)
    }
}

fn encoder_weights(encoder: &Encoder) -> Result<StackWeights, SourceError> {
    let Encoder { layers, norm } = encoder;
    let block = |layer: &EncoderLayer| {
        let EncoderLayer {
            self_attn,
            self_attn_residual,
            mlp,
            mlp_residual,
        } = layer;
        Ok(BlockWeights {
            self_attn: around(self_attn_residual, attention(self_attn)?)?,
            cross_attn: None,
            mlp: around(mlp_residual, feed_forward(mlp)?)?,
        })
    };
    stack(layers.iter().map(block), norm)
}

fn decoder_weights(decoder: &Decoder) -> Result<StackWeights, SourceError> {
    let Decoder { layers, norm } = decoder;
    let block = |layer: &DecoderLayer| {
        let DecoderLayer {
            self_attn,
            self_attn_residual,
            cross_attn,
            cross_attn_residual,
            mlp,
            mlp_residual,
        } = layer;
        Ok(BlockWeights {
            self_attn: around(self_attn_residual, attention(self_attn)?)?,
            cross_attn: Some(around(cross_attn_residual, attention(cross_attn)?)?),
            mlp: around(mlp_residual, feed_forward(mlp)?)?,
        })
    };
    stack(layers.iter().map(block), norm)
}

fn stack(
    blocks: impl Iterator<Item = Result<BlockWeights, SourceError>>,
    norm: &Option<RmsNorm>,
) -> Result<StackWeights, SourceError> {
    Ok(StackWeights {
        blocks: blocks.collect::<Result<_, _>>()?,
        norm: gamma(norm)?,
    })
}

fn around<T>(residual: &Residual, part: T) -> Result<Sublayer<T>, SourceError> {
    let Residual {
        norm,
        // For training.
        dropout: _,
        // In the shape.
        post: _,
    } = residual;
    Ok(Sublayer {
        part,
        norm: gamma(norm)?,
    })
}

fn attention(attention: &MultiHeadAttention) -> Result<AttentionWeights, SourceError> {
    let MultiHeadAttention {
        q_proj,
        k_proj,
        v_proj,
        o_proj,
        q_norm,
        k_norm,
        attn_sub_norm,
        // In the shape.
        heads: _,
        kv_heads: _,
        head_width: _,
    } = attention;
    Ok(AttentionWeights {
        q_proj: linear(q_proj)?,
        k_proj: linear(k_proj)?,
        v_proj: linear(v_proj)?,
        o_proj: linear(o_proj)?,
        q_norm: gamma(q_norm)?,
        k_norm: gamma(k_norm)?,
        attn_sub_norm: gamma(attn_sub_norm)?,
    })
}

fn feed_forward(mlp: &FeedForward) -> Result<FeedForwardWeights, SourceError> {
    match mlp {
        FeedForward::Gated(Mlp {
            gate_proj,
            up_proj,
            down_proj,
            ffn_sub_norm,
            // In the shape.
            gate: _,
        }) => Ok(FeedForwardWeights {
            gate_proj: Some(linear(gate_proj)?),
            up_proj: linear(up_proj)?,
            down_proj: linear(down_proj)?,
            ffn_sub_norm: gamma(ffn_sub_norm)?,
        }),
        FeedForward::Plain(PlainMlp {
            up_proj,
            down_proj,
            ffn_sub_norm,
            // In the shape.
            act: _,
        }) => Ok(FeedForwardWeights {
            gate_proj: None,
            up_proj: linear(up_proj)?,
            down_proj: linear(down_proj)?,
            ffn_sub_norm: gamma(ffn_sub_norm)?,
        }),
    }
}

fn table(values: Tensor<2>) -> Result<TableWeights, EngineError> {
    let [rows, _] = values.dims();
    let values = floats(values).map_err(EngineError::Source)?;
    Ok(TableWeights { values, rows })
}
