//! MODEL: a run, or model files of others. What runs, teaches, or is trained further.

use std::io::Read;
use std::path::{Path, PathBuf};

use bitnet_config::{Decided, LinearKind, ModelConfig, QuantConfig, Task};
use bitnet_formats::ModelFile;
use bitnet_formats::model::WeightFormat;
use bitnet_load::{Activations, Checkpoint};
use bitnet_models::{Granularity, Network, Purpose, Transformer};
use bitnet_text::TextModel;
use burn::tensor::Device;

use crate::checksum::Checksum;
use crate::export::{latent_into, load_exported};
use crate::{RunDir, TrainError};

/// What MODEL names.
#[derive(Debug)]
pub enum Location {
    /// A folder that `bitnet train` made.
    Run(RunDir),
    /// A GGUF file, or a folder of transformers.
    File(Box<Checkpoint>),
}

impl Location {
    /// A folder with `config.toml` is a run, one with `config.json` is transformers', and a file is GGUF; a
    /// checkpoint's folder is its run with the model of that step; `hf://…` is
    /// downloaded, if it is not kept already.
    ///
    /// # Errors
    /// If there is nothing, or it cannot be read or understood.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        if let Some((run, which)) = path.to_str().and_then(|text| text.rsplit_once('@'))
            && !path.exists()
        {
            return Ok(Self::Run(RunDir::open(run)?.at(which)?));
        }
        let path = &bitnet_hub::local(path, &mut ())?;
        let missing = |problem: String| TrainError::NoModel {
            path: path.to_owned(),
            problem,
        };
        if path.join("config.toml").exists() {
            return Ok(Self::Run(RunDir::open(path)?));
        }
        if path.is_file() || path.join("config.json").exists() {
            return Ok(Self::File(Box::new(Checkpoint::open(path)?)));
        }
        if let Some(run) = RunDir::open_at(path)? {
            return Ok(Self::Run(run));
        }
        if !path.is_dir() {
            return Err(missing(
                "there is nothing of that name; give a run's folder, a .gguf file or a folder of transformers".into(),
            ));
        }
        let runs = runs_in(path);
        Err(missing(match runs.is_empty() {
            false => format!("it holds several models; name one: {}", runs.join(", ")),
            true => "the folder holds neither config.toml (a run of `bitnet train`) nor config.json (a model of transformers)"
                .into(),
        }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Run(run) => run.path(),
            Self::File(checkpoint) => checkpoint.path(),
        }
    }

    /// Its tokenizer, chat template, and the ends of its answers.
    ///
    /// # Errors
    /// If it has no tokenizer that is read here, or a file of it is damaged.
    pub fn text(&self) -> Result<TextModel, TrainError> {
        match self {
            Self::Run(run) => run.text(),
            Self::File(checkpoint) => Ok(TextModel::from_model_file(checkpoint.file())?),
        }
    }

    /// What a training that starts from it has no say in.
    ///
    /// # Errors
    /// If it is no language model, or has no modules here.
    pub fn decided(&self) -> Result<Decided, TrainError> {
        const ALL: &[&str] = &["weights", "granularity", "activations"];
        match self {
            Self::Run(run) => {
                let config = language_model(run)?;
                Ok(Decided {
                    scheme: match config.model.linear {
                        LinearKind::Ternary => ALL,
                        LinearKind::Float => &[],
                    },
                    model: config.model,
                    quant: config.quant,
                })
            }
            Self::File(checkpoint) => {
                let (model, quant) = configuration(checkpoint)?;
                let scheme = match (
                    checkpoint.description().weights.value,
                    checkpoint.activations(),
                ) {
                    (WeightFormat::Float, _) => &[],
                    (WeightFormat::OnlineAbsMean, _) => ALL,
                    (_, Activations::Int8) => &ALL[1..],
                    // Nobody says what they do to their input.
                    _ => &ALL[1..2],
                };
                Ok(Decided {
                    model,
                    quant,
                    scheme,
                })
            }
        }
    }

    /// What is to be known of its weights before they are trained.
    pub fn caveat(&self) -> Option<&'static str> {
        let Self::File(checkpoint) = self else {
            return None;
        };
        match checkpoint.description().weights.value {
            WeightFormat::Float | WeightFormat::OnlineAbsMean => None,
            _ => Some(
                "the file has codes, not the weights that they were made from: all of a group begin as far from the next \
                 code, so little flips at first and then much at once; a small learning rate is the safer one",
            ),
        }
    }

    /// Its latent weights in a model of this configuration, to be trained.
    ///
    /// # Errors
    /// If they do not fit it, or cannot be read.
    pub fn latent(
        &self,
        model: &ModelConfig,
        quant: &QuantConfig,
        device: &Device,
    ) -> Result<Transformer, TrainError> {
        let run = match self {
            Self::File(checkpoint) => {
                let (_, source) = checkpoint.source(true)?;
                let purpose = Purpose::Training;
                return Ok(Transformer::from_source(
                    model, quant, &source, purpose, device,
                )?);
            }
            Self::Run(run) => run,
        };
        let own = run.config()?;
        if own.model.linear == model.linear {
            return latent_into(run, Transformer::new_blank(model, quant, device)?);
        }
        let host = latent_into(run, Transformer::new_blank(&own.model, &own.quant, device)?)?;
        let (_, source) = host.source()?;
        Ok(Transformer::from_source(
            model,
            quant,
            &source,
            Purpose::Training,
            device,
        )?)
    }

    /// The model as it runs, on Burn's tensors.
    ///
    /// # Errors
    /// If it is no language model, or cannot be read.
    pub fn exported(&self, device: &Device) -> Result<Transformer, TrainError> {
        match self {
            Self::Run(run) => {
                language_model(run)?;
                load_exported(run, device)
            }
            Self::File(checkpoint) => transformer(checkpoint, device),
        }
    }

    /// A checksum of the files with its weights.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn checksum(&self) -> Result<String, TrainError> {
        let path = self.path();
        let files: Vec<PathBuf> = match self {
            Self::Run(run) => return crate::Checkpoint::latest(run)?.checksum(),
            Self::File(_) if path.is_file() => vec![path.to_owned()],
            Self::File(_) => {
                let entries = std::fs::read_dir(path).map_err(TrainError::io(path))?;
                let paths = entries.flatten().map(|entry| entry.path());
                let ending = |path: &PathBuf| path.extension().is_some_and(|e| e == "safetensors");
                let mut files: Vec<PathBuf> = paths.filter(ending).collect();
                files.sort();
                files
            }
        };
        let mut checksum = Checksum::default();
        let mut buffer = vec![0; 1 << 20];
        for path in files {
            let mut file = std::fs::File::open(&path).map_err(TrainError::io(&path))?;
            loop {
                match file.read(&mut buffer).map_err(TrainError::io(&path))? {
                    0 => break,
                    read => checksum = checksum.bytes(&buffer[..read]),
                }
            }
        }
        Ok(checksum.text())
    }

    /// Its files, if they are not of a run.
    pub(crate) fn model_file(&self) -> Option<&ModelFile> {
        match self {
            Self::Run(_) => None,
            Self::File(checkpoint) => Some(checkpoint.file()),
        }
    }
}

/// Runs that a message names.
const NAMED: usize = 8;

/// The runs in a folder of a comparison or an experiment, as far as a message names them.
fn runs_in(folder: &Path) -> Vec<String> {
    let folders = |parent: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect();
        found.sort();
        found
    };
    let (runs, others): (Vec<_>, Vec<_>) =
        (folders(folder).into_iter()).partition(|path| path.join("config.toml").exists());
    let nested = others.iter().flat_map(|variant| folders(variant));
    let nested = nested.filter(|path| path.join("config.toml").exists());
    let mut names: Vec<String> = (runs.into_iter().chain(nested))
        .map(|path| path.display().to_string())
        .collect();
    if names.len() > NAMED {
        names.truncate(NAMED);
        names.push("…".to_owned());
    }
    names
}

/// The configuration of a run of a language model.
fn language_model(run: &RunDir) -> Result<bitnet_config::RunConfig, TrainError> {
    let config = run.config()?;
    match config.task {
        Task::Lm => Ok(config),
        _ => Err(TrainError::NoModel {
            path: run.path().to_owned(),
            problem: "it is no language model".into(),
        }),
    }
}

/// What a file's model is as a configuration.
fn configuration(checkpoint: &Checkpoint) -> Result<(ModelConfig, QuantConfig), TrainError> {
    let granularity = checkpoint.granularity()?;
    let linear = match granularity {
        Some(_) => LinearKind::Ternary,
        None => LinearKind::Float,
    };
    let granularity = granularity.unwrap_or(Granularity::Tensor);
    let shape = checkpoint.shape();
    Ok(ModelConfig::of_shape(&shape, linear, granularity)?)
}

/// The modules of a model file on a device, ready to run.
///
/// # Errors
/// If the model has no modules, a matrix is larger than the device binds, or a tensor cannot be read.
pub fn transformer(checkpoint: &Checkpoint, device: &Device) -> Result<Transformer, TrainError> {
    let (model, quant) = configuration(checkpoint)?;
    let (_, source) = checkpoint.source(false)?;
    let purpose = Purpose::Inference;
    Ok(Transformer::from_source(
        &model, &quant, &source, purpose, device,
    )?)
}
