//! The rows of a table as text and label, whatever the format of the file.

use std::path::Path;

use crate::lines::{at, csv_error, other_delimiter};
use crate::{DataError, file, lines};

/// One example and where it stands.
pub(super) struct Row {
    /// The line, counted from 1.
    pub line: usize,
    /// The text columns, joined.
    pub text: String,
    /// The class by name.
    pub label: String,
}

impl Row {
    fn new(path: &Path, line: usize, texts: &[&str], label: &str) -> Result<Self, DataError> {
        let text = texts.join(" ");
        for (empty, what) in [
            (text.trim().is_empty(), "text"),
            (label.trim().is_empty(), "label"),
        ] {
            if empty {
                return Err(at(
                    path,
                    line,
                    format!("has no {what}; give it one, or take the row out"),
                ));
            }
        }
        Ok(Self {
            line,
            text,
            label: label.to_owned(),
        })
    }
}

/// The rows of a file with a delimiter between columns; only commas come with quotation marks.
pub(super) fn delimited(
    path: &Path,
    delimiter: u8,
    text_columns: &[String],
    label_column: &str,
) -> Result<Vec<Row>, DataError> {
    let bytes = file::read(path)?;
    let text = file::utf8(&path.display().to_string(), file::without_mark(&bytes))?;
    let names = || {
        text_columns
            .iter()
            .map(String::as_str)
            .chain([label_column])
    };
    let numbered = names().all(|name| name.parse::<usize>().is_ok_and(|number| number > 0));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter == b',')
        .has_headers(!numbered)
        .from_reader(text.as_bytes());
    let header = match numbered {
        true => None,
        false => Some(
            reader
                .headers()
                .map_err(|error| csv_error(path, &error))?
                .clone(),
        ),
    };
    let place = |name: &str| match &header {
        None => Ok(name.parse::<usize>().unwrap_or(1) - 1),
        Some(header) => header
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| {
                let columns: Vec<&str> = header.iter().collect();
                let problem = match (columns.is_empty(), other_delimiter(header)) {
                    (true, _) => "the file is empty".to_owned(),
                    (_, Some(problem)) => problem,
                    _ => format!("has no column {name:?}, but {}", columns.join(", ")),
                };
                at(path, 1, problem)
            }),
    };
    let text_places: Vec<usize> = text_columns
        .iter()
        .map(|name| place(name))
        .collect::<Result<_, _>>()?;
    let label_place = place(label_column)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| csv_error(path, &error))?;
        let line = record
            .position()
            .map_or(0, |position| position.line() as usize);
        let cell = |place: usize| {
            record.get(place).ok_or_else(|| {
                let problem = other_delimiter(&record).unwrap_or_else(|| {
                    format!(
                        "has {} columns, column {} is needed",
                        record.len(),
                        place + 1
                    )
                });
                at(path, line, problem)
            })
        };
        let texts: Vec<&str> = text_places
            .iter()
            .map(|place| cell(*place))
            .collect::<Result<_, _>>()?;
        rows.push(Row::new(path, line, &texts, cell(label_place)?)?);
    }
    Ok(rows)
}

/// The rows of a file with one JSON object a line; empty lines are none.
pub(super) fn json_lines(
    path: &Path,
    text_fields: &[String],
    label_field: &str,
) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    for (line, number) in lines::read(path)?.iter().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)
            .map_err(|error| at(path, number, format!("is no JSON object: {error}")))?;
        let field = |name: &str| match object.get(name) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                Ok(value.to_string())
            }
            Some(_) => Err(at(
                path,
                number,
                format!("has a field {name:?} that is no text"),
            )),
            None => {
                let fields: Vec<&str> = object.keys().map(String::as_str).collect();
                Err(at(
                    path,
                    number,
                    format!("has no field {name:?}, but {}", fields.join(", ")),
                ))
            }
        };
        let texts: Vec<String> = text_fields
            .iter()
            .map(|name| field(name))
            .collect::<Result<_, _>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        rows.push(Row::new(path, number, &texts, &field(label_field)?)?);
    }
    Ok(rows)
}
