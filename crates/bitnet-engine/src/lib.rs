//! Inference of Transformers on the CPU: ternary (BitNet b1.58) or float, on plain slices.
//!
//! A token of a ternary model is little arithmetic and one pass over its weights, so decoding is as fast as memory, if
//! nothing else costs anything: a 0.7 B model has 5 ms for 24 blocks. A tensor library's dispatch of some 25 operations a
//! block takes a good part of that. This crate is the same model without one: [`Engine`] holds the weights as the
//! running kernel reads them (`bitnet_kernels::PrepackedTernary`), [`Session`] the keys and values of a text, and a
//! small pool of threads partitions each product. Token ids go in, logits come out: no text, sampling or file formats.
//!
//! The result does not depend on the number of threads, the instruction set, the layout of the weights, or on whether a
//! prompt is read at once or token by token: ternary and int8 sums are exact, and float sums have one order
//! (but for attention to keys and values in bf16 on tiles, which has another: `bitnet_kernels::Attention`). The float
//! twin ([`Weights::Float`]) runs through the same code with equally tuned kernels, so that the two compare fairly.
//!
//! | file | concept |
//! |---|---|
//! | `shape`, `weights`, `random` | what goes in |
//! | `engine`, `embedding` | repacking at load; the public face |
//! | `pass` | several texts at once |
//! | `forward`, `attention` | the order of work of a pass; its attention |
//! | `linear` | norm, quantiser and product of one layer |
//! | `session`, `rope` | the key/value cache, positions |
//! | `partition`, `lent` | tasks, and outputs that they write in parts |
//! | `pool` | the threads |
//! | `sequence` | encoders and encoder–decoders |
//! | `perceptron` | the multi-layer perceptron |
//! | `error` | why a model or its tokens are refused |
mod attention;
mod embedding;
mod engine;
mod error;
mod forward;
mod lent;
mod linear;
mod partition;
mod pass;
mod perceptron;
mod pool;
mod random;
mod rope;
pub mod sequence;
mod session;
mod shape;
mod weights;

pub use bitnet_kernels::{
    ActivationQuantizer, DenseFormat, FloatFormat, Granularity, Kernel, Layout, Strategy,
    float::{Gate, RopeScaling},
};
pub use engine::{Engine, Options};
pub use error::EngineError;
pub use pass::{Part, Wanted};
pub use perceptron::{HiddenWeights, PerceptronEngine, PerceptronShape};
pub use random::RandomWeights;
pub use session::Session;
pub use shape::{Norms, Shape};
pub use weights::{LayerWeights, LinearWeights, Source, SourceError, Table, Weights};
