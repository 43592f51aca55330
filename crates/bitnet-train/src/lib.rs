//! Training, evaluation, checkpoints and export of BitNet models.
//!
//! A trained run in a program on Burn: a language model as its module, a classifier as what answers texts.
//!
//! ```no_run
//! use bitnet_models::Transformer;
//! use bitnet_train::{Backend, RunDir, TextClassifier, load_exported};
//!
//! let device = Backend::Flex.device(0)?;
//! let model: Transformer = load_exported(&RunDir::open("runs/quickstart/ternary")?, &device)?;
//! println!("{} layers", model.config().num_hidden_layers);
//!
//! let news = TextClassifier::open(&RunDir::open("runs/news")?, false, &device)?;
//! let found = news.probabilities(&["Oil prices climb again"])?;
//! println!("{}", news.label_names()[found.likeliest(0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accumulate;
mod agreement;
mod answering;
mod by_blocks;
mod checkpoint;
mod checksum;
mod chosen;
mod clip;
mod device;
mod energy;
mod error;
mod evaluate;
mod export;
mod find_rate;
mod import;
mod interrupt;
mod location;
mod lock;
mod loss;
mod memory;
mod muon;
mod names;
mod numerics;
mod optimizer;
mod origin;
mod pack;
mod predict;
mod resume;
mod run_dir;
mod seal;
mod state;
mod stepper;
mod task;
mod tasks;
mod telemetry;
mod timing;
mod trainer;
mod window;

pub use agreement::greedy_agreement;
pub use answering::{Answering, OnEngine};
pub use checkpoint::Checkpoint;
pub use device::{Backend, DeviceError};
pub use energy::Meter;
pub use error::TrainError;
pub use evaluate::{evaluate, evaluate_engine};
pub use export::{export, export_note, exported_bytes, load_exported, load_latent};
pub use find_rate::{RatePoint, RateSearch, find_rate};
pub use import::import;
pub use interrupt::Interrupt;
pub use location::{Location, transformer};
pub use lock::FolderLock;
pub use memory::{check_running, check_training, peak_rss_bytes};
pub use predict::{TextClassifier, Translator, VectorClassifier};
pub use resume::check_same;
pub use run_dir::RunDir;
pub use state::State;
pub use task::{Answerer, Part, StepLoss, Task};
pub use tasks::{
    ClassProbabilities, Classify, ClassifyVectors, FineTune, LanguageModel, LayerRegression,
    Translate, TuningData, check_fields, cut, label_column, labelled_texts, labelled_vectors,
    of_classes, pair_columns, sentence_pairs, text_files,
};
pub use timing::{StepTimer, time_inference};
pub use trainer::{Observer, Progress, Trained, Training};
