//! A text file as lines with their numbers, for the formats of one example a line.

use std::path::Path;

use crate::{DataError, file};

/// The lines of a UTF-8 file, without their ends, a carriage return included. An end of line after the last one adds no
/// empty line, and a byte order mark is no part of the first.
pub(crate) fn read(path: &Path) -> Result<Vec<String>, DataError> {
    let name = path.display().to_string();
    let bytes = file::read(path)?;
    let text = file::utf8(&name, &bytes)?;
    let lines: Vec<String> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(|line| line.trim_end_matches('\r').to_owned())
        .collect();
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

/// How many items are left when the last `count` are split off; an error if none would be.
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

/// What to do about a table whose only column holds another delimiter.
pub(crate) fn other_delimiter(cells: &csv::StringRecord) -> Option<String> {
    let line = cells.get(0).filter(|_| cells.len() == 1)?;
    let [found, name] = [[";", "semicolons"], ["\t", "tabs"], ["|", "bars"]]
        .into_iter()
        .find(|[delimiter, _]| line.contains(delimiter))?;
    let ending = match found {
        "\t" => "; if it has no quotation marks, its name may end in .tsv instead",
        _ => "",
    };
    Some(format!(
        "has {name} where commas are expected: save it with commas between the columns{ending}"
    ))
}

/// A file of tabs has no quotation marks, which a spreadsheet's export may count on.
pub(crate) fn no_quotes(path: &Path) -> &'static str {
    match path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"))
    {
        true => {
            "; in a .tsv file quotation marks are text, so a cell holds neither line feed nor tab: save such a table as CSV"
        }
        false => "",
    }
}

/// What the CSV reader says, with the line.
pub(crate) fn csv_error(path: &Path, error: &csv::Error) -> DataError {
    let line = error
        .position()
        .map_or(0, |position| position.line() as usize);
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => at(
            path,
            line,
            format!(
                "has {len} columns, the lines before it {expected_len}; a quotation mark or a delimiter may be missing{}",
                no_quotes(path)
            ),
        ),
        csv::ErrorKind::Utf8 { .. } => at(path, line, "is not UTF-8; convert the file to UTF-8"),
        _ => at(path, line, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_ends_of_lines_nor_a_byte_order_mark_belong_to_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "\u{feff}one\r\n\ntwo\nthree\r").unwrap();
        assert_eq!(read(&path).unwrap(), ["one", "", "two", "three"]);
    }
}
