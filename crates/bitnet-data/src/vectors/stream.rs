//! Vectors of a file or a stream, one after another.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use serde_json::Value;

use super::{is_header, label_place, row};
use crate::lines::{Lines, Stream, at, csv_error, other_delimiter, without_mark};
use crate::{DataError, ExampleFormat, Source};

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

/// Reads vectors one by one.
pub struct VectorExamples {
    path: PathBuf,
    /// Numbers of a vector, where that is known.
    width: Option<usize>,
    rows: Rows,
}

enum Rows {
    Table {
        label: Option<usize>,
        first: Option<StringRecord>,
        second: Option<StringRecord>,
        rest: csv::StringRecordsIntoIter<Stream>,
    },
    Json {
        label: String,
        lines: Lines,
    },
}

impl VectorExamples {
    /// Opens a file of labelled vectors.
    pub(super) fn open(source: &Source, label_column: Option<&str>) -> Result<Self, DataError> {
        let format = source.table_format(Some(ExampleFormat::Csv))?;
        Self::begin(source.reader()?, &source.path, format, None, label_column)
    }

    /// Begins to read vectors of `width` numbers, with labels or without: in a table the number of its columns tells. `path`
    /// stands for the stream in messages. The label column is found as by [`Vectors::read`](crate::Vectors::read), where
    /// there
    /// is a column more than numbers.
    ///
    /// # Errors
    /// If the first rows cannot be read, or have another number of columns.
    pub fn read(
        source: Box<dyn Read + Send>,
        path: &Path,
        format: ExampleFormat,
        width: usize,
        label_column: Option<&str>,
    ) -> Result<Self, DataError> {
        Self::begin(source, path, format, Some(width), label_column)
    }

    fn begin(
        source: Stream,
        path: &Path,
        format: ExampleFormat,
        width: Option<usize>,
        label_column: Option<&str>,
    ) -> Result<Self, DataError> {
        let rows = match format {
            ExampleFormat::JsonLines => Rows::Json {
                label: label_column.unwrap_or("label").to_owned(),
                lines: Lines::new(without_mark(source, path)?),
            },
            ExampleFormat::Tsv => table(source, path, b'\t', width, label_column)?,
            ExampleFormat::Csv | ExampleFormat::Lines => {
                table(source, path, b',', width, label_column)?
            }
        };
        Ok(Self {
            path: path.to_owned(),
            width,
            rows,
        })
    }
}

fn table(
    source: Stream,
    path: &Path,
    delimiter: u8,
    width: Option<usize>,
    label_column: Option<&str>,
) -> Result<Rows, DataError> {
    let reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
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
    let columns = first.len();
    let labelled = width.is_none_or(|width| columns == width + 1);
    let problem = match width {
        None if columns < 2 => {
            "has one column; a label and at least one number are needed, with commas between them"
                .to_owned()
        }
        Some(width) if !labelled && columns != width => format!(
            "has {columns} columns; the model reads {width} numbers, and a label beside them if there is one"
        ),
        _ => String::new(),
    };
    if !problem.is_empty() {
        return Err(at(path, 1, other_delimiter(&first).unwrap_or(problem)));
    }
    let (label, named) = match labelled {
        true => {
            let (place, named) = label_place(path, &first, label_column)?;
            (Some(place), named)
        }
        false => (None, false),
    };
    let second = next()?;
    let header = named || is_header(&first, second.as_ref(), label.unwrap_or(usize::MAX));
    Ok(Rows::Table {
        label,
        first: (!header).then_some(first),
        second,
        rest,
    })
}

/// The numbers of a JSON object, in the order of the names of its fields, and its label, if it has one.
fn object(path: &Path, line: usize, text: &str, label: &str) -> Result<VectorExample, DataError> {
    let fields: BTreeMap<String, Value> = serde_json::from_str(text)
        .map_err(|error| at(path, line, format!("is no JSON object: {error}")))?;
    let (mut values, mut class) = (Vec::new(), None);
    for (name, value) in &fields {
        if name == label {
            class = match value {
                Value::String(text) => Some(text.trim().to_owned()),
                Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
                _ => None,
            };
            continue;
        }
        let before = values.len();
        let mut add = |value: &Value| match value.as_f64().map(|value| value as f32) {
            Some(value) if value.is_finite() => {
                values.push(value);
                true
            }
            _ => false,
        };
        let numbers = match value {
            Value::Array(list) => list.iter().all(&mut add),
            value => add(value),
        };
        if !numbers || values.len() == before {
            let problem = format!(
                "has a field {name:?} that is neither a number nor a list of numbers; take it out, or name the label's field \
                 (data.label_column)"
            );
            return Err(at(path, line, problem));
        }
    }
    Ok(VectorExample {
        line,
        values,
        label: class,
    })
}

impl Iterator for VectorExamples {
    type Item = Result<VectorExample, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = &self.path;
        let found = match &mut self.rows {
            Rows::Table {
                label,
                first,
                second,
                rest,
            } => {
                let kept = first.take().or_else(|| second.take());
                let record = match kept {
                    Some(record) => record,
                    None => match rest.next()? {
                        Ok(record) => record,
                        Err(error) => return Some(Err(csv_error(path, &error))),
                    },
                };
                let line = record.position().map_or(0, |position| position.line());
                let line = line as usize;
                let row = row(path, line, &record, *label);
                row.map(|(values, label)| VectorExample {
                    line,
                    values,
                    label,
                })
            }
            Rows::Json { label, lines } => match lines.next_full(path)? {
                Ok((line, text)) => object(path, line, &text, label),
                Err(error) => Err(error),
            },
        };
        Some(found.and_then(|mut example| {
            if let Some(width) = self.width.filter(|width| example.values.len() != *width) {
                let problem = format!("has {} numbers, not {width}", example.values.len());
                return Err(at(path, example.line, problem));
            }
            example.label = example.label.filter(|label| !label.is_empty());
            Ok(example)
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: &str, label: Option<&str>) -> Result<Vec<VectorExample>, DataError> {
        let source = Box::new(Cursor::new(text.as_bytes().to_vec()));
        let format = match text.starts_with('{') {
            true => ExampleFormat::JsonLines,
            false => ExampleFormat::Csv,
        };
        VectorExamples::read(source, Path::new("stdin"), format, 2, label)?.collect()
    }

    #[test]
    fn objects_hold_numbers_and_lists_of_them() {
        let found = read(
            "{\"b\": 2, \"a\": 1, \"label\": \"x\"}\n\n{\"a\": [3, 4.5]}\n",
            None,
        )
        .unwrap();
        assert_eq!(found[0].values, [1.0, 2.0]);
        assert_eq!((found[0].label.as_deref(), found[0].line), (Some("x"), 1));
        assert_eq!(
            (found[1].values.as_slice(), found[1].line),
            (&[3.0, 4.5][..], 3)
        );
        assert_eq!(found[1].label, None);
        let named = read("{\"kind\": 3, \"x\": [1, 2]}", Some("kind")).unwrap();
        assert_eq!(named[0].label.as_deref(), Some("3"));
        for (text, part) in [
            (
                "{\"a\": [1, \"2\"]}",
                "a field \"a\" that is neither a number",
            ),
            ("{\"a\": 1, \"b\": [], \"c\": 2}", "a field \"b\""),
            ("{\"a\": 1, \"b\": 1e39}", "a field \"b\""),
            ("{\"a\": 1}\n", "line 1: has 1 numbers, not 2"),
            ("{\"a\": 1, \"b\": 2}\n[3]\n", "line 2: is no JSON object"),
        ] {
            let message = read(text, None).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
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
