//! Runs of an experiment in child processes, so that peak memory is one model's.

use std::path::{Path, PathBuf};

use bitnet_experiment::{Answer, Worker};
use bitnet_results::{Measured, TrainSummary, Turns};

use crate::args::DeviceArgs;
use crate::{output, process};

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
    /// Whether training steps are timed in turns too, which takes the memory of all trainings at once.
    pub time_steps: bool,
}

impl Worker for Processes<'_> {
    fn begins(&self, name: &str, index: usize, of: usize) {
        if !self.quiet {
            output::say(format_args!("[{}/{of}] {name}", index + 1));
        }
    }

    fn train(&self, name: &str, config: &Path, run: &Path, resume: bool) -> Answer<TrainSummary> {
        let mut train = process::child(self.device, self.threads)?;
        train.arg("train").arg(config).arg("--run-dir").arg(run);
        train.args(["-o", "json"]);
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
