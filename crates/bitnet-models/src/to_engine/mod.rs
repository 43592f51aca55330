//! The conversion of a model to the CPU engine: its shape, or why the engine does not run it, and its weights, read
//! back from their device.
//!
//! Configurations and modules are taken apart completely, so that a field added to one of them and not handled here does not
//! compile.

use bitnet_engine::{
    Engine, EngineError, LayerWeights, LinearWeights, Norms, Options, Shape, Source, SourceError,
    Table, Weights,
};
use bitnet_nn::PackedBitLinear;
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

mod sequence;

use crate::attention::MultiHeadAttention;
use crate::mlp::Mlp;
use crate::transformer::Block;
use crate::{
    MlpKind, ModelConfig, NormPlacement, PositionKind, Projection, QuantConfig, Transformer,
};

/// A setting of a model that the CPU engine does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the CPU engine does not run {field} = \"{value}\": {reason}; run the model on Burn's tensors: leave out the engine's flags \
     (--kernel, --strategy, --layout, --head, --kv-cache), or take another backend"
)]
pub struct NotOnEngine {
    /// The setting.
    pub field: &'static str,
    /// Its value.
    pub value: &'static str,
    /// What the engine takes.
    pub reason: &'static str,
}

/// A model that could not become an engine.
#[derive(Debug, thiserror::Error)]
pub enum ToEngineError {
    /// The engine lacks something that the model has.
    #[error(transparent)]
    Model(#[from] NotOnEngine),
    /// The weights or the options.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl ModelConfig {
    /// The shape that the engine runs.
    ///
    /// # Errors
    /// Names the first setting that the engine does not run.
    pub fn engine_shape(&self, quant: &QuantConfig) -> Result<Shape, NotOnEngine> {
        let refuse = |field, value, reason| {
            Err(NotOnEngine {
                field,
                value,
                reason,
            })
        };
        let ModelConfig {
            // Both kinds run, layer by layer.
            linear: _,
            vocab_size,
            // Classes and vectors are of other models.
            num_labels: _,
            input_size: _,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
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
            tie_word_embeddings,
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
        if *position == PositionKind::Sinusoidal {
            return refuse(
                "model.position",
                "sinusoidal",
                "it rotates queries and keys",
            );
        }
        if *mlp == MlpKind::Plain {
            let reason = "its feed-forward blocks are gated";
            return refuse("model.mlp", "plain", reason);
        }
        let Some(gate) = hidden_act.gate() else {
            let reason = "its gates are silu and relu2";
            return refuse("model.hidden_act", "relu", reason);
        };
        Ok(Shape {
            vocab_size: *vocab_size,
            hidden_size: *hidden_size,
            intermediate_size: *intermediate_size,
            num_hidden_layers: *num_hidden_layers,
            num_attention_heads: *num_attention_heads,
            num_key_value_heads: self.kv_heads(),
            head_dim: self.head_width(),
            max_position_embeddings: *max_position_embeddings,
            rope_theta: *rope_theta,
            rope_scaling: rope_scaling.clone(),
            rms_norm_eps: *rms_norm_eps as f32,
            gate,
            activations: *activations,
            norms: match norm {
                NormPlacement::Pre => Norms::PRE,
                NormPlacement::Inside => Norms::INSIDE,
                NormPlacement::Sub => Norms::SUB,
                NormPlacement::Post => {
                    let reason = "its norms stand before what they norm for";
                    return refuse("quant.norm", "post", reason);
                }
            },
            qk_norm: *qk_norm,
            tie_word_embeddings: *tie_word_embeddings,
        })
    }
}

impl Transformer {
    /// The model for the CPU engine: ternary layers packed, float ones as they are.
    ///
    /// # Errors
    /// If the engine does not run such models, the weights cannot be read from the device, or the engine cannot run
    /// with these options.
    pub fn engine(&self, options: Options) -> Result<Engine, ToEngineError> {
        let (shape, source) = self.source()?;
        Ok(Engine::new(shape, &source, options)?)
    }

    /// The shape and the weights as the CPU engine takes them.
    ///
    /// # Errors
    /// If the engine does not run such models, or the embedding or head cannot be read from the device.
    pub fn source(&self) -> Result<(Shape, impl Source), ToEngineError> {
        let Transformer {
            embed_tokens,
            layers,
            norm,
            lm_head,
            // Made by the engine from the shape.
            positions: _,
            // For training.
            dropout: _,
            config,
            quant,
        } = self;
        let shape = config.engine_shape(quant)?;
        let table = |values: Tensor<2>| floats(values).map_err(EngineError::Source);
        let source = Host {
            layers,
            norm,
            embedding: table(embed_tokens.weight.val())?,
            head: match lm_head {
                Some(head) => table(head.val())?,
                None => Vec::new(),
            },
        };
        Ok((shape, source))
    }
}

struct Host<'a> {
    layers: &'a [Block],
    norm: &'a RmsNorm,
    embedding: Vec<f32>,
    head: Vec<f32>,
}

impl Source for Host<'_> {
    fn table_row(&self, table: Table, token: usize, out: &mut [f32]) {
        let values = match table {
            Table::Embedding => &self.embedding,
            Table::Head => &self.head,
        };
        out.copy_from_slice(&values[token * out.len()..][..out.len()]);
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        let Block {
            input_layernorm,
            self_attn,
            post_attention_layernorm,
            mlp,
            dropout: _,
        } = &self.layers[index];
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
        } = self_attn;
        let Mlp {
            gate_proj,
            up_proj,
            down_proj,
            ffn_sub_norm,
            // In the shape.
            gate: _,
        } = mlp;
        Ok(LayerWeights {
            input_layernorm: gamma(input_layernorm)?,
            q_proj: linear(q_proj)?,
            k_proj: linear(k_proj)?,
            v_proj: linear(v_proj)?,
            q_norm: gamma(q_norm)?,
            k_norm: gamma(k_norm)?,
            attn_sub_norm: gamma(attn_sub_norm)?,
            o_proj: linear(o_proj)?,
            post_attention_layernorm: gamma(post_attention_layernorm)?,
            gate_proj: linear(gate_proj)?,
            up_proj: linear(up_proj)?,
            ffn_sub_norm: gamma(ffn_sub_norm)?,
            down_proj: linear(down_proj)?,
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        floats(self.norm.gamma.val())
    }
}

fn linear(layer: &Projection) -> Result<LinearWeights, SourceError> {
    let ternary = |packed: &PackedBitLinear| -> Result<LinearWeights, SourceError> {
        Ok(LinearWeights {
            weights: Weights::Ternary(packed.to_packed()?),
            norm: gamma(&packed.norm)?,
        })
    };
    Ok(match layer {
        Projection::Packed(packed) => ternary(packed)?,
        Projection::Ternary(latent) => ternary(&latent.pack())?,
        Projection::Float(linear) => {
            let [rows, cols] = linear.weight.dims();
            LinearWeights {
                weights: Weights::Float {
                    values: floats(linear.weight.val())?,
                    rows,
                    cols,
                },
                norm: gamma(&linear.norm)?,
            }
        }
    })
}

fn gamma(norm: &Option<RmsNorm>) -> Result<Option<Vec<f32>>, SourceError> {
    norm.as_ref()
        .map(|norm| floats(norm.gamma.val()))
        .transpose()
}

fn floats<const D: usize>(values: Tensor<D>) -> Result<Vec<f32>, SourceError> {
    let data = values.try_into_data().map_err(|error| error.to_string())?;
    Ok(data
        .try_to_vec::<f32>()
        .map_err(|error| error.to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HiddenAct;

    /// A model of language with one setting that the engine does not run: the setting, and the reason, of each kind.
    #[test]
    fn what_the_engine_does_not_run_is_refused_by_name() {
        let model = ModelConfig::default;
        let quant = QuantConfig::default;
        let cases = [
            (
                ModelConfig {
                    position: PositionKind::Sinusoidal,
                    ..model()
                },
                quant(),
                "model.position = \"sinusoidal\": it rotates queries and keys",
            ),
            (
                ModelConfig {
                    mlp: MlpKind::Plain,
                    ..model()
                },
                quant(),
                "model.mlp = \"plain\": its feed-forward blocks are gated",
            ),
            (
                ModelConfig {
                    hidden_act: HiddenAct::Relu,
                    ..model()
                },
                quant(),
                "model.hidden_act = \"relu\": its gates are silu and relu2",
            ),
            (
                model(),
                QuantConfig {
                    norm: NormPlacement::Post,
                    ..quant()
                },
                "quant.norm = \"post\": its norms stand before what they norm for",
            ),
        ];
        for (model, quant, says) in cases {
            let error = model.engine_shape(&quant).unwrap_err().to_string();
            let says =
                format!("the CPU engine does not run {says}; run the model on Burn's tensors: ");
            assert!(error.starts_with(&says), "{error}");
            assert!(error.contains("leave out the engine's flags"), "{error}");
        }
    }

    /// Of all other settings the engine's shape tells one from the other.
    #[test]
    fn what_the_engine_runs_reaches_its_shape() {
        let shape = |model: ModelConfig, quant| model.engine_shape(&quant).unwrap();
        let norms = [
            (NormPlacement::Pre, Norms::PRE),
            (NormPlacement::Inside, Norms::INSIDE),
            (NormPlacement::Sub, Norms::SUB),
        ];
        for (norm, expected) in norms {
            let quant = QuantConfig {
                norm,
                ..QuantConfig::default()
            };
            assert_eq!(shape(ModelConfig::default(), quant).norms, expected);
        }
        for hidden_act in [HiddenAct::Silu, HiddenAct::Relu2] {
            let model = ModelConfig {
                hidden_act,
                ..ModelConfig::default()
            };
            let gate = shape(model, QuantConfig::default()).gate;
            assert_eq!(Some(gate), hidden_act.gate());
        }
    }
}
