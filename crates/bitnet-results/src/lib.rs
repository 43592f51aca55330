//! What runs and experiments find: the types of their files, statistics, and the energy model.
//!
//! | file | concept |
//! |---|---|
//! | `metrics`, `train` | a run while it trains; what that took |
//! | `measured`, `evaluation` | what is measured of trained models; scores on a split |
//! | `experiment`, `variant`, `run` | all runs |
//! | `comparison` | an experiment as `bitnet compare` answers it |
//! | `statistics`, `significance` | spreads, intervals, differences by seed, ratios by turn; many comparisons with one |
//! | `frontier`, `scaling` | what a loss costs; how it falls with size |
//! | `energy` | the energy model |
//! | `files`, `error` | how files are written and read; what can go wrong |
//!
//! Training writes these types, measuring adds to them, an experiment collects them, a report reads them. Each exists once:
//!
//! ```text
//! metrics.jsonl   MetricsLine      a step, an evaluation, the ternary layers      one run, while it trains
//! summary.json    TrainSummary     what training took, the final evaluation       one run, when it ends
//! result.json     Finished         that, and Measured of the exported model       one run of an experiment
//! formats.json    StoredAs         its model in formats of others                 one run of an experiment
//! summary.json    Experiment       Variant > Run > curves                         all runs: what a report is made from
//! ```
//!
//! A comparison (`bitnet compare`) is an [`Experiment`] of two variants and one seed.
//!
//! Three rules hold for every file. Keys may be added and have defaults, so that an older file loads. What was not or
//! cannot be measured is `None`, never 0. And JSON has no NaN: a number that is not finite is written as `null` and
//! read back as NaN.
//!
//! ```
//! use bitnet_results::{Experiment, Linear, Run, Variant};
//!
//! let run = |score| Run { score, ..Run::default() };
//! let variant = |name: &str, linear, score| {
//!     Variant { name: name.into(), linear, runs: vec![run(score)], ..Variant::default() }
//! };
//! let experiment = Experiment {
//!     variants: vec![variant("float", Linear::Float, 1.70), variant("ternary", Linear::Ternary, 1.74)],
//!     ..Experiment::default()
//! };
//! let (float, ternary) = experiment.twins().expect("one float and one ternary variant with a run each");
//! assert!(ternary.runs[0].score > float.runs[0].score);
//!
//! let dir = tempfile::tempdir()?;
//! experiment.save(&dir.path().join("summary.json"))?;
//! assert_eq!(Experiment::load(&dir.path().join("summary.json"))?, experiment);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod comparison;
pub mod energy;
mod error;
mod evaluation;
mod experiment;
mod files;
pub mod frontier;
mod measured;
mod metrics;
mod run;
pub mod scaling;
pub mod significance;
pub mod statistics;
mod train;
mod variant;

pub use comparison::Comparison;
pub use error::ResultError;
pub use evaluation::Evaluation;
pub use experiment::{Experiment, Machine, Metric};
pub use files::{load_json, save_json, sync_folder, write_atomic};
pub use measured::{
    Finished, Measured, Probes, Sample, Speed, StoredAs, TextMeasures, TokenMatch, Turns,
};
pub use metrics::{
    Curves, HealthPoint, LayerHealth, LayerTelemetry, MetricsLine, NamedLayer, SamplePoint,
    TrainPoint, ValPoint,
};
pub use run::Run;
pub use train::TrainSummary;
pub use variant::{GridPoint, Linear, Variant};
