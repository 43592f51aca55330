//! A model file that is open, and what the engine runs of it.

use std::path::{Path, PathBuf};

use bitnet_engine::{
    ActivationQuantizer, Engine, Gate, Granularity, Kernel, Norms, Options, Shape, Source,
};
use bitnet_formats::{
    ModelFile, model,
    model::{
        Activation, ActivationFormat, Form, LayerRole, ModelDescription, ModelShape, Projection,
        Role, Rope, Tensor, WeightFormat,
    },
};

use crate::{
    LoadError,
    weights::{FileWeights, Holding},
};

/// What ternary layers do to their input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activations {
    /// int8 by absmax of each token, as the file says.
    Int8,
    /// int8 by absmax of each token, of which the file says nothing: the model was not made for it, and its answers move by
    /// the rounding. Peers do the same in blocks. [`Checkpoint::with_activations`] takes floats.
    AssumedInt8,
    /// int8 in blocks of 32, for float weights that are stored in blocks of codes: what such files are made for.
    Int8Blocks,
    /// Floats.
    Float,
}

/// A GGUF file or a folder of transformers.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    file: ModelFile,
    activations: Activations,
    /// Whether tables in blocks of codes stay so.
    tables: bool,
}

impl Checkpoint {
    /// Opens a file or folder and finds out what it is; no tensor is read.
    ///
    /// # Errors
    ///
    /// If it cannot be read, contradicts its format or itself, or has a convention that is unknown.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint, LoadError> {
        let path = path.as_ref();
        Ok(Checkpoint::of(path, ModelFile::open(path)?))
    }

    /// Finds out what a file is that is open; `path` is its name.
    pub fn of(path: impl Into<PathBuf>, file: ModelFile) -> Checkpoint {
        let description = file.source().description();
        let ternary = description.weights.value != WeightFormat::Float;
        let in_blocks = file.source().tensors().iter().any(|entry| {
            let is_projection = matches!(entry.role, Role::Layer(_, LayerRole::Projection(_)));
            is_projection && entry.form == Form::Blocks
        });
        let activations = match description.activations.value {
            ActivationFormat::Int8 => Activations::Int8,
            ActivationFormat::Float | ActivationFormat::Unknown if ternary => {
                Activations::AssumedInt8
            }
            ActivationFormat::Float | ActivationFormat::Unknown if in_blocks => {
                Activations::Int8Blocks
            }
            ActivationFormat::Float | ActivationFormat::Unknown => Activations::Float,
        };
        Checkpoint {
            path: path.into(),
            file,
            activations,
            tables: true,
        }
    }

    /// The model with other activations than its file says. Codes times floats are held as floats.
    pub fn with_activations(mut self, activations: ActivationQuantizer) -> Checkpoint {
        let ternary = self.description().weights.value != WeightFormat::Float;
        self.activations = match activations {
            ActivationQuantizer::Float => Activations::Float,
            _ if ternary => Activations::Int8,
            _ => Activations::Int8Blocks,
        };
        self
    }

    /// The model with an embedding and a head as [`Options::head`] says, where they would be held as their file stores them.
    pub fn with_chosen_head(mut self) -> Checkpoint {
        self.tables = false;
        self
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// What the model is.
    pub fn description(&self) -> &ModelDescription {
        self.file.source().description()
    }

    /// What ternary layers do to their input.
    pub fn activations(&self) -> Activations {
        self.activations
    }

    /// Which weights share a scale, in the first matrix; `None` of a float model.
    ///
    /// # Errors
    ///
    /// If the matrix cannot be read.
    pub fn granularity(&self) -> Result<Option<Granularity>, LoadError> {
        Ok(match self.description().weights.value {
            WeightFormat::Float => None,
            WeightFormat::OnlineAbsMean | WeightFormat::Codes { .. } => Some(Granularity::Tensor),
            WeightFormat::Blocks | WeightFormat::TernaryValues { .. } => {
                let query = Role::Layer(0, LayerRole::Projection(Projection::Query));
                match self.file.source().read(query)? {
                    Tensor::Ternary(ternary) => Some(ternary.coarsened().granularity()),
                    Tensor::Float { .. } => None,
                }
            }
        })
    }

    /// The shape that the engine runs.
    pub fn shape(&self) -> Shape {
        let ModelDescription {
            // What a family means is in the findings below.
            family: _,
            shape:
                ModelShape {
                    vocab_size,
                    hidden_size,
                    intermediate_size,
                    num_hidden_layers,
                    num_attention_heads,
                    num_key_value_heads,
                    head_dim,
                    max_position_embeddings,
                },
            norms,
            activation,
            rope,
            tied_head,
            // Come with the tensors.
            weights: _,
            // Chosen when the file was opened.
            activations: _,
            // Text is not the engine's.
            tokenizer: _,
            special_tokens: _,
            chat_template: _,
            pooling: _,
            warnings: _,
        } = self.description();
        let model::Norms {
            eps,
            sub_norms,
            query_key_norms,
            projection_norms,
        } = norms.value;
        let Rope {
            theta,
            scaling,
            // Rows are handed out in rotate-half order.
            interleaved_in_file: _,
        } = &rope.value;
        Shape {
            vocab_size: *vocab_size,
            hidden_size: *hidden_size,
            intermediate_size: *intermediate_size,
            num_hidden_layers: *num_hidden_layers,
            num_attention_heads: *num_attention_heads,
            num_key_value_heads: *num_key_value_heads,
            head_dim: *head_dim,
            max_position_embeddings: *max_position_embeddings,
            rope_theta: *theta,
            rope_scaling: scaling.clone(),
            rms_norm_eps: eps as f32,
            gate: match activation.value {
                Activation::Silu => Gate::Silu,
                Activation::Relu2 => Gate::Relu2,
            },
            activations: match self.activations {
                Activations::Int8 | Activations::AssumedInt8 => ActivationQuantizer::Int8,
                Activations::Int8Blocks | Activations::Float => ActivationQuantizer::Float,
            },
            norms: Norms {
                block: true,
                sub: sub_norms,
                inside: projection_norms,
            },
            qk_norm: query_key_norms,
            tie_word_embeddings: tied_head.value,
        }
    }

    /// The shape and the weights, as floats where they are not ternary. With `masters` the latent weights of a model that is
    /// quantised when it runs stay as they are, to be trained on.
    ///
    /// # Errors
    ///
    /// If a table cannot be read.
    pub fn source(&self, masters: bool) -> Result<(Shape, impl Source), LoadError> {
        let holding = Holding {
            kernel: Kernel::detect(),
            stored: false,
            blocks: false,
            tables: false,
            masters,
        };
        Ok((self.shape(), FileWeights::new(self.file.source(), holding)?))
    }

    /// The model, ready to run.
    ///
    /// # Errors
    ///
    /// If a tensor is not what its type demands, the processor lacks the kernel, or no threads can be started.
    pub fn engine(&self, options: Options) -> Result<Engine, LoadError> {
        let blocks = self.activations != Activations::Float;
        let holding = Holding {
            kernel: options.kernel,
            stored: true,
            blocks,
            tables: blocks && self.tables,
            masters: false,
        };
        let weights = FileWeights::new(self.file.source(), holding)?;
        Engine::new(self.shape(), &weights, options).map_err(|error| match error {
            bitnet_engine::EngineError::Source(source) => {
                match source.downcast::<bitnet_formats::Error>() {
                    Ok(error) => LoadError::File(*error),
                    Err(source) => bitnet_engine::EngineError::Source(source).into(),
                }
            }
            error => error.into(),
        })
    }
}
