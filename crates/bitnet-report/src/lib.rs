//! Reports of experiments: tables, charts, sentences and pages, from a summary alone.
//!
//! A comparison of two runs says what happened once. Whether it would happen again is a matter of seeds, and whether it
//! was fair is a matter of learning rates. An experiment is therefore a product, variants × learning rates × seeds, and
//! a comparison (`bitnet compare`) is the smallest: one float and one ternary variant, one seed. What was found is an
//! [`Experiment`](bitnet_results::Experiment), written as `summary.json` before anything is drawn; everything here is a
//! pure function of it, so a report can be rendered again years later, on another machine, from the file alone.
//!
//! ```text
//! Experiment ──► tables, headline, charts ──► Document ──► templates ──► report.html, report.md
//! [Experiment] ─► index ─► README.md of the folder
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `page`, `document`, `templates` | what a report holds; sections of blocks; the two forms |
//! | `headline`, `winner`, `notes` | in words: what ternary costs, which variant is best, how to read the numbers |
//! | `tables`, `charts` | which tables and pictures an experiment has: `charts/curves` the losses, … |
//! | `table`, `svg` | how a table, and a chart of each kind is drawn: `svg/line`, `svg/bars`, … |
//! | `curve`, `scaling`, `speeds` | means over seeds; laws of size; when a ratio of speeds is told |
//! | `numbers`, `format`, `escape` | scores by their spread; numbers with units; text from outside |
//! | `render`, `index` | reports as files; the front page of a folder |
//! | `board` | runs on a page, while they train or after |
//!
//! Rules that keep a report honest:
//!
//! - **No direction is written down.** Every sentence is computed from the numbers, and reads right when the ternary
//!   variant is slower, larger, or has diverged.
//! - **Paired by seed, in turns.** Differences of scores are taken seed by seed, ratios of speeds turn by turn
//!   ([`bitnet_results::statistics`]). A ratio comes with its interval; where that is wide, the headline says so and
//!   gives no number.
//! - **No digit without support.** A mean is printed to the second digit of its standard deviation, and with one seed
//!   the text says that no spread is known.
//! - **What was not measured is a dash.** Energy is modelled, and says so wherever it appears. A run that diverged is
//!   counted, not dropped in silence.
//! - **Text from outside is escaped where it enters a document.** A model may well write `<script>`.
//!
//! No Burn, no network, no fonts, no plotting library: the crate builds in seconds and its output opens anywhere.
//!
//! ```
//! use bitnet_report::{headline, render};
//! use bitnet_results::{Experiment, Linear, Metric, Run, Variant};
//!
//! let run = |seed, score| Run { seed, score, ..Run::default() };
//! let variant = |name: &str, linear, scores: [f64; 3]| Variant {
//!     name: name.into(),
//!     linear,
//!     runs: (1..).zip(scores).map(|(seed, score)| run(seed, score)).collect(),
//!     ..Variant::default()
//! };
//! let float = variant("float", Linear::Float, [1.70, 1.71, 1.69]);
//! let ternary = variant("ternary", Linear::Ternary, [1.74, 1.76, 1.73]);
//! let metric = Metric { key: "loss".into(), label: "validation loss".into(), unit: "nats".into(), ..Metric::default() };
//! let mut experiment = Experiment { metric, variants: vec![float, ternary], ..Experiment::default() };
//! assert_eq!(
//!     headline(&experiment),
//!     "Best is float with a validation loss of 1.700 ± 0.010 over 3 seeds; its lead over the runner-up, ternary, is \
//!      0.0433 ± 0.0058 nats, paired by seed (95 % interval 0.0290 to 0.0577), which excludes 0."
//! );
//! // One seed of each: a comparison.
//! experiment.variants.iter_mut().for_each(|variant| variant.runs.truncate(1));
//! assert_eq!(
//!     headline(&experiment),
//!     "The ternary model’s validation loss is 1.740 against 1.700 (+0.040 nats, +2.4 %)."
//! );
//! let dir = tempfile::tempdir()?;
//! assert!(render(&experiment, dir.path())?.iter().all(|file| file.exists()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod board;
pub mod charts;
mod curve;
mod document;
mod escape;
pub mod format;
mod headline;
mod index;
mod notes;
mod numbers;
mod page;
mod render;
mod scaling;
mod speeds;
pub mod svg;
pub mod table;
pub mod tables;
mod templates;
mod winner;

pub use board::{BoardRun, Status, board, board_part};
pub use headline::headline;
pub use index::{INDEX_TITLE, index_markdown, render_index};
pub use render::{render, report_html, report_markdown};
pub use winner::winner;
