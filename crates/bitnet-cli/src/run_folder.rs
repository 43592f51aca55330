//! Folders of runs: a free one for a new run, and what is to be said of an old one's export.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bitnet_train::RunDir;

use crate::output;

/// The folder of a new run: the one asked for, or the first free one of `runs/NAME`, `runs/NAME-2`, ….
pub fn fresh(asked: Option<PathBuf>, name: &str) -> PathBuf {
    if let Some(path) = asked {
        return path;
    }
    let base = Path::new("runs").join(name);
    if !base.exists() {
        return base;
    }
    (2usize..)
        .map(|n| Path::new("runs").join(format!("{name}-{n}")))
        .find(|path| !path.exists())
        .unwrap_or(base)
}

/// Those of `runs/NAME`, `runs/NAME-2`, … that there are, in this order.
pub fn existing(name: &str) -> Vec<PathBuf> {
    let numbered = (2usize..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .map(|name| Path::new("runs").join(name))
        .take_while(|path| path.exists())
        .collect()
}

/// [`fresh`], made at once, so that of two processes each has its own.
///
/// # Errors
/// If it cannot be made.
pub fn reserve(asked: Option<PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = asked {
        return Ok(path);
    }
    loop {
        let path = fresh(None, name);
        let parent = path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => {
                made.with_context(|| path.display().to_string())?;
                return Ok(path);
            }
        }
    }
}

/// Says on stderr where a run's exported model is not that of its last step.
pub fn note_of_export(run: &RunDir) -> anyhow::Result<()> {
    if let Some(note) = bitnet_train::export_note(run)? {
        output::say(format_args!("note: {note}"));
    }
    Ok(())
}
