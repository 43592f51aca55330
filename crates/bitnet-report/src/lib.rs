//! What a comparison found: the summary, the energy model, and the report rendered from them.
//!
//! A comparison trains two Transformers that differ in one thing, whether the weights of their linear layers are float
//! or ternary, and asks what that costs and what it buys. The answer is a [`Summary`], written as `summary.json` before
//! anything is drawn; everything else here is a pure function of it, so a report can be rendered again years later,
//! on another machine, from the file alone.
//!
//! ```text
//! Summary ──► main_table, energy_table ──► text, Markdown, CSV, HTML
//!    │   ├──► headline and the other sentences
//!    │   └──► charts (SVG)
//!    └──────► render_all ──► report.html, report.md, loss.svg, …
//! ```
//!
//! Where one comparison is two runs, an experiment is many: variants × learning rates × seeds, on any task. Its types,
//! statistics and report are in [`experiment`].
//!
//! Three rules keep a report honest:
//!
//! - **No direction is written down.** Every sentence is computed from the numbers, and reads right when the ternary
//!   twin is slower, larger, or has diverged.
//! - **What was not measured is not a number.** It is `None` in the summary, a dash in a table, absent from a chart.
//!   Energy is modelled, and says so wherever it appears ([`energy`]).
//! - **Text from outside is escaped where it enters a document.** A model may well write `<script>`.
//!
//! No Burn, no network, no fonts, no plotting library: the crate builds in seconds and its output opens anywhere.
//!
//! ```
//! use bitnet_report::{FloatBytes, Packed, Summary, Train, Twin, Val, render_all};
//!
//! let float = Twin {
//!     name: Summary::FLOAT.into(),
//!     params: 1000,
//!     train: Train { steps: 10, seconds: 2.0, ..Train::default() },
//!     val: Val { loss: 2.0, perplexity: 7.39, accuracy: 0.4 },
//!     ..Twin::default()
//! };
//! let ternary = Twin {
//!     name: Summary::TERNARY.into(),
//!     float_bytes: FloatBytes::of(800),
//!     packed: Some(Packed { val_loss: 2.1, weight_bytes: 200, file_bytes: 1400, ..Packed::default() }),
//!     train: Train { steps: 10, seconds: 3.0, ..Train::default() },
//!     ..float.clone()
//! };
//! let summary = Summary { twins: vec![float, ternary], ..Summary::default() };
//! assert_eq!(
//!     bitnet_report::headline(&summary),
//!     "The ternary twin’s validation loss is 2.100 against 2.000 (+0.100 nats, +5.0 %), \
//!      its packed weights take 1/16 of their f32 bytes, and training took 1.50× as long."
//! );
//!
//! let dir = tempfile::tempdir()?;
//! summary.save(&dir.path().join("summary.json"))?;
//! let again = Summary::load(&dir.path().join("summary.json"))?;
//! assert_eq!(again, summary);
//! assert!(render_all(&again, dir.path())?.iter().all(|file| file.exists()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod charts;
pub mod energy;
mod error;
mod escape;
pub mod experiment;
pub mod format;
mod html;
mod json;
mod markdown;
mod notes;
mod render;
mod story;
mod summary;
pub mod svg;
pub mod table;
mod tables;
mod write;

pub use error::SummaryError;
pub use html::render_html;
pub use markdown::render_markdown;
pub use render::render_all;
pub use story::headline;
pub use summary::{
    DataInfo, FloatBytes, Inference, Machine, Packed, Probes, Sample, Summary, TokenMatch, Train,
    TrainPoint, Twin, Val, ValPoint,
};
pub use tables::{energy_table, main_table};
pub use write::write_atomic;
