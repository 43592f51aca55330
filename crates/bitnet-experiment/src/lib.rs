//! Experiments: which runs there are, how what is missing gets done, and the summary of what came of them.
//!
//! ```text
//! ExperimentConfig ─► Plan ─► Work: variants × learning rates under the first seed, then the best rate × the other seeds
//!                              each: Worker::train, Worker::measure ─► result.json in the run's folder
//!                                    Worker::store, where formats are asked for ─► formats.json beside it
//!                             Work: all first runs in turns: Worker::turns ─► turns.json
//!                      gather ─► Experiment, which `bitnet-report` renders
//! ```
//!
//! | file | concept |
//! |---|---|
//! | `plan`, `work` | which runs there are; what of them is next, and where it is done |
//! | `job` | one run, and who trains and measures it |
//! | `gather` | the summary |
//! | `error` | what can go wrong |
//!
//! Each run has a folder that says what it was (`NAME.toml` beside it) and what came of it (`result.json`). A folder
//! with the same configuration and a result is not run again; one without a result goes on from its last checkpoint. So
//! an interrupted experiment continues, and a new variant costs only its own runs.
//!
//! A comparison is the smallest experiment: two variants, one seed, no rates to choose from.
//!
//! A [`Plan`] knows from the folders alone what is missing, and hands it over as [`Work`], whose parts wait for nothing but
//! a free place. Where they are done is the [`Executor`]'s business: [`Threads`] does some at a time in this process, a
//! scheduler's tasks do one each. Who trains and measures is the [`Worker`]'s; the command line has a process do each, so
//! that peak memory is that of one model.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod error;
mod gather;
mod job;
mod plan;
mod work;

pub use error::ExperimentError;
pub use gather::{Circumstances, asked, metric};
pub use job::{Answer, Job, PlannedRun, Worker, stored_file};
pub use plan::Plan;
pub use work::{Executor, Piece, Threads, Timing, Work};
