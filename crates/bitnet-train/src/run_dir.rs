//! A run on disk: `config.toml`, `tokenizer.json`, `metrics.jsonl`, `checkpoints/`, `packed.bpk`, `summary.json`, `log.txt`.
//!
//! Every file is written whole or not at all (a temporary file, then a rename); only `metrics.jsonl` and `log.txt` grow
//! line by line. Whoever trains holds the file `lock` locked, so that two processes never write one run.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use bitnet_config::{Loader, RunConfig};
use bitnet_data::Tokenizer;
use bitnet_formats::hf::HfText;
use bitnet_text::TextModel;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lock::FolderLock;
use crate::seal::Seal;
use crate::{Location, TrainError, origin};

/// The folder of a run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    /// The checkpoint that its model is taken from; none is the newest.
    pub(crate) at: Option<PathBuf>,
    /// Held by who trains; the last clone to go frees it.
    _lock: Option<FolderLock>,
}

impl RunDir {
    /// Makes the folder of a new run and writes its configuration, its tokenizer, the names of its classes
    /// (`labels.json`) and the largest magnitude of its features (`features.json`), where it has them. Of a model whose
    /// files bring the tokenizer it keeps what these say of text, in `origin/`. A run that was stopped before its first
    /// checkpoint makes way.
    ///
    /// # Errors
    /// If the folder holds a run already, is in use, or cannot be written, or the origin's text cannot be kept.
    pub fn create(
        path: impl Into<PathBuf>,
        config: &RunConfig,
        tokenizer: Option<&Tokenizer>,
        label_names: &[String],
        largest_feature: Option<f32>,
        origin: Option<&Location>,
    ) -> Result<Self, TrainError> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(TrainError::io(&path))?;
        let run = Self {
            _lock: Some(FolderLock::take(&path)?),
            at: None,
            path,
        };
        if run.config_path().exists() {
            run.make_way()?;
        }
        let checkpoints = run.checkpoints_path();
        fs::create_dir_all(&checkpoints).map_err(TrainError::io(&checkpoints))?;
        sync_folder(&run.path.join(".."))?;
        let mut seal = Seal::new(&run.path);
        if let Some(tokenizer) = tokenizer {
            let json = tokenizer.to_json();
            write_atomic(&run.tokenizer_path(), json.as_bytes())?;
            seal.tokenizer = Some(Seal::of(json.as_bytes()));
        }
        if !label_names.is_empty() {
            let path = run.labels_path();
            let json = to_json(&label_names, &path)?;
            write_atomic(&path, json.as_bytes())?;
            seal.labels = Some(Seal::of(json.as_bytes()));
        }
        if let Some(largest) = largest_feature {
            let path = run.features_path();
            let json = to_json(&Features { largest }, &path)?;
            write_atomic(&path, json.as_bytes())?;
            seal.features = Some(Seal::of(json.as_bytes()));
        }
        if let Some(location) = origin {
            let template = config.data.chat_template.as_deref();
            seal.origin = origin::write(&run.path, location, template)?;
        }
        // Last, because its presence is what makes the folder a run.
        run.write_sealed(config, seal)?;
        Ok(run)
    }

    /// Removes what a run left that was stopped before its first checkpoint.
    fn make_way(&self) -> Result<(), TrainError> {
        let saved = crate::Checkpoint::latest(self);
        let has_more = ["packed.bpk", "result.json"].map(|name| self.path.join(name).exists());
        match saved {
            Err(TrainError::NoCheckpoint(_)) if has_more == [false, false] => {}
            Err(error @ TrainError::Io { .. }) => return Err(error),
            _ => return Err(TrainError::RunExists(self.path.clone())),
        }
        // The configuration goes first: what is left without it is no run.
        for path in [
            self.config_path(),
            self.metrics_path(),
            self.log_path(),
            self.tokenizer_path(),
            self.labels_path(),
            self.features_path(),
            self.path.join("summary.json"),
        ] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.map_err(TrainError::io(&path))?,
            }
        }
        let origin = self.path.join(origin::FOLDER);
        match fs::remove_dir_all(&origin) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(TrainError::io(origin)(error)),
            _ => Ok(()),
        }
    }

    /// The folder of an earlier run, to train on in it.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if another process trains in it.
    pub fn open_to_train(path: impl Into<PathBuf>) -> Result<Self, TrainError> {
        let mut run = Self::open(path)?;
        run._lock = Some(FolderLock::take(&run.path)?);
        Ok(run)
    }

    /// The folder of an earlier run.
    ///
    /// # Errors
    /// If it is not one.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, TrainError> {
        let run = Self {
            path: path.into(),
            at: None,
            _lock: None,
        };
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

    /// The run of a checkpoint `RUN/checkpoints/step-…`, whose model is that checkpoint's; `None` if the folder is none.
    ///
    /// # Errors
    /// If the checkpoint belongs to no run.
    pub fn open_at(checkpoint: &Path) -> Result<Option<Self>, TrainError> {
        let inside = checkpoint
            .components()
            .next_back()
            .is_some_and(|name| name.as_os_str().to_string_lossy().starts_with("step-"));
        let run = checkpoint.parent().and_then(Path::parent);
        let Some(run) = run.filter(|_| inside && checkpoint.join("state.json").is_file()) else {
            return Ok(None);
        };
        let run = match run.as_os_str().is_empty() {
            true => Path::new("."),
            false => run,
        };
        let mut run = Self::open(run)?;
        run.at = Some(checkpoint.to_owned());
        Ok(Some(run))
    }

    /// The checkpoint that its model is taken from, where that is not the newest.
    pub(crate) fn chosen_checkpoint(&self) -> Option<&Path> {
        self.at.as_deref()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved configuration.
    ///
    /// # Errors
    /// If the file cannot be read, is no valid configuration, or has changed since it was written.
    pub fn config(&self) -> Result<RunConfig, TrainError> {
        self.seal()?;
        Ok(Loader::new().resolved(self.config_path())?.finish()?)
    }

    /// The seal of the configuration; none of a run of an older version, or whose owner removed it.
    pub(crate) fn seal(&self) -> Result<Option<Seal>, TrainError> {
        let path = self.config_path();
        let text = fs::read(&path).map_err(TrainError::io(&path))?;
        Seal::check(&text).map_err(|problem| TrainError::Damaged { path, problem })
    }

    /// Writes the configuration of a run that goes on with other settings, if it differs from the one there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_config(&self, config: &RunConfig) -> Result<(), TrainError> {
        let known = self.seal()?;
        if known.is_some() && self.config()? == *config {
            return Ok(());
        }
        self.write_sealed(config, known.unwrap_or_else(|| Seal::new(&self.path)))
    }

    fn write_sealed(&self, config: &RunConfig, seal: Seal) -> Result<(), TrainError> {
        let text = seal.close(&config.to_toml()?);
        write_atomic(&self.config_path(), text.as_bytes())
    }

    /// The folder with what the files that it started from say of text, if it has one.
    ///
    /// # Errors
    /// If it is missing or has changed since it was written.
    pub fn origin(&self) -> Result<Option<PathBuf>, TrainError> {
        let folder = self.path.join(origin::FOLDER);
        match self.seal()?.and_then(|seal| seal.origin) {
            Some(known) => origin::check(&folder, &known).map(|()| Some(folder)),
            None => Ok(folder.is_dir().then_some(folder)),
        }
    }

    /// What turns text into tokens and back, and with an origin its chat template and the ends of its answers.
    ///
    /// # Errors
    /// If a file cannot be read, or has changed since it was written.
    pub fn text(&self) -> Result<TextModel, TrainError> {
        Ok(match self.origin()? {
            Some(folder) => TextModel::from_folder(&HfText::open(folder)?)?,
            None => TextModel::from_run(self.tokenizer()?),
        })
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// If the file cannot be read, is no tokenizer, or has changed since it was written.
    pub fn tokenizer(&self) -> Result<Tokenizer, TrainError> {
        let path = self.tokenizer_path();
        if !path.exists() {
            return Err(TrainError::NotARun {
                path: self.path.clone(),
                problem: "tokenizer.json is missing",
            });
        }
        let known = self.seal()?.and_then(|seal| seal.tokenizer);
        let json = read_sealed(&path, known)?;
        let tokenizer = Tokenizer::from_json(&json).map_err(|error| TrainError::Damaged {
            path: path.clone(),
            problem: error.to_string(),
        })?;
        let config = self.config()?;
        let special = match config.task.reads_sequences() {
            true => bitnet_data::SPECIALS as usize,
            false => 0,
        };
        let (ids, size) = (tokenizer.vocab_size() + special, config.model.vocab_size);
        if size != 0 && ids > size {
            return Err(TrainError::Damaged {
                path,
                problem: format!(
                    "it has {ids} ids, the model takes {size} (model.vocab_size); copy it again from its run"
                ),
            });
        }
        Ok(tokenizer)
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
        let known = self.label_names()?;
        match known == label_names {
            true => Ok(()),
            false => Err(changed("it has other classes")),
        }
    }

    /// The names of the classes; none where there are none.
    ///
    /// # Errors
    /// If the file cannot be read, or has changed since it was written.
    pub fn label_names(&self) -> Result<Vec<String>, TrainError> {
        let known = self.seal()?.and_then(|seal| seal.labels);
        Ok(self
            .sealed_json(self.labels_path(), known)?
            .unwrap_or_default())
    }

    /// What the numbers of vectors are divided by; `None` of a run without vectors, or of an older version.
    ///
    /// # Errors
    /// As [`label_names`](Self::label_names).
    pub fn largest_feature(&self) -> Result<Option<f32>, TrainError> {
        let known = self.seal()?.and_then(|seal| seal.features);
        let features: Option<Features> = self.sealed_json(self.features_path(), known)?;
        Ok(features.map(|features| features.largest))
    }

    fn sealed_json<T: DeserializeOwned>(
        &self,
        path: PathBuf,
        known: Option<String>,
    ) -> Result<Option<T>, TrainError> {
        if !path.exists() {
            return Ok(None);
        }
        let json = read_sealed(&path, known)?;
        let value = serde_json::from_str(&json).map_err(|error| TrainError::Damaged {
            path,
            problem: error.to_string(),
        })?;
        Ok(Some(value))
    }

    fn features_path(&self) -> PathBuf {
        self.path.join("features.json")
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

    /// Drops the metrics that a resumed run is about to write again: those of steps after `step`, and those of an
    /// evaluation of that step, if it is to be made again. Lines that are none go too.
    ///
    /// # Errors
    /// If the file cannot be rewritten.
    pub fn rewind_metrics(&self, step: usize, evaluated: bool) -> Result<(), TrainError> {
        let path = self.metrics_path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            bytes => bytes.map_err(TrainError::io(&path))?,
        };
        let stays = |line: &&[u8]| {
            let record: Option<serde_json::Value> = serde_json::from_slice(line).ok();
            record.is_some_and(|record| {
                let at = record["step"].as_u64().unwrap_or(u64::MAX);
                let again = evaluated && record["kind"] != "train";
                at < step as u64 || (at == step as u64 && !again)
            })
        };
        let mut kept = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n').filter(stays) {
            kept.extend_from_slice(line);
            // A last line that lost only its end.
            if !line.ends_with(b"\n") {
                kept.push(b'\n');
            }
        }
        match kept == bytes {
            true => Ok(()),
            false => write_atomic(&path, &kept),
        }
    }

    /// Waits until the metrics so far are on the disk.
    pub(crate) fn sync_metrics(&self) -> Result<(), TrainError> {
        let path = self.metrics_path();
        // Windows flushes only what may be written.
        let file = OpenOptions::new().append(true).open(&path);
        match file.and_then(|file| file.sync_all()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(TrainError::io(path)(error)),
            _ => Ok(()),
        }
    }

    /// Writes a line to `log.txt`. The log repeats what is said elsewhere: a run goes on without it.
    pub fn log(&self, text: &str) {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path());
        if let Ok(mut log) = log {
            let _ = writeln!(log, "{text}");
        }
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

/// `features.json`.
#[derive(Serialize, Deserialize)]
struct Features {
    largest: f32,
}

fn to_json(record: &impl Serialize, path: &Path) -> Result<String, TrainError> {
    serde_json::to_string(record).map_err(|error| TrainError::io(path)(error.into()))
}

/// A file's text, if it is the one that the seal knows.
fn read_sealed(path: &Path, known: Option<String>) -> Result<String, TrainError> {
    let damaged = |problem: &str| TrainError::Damaged {
        path: path.to_owned(),
        problem: problem.to_owned(),
    };
    let bytes = fs::read(path).map_err(TrainError::io(path))?;
    if known.is_some_and(|known| known != Seal::of(&bytes)) {
        return Err(damaged(
            "it is not what training wrote, its checksum is another; copy it again from its run",
        ));
    }
    String::from_utf8(bytes).map_err(|_| damaged("it is no UTF-8; copy it again from its run"))
}

/// Waits until what was made, renamed or removed in a folder is on the disk.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), TrainError> {
    bitnet_results::sync_folder(folder).map_err(TrainError::io(folder))
}

/// [`bitnet_results::write_atomic`], whose errors name the file.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    bitnet_results::write_atomic(path, bytes).map_err(TrainError::io(path))
}
