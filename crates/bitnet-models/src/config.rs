//! The shape of a Transformer, in Hugging Face's field names, so that a `config.json` deserialises directly.

use bitnet_nn::float::{Gate, RopeScaling};
use bitnet_nn::{
    ActivationQuantizer, Granularity, Quantization, WeightQuantizer, device_limits, words_per_row,
};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// What the linear layers of a model are: the switch between a model and its twin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinearKind {
    /// Ternary weights and quantised activations.
    #[default]
    Ternary,
    /// Float weights and activations, `y = x · Wᵀ`.
    Float,
}

/// The activation of the feed-forward block; of a gated one, applied to the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HiddenAct {
    /// `x · sigmoid(x)`: with the gate product, SwiGLU (LLaMA, BitNet b1.58).
    #[default]
    Silu,
    /// `max(x, 0)²` (BitNet b1.58 2B4T).
    Relu2,
    /// `max(x, 0)` (the original Transformer); only without a gate.
    Relu,
}

impl HiddenAct {
    /// The gate of the fused operation; ReLU has none.
    pub(crate) fn gate(self) -> Option<Gate> {
        match self {
            HiddenAct::Silu => Some(Gate::Silu),
            HiddenAct::Relu2 => Some(Gate::Relu2),
            HiddenAct::Relu => None,
        }
    }
}

/// Where RMSNorm stands. It is the same in both twins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormPlacement {
    /// Before the attention and before the feed-forward block (LLaMA, TriLM).
    #[default]
    Pre,
    /// Inside every linear layer, in front of its quantiser, and nowhere else in a block (the "Training Tips").
    Inside,
    /// Before each block, and once more before `o_proj` and `down_proj` ("SubLN", BitNet b1.58 2B4T).
    Sub,
    /// After each residual sum (the original Transformer); not in the decoder-only model.
    Post,
}

/// The feed-forward block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MlpKind {
    /// `down(act(gate(x)) · up(x))` (LLaMA).
    #[default]
    Gated,
    /// `down(act(up(x)))` (the original Transformer); not in the decoder-only model.
    Plain,
}

/// How a model knows the order of its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionKind {
    /// Rotary embedding of the queries and keys of self-attention.
    #[default]
    Rotary,
    /// Sines and cosines added to the token embedding (the original Transformer); not in the decoder-only model.
    Sinusoidal,
}

/// A model: a Transformer of any form, or for vectors a multi-layer perceptron, which reads only the widths, the number of
/// layers and the activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// `ternary` or `float`.
    pub linear: LinearKind,
    /// Number of token ids; 0 takes it from the tokenizer.
    pub vocab_size: usize,
    /// Classes of a classifier, or outputs of a regression; 0 takes it from the data.
    pub num_labels: usize,
    /// Width of the vectors that a perceptron reads; 0 takes it from the data.
    pub input_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Number of blocks; of an encoder–decoder, those of the encoder.
    pub num_hidden_layers: usize,
    /// Number of blocks of an encoder–decoder's decoder; absent means as many as the encoder has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_decoder_layers: Option<usize>,
    /// Multiplies `hidden_size` and `intermediate_size` when a configuration is loaded, and is then gone: widths become
    /// multiples of twice the number of heads. For width sweeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width_multiple: Option<f64>,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key/value heads (grouped-query attention); absent means as many as query heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; absent means `hidden_size / num_attention_heads`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// Whether each query and key head is normed before it is rotated: RMSNorm over `head_dim`, one γ for the query
    /// heads of a block and one for its key heads (Qwen3).
    pub qk_norm: bool,
    /// Longest sequence, and the length of the KV cache.
    pub max_position_embeddings: usize,
    /// Base of the rotary position embedding.
    pub rope_theta: f64,
    /// How the frequencies of rotary positions are changed for longer contexts, in transformers' keys: `{ rope_type =
    /// "linear", factor = 2.0 }`; absent means not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<RopeScaling>,
    /// Rotary or sinusoidal positions.
    pub position: PositionKind,
    /// Gated or plain feed-forward block.
    pub mlp: MlpKind,
    /// Activation of the feed-forward block.
    pub hidden_act: HiddenAct,
    /// Share of the activations that training drops after the embedding and at the end of each block's parts.
    pub dropout: f64,
    /// Whether the head shares the embedding's matrix.
    pub tie_word_embeddings: bool,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f64,
    /// Standard deviation of the normal distribution that weights are drawn from.
    pub initializer_range: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            linear: LinearKind::Ternary,
            vocab_size: 0,
            num_labels: 0,
            input_size: 0,
            hidden_size: 128,
            intermediate_size: 344,
            num_hidden_layers: 4,
            num_decoder_layers: None,
            width_multiple: None,
            num_attention_heads: 4,
            num_key_value_heads: None,
            head_dim: None,
            qk_norm: false,
            max_position_embeddings: 256,
            rope_theta: 10_000.0,
            rope_scaling: None,
            position: PositionKind::Rotary,
            mlp: MlpKind::Gated,
            hidden_act: HiddenAct::Silu,
            dropout: 0.0,
            tie_word_embeddings: false,
            rms_norm_eps: 1e-5,
            initializer_range: 0.02,
        }
    }
}

/// How BitLinear quantises, and where the norms stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuantConfig {
    /// Where the scale of ternary weights is from, and with it the threshold, half a scale: `absmean`, `absmedian`, `rms`
    /// (1.224 root mean squares), `mse` (least squared error), or `sign`, whose weights are −1 and 1.
    pub weights: WeightQuantizer,
    /// One scale per `tensor`, per output `row` or per group of a row: `group-64` for 64 weights, `group` for 128.
    pub granularity: Granularity,
    /// `int8`, `int4` or `none`.
    pub activations: ActivationQuantizer,
    /// Norm placement: `pre`, `inside`, `sub` or `post`.
    pub norm: NormPlacement,
    /// Whether each scale is learned, as a multiple of what `quant.weights` says that begins at 1 (ParetoQ's learned scale,
    /// by the gradient of LSQ). The exported model has the product.
    pub learned_scale: bool,
}

impl QuantConfig {
    /// How the linear layers quantise.
    pub fn quantization(&self) -> Quantization {
        let QuantConfig {
            weights,
            granularity,
            activations,
            norm: _,
            learned_scale: _,
        } = *self;
        Quantization {
            weights,
            granularity,
            activations,
        }
    }
}

/// A model configuration that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A field must be positive.
    #[error("model.{field} must be at least 1")]
    Zero {
        /// The offending field.
        field: &'static str,
    },
    /// A float field is out of its range.
    #[error("model.{field} = {value} is out of range: {expected}")]
    Range {
        /// The offending field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// One field must divide another.
    #[error("model.{divisor} = {divisor_value} must divide model.{field} = {value}")]
    Indivisible {
        /// The dividend.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The divisor.
        divisor: &'static str,
        /// Its value.
        divisor_value: usize,
    },
    /// Rotary embedding rotates halves, so a head's width must be even.
    #[error("the head width must be even for rotary embedding, got {0}; set model.head_dim")]
    OddHead(usize),
    /// The model has another form in this task.
    #[error("{field} = \"{value}\" {problem}")]
    Form {
        /// The offending field.
        field: &'static str,
        /// Its value.
        value: &'static str,
        /// What does not go together, and the remedy.
        problem: &'static str,
    },
    /// A GPU gives a kernel only so much of a buffer.
    #[error(
        "{matrix} takes {} MB, this device binds at most {} MB at once (`bitnet doctor` lists the devices); take another \
         device, a smaller model or `--backend flex`",
        bytes.div_ceil(1_000_000), limit / 1_000_000
    )]
    TooLarge {
        /// Which matrix, and its shape.
        matrix: String,
        /// Its bytes.
        bytes: u64,
        /// Most that the device binds.
        limit: u64,
    },
}

impl ModelConfig {
    /// Number of blocks of an encoder–decoder's decoder.
    pub fn decoder_layers(&self) -> usize {
        self.num_decoder_layers.unwrap_or(self.num_hidden_layers)
    }

    /// Number of key/value heads.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_width(&self) -> usize {
        self.head_dim
            .unwrap_or_else(|| self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Weights of the matrices of a decoder-only Transformer or an encoder of this shape; an encoder–decoder has more.
    /// A float, which counts beyond any integer: a configuration may ask for whatever it likes.
    pub fn matrix_weights(&self) -> f64 {
        let of = |n: usize| n as f64;
        let (hidden, head) = (of(self.hidden_size), of(self.head_width()));
        let heads = of(self.num_attention_heads) + of(self.kv_heads());
        let feed_forward = match self.mlp {
            MlpKind::Gated => 3.0,
            MlpKind::Plain => 2.0,
        };
        let block = hidden * (2.0 * heads * head + feed_forward * of(self.intermediate_size));
        of(self.num_hidden_layers) * block + of(self.vocab_size) * hidden
    }

    /// Checks that a device takes each matrix of the model; any does that is not a GPU. Tables (embedding and head) are
    /// read in blocks, but where they are trained, on an autodiff device.
    ///
    /// # Errors
    /// Names the first matrix that is larger than the device binds at once.
    pub fn check_device(&self, packed: bool, device: &Device) -> Result<(), ConfigError> {
        let Some(limits) = device_limits(device) else {
            return Ok(());
        };
        let hidden = self.hidden_size;
        let width = |cols: usize| if packed { words_per_row(cols) } else { cols };
        let queries = self.num_attention_heads * self.head_width();
        let mut matrices = vec![
            ("self_attn.q_proj", queries, hidden, width(hidden)),
            (
                "mlp.gate_proj",
                self.intermediate_size,
                hidden,
                width(hidden),
            ),
        ];
        if device.is_autodiff() {
            matrices.push(("embed_tokens", self.vocab_size, hidden, hidden));
        }
        for (name, rows, cols, words) in matrices {
            let bytes = 4 * rows as u64 * words as u64;
            if bytes > limits.binding_bytes {
                return Err(ConfigError::TooLarge {
                    matrix: format!("{name} [{rows}, {cols}]"),
                    bytes,
                    limit: limits.binding_bytes,
                });
            }
        }
        Ok(())
    }

    /// # Panics
    /// If a sequence of so many tokens exceeds the model's positions.
    pub(crate) fn check_length(&self, tokens: usize) {
        assert!(
            tokens <= self.max_position_embeddings,
            "{tokens} tokens exceed max_position_embeddings = {}",
            self.max_position_embeddings
        );
    }

    /// Checks that the decoder-only model has this form: LLaMA-shaped, as the CPU engine runs it.
    ///
    /// # Errors
    /// Names the first setting that is for encoders.
    pub fn check_decoder_only(&self, quant: &QuantConfig) -> Result<(), ConfigError> {
        let problem = "is for encoders and encoder–decoders; a language model (task = \"lm\") has rotary positions, a gated \
                       feed-forward block and no norm after its residual sums";
        let refuse = |field, value| {
            Err(ConfigError::Form {
                field,
                value,
                problem,
            })
        };
        match () {
            _ if self.position == PositionKind::Sinusoidal => {
                refuse("model.position", "sinusoidal")
            }
            _ if self.mlp == MlpKind::Plain => refuse("model.mlp", "plain"),
            _ if quant.norm == NormPlacement::Post => refuse("quant.norm", "post"),
            _ => Ok(()),
        }
    }

    /// Factors are numbers, and as many as there are frequencies.
    fn check_rope_scaling(&self) -> Result<(), ConfigError> {
        let (numbers, count): (Vec<f64>, _) = match &self.rope_scaling {
            None => return Ok(()),
            Some(RopeScaling::Linear { factor }) => (vec![*factor], None),
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original,
            }) => {
                let ramp = high_freq_factor - low_freq_factor;
                (
                    vec![*factor, *low_freq_factor, ramp, *original as f64],
                    None,
                )
            }
            Some(RopeScaling::Yarn {
                factor,
                original_max_position_embeddings: original,
                attention_factor,
                beta_fast,
                beta_slow,
            }) => {
                let amplitude = attention_factor.unwrap_or(1.0);
                let numbers = vec![*factor, *original as f64, amplitude, *beta_fast, *beta_slow];
                (numbers, None)
            }
            Some(RopeScaling::Factors { factors }) => {
                let numbers = factors.iter().map(|factor| f64::from(*factor)).collect();
                (numbers, Some(factors.len()))
            }
        };
        if let Some(found) = count
            && found != self.head_width() / 2
        {
            return Err(ConfigError::Range {
                field: "rope_scaling",
                value: format!("{found} factors"),
                expected: "one for each pair of a head (model.head_dim / 2)",
            });
        }
        match numbers.iter().find(|x| !(**x > 0.0 && **x <= 1e9)) {
            None => Ok(()),
            Some(x) => Err(ConfigError::Range {
                field: "rope_scaling",
                value: x.to_string(),
                expected: "numbers above 0 and at most 1e9, high_freq_factor above low_freq_factor",
            }),
        }
    }

    /// Checks that the model can be built. A `vocab_size` of 0 is allowed: it is filled in from the tokenizer.
    ///
    /// # Errors
    /// Names the first field that is zero, out of range or indivisible.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("num_decoder_layers", self.decoder_layers()),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { field });
            }
        }
        if self.mlp == MlpKind::Gated && self.hidden_act.gate().is_none() {
            return Err(ConfigError::Form {
                field: "model.hidden_act",
                value: "relu",
                problem: "is for model.mlp = \"plain\"; a gate takes silu or relu2",
            });
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(ConfigError::Range {
                field: "dropout",
                value: self.dropout.to_string(),
                expected: "at least 0 and below 1",
            });
        }
        for (field, value, most) in [
            ("rope_theta", self.rope_theta, 1e12),
            ("rms_norm_eps", self.rms_norm_eps, 10.0),
            ("initializer_range", self.initializer_range, 10.0),
        ] {
            if !(value > 0.0 && value <= most) {
                return Err(ConfigError::Range {
                    field,
                    value: value.to_string(),
                    expected: "above 0, and at most 10 (model.rope_theta: 1e12)",
                });
            }
        }
        if self.head_dim.is_none() && !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(ConfigError::Indivisible {
                field: "hidden_size",
                value: self.hidden_size,
                divisor: "num_attention_heads",
                divisor_value: self.num_attention_heads,
            });
        }
        if !self.num_attention_heads.is_multiple_of(self.kv_heads()) {
            return Err(ConfigError::Indivisible {
                field: "num_attention_heads",
                value: self.num_attention_heads,
                divisor: "num_key_value_heads",
                divisor_value: self.kv_heads(),
            });
        }
        self.check_rope_scaling()?;
        let head = self.head_width();
        if head == 0 || !head.is_multiple_of(2) {
            return Err(ConfigError::OddHead(head));
        }
        Ok(())
    }
}

/// A size that is filled in from the data, once the model is built.
pub(crate) fn require(field: &'static str, value: usize) -> Result<(), ConfigError> {
    match value {
        0 => Err(ConfigError::Zero { field }),
        _ => Ok(()),
    }
}
