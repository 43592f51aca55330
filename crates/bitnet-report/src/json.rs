//! Summaries as JSON files.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::SummaryError;
use crate::write::write_atomic;

/// Reads a summary. An error names the file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, SummaryError> {
    let text = std::fs::read_to_string(path).map_err(|source| SummaryError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| SummaryError::Parse {
        path: path.to_owned(),
        source,
    })
}

/// Writes a summary, atomically. An error names the file.
pub fn save(summary: &impl Serialize, path: &Path) -> Result<(), SummaryError> {
    let fail = |source| SummaryError::Write {
        path: path.to_owned(),
        source,
    };
    let mut json = serde_json::to_string_pretty(summary).map_err(|e| fail(e.into()))?;
    json.push('\n');
    write_atomic(path, json.as_bytes()).map_err(fail)
}
