//! A run on disk: `config.toml`, `tokenizer.json`, `metrics.jsonl`, `checkpoints/`, `packed.bpk`, `summary.json`, `log.txt`.
//!
//! Every file is written whole or not at all (a temporary file, then a rename); only `metrics.jsonl` and `log.txt` grow
//! line by line.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use bitnet_config::{Loader, RunConfig};
use bitnet_data::Tokenizer;
use serde::Serialize;

use crate::TrainError;

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the folder of a new run and writes its configuration, its tokenizer and the names of its classes
    /// (`labels.json`), where it has any.
    ///
    /// # Errors
    /// If the folder holds a run already, or cannot be written.
    pub fn create(
        path: impl Into<PathBuf>,
        config: &RunConfig,
        tokenizer: Option<&Tokenizer>,
        label_names: &[String],
    ) -> Result<Self, TrainError> {
        let run = Self { path: path.into() };
        if run.config_path().exists() {
            return Err(TrainError::RunExists(run.path));
        }
        let checkpoints = run.checkpoints_path();
        fs::create_dir_all(&checkpoints).map_err(TrainError::io(&checkpoints))?;
        if let Some(tokenizer) = tokenizer {
            write_atomic(&run.tokenizer_path(), tokenizer.to_json().as_bytes())?;
        }
        if !label_names.is_empty() {
            let path = run.labels_path();
            write_atomic(&path, to_json(&label_names, &path)?.as_bytes())?;
        }
        // Last, because its presence is what makes the folder a run.
        write_atomic(&run.config_path(), config.to_toml()?.as_bytes())?;
        Ok(run)
    }

    /// The folder of an earlier run.
    ///
    /// # Errors
    /// If it is not one.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TrainError> {
        let run = Self { path: path.into() };
        let problem = if !run.path.exists() {
            "there is no such folder"
        } else if !run.path.is_dir() {
            "it is a file"
        } else if !run.config_path().exists() {
            "config.toml is missing"
        } else {
            return Ok(run);
        };
        Err(TrainError::NotARun {
            path: run.path,
            problem,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved configuration.
    ///
    /// # Errors
    /// If the file cannot be read or is no valid configuration.
    pub fn config(&self) -> Result<RunConfig, TrainError> {
        Ok(Loader::new().file(self.config_path())?.finish()?)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// If the file cannot be read or is no tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer, TrainError> {
        let path = self.tokenizer_path();
        if !path.exists() {
            return Err(TrainError::NotARun {
                path: self.path.clone(),
                problem: "tokenizer.json is missing",
            });
        }
        let json = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        Tokenizer::from_json(&json).map_err(|error| TrainError::Damaged {
            path,
            problem: error.to_string(),
        })
    }

    /// The tokenizer, if the run has one.
    ///
    /// # Errors
    /// If the file cannot be read or is no tokenizer.
    pub fn known_tokenizer(&self) -> Result<Option<Tokenizer>, TrainError> {
        match self.tokenizer_path().exists() {
            true => self.tokenizer().map(Some),
            false => Ok(None),
        }
    }

    /// Whether a resumed run still has the data that it began with, as far as tokens and classes tell.
    ///
    /// # Errors
    /// If the tokenizer or the classes are others, or a file cannot be read.
    pub fn check_data(
        &self,
        tokenizer: Option<&Tokenizer>,
        label_names: &[String],
    ) -> Result<(), TrainError> {
        let changed = |what| TrainError::Resume {
            path: self.path.clone(),
            problem: format!("the data is not what it was, {what}; restore it, or begin a new run"),
        };
        if self.known_tokenizer()?.as_ref() != tokenizer {
            return Err(changed("its text is cut into other tokens"));
        }
        let path = self.labels_path();
        let known: Vec<String> = match path.exists() {
            true => {
                let json = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
                serde_json::from_str(&json).map_err(|error| TrainError::Damaged {
                    path,
                    problem: error.to_string(),
                })?
            }
            false => Vec::new(),
        };
        match known == label_names {
            true => Ok(()),
            false => Err(changed("it has other classes")),
        }
    }

    fn labels_path(&self) -> PathBuf {
        self.path.join("labels.json")
    }

    /// Adds a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append_metrics(&self, record: &impl Serialize) -> Result<(), TrainError> {
        let path = self.metrics_path();
        let mut line = to_json(record, &path)?;
        line.push('\n');
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(TrainError::io(&path))
    }

    /// Drops the metrics of steps after `step`, which a resumed run is about to repeat.
    ///
    /// # Errors
    /// If the file cannot be rewritten.
    pub fn rewind_metrics(&self, step: usize) -> Result<(), TrainError> {
        let path = self.metrics_path();
        if !path.exists() {
            return Ok(());
        }
        let text = fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        let kept: String = text
            .lines()
            .filter(|line| {
                serde_json::from_str::<serde_json::Value>(line)
                    .ok()
                    .and_then(|record| record.get("step")?.as_u64())
                    .is_some_and(|at| at <= step as u64)
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        write_atomic(&path, kept.as_bytes())
    }

    /// Writes `summary.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_summary(&self, summary: &impl Serialize) -> Result<(), TrainError> {
        let path = self.path.join("summary.json");
        let json = serde_json::to_string_pretty(summary)
            .map_err(|error| TrainError::io(&path)(error.into()))?;
        write_atomic(&path, format!("{json}\n").as_bytes())
    }

    /// Where `log.txt` is.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log.txt")
    }

    /// Where `metrics.jsonl` is.
    pub fn metrics_path(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// Where the packed model is.
    pub fn packed_path(&self) -> PathBuf {
        self.path.join("packed.bpk")
    }

    pub(crate) fn checkpoints_path(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    fn tokenizer_path(&self) -> PathBuf {
        self.path.join("tokenizer.json")
    }
}

fn to_json(record: &impl Serialize, path: &Path) -> Result<String, TrainError> {
    serde_json::to_string(record).map_err(|error| TrainError::io(path)(error.into()))
}

/// [`bitnet_results::write_atomic`], whose errors name the file.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    bitnet_results::write_atomic(path, bytes).map_err(TrainError::io(path))
}
