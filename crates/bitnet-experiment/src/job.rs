//! One run of an experiment: done before, interrupted, or still to do.

use std::error::Error;
use std::path::{Path, PathBuf};

use bitnet_config::RunConfig;
use bitnet_results::{
    Evaluation, Finished, Measured, TrainSummary, Turns, load_json, save_json, write_atomic,
};
use bitnet_train::{Checkpoint, RunDir, TrainError};

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

    /// Times several trained runs in turns.
    ///
    /// # Errors
    /// Whatever measuring says.
    fn turns(&self, runs: &[PathBuf]) -> Answer<Turns>;
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

/// One run of the plan.
#[derive(Debug)]
pub struct Job {
    /// Index of its variant.
    pub variant: usize,
    /// Its seed.
    pub seed: u64,
    /// Of the grid; none keeps the configuration's.
    pub rate: Option<f64>,
    /// All of its settings.
    pub config: RunConfig,
    /// Its folder.
    pub dir: PathBuf,
}

impl Job {
    /// What it was started with, beside its folder.
    fn config_path(&self) -> PathBuf {
        let mut file = self.dir.clone().into_os_string();
        file.push(".toml");
        PathBuf::from(file)
    }

    /// Its result, from before or made now; `None` if it was interrupted. `name` is what to call it.
    pub(crate) fn finish(
        &self,
        name: &str,
        (index, of): (usize, usize),
        worker: &dyn Worker,
    ) -> Result<Option<Finished>, ExperimentError> {
        let result = self.dir.join("result.json");
        if let Some(finished) = self.known(&result)? {
            return Ok(Some(finished));
        }
        if let Some(finished) = self.untaught()? {
            std::fs::create_dir_all(&self.dir).map_err(ExperimentError::io(&self.dir))?;
            let file = self.config_path();
            write_atomic(&file, self.config.to_toml()?.as_bytes())
                .map_err(ExperimentError::io(&file))?;
            save_json(&finished, &result)?;
            return Ok(Some(finished));
        }
        worker.begins(name, index, of);
        let parent = self.dir.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(parent).map_err(ExperimentError::io(parent))?;
        let file = self.config_path();
        write_atomic(&file, self.config.to_toml()?.as_bytes())
            .map_err(ExperimentError::io(&file))?;
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
        Ok(Some(finished))
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
    fn known(&self, result: &Path) -> Result<Option<Finished>, ExperimentError> {
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
            (true, _) => load_json(result)
                .map(Some)
                .map_err(|source| ExperimentError::Damaged {
                    path: result.to_owned(),
                    source: Box::new(source),
                }),
        }
    }
}
