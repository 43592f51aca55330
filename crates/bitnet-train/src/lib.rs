//! Training, evaluation, checkpoints and export of BitNet models.

mod agreement;
mod checkpoint;
mod checksum;
mod clip;
mod device;
mod energy;
mod error;
mod evaluate;
mod export;
mod lock;
mod loss;
mod memory;
mod names;
mod numerics;
mod optimizer;
mod pack;
mod resume;
mod run_dir;
mod seal;
mod state;
mod task;
mod tasks;
mod telemetry;
mod timing;
mod trainer;
mod window;

pub use agreement::greedy_agreement;
pub use checkpoint::Checkpoint;
pub use device::{Backend, DeviceError};
pub use energy::Meter;
pub use error::TrainError;
pub use evaluate::{evaluate, evaluate_engine};
pub use export::{export, export_note, exported_bytes, load_exported, load_latent};
pub use lock::FolderLock;
pub use memory::{check_running, check_training, peak_rss_bytes};
pub use resume::check_same;
pub use run_dir::RunDir;
pub use state::State;
pub use task::{StepLoss, Task};
pub use tasks::{
    Classify, ClassifyVectors, LanguageModel, LayerRegression, Translate, tokenizer_kind, translate,
};
pub use timing::{StepTimer, time_inference};
pub use trainer::{Observer, Progress, Trained, Training};
