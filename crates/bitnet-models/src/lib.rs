//! Transformer models whose linear layers are ternary or float by a switch.
//!
//! | file | concept |
//! |---|---|
//! | `config` | `[model]` and `[quant]`: shape and quantisers |
//! | `network` | what all models have in common |
//! | `transformer` | the decoder-only model |
//! | `encoder`, `classifier`, `seq2seq` | the encoder; with a head; with a decoder |
//! | `perceptron` | the multi-layer perceptron; the single layer |
//! | `attention`, `cache` | attention of all models; its keys and values while decoding |
//! | `mlp`, `feed_forward`, `residual` | the gated feed-forward block; that or a plain one; norms and sums around parts |
//! | `projection`, `linear` | a linear layer in each of its forms; the float one |
//! | `positions`, `rope` | where a token stands; rotary angles |
//! | `dropout`, `init` | what is drawn on the host: masks, initial weights |
//! | `half` | activations in f16 on a GPU |
//! | `generate`, `runner` | a text by token ids; what runs the model for it, tensors or the engine |
//! | `to_engine`, `from_source` | a model for the CPU engine, and back |

mod attention;
mod cache;
mod classifier;
mod config;
mod dropout;
mod encoder;
mod feed_forward;
mod from_source;
mod generate;
mod half;
mod init;
mod linear;
mod mlp;
mod network;
mod perceptron;
mod positions;
mod projection;
mod residual;
mod rope;
mod runner;
mod seq2seq;
mod to_engine;
mod transformer;

pub use attention::MultiHeadAttention;
pub use bitnet_engine as engine;
pub use bitnet_generate::{
    BeamError, BeamSearch, EmptyBeam, Hypothesis, Sampler, Sampling, SamplingError, Vocabulary,
    argmax,
};
pub use bitnet_nn::float;
pub use bitnet_nn::{
    ActivationQuantizer, DeviceLimits, Granularity, Quantization, TernaryWord, TrainingForm,
    WeightQuantizer, device_limits,
};
pub use cache::KvCache;
pub use classifier::Classifier;
pub use config::{
    ConfigError, HiddenAct, LinearKind, MlpKind, ModelConfig, NormPlacement, PositionKind,
    QuantConfig,
};
pub use dropout::{Dropout, DropoutState};
pub use encoder::{Encoder, EncoderLayer, Sequences};
pub use feed_forward::{FeedForward, PlainMlp};
pub use from_source::{FromSourceError, Purpose};
pub use generate::{GenerateError, Generation, Limits, PrefixCache, Stop, check_prompt, generate};
pub use half::HalfError;
pub use init::Init;
pub use linear::Linear;
pub use network::Network;
pub use perceptron::{HiddenLayer, Perceptron, SingleLayer};
pub use positions::Positions;
pub use projection::Projection;
pub use residual::Residual;
pub use runner::{EngineRunner, Runner, TensorRunner};
pub use seq2seq::{Decoder, DecoderLayer, Decoding, EncoderDecoder};
pub use to_engine::{NotOnEngine, ToEngineError};
pub use transformer::{Block, Transformer};
