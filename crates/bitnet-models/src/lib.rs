//! Transformer models whose linear layers are ternary or float by a switch.

mod attention;
mod cache;
mod config;
mod generate;
mod host;
mod init;
mod mlp;
mod projection;
mod rope;
mod runner;
mod sample;
mod transformer;

pub use bitnet_engine as engine;
pub use bitnet_nn::fused;
pub use bitnet_nn::{DeviceLimits, Granularity, LinearKind, WeightQuantizer, device_limits};
pub use cache::KvCache;
pub use config::{ConfigError, HiddenAct, ModelConfig, NormPlacement, QuantConfig};
pub use generate::{GenerateError, Generation, Stop, check_prompt, generate};
pub use projection::Projection;
pub use runner::{EngineRunner, Runner, TensorRunner};
pub use sample::{Sampler, Sampling, SamplingError};
pub use transformer::{Block, Transformer};
