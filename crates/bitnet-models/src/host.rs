//! A Transformer's weights, read back from its device for the CPU engine.

use bitnet_engine::{
    Engine, EngineError, LayerWeights, LinearWeights, Norms, Options, Shape, Source, SourceError,
    Weights,
};
use bitnet_nn::LinearKind;
use burn::nn::RmsNorm;
use burn::tensor::Tensor;

use crate::{HiddenAct, ModelConfig, NormPlacement, Projection, Transformer};

impl ModelConfig {
    /// The shape that the engine runs.
    pub fn shape(&self, norm: NormPlacement) -> Shape {
        Shape {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.kv_heads(),
            head_dim: self.head_width(),
            max_position_embeddings: self.max_position_embeddings,
            rope_theta: self.rope_theta,
            rms_norm_eps: self.rms_norm_eps as f32,
            gate: HiddenAct::gate(self.hidden_act),
            norms: match norm {
                // The decoder-only model refuses `post` when it is built.
                NormPlacement::Pre | NormPlacement::Post => Norms::Pre,
                NormPlacement::Inside => Norms::Inside,
                NormPlacement::Sub => Norms::Sub,
            },
            tie_word_embeddings: self.tie_word_embeddings,
        }
    }
}

impl Transformer {
    /// The model for the CPU engine: ternary layers packed, float ones as they are.
    ///
    /// # Errors
    /// If the weights cannot be read from the device, or the engine cannot run with these options.
    pub fn engine(&self, options: Options) -> Result<Engine, EngineError> {
        let table = |values: Tensor<2>| floats(values).map_err(EngineError::Source);
        let source = Host {
            model: self,
            embedding: table(self.embed_tokens.weight.val())?,
            head: match &self.lm_head {
                Some(head) => table(head.val())?,
                None => Vec::new(),
            },
        };
        Engine::new(self.config().shape(self.norm_placement()), &source, options)
    }

    /// Where the norms of the blocks stand.
    fn norm_placement(&self) -> NormPlacement {
        match self.layers.first() {
            Some(block) if block.input_layernorm.is_none() => NormPlacement::Inside,
            Some(block) if block.self_attn.attn_sub_norm.is_some() => NormPlacement::Sub,
            _ => NormPlacement::Pre,
        }
    }
}

struct Host<'a> {
    model: &'a Transformer,
    embedding: Vec<f32>,
    head: Vec<f32>,
}

impl Source for Host<'_> {
    fn embedding_row(&self, token: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.embedding[token * out.len()..][..out.len()]);
    }

    fn head_row(&self, token: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.head[token * out.len()..][..out.len()]);
    }

    fn layer(&self, index: usize) -> Result<LayerWeights, SourceError> {
        let block = &self.model.layers[index];
        let (attention, mlp) = (&block.self_attn, &block.mlp);
        Ok(LayerWeights {
            input_layernorm: gamma(&block.input_layernorm)?,
            q_proj: linear(&attention.q_proj)?,
            k_proj: linear(&attention.k_proj)?,
            v_proj: linear(&attention.v_proj)?,
            attn_sub_norm: gamma(&attention.attn_sub_norm)?,
            o_proj: linear(&attention.o_proj)?,
            post_attention_layernorm: gamma(&block.post_attention_layernorm)?,
            gate_proj: linear(&mlp.gate_proj)?,
            up_proj: linear(&mlp.up_proj)?,
            ffn_sub_norm: gamma(&mlp.ffn_sub_norm)?,
            down_proj: linear(&mlp.down_proj)?,
        })
    }

    fn final_norm(&self) -> Result<Vec<f32>, SourceError> {
        floats(self.model.norm.gamma.val())
    }
}

fn linear(layer: &Projection) -> Result<LinearWeights, SourceError> {
    Ok(match layer.pack() {
        Projection::Packed(packed) => LinearWeights {
            weights: Weights::Ternary(packed.to_packed()?),
            norm: gamma(&packed.norm)?,
        },
        Projection::Latent(linear) => {
            debug_assert_eq!(linear.kind, LinearKind::Float, "`pack` leaves floats alone");
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
