//! Experiments: many runs, one question.
//!
//! A comparison of two runs says what happened once. Whether it would happen again is a matter of seeds, and whether it
//! was fair is a matter of learning rates: a variant trained at the other one's best rate has lost before it started. An
//! experiment is therefore a product, variants × learning rates × seeds. The rate is chosen per variant on a grid, and
//! the chosen one is run with every seed. What was found is an [`Experiment`], and as with a comparison everything else
//! is a pure function of it.
//!
//! ```text
//! Experiment ──► statistics ──► tables, winner ──► report.md
//!     │                                              ▲
//!     └────────► plots (SVG) ────────────────────────┘
//! [Experiment] ─► render_index ─► README.md of the folder
//! ```
//!
//! Three habits keep the numbers honest:
//!
//! - **Paired by seed.** Two variants with the same seed share data order, so the differences by seed vary less than the
//!   scores do; intervals are of those differences ([`statistics`]).
//! - **No digit without support.** A mean is printed to the second digit of its standard deviation, a loss never to more
//!   than four digits after the point, and with one seed the text says that no spread is known.
//! - **What was not measured is a dash**, and a run that diverged is counted, not dropped in silence.
//!
//! ```
//! use bitnet_report::experiment::{Experiment, Metric, Run, Variant, render, winner};
//!
//! let run = |seed, score| Run { seed, score, ..Run::default() };
//! let variant = |name: &str, scores: [f64; 3]| Variant {
//!     name: name.into(),
//!     linear: name.into(),
//!     runs: (1..).zip(scores).map(|(seed, score)| run(seed, score)).collect(),
//!     ..Variant::default()
//! };
//! let experiment = Experiment {
//!     name: "gap".into(),
//!     metric: Metric { key: "loss".into(), label: "validation loss".into(), ..Metric::default() },
//!     variants: vec![variant("float", [1.70, 1.71, 1.69]), variant("ternary", [1.74, 1.76, 1.73])],
//!     baseline: Some("float".into()),
//!     ..Experiment::default()
//! };
//! assert_eq!(
//!     winner(&experiment),
//!     "Best is float with a validation loss of 1.700 ± 0.010 over 3 seeds; its lead over the runner-up, ternary, is \
//!      0.0433 ± 0.0058, paired by seed (95 % interval 0.0290 to 0.0577), which excludes 0."
//! );
//! let dir = tempfile::tempdir()?;
//! render(&experiment, dir.path())?;
//! assert!(dir.path().join("report.md").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod curve;
mod headline;
mod index;
mod numbers;
pub mod plots;
mod render;
mod run;
pub mod statistics;
mod summary;
pub mod tables;
mod winner;

pub use headline::headline;
pub use index::{INDEX_TITLE, index_markdown, render_index};
pub use render::{render, report_markdown};
pub use run::{CurvePoint, LayerTelemetry, LossPoint, Run, TelemetryPoint};
pub use summary::{Experiment, GridPoint, Metric, Variant};
pub use winner::winner;
