//! Vectors of a file or a stream, one after another.

use std::io::Read;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use super::{is_header, label_place, row};
use crate::DataError;
use crate::lines::{at, csv_error, other_delimiter};

/// One vector and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorExample {
    /// The line, counted from 1.
    pub line: usize,
    /// Its numbers.
    pub values: Vec<f32>,
    /// Its label, where the file has one.
    pub label: Option<String>,
}

/// Reads vectors of one width one by one, from a CSV with a label column or without: the number of its columns tells.
pub struct VectorExamples {
    path: PathBuf,
    width: usize,
    label: Option<usize>,
    first: Option<StringRecord>,
    second: Option<StringRecord>,
    rest: csv::StringRecordsIntoIter<Box<dyn Read + Send>>,
}

impl VectorExamples {
    /// Begins to read; `path` stands for the stream in messages. The label column is found as by
    /// [`Vectors::read`](crate::Vectors::read), where there is a column more than numbers.
    ///
    /// # Errors
    /// If the first rows cannot be read, or have another number of columns.
    pub fn read(
        source: Box<dyn Read + Send>,
        path: &Path,
        width: usize,
        label_column: Option<&str>,
    ) -> Result<Self, DataError> {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(source);
        let mut rest = reader.into_records();
        let mut next = || {
            let record = rest.next().transpose();
            record.map_err(|error| csv_error(path, &error))
        };
        let Some(first) = next()? else {
            return Err(DataError::Empty {
                corpus: path.display().to_string(),
            });
        };
        let (label, named) = match first.len() {
            columns if columns == width => (None, false),
            columns if columns == width + 1 => {
                let (place, named) = label_place(path, &first, label_column)?;
                (Some(place), named)
            }
            columns => {
                let problem = other_delimiter(&first).unwrap_or_else(|| {
                    format!("has {columns} columns; the model reads {width} numbers, and a label beside them if there is one")
                });
                return Err(at(path, 1, problem));
            }
        };
        let second = next()?;
        let header = named || is_header(&first, second.as_ref(), label.unwrap_or(usize::MAX));
        Ok(Self {
            path: path.to_owned(),
            width,
            label,
            first: (!header).then_some(first),
            second,
            rest,
        })
    }
}

impl Iterator for VectorExamples {
    type Item = Result<VectorExample, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let kept = self.first.take().or_else(|| self.second.take());
        let record = match kept {
            Some(record) => record,
            None => match self.rest.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(csv_error(&self.path, &error))),
            },
        };
        let line = record.position().map_or(0, |position| position.line());
        let line = line as usize;
        Some(
            row(&self.path, line, &record, self.label).and_then(|(values, label)| {
                if values.len() != self.width {
                    let problem = format!("has {} numbers, not {}", values.len(), self.width);
                    return Err(at(&self.path, line, problem));
                }
                Ok(VectorExample {
                    line,
                    values,
                    label: label.filter(|label| !label.is_empty()),
                })
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &str, label: Option<&str>) -> Result<Vec<VectorExample>, DataError> {
        let source = Box::new(Cursor::new(text.as_bytes().to_vec()));
        VectorExamples::read(source, Path::new("stdin"), 2, label)?.collect()
    }

    #[test]
    fn a_label_is_told_by_the_number_of_columns() {
        let bare = read("1,2\n3,4.5\n", None).unwrap();
        assert_eq!(
            (bare[1].values.as_slice(), bare[1].line),
            (&[3.0, 4.5][..], 2)
        );
        assert_eq!(read("a,b\n1,2\n", None).unwrap()[0].values, [1.0, 2.0]);
        let labelled = read("1,2,x\n3,4,\n", None).unwrap();
        assert_eq!(labelled[0].label.as_deref(), Some("x"));
        assert_eq!(labelled[1].label, None);
        let named = read("kind,a,b\nx,1,2\n", Some("kind")).unwrap();
        assert_eq!((named[0].label.as_deref(), named[0].line), (Some("x"), 2));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, part) in [
            ("1,2,3,4\n", "has 4 columns; the model reads 2 numbers"),
            ("1;2\n", "semicolons"),
            ("1,2\n1,x\n", "line 2: column 2: \"x\""),
            ("1,2\n1\n", "line 2"),
            ("", "stdin is empty"),
        ] {
            let message = read(text, None).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
