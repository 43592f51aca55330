//! One run of an experiment: done before, interrupted, or still to do.

use std::error::Error;
use std::path::{Path, PathBuf};

use bitnet_config::{Loader, RunConfig};
use bitnet_results::{
    Evaluation, Finished, Measured, StoredAs, TrainSummary, Turns, load_json, save_json,
    write_atomic,
};
use bitnet_train::{Checkpoint, RunDir, TrainError};
use serde::{Deserialize, Serialize};

use crate::ExperimentError;

/// What trains and measures. Each answers `None` where it was interrupted.
pub trait Worker: Sync {
    /// Says that a run begins, the `index`-th `of` so many.
    fn begins(&self, name: &str, index: usize, of: usize);

    /// Trains the run that the file `config` describes into `run`, or goes on with it from its last checkpoint.
    ///
    /// # Errors
    /// Whatever training says.
    fn train(&self, name: &str, config: &Path, run: &Path, resume: bool) -> Answer<TrainSummary>;

    /// Measures a trained run, by itself.
    ///
    /// # Errors
    /// Whatever measuring says.
    fn measure(&self, name: &str, run: &Path) -> Answer<Measured>;

    /// Stores a trained run's model in formats of others, in [`stored_file`] each, and measures these files.
    ///
    /// # Errors
    /// Whatever storing or measuring says.
    fn store(&self, name: &str, run: &Path, formats: &[String]) -> Answer<Vec<StoredAs>>;

    /// Times several trained runs, or files of [`stored_file`], in turns.
    ///
    /// # Errors
    /// Whatever measuring says.
    fn turns(&self, runs: &[PathBuf]) -> Answer<Turns>;
}

/// The file of a run's model in a format of others.
pub fn stored_file(run: &Path, format: &str) -> PathBuf {
    run.join("formats").join(format!("{format}.gguf"))
}

/// What a [`Worker`] answers.
pub type Answer<T> = Result<Option<T>, Box<dyn Error + Send + Sync>>;

/// What stands for the measures of a run that diverged: no score, which is worse than any.
fn unmeasured() -> Measured {
    let score = Evaluation {
        loss: f64::NAN,
        ..Evaluation::default()
    };
    Measured {
        score,
        ..Measured::default()
    }
}

/// A run of the plan, and what it is there for.
#[derive(Debug)]
pub struct Job {
    /// Index of its variant.
    pub variant: usize,
    /// Its seed.
    pub seed: u64,
    /// Of the grid; none keeps the configuration's.
    pub rate: Option<f64>,
    /// The run.
    pub run: PlannedRun,
}

/// A run: done, interrupted, or still to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedRun {
    /// What to call it.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// The formats that its model is stored in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
    /// All of its settings. They are saved beside the folder.
    #[serde(skip)]
    pub config: RunConfig,
}

impl PlannedRun {
    /// What it was started with, beside its folder.
    pub(crate) fn config_path(&self) -> PathBuf {
        let mut file = self.dir.clone().into_os_string();
        file.push(".toml");
        PathBuf::from(file)
    }

    /// The settings beside its folder.
    pub(crate) fn read_config(&mut self) -> Result<(), ExperimentError> {
        self.config = Loader::new().file(self.config_path())?.finish()?;
        Ok(())
    }

    /// Writes its settings beside its folder.
    pub(crate) fn prepare(&self) -> Result<(), ExperimentError> {
        let file = self.config_path();
        let parent = self.dir.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(parent).map_err(ExperimentError::io(parent))?;
        write_atomic(&file, self.config.to_toml()?.as_bytes()).map_err(ExperimentError::io(&file))
    }

    /// Where its result is written last.
    pub(crate) fn result_path(&self) -> PathBuf {
        self.dir.join("result.json")
    }

    /// Where what was measured of other formats is written.
    fn formats_path(&self) -> PathBuf {
        self.dir.join("formats.json")
    }

    /// Whether there is a result.
    pub fn is_finished(&self) -> bool {
        self.missing().is_none()
    }

    /// The first file of its result that is not there, or does not hold all that is asked.
    pub(crate) fn missing(&self) -> Option<PathBuf> {
        if !self.result_path().is_file() {
            return Some(self.result_path());
        }
        // What cannot be read is said when it is asked for.
        let diverged = || matches!(self.known(), Ok(Some(known)) if known.train.diverged);
        let complete = self.formats.is_empty() || self.stored().is_some() || diverged();
        (!complete).then(|| self.formats_path())
    }

    /// What was measured of its formats, in their order; `None` where some are missing.
    pub(crate) fn stored(&self) -> Option<Vec<StoredAs>> {
        let known: Vec<StoredAs> = match self.formats.is_empty() {
            true => Vec::new(),
            false => load_json(&self.formats_path()).ok()?,
        };
        let of = |format: &String| known.iter().find(|one| one.format == *format).cloned();
        self.formats.iter().map(of).collect()
    }

    /// The step of its last checkpoint; 0 before the first.
    pub fn step(&self) -> usize {
        let run = RunDir::open(&self.dir).ok();
        let last = run.and_then(|run| Checkpoint::latest(&run).ok());
        last.and_then(|last| last.state().ok())
            .map_or(0, |state| state.step)
    }

    /// Makes its result, if there is none; `None` if it was interrupted. It is the `index`-th `of` so many.
    pub(crate) fn finish(
        &self,
        (index, of): (usize, usize),
        worker: &dyn Worker,
    ) -> Result<Option<()>, ExperimentError> {
        let (name, result) = (&self.name, self.result_path());
        if let Some(known) = self.known()? {
            return match known.train.diverged {
                true => Ok(Some(())),
                false => self.store(worker),
            };
        }
        if let Some(finished) = self.untaught()? {
            std::fs::create_dir_all(&self.dir).map_err(ExperimentError::io(&self.dir))?;
            save_json(&finished, &result)?;
            return Ok(Some(()));
        }
        worker.begins(name, index, of);
        let file = self.config_path();
        // One that was stopped before its first checkpoint begins again, in the same folder.
        let resume = self.dir.join("config.toml").exists()
            && match Checkpoint::latest(&RunDir::open(&self.dir)?) {
                Ok(_) => true,
                Err(TrainError::NoCheckpoint(_)) => false,
                Err(error) => return Err(error.into()),
            };
        let failed = ExperimentError::Worker;
        let Some(train) = worker
            .train(name, &file, &self.dir, resume)
            .map_err(failed)?
        else {
            return Ok(None);
        };
        let measured = match train.diverged {
            // There is no model to measure, which is a result.
            true => Some(unmeasured()),
            false => worker.measure(name, &self.dir).map_err(failed)?,
        };
        let Some(measured) = measured else {
            return Ok(None);
        };
        let finished = Finished { train, measured };
        save_json(&finished, &result)?;
        match finished.train.diverged {
            true => Ok(Some(())),
            false => self.store(worker),
        }
    }

    /// Stores and measures its model in the formats that are asked for, where that is missing.
    fn store(&self, worker: &dyn Worker) -> Result<Option<()>, ExperimentError> {
        if self.stored().is_some() {
            return Ok(Some(()));
        }
        let stored = worker
            .store(&self.name, &self.dir, &self.formats)
            .map_err(ExperimentError::Worker)?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        save_json(&stored, &self.formats_path())?;
        Ok(Some(()))
    }

    /// What stands for a run whose teacher diverged: there is nobody to learn from, which is a result of both.
    fn untaught(&self) -> Result<Option<Finished>, ExperimentError> {
        let Some(teacher) = &self.config.train.distill_from else {
            return Ok(None);
        };
        // A teacher without a summary is one that the run will ask for, and say so.
        let Ok(summary) = load_json::<TrainSummary>(&teacher.join("summary.json")) else {
            return Ok(None);
        };
        Ok(summary.diverged.then(|| Finished {
            train: TrainSummary {
                run_dir: self.dir.display().to_string(),
                steps: 0,
                tokens: 0,
                seconds: 0.0,
                tokens_per_second: 0.0,
                peak_rss_bytes: None,
                energy_joules: None,
                train_loss: f64::NAN,
                initial_val_loss: f64::NAN,
                ..summary
            },
            measured: unmeasured(),
        }))
    }

    /// A result of the same configuration, if there is one.
    pub(crate) fn known(&self) -> Result<Option<Finished>, ExperimentError> {
        let result = self.result_path();
        let taken = |what| ExperimentError::Taken {
            path: self.dir.clone(),
            what,
        };
        let same = std::fs::read_to_string(self.config_path()).unwrap_or_default()
            == self.config.to_toml()?;
        match (result.exists(), self.dir.join("config.toml").exists()) {
            (true, _) if !same => Err(taken("the result")),
            (false, true) if !same => Err(taken("a run")),
            (false, _) => Ok(None),
            (true, _) => load_json(&result)
                .map(Some)
                .map_err(|source| ExperimentError::Damaged {
                    path: result,
                    source: Box::new(source),
                }),
        }
    }
}
