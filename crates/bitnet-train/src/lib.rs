//! Training, evaluation, checkpoints and export of BitNet models.

mod agreement;
mod checkpoint;
mod clip;
mod device;
mod energy;
mod error;
mod evaluate;
mod export;
mod loss;
mod memory;
mod names;
mod numerics;
mod optimizer;
mod run_dir;
mod task;
mod tasks;
mod telemetry;
mod timing;
mod trainer;

pub use agreement::greedy_agreement;
pub use checkpoint::{Checkpoint, State};
pub use device::{Backend, DeviceError};
pub use energy::Meter;
pub use error::TrainError;
pub use evaluate::{evaluate, evaluate_engine};
pub use export::{export, exported_bytes, load_exported, load_latent};
pub use memory::{check_running, check_training, peak_rss_bytes};
pub use run_dir::RunDir;
pub use task::{StepLoss, Task};
pub use tasks::{
    Classify, ClassifyVectors, LanguageModel, LayerRegression, Translate, tokenizer_kind, translate,
};
pub use timing::{StepTimer, time_inference};
pub use trainer::{Observer, Progress, Trained, Training};
