//! A text file as lines with their numbers, for the formats of one example a line.

use std::path::Path;

use crate::{DataError, file};

/// The lines of a UTF-8 file, without their ends. An end of line after the last one adds no empty line.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, DataError> {
    let name = path.display().to_string();
    let bytes = file::read(path)?;
    let text = file::utf8(&name, &bytes)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match lines.is_empty() {
        true => Err(DataError::Empty { corpus: name }),
        false => Ok(lines),
    }
}

/// An error at a line of a file, counted from 1.
pub(crate) fn at(path: &Path, line: usize, problem: impl Into<String>) -> DataError {
    DataError::Line {
        file: path.display().to_string(),
        line,
        problem: problem.into(),
    }
}

/// Splits the last `count` items off; an error if none would be left.
pub(crate) fn check_split(name: &str, have: usize, count: usize) -> Result<usize, DataError> {
    match have > count {
        true => Ok(have - count),
        false => Err(DataError::TooFew {
            name: name.to_owned(),
            have,
            count,
        }),
    }
}
