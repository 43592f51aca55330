//! Training, evaluation, checkpoints and export of BitNet models.
//!
//! | file | concept |
//! |---|---|
//! | `trainer`, `stepper` | the loop; a step of the optimiser |
//! | `observer`, `schedule` | what the loop tells while it runs; how much of it is evaluation |
//! | `task` | what the loop knows of a task |
//! | `tasks` | one a file; `distill`: a teacher in the loss; `probabilities`, `writing`: what models answer |
//! | `loss`, `by_blocks`, `accumulate`, `clip` | the loss of a text; gradients by blocks, of several batches, clipped |
//! | `parallel` | a step on several devices |
//! | `optimizer`, `muon` | AdamW; Muon for matrices |
//! | `find_rate` | which learning rate to try |
//! | `device`, `numerics` | backends by name; the precision of products |
//! | `evaluate`, `agreement` | the loss of a split; whether the packed model answers as the trained one |
//! | `answering`, `predict` | models of examples, on the engine or on tensors; a run that is asked about new ones |
//! | `telemetry`, `window` | the health of ternary layers; the mean loss since it was last reported |
//! | `run_dir`, `seal`, `lock` | a run's folder; checksums of its settings; one writer at a time |
//! | `checkpoint`, `state` | what a run goes on from; where it stood |
//! | `resume`, `chosen` | going on from a checkpoint; a run at one of them |
//! | `pack`, `checksum`, `names` | files of tensors; checksums of data in memory; parameters under earlier names |
//! | `export` | the model of a run for inference |
//! | `location`, `import`, `origin` | MODEL, a run or files of others; such files as a run; what they say of text |
//! | `timing`, `memory`, `energy` | what is measured: speeds, memory, joules |
//! | `interrupt`, `error` | being asked to end; what can go wrong |
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
mod observer;
mod optimizer;
mod origin;
mod pack;
mod parallel;
mod predict;
mod resume;
mod run_dir;
mod schedule;
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
pub use observer::{Observer, Progress};
pub use parallel::check_devices;
pub use predict::{TextClassifier, Translator, VectorClassifier};
pub use resume::check_same;
pub use run_dir::RunDir;
pub use schedule::scored_batches;
pub use state::State;
pub use task::{Answerer, Part, StepLoss, Task};
pub use tasks::{
    ClassProbabilities, Classify, ClassifyVectors, FineTune, LanguageModel, LayerRegression,
    Translate, TuningData, check_fields, cut, label_column, labelled_texts, labelled_vectors,
    of_classes, pair_columns, sentence_pairs, text_files,
};
pub use timing::{StepTimer, time_inference};
pub use trainer::{Trained, Training};
