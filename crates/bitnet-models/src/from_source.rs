//! The conversion from the CPU engine's view of a model: its shape as a configuration, its weights as modules. The other way
//! is `to_engine`.

use bitnet_engine::{
    LayerWeights, LinearWeights, Norms, Shape, Source, SourceError, Table, Weights,
};
use bitnet_kernels::{PackedTernary, float::Gate};
use bitnet_nn::{BitLinearConfig, Granularity, PackedBitLinear, WeightQuantizer};
use burn::module::{Module, Param};
use burn::nn::RmsNorm;
use burn::tensor::{Device, Tensor, TensorData};

use crate::linear::Linear;
use crate::network::Network;
use crate::transformer::Block;
use crate::{
    ConfigError, HiddenAct, LinearKind, ModelConfig, NormPlacement, Projection, QuantConfig,
    Transformer,
};

/// What ternary layers are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Packed, to run.
    Inference,
    /// Latent float weights, to be trained. Codes become weights that are quantised to them again: all of a group are as
    /// far from the next code, which those of a training are not, so the first steps flip few and then many at once.
    Training,
}

/// A model that has no modules here.
#[derive(Debug, thiserror::Error)]
pub enum FromSourceError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Norms before blocks and inside of layers.
    #[error(
        "the model has norms before its blocks and inside of its layers: no quant.norm means that; the CPU engine runs it"
    )]
    Norms,
    /// A tensor does not fit the configuration.
    #[error("{tensor}: shape {found:?}, expected {expected:?}")]
    Shape {
        /// Its name.
        tensor: String,
        /// What the configuration says.
        expected: [usize; 2],
        /// What the source gave.
        found: [usize; 2],
    },
    /// A matrix has scales for smaller groups than the configuration.
    #[error(
        "{tensor}: its scales are for each {found}, finer than quant.granularity = \"{expected}\""
    )]
    Granularity {
        /// Its name.
        tensor: String,
        /// What the configuration says.
        expected: Granularity,
        /// What the source gave.
        found: Granularity,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Source(SourceError),
}

impl ModelConfig {
    /// The configuration of a shape that the engine runs, and with it how layers quantise if they are ternary.
    ///
    /// # Errors
    /// If its norms have no name here.
    pub fn of_shape(
        shape: &Shape,
        linear: LinearKind,
        granularity: Granularity,
    ) -> Result<(ModelConfig, QuantConfig), FromSourceError> {
        let Shape {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
            rope_theta,
            rope_scaling,
            rms_norm_eps,
            gate,
            activations,
            norms,
            qk_norm,
            tie_word_embeddings,
        } = shape;
        let model = ModelConfig {
            linear,
            vocab_size: *vocab_size,
            hidden_size: *hidden_size,
            intermediate_size: *intermediate_size,
            num_hidden_layers: *num_hidden_layers,
            num_attention_heads: *num_attention_heads,
            num_key_value_heads: Some(*num_key_value_heads),
            head_dim: Some(*head_dim),
            qk_norm: *qk_norm,
            max_position_embeddings: *max_position_embeddings,
            rope_theta: *rope_theta,
            rope_scaling: rope_scaling.clone(),
            hidden_act: match gate {
                Gate::Silu => HiddenAct::Silu,
                Gate::Relu2 => HiddenAct::Relu2,
            },
            tie_word_embeddings: *tie_word_embeddings,
            rms_norm_eps: f64::from(*rms_norm_eps),
            ..ModelConfig::default()
        };
        let quant = QuantConfig {
            granularity,
            activations: *activations,
            norm: match *norms {
                Norms::PRE => NormPlacement::Pre,
                Norms::INSIDE => NormPlacement::Inside,
                Norms::SUB => NormPlacement::Sub,
                _ => return Err(FromSourceError::Norms),
            },
            ..QuantConfig::default()
        };
        Ok((model, quant))
    }
}

impl Transformer {
    /// A model of these weights.
    ///
    /// # Errors
    /// If a tensor does not fit the configuration, or cannot be read.
    pub fn from_source(
        model: &ModelConfig,
        quant: &QuantConfig,
        source: &impl Source,
        purpose: Purpose,
        device: &Device,
    ) -> Result<Transformer, FromSourceError> {
        let mut transformer = match (model.linear, purpose) {
            (LinearKind::Ternary, Purpose::Inference) => {
                Transformer::new_packed(model, quant, device)?
            }
            (LinearKind::Ternary, Purpose::Training) | (LinearKind::Float, _) => {
                Transformer::new_blank(model, quant, device)?
            }
        };
        let make = Make {
            quant,
            norm_eps: model.rms_norm_eps,
            purpose,
            device,
        };
        let table = |table| make.table(source, table, [model.vocab_size, model.hidden_size]);
        transformer.embed_tokens.weight = table(Table::Embedding)?;
        if !model.tie_word_embeddings {
            transformer.lm_head = Some(table(Table::Head)?);
        }
        let norm = source.final_norm().map_err(FromSourceError::Source)?;
        make.gamma("model.norm", &mut transformer.norm, norm)?;
        for (index, block) in transformer.layers.iter_mut().enumerate() {
            let weights = source.layer(index).map_err(FromSourceError::Source)?;
            make.block(index, block, weights)?;
        }
        Ok(transformer)
    }
}

/// What all layers are made with.
struct Make<'a> {
    quant: &'a QuantConfig,
    norm_eps: f64,
    purpose: Purpose,
    device: &'a Device,
}

impl Make<'_> {
    fn matrix(&self, values: Vec<f32>, shape: [usize; 2]) -> Param<Tensor<2>> {
        Param::from_data(TensorData::new(values, shape), self.device)
    }

    /// A table as floats.
    fn table(
        &self,
        source: &impl Source,
        table: Table,
        [rows, cols]: [usize; 2],
    ) -> Result<Param<Tensor<2>>, FromSourceError> {
        let mut values = vec![0.0; rows * cols];
        match source.table(table).map_err(FromSourceError::Source)? {
            Some(weights) => {
                let found = weights.dims();
                if found != [rows, cols] {
                    return Err(FromSourceError::Shape {
                        tensor: format!("{table:?}"),
                        expected: [rows, cols],
                        found,
                    });
                }
                values = weights.into_floats();
            }
            None => {
                for (token, row) in values.chunks_exact_mut(cols).enumerate() {
                    source.table_row(table, token, row);
                }
            }
        }
        Ok(self.matrix(values, [rows, cols]))
    }

    fn gamma(
        &self,
        tensor: &str,
        norm: &mut RmsNorm,
        gamma: Vec<f32>,
    ) -> Result<(), FromSourceError> {
        let width = norm.gamma.dims()[0];
        if gamma.len() != width {
            return Err(FromSourceError::Shape {
                tensor: tensor.to_owned(),
                expected: [1, width],
                found: [1, gamma.len()],
            });
        }
        norm.gamma = Param::from_data(TensorData::new(gamma, [width]), self.device);
        Ok(())
    }

    fn optional(
        &self,
        tensor: String,
        norm: &mut Option<RmsNorm>,
        gamma: Option<Vec<f32>>,
    ) -> Result<(), FromSourceError> {
        match (norm, gamma) {
            (Some(norm), Some(gamma)) => self.gamma(&tensor, norm, gamma),
            (None, None) => Ok(()),
            (norm, gamma) => Err(FromSourceError::Shape {
                tensor,
                expected: [1, norm.as_ref().map_or(0, |norm| norm.gamma.dims()[0])],
                found: [1, gamma.map_or(0, |gamma| gamma.len())],
            }),
        }
    }

    fn block(
        &self,
        index: usize,
        block: &mut Block,
        weights: LayerWeights,
    ) -> Result<(), FromSourceError> {
        let LayerWeights {
            input_layernorm,
            q_proj,
            k_proj,
            v_proj,
            q_norm,
            k_norm,
            attn_sub_norm,
            o_proj,
            post_attention_layernorm,
            gate_proj,
            up_proj,
            ffn_sub_norm,
            down_proj,
        } = weights;
        let (attention, mlp) = (&mut block.self_attn, &mut block.mlp);
        for (name, norm, gamma) in [
            (
                "input_layernorm",
                &mut block.input_layernorm,
                input_layernorm,
            ),
            ("self_attn.q_norm", &mut attention.q_norm, q_norm),
            ("self_attn.k_norm", &mut attention.k_norm, k_norm),
            (
                "self_attn.attn_sub_norm",
                &mut attention.attn_sub_norm,
                attn_sub_norm,
            ),
            (
                "post_attention_layernorm",
                &mut block.post_attention_layernorm,
                post_attention_layernorm,
            ),
            ("mlp.ffn_sub_norm", &mut mlp.ffn_sub_norm, ffn_sub_norm),
        ] {
            self.optional(format!("model.layers.{index}.{name}"), norm, gamma)?;
        }
        for (name, projection, weights) in [
            ("self_attn.q_proj", &mut attention.q_proj, q_proj),
            ("self_attn.k_proj", &mut attention.k_proj, k_proj),
            ("self_attn.v_proj", &mut attention.v_proj, v_proj),
            ("self_attn.o_proj", &mut attention.o_proj, o_proj),
            ("mlp.gate_proj", &mut mlp.gate_proj, gate_proj),
            ("mlp.up_proj", &mut mlp.up_proj, up_proj),
            ("mlp.down_proj", &mut mlp.down_proj, down_proj),
        ] {
            let name = format!("model.layers.{index}.{name}");
            self.projection(name, projection, weights)?;
        }
        Ok(())
    }

    fn projection(
        &self,
        tensor: String,
        projection: &mut Projection,
        layer: LinearWeights,
    ) -> Result<(), FromSourceError> {
        let LinearWeights { weights, norm } = layer;
        let (inputs, outputs) = projection.dims();
        let (expected, found) = ([outputs, inputs], weights.dims());
        if expected != found {
            return Err(FromSourceError::Shape {
                tensor,
                expected,
                found,
            });
        }
        let old = match projection {
            Projection::Float(linear) => &mut linear.norm,
            Projection::Ternary(linear) => &mut linear.norm,
            Projection::Packed(linear) => &mut linear.norm,
        };
        let mut own = old.take();
        self.optional(format!("{tensor}.norm"), &mut own, norm)?;
        *projection = match (&*projection, weights) {
            (Projection::Float(_), weights) => Projection::Float(Linear {
                weight: self.matrix(weights.into_floats(), expected),
                norm: own,
            }),
            (Projection::Packed(_), Weights::Ternary(packed)) => {
                let packed = refined(tensor, packed, self.quant.granularity)?;
                let mut linear = PackedBitLinear::from_packed(&packed, self.device);
                linear.norm = own.map(Module::no_grad);
                linear.quantization = self.quant.quantization();
                Projection::Packed(linear)
            }
            (Projection::Packed(_) | Projection::Ternary(_), weights) => {
                let values = match weights {
                    Weights::Ternary(packed) => {
                        let packed = refined(tensor, packed, self.quant.granularity)?;
                        latents(packed, self.quant.weights)
                    }
                    weights => weights.into_floats(),
                };
                let config = BitLinearConfig::new(inputs, outputs)
                    .with_quantization(self.quant.quantization())
                    .with_norm_eps(own.as_ref().map(|_| self.norm_eps))
                    .with_learned_scale(self.quant.learned_scale);
                let mut linear = config.with_weights(self.matrix(values, expected), self.device);
                linear.norm = own;
                let linear = Projection::Ternary(linear);
                match self.purpose {
                    Purpose::Training => linear,
                    Purpose::Inference => linear.pack(),
                }
            }
        };
        Ok(())
    }
}

/// Latent weights that are quantised to these codes with these scales.
///
/// absmean takes the mean of all magnitudes for its scale, zeros included: of weights ±γ with a share z of zeros it makes
/// `γ · (1 − z)`, which is another model. So they are ±γ / (1 − z), in each group; for rms ±γ / (1.224 · √(1 − z)).
fn latents(packed: PackedTernary, quantizer: WeightQuantizer) -> Vec<f32> {
    let (rows, cols, granularity) = (packed.rows(), packed.cols(), packed.granularity());
    let mut values = Weights::Ternary(packed).into_floats();
    let rescales = matches!(quantizer, WeightQuantizer::AbsMean | WeightQuantizer::Rms);
    if !rescales || cols == 0 {
        return values;
    }
    let rescale = |group: &mut [f32]| {
        let others = group.iter().filter(|w| **w != 0.0).count();
        let share = group.len() as f64 / others.max(1) as f64;
        let factor = match quantizer {
            WeightQuantizer::Rms => share.sqrt() / WeightQuantizer::RMS_OPTIMUM,
            _ => share,
        };
        for w in group {
            *w = (f64::from(*w) * factor) as f32;
        }
    };
    match granularity {
        Granularity::Tensor => rescale(&mut values[..rows * cols]),
        Granularity::Row => values.chunks_mut(cols).for_each(rescale),
        Granularity::Group(size) => {
            let rows = values.chunks_mut(cols);
            rows.for_each(|row| row.chunks_mut(size).for_each(rescale));
        }
    }
    values
}

/// The same codes with a scale for each group of `granularity`.
fn refined(
    tensor: String,
    packed: PackedTernary,
    granularity: Granularity,
) -> Result<PackedTernary, FromSourceError> {
    let found = packed.granularity();
    if found == granularity {
        return Ok(packed);
    }
    let (rows, cols) = (packed.rows(), packed.cols());
    let refuse = || FromSourceError::Granularity {
        tensor,
        expected: granularity,
        found,
    };
    let per_row = match (found, granularity) {
        (Granularity::Tensor, Granularity::Row) => 1,
        (Granularity::Tensor | Granularity::Row, Granularity::Group(_)) => granularity.groups(cols),
        (Granularity::Group(from), Granularity::Group(to)) if from.is_multiple_of(to) => {
            granularity.groups(cols)
        }
        _ => return Err(refuse()),
    };
    let view = packed.view();
    let scale = |row: usize, group: usize| {
        let scales = view.row_scales(row);
        match (found, granularity) {
            (Granularity::Group(from), Granularity::Group(to)) => scales[group * to / from],
            _ => scales[0],
        }
    };
    let scales = (0..rows)
        .flat_map(|row| (0..per_row).map(move |group| (row, group)))
        .map(|(row, group)| scale(row, group))
        .collect();
    PackedTernary::from_words(packed.words().to_vec(), scales, granularity, rows, cols)
        .map_err(|error| FromSourceError::Source(error.into()))
}
