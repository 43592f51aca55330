//! Runs of an experiment in child processes, so that peak memory is one model's.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bitnet_experiment::{Answer, Worker};
use bitnet_results::{Measured, StoredAs, TrainSummary, Turns};
use bitnet_train::FolderLock;

use crate::args::DeviceArgs;
use crate::{output, process};

/// Time in which a training that lost its parent saves and ends.
const SAVES: Duration = Duration::from_secs(60);

/// Trains and measures by `bitnet train` and `bitnet measure`.
pub struct Processes<'a> {
    /// Where they compute.
    pub device: &'a DeviceArgs,
    /// Threads of each, where several run at a time.
    pub threads: usize,
    /// Says nothing.
    pub quiet: bool,
    /// Training says nothing.
    pub quiet_training: bool,
    /// Runs at a time.
    pub jobs: usize,
    /// When each run began that this process began.
    pub begun: Mutex<Vec<Instant>>,
    /// Whether training steps are timed in turns too, which takes the memory of all trainings at once.
    pub time_steps: bool,
}

impl Worker for Processes<'_> {
    fn begins(&self, name: &str, index: usize, of: usize) {
        if self.quiet {
            return;
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push(Instant::now());
        // Runs that began before this one have made room for it.
        let done = begun.len().saturating_sub(self.jobs);
        let eta = match (begun.first(), done) {
            (Some(first), 1..) => {
                let each = first.elapsed().as_secs_f64() / done as f64;
                let left = each * (of - index) as f64;
                format!(
                    ", what is left in about {}",
                    bitnet_report::format::seconds(left)
                )
            }
            _ => String::new(),
        };
        output::say(format_args!("[{}/{of}] {name}{eta}", index + 1));
    }

    fn train(&self, name: &str, config: &Path, run: &Path, resume: bool) -> Answer<TrainSummary> {
        // The training of a comparison that was killed ends by itself, once it has saved.
        FolderLock::wait(run, SAVES)?;
        let mut train = process::child(self.device, self.threads)?;
        train.arg("train").arg(config).arg("--run-dir").arg(run);
        train.args(["-o", "json", "--no-tui"]);
        if self.quiet_training {
            train.arg("--quiet");
        }
        if resume {
            train.args(["--resume", "auto"]);
        }
        Ok(process::answer(train, name)?)
    }

    fn measure(&self, name: &str, run: &Path) -> Answer<Measured> {
        let mut measure = process::child(self.device, self.threads)?;
        measure.arg("measure").arg(run);
        Ok(process::answer(measure, name)?)
    }

    fn store(&self, name: &str, run: &Path, formats: &[String]) -> Answer<Vec<StoredAs>> {
        let mut measure = process::child(self.device, self.threads)?;
        measure.arg("measure").arg(run);
        measure.arg("--formats").arg(formats.join(","));
        Ok(process::answer(measure, name)?)
    }

    fn turns(&self, runs: &[PathBuf]) -> Answer<Turns> {
        if !self.quiet {
            output::say(format_args!("timing {} models in turns", runs.len()));
        }
        let mut turns = process::child(self.device, self.device.threads)?;
        turns.arg("measure").arg("--turns").args(runs);
        if self.time_steps {
            turns.arg("--steps");
        }
        Ok(process::answer(turns, "the timings")?)
    }
}
