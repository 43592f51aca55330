//! A text file as lines with their numbers, for the formats of one example a line.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use crate::{DataError, Source, file};

/// A stream of bytes.
pub(crate) type Stream = Box<dyn Read + Send>;

/// The lines of a UTF-8 file, without their ends, a carriage return included. An end of line after the last one adds no
/// empty line, and a byte order mark is no part of the first.
pub(crate) fn read(source: &Source) -> Result<Vec<String>, DataError> {
    let name = source.name();
    let bytes = source.bytes()?;
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

/// The stream without the byte order mark that some editors begin a UTF-8 file with.
pub(crate) fn without_mark(mut source: Stream, path: &Path) -> Result<Stream, DataError> {
    let mut head = Vec::new();
    source
        .by_ref()
        .take(3)
        .read_to_end(&mut head)
        .map_err(|source| file::failed(path, source))?;
    let head = file::without_mark(&head).to_vec();
    Ok(Box::new(Cursor::new(head).chain(source)))
}

/// Lines with their numbers.
pub(crate) struct Lines {
    source: BufReader<Stream>,
    line: usize,
}

impl Lines {
    pub(crate) fn new(source: Stream) -> Self {
        Self {
            source: BufReader::new(source),
            line: 0,
        }
    }

    /// The next line that is not empty, without its end.
    pub(crate) fn next_full(&mut self, path: &Path) -> Option<Result<(usize, String), DataError>> {
        loop {
            let mut bytes = Vec::new();
            match self.source.read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(source) => return Some(Err(file::failed(path, source))),
            }
            let Ok(text) = String::from_utf8(bytes) else {
                let problem = "is not UTF-8; convert the file to UTF-8";
                return Some(Err(at(path, self.line, problem)));
            };
            if !text.trim().is_empty() {
                let text = text.trim_end_matches(['\n', '\r']).to_owned();
                return Some(Ok((self.line, text)));
            }
        }
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
        let source = crate::sources(&[path], None).unwrap();
        assert_eq!(read(&source[0]).unwrap(), ["one", "", "two", "three"]);
    }
}
