//! The configuration of a run: schema, layering, and errors that name the mistake.
//!
//! A run is described by one TOML file. [`RunConfig`] is its schema: `[model]` and `[quant]` come from `bitnet-models`,
//! the other sections are defined here. Every key has a default, so a file says only what differs.
//!
//! | file | concept |
//! |---|---|
//! | `run`, `task` | the whole file; what is learned |
//! | `data`, `recipe`, `decode`, `compare` | a section each |
//! | `train`, `optim`, `schedule` | `[train]`; the optimiser of each twin; its rate and weight decay by the step |
//! | `experiment`, `executor` | `experiment.toml`; its `[executor]` |
//! | `loader`, `layer`, `document` | layers stacked; one of them, checked; where its settings stand in its text |
//! | `schema`, `meaning` | which keys exist; what each means |
//! | `scope`, `condition` | which tasks read a key; under which values of others it counts |
//! | `ranges`, `validate` | the numbers that a key takes; values that make no sense, alone or together |
//! | `describe`, `reference` | all that is known of a key; the page that has every key |
//! | `print` | a configuration as TOML |
//! | `paths` | one path, or several |
//! | `origin` | what the model of `train.init_from` decides |
//! | `error`, `foreign` | what is wrong; the names that other programs have for a key |
//!
//! # Layers
//!
//! A [`Loader`] stacks the sources of a setting; a later layer replaces single keys of the earlier ones:
//!
//! 1. the defaults of the schema,
//! 2. the file (or a built-in text such as [`QUICKSTART`]),
//! 3. the environment: `BITNET_TRAIN__STEPS=10` sets `train.steps`. Two underscores stand for the dot; variables
//!    without them (`BITNET_BACKEND`) are flags of the command line and are left alone here,
//! 4. `--set section.key=value`, the value in TOML, where a bare word is a string,
//! 5. flags, which the command line applies as further [`Loader::set`] calls.
//!
//! ```
//! use bitnet_config::{LinearKind, Loader, QUICKSTART};
//!
//! let config = Loader::new()
//!     .builtin("quickstart", QUICKSTART)?
//!     .env([("BITNET_TRAIN__STEPS", "100")])?
//!     .set("train.ternary.learning_rate=6e-3")?
//!     .finish()?;
//! assert_eq!(config.name, "quickstart");
//! assert_eq!(config.train.steps, 100);
//!
//! // Each twin has its own optimiser: the shared keys, with those of [train.float] or [train.ternary] on top.
//! let ternary = config.train.optim(LinearKind::Ternary);
//! assert_eq!(ternary.learning_rate, 6e-3);
//! let float = config.train.optim(LinearKind::Float);
//! assert_eq!(ternary.learning_rate_at(99, 100), 6e-3 * float.learning_rate_at(99, 100) / 2e-3);
//!
//! // What was resolved can be printed, and loads again to the same configuration.
//! let again = Loader::new().builtin("config", &config.to_toml()?)?.finish()?;
//! assert_eq!(again, config);
//! # Ok::<(), bitnet_config::ConfigError>(())
//! ```
//!
//! # Mistakes
//!
//! A misspelt key would silently train the wrong model, so every key of every layer must exist, and what was written
//! must have the right type. The message names the layer, the key, the line and, when one is close, the right name, and
//! shows it:
//!
//! ```
//! # use bitnet_config::Loader;
//! let error = Loader::new().builtin("quickstart", "[train]\nleraning_rate = 1e-3\n").unwrap_err();
//! assert_eq!(
//!     error.to_string().lines().collect::<Vec<_>>(),
//!     [
//!         "built-in quickstart: unknown key train.leraning_rate (line 2); did you mean train.learning_rate?",
//!         "    2 | leraning_rate = 1e-3",
//!         "      | ^^^^^^^^^^^^^",
//!     ]
//! );
//! ```
//!
//! A key that the run's task does not read is refused too, with the tasks that read it ([`Task::reads`]), and one that
//! counts only under another value of another key, with that value ([`RunConfig::reads`]).
//! [`Loader::finish`] then checks the values against each other ([`RunConfig::validate`]).
//!
//! # Derived defaults
//!
//! A few defaults depend on what was written, so that shrinking a model takes one key and not five: unless they are
//! written themselves, `train.context`, `data.max_length`, `decode.max_length` and the lengths in `[compare]` shrink to
//! fit `model.max_position_embeddings`, and `train.warmup_steps` to a tenth of `train.steps`. What is written is never
//! changed, only checked.

mod compare;
mod condition;
mod data;
mod decode;
mod describe;
mod document;
mod error;
mod executor;
mod experiment;
mod foreign;
mod layer;
mod loader;
mod meaning;
mod optim;
mod origin;
mod paths;
mod print;
mod ranges;
mod recipe;
mod reference;
mod run;
mod schedule;
mod schema;
mod scope;
mod task;
mod train;
mod validate;

pub use bitnet_models::{
    ActivationQuantizer, Granularity, HiddenAct, LinearKind, MlpKind, ModelConfig, NormPlacement,
    PositionKind, QuantConfig, WeightQuantizer,
};
pub use compare::CompareConfig;
pub use data::{DataConfig, DataKind, Level, Synthetic};
pub use decode::DecodeConfig;
pub use describe::{Description, describe, json_schema};
pub use document::Place;
pub use error::{ConfigError, Origin};
pub use executor::ExecutorConfig;
pub use experiment::{ExperimentConfig, FrontierConfig, ScalingConfig, VariantConfig};
pub use loader::Loader;
pub use meaning::meaning;
pub use optim::{OptimConfig, OptimOverride, Optimizer};
pub use origin::Decided;
pub use paths::Paths;
pub use recipe::RecipeConfig;
pub use reference::reference;
pub use run::RunConfig;
pub use schedule::Schedule;
pub use task::Task;
pub use train::TrainConfig;

/// The text of `configs/compare/quickstart.toml`, which lies in this crate: what `bitnet compare` runs without a file.
pub const QUICKSTART: &str = include_str!("../quickstart.toml");
