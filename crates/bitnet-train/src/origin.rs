//! The folder `origin/` of a run: what the files that it started from say of text. A run that has one has no
//! `tokenizer.json` of its own.

use std::fs;
use std::path::{Path, PathBuf};

use bitnet_formats::{hf::HfText, write_text};
use bitnet_text::TextModel;

use crate::run_dir::write_atomic;
use crate::seal::Seal;
use crate::{Location, TrainError};

/// Its name.
pub(crate) const FOLDER: &str = "origin";

/// The file of a folder of transformers that holds the chat template.
const TEMPLATE: &str = "chat_template.jinja";

/// Writes the folder, if the model has no tokenizer of a run's kind, and gives its checksum. `template` takes the place of
/// the model's own.
///
/// # Errors
/// If a file cannot be written, or what was written is not the model's text.
pub(crate) fn write(
    run: &Path,
    location: &Location,
    template: Option<&Path>,
) -> Result<Option<String>, TrainError> {
    let folder = run.join(FOLDER);
    match (location, location.model_file()) {
        (_, Some(file)) => {
            let missing = write_text(file, &folder)?;
            if let Some(problem) = missing.into_iter().next() {
                let path = location.path().to_owned();
                return Err(TrainError::NoText { path, problem });
            }
        }
        (Location::Run(other), _) => {
            let Some(from) = other.origin()? else {
                return Ok(None);
            };
            fs::create_dir_all(&folder).map_err(TrainError::io(&folder))?;
            for path in files(&from)? {
                let bytes = fs::read(&path).map_err(TrainError::io(&path))?;
                write_atomic(&folder.join(path.file_name().unwrap_or_default()), &bytes)?;
            }
        }
        (Location::File(_), None) => return Ok(None),
    }
    if let Some(path) = template {
        let text = fs::read(path).map_err(TrainError::io(path))?;
        write_atomic(&folder.join(TEMPLATE), &text)?;
    }
    let written = TextModel::from_folder(&HfText::open(&folder)?)?;
    if let Some(problem) = written.tokenizer.difference(&location.text()?.tokenizer) {
        let path = location.path().to_owned();
        return Err(TrainError::NoText { path, problem });
    }
    checksum(&folder).map(Some)
}

/// Checks the folder against what the run's seal knows.
pub(crate) fn check(folder: &Path, known: &str) -> Result<(), TrainError> {
    match checksum(folder)? == known {
        true => Ok(()),
        false => Err(TrainError::Damaged {
            path: folder.to_owned(),
            problem:
                "it is not what training wrote, its checksum is another; copy it again from its run"
                    .into(),
        }),
    }
}

/// Of the names and contents of its files.
fn checksum(folder: &Path) -> Result<String, TrainError> {
    let mut told = Vec::new();
    for path in files(folder)? {
        let bytes = fs::read(&path).map_err(TrainError::io(&path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        told.extend(format!("{name} {}\n", Seal::of(&bytes)).into_bytes());
    }
    Ok(Seal::of(&told))
}

/// Its files by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let entries = fs::read_dir(folder).map_err(TrainError::io(folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(TrainError::io(folder))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
