//! Texts with labels: CSV, TSV or JSON lines, by the ending of the file's name.

use std::path::Path;

use crate::lines::{at, check_split};
use crate::{DataError, file, lines};

/// Labelled texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The file.
    pub name: String,
    /// The texts.
    pub texts: Vec<String>,
    /// The class of each, an index into `label_names`.
    pub labels: Vec<usize>,
    /// The classes.
    pub label_names: Vec<String>,
}

impl Table {
    /// Reads a file whose name ends in `csv`, `tsv` or `jsonl`.
    ///
    /// Columns are named by the header, or by number from 1 if the file has none: if all names given are numbers. Several
    /// text columns are joined by a space. The classes are sorted by name; with `labels`, those of the training data, no
    /// others may occur.
    pub fn read(
        path: &Path,
        text_columns: &[String],
        label_column: &str,
        labels: Option<&[String]>,
    ) -> Result<Self, DataError> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let rows = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => delimited(path, b',', text_columns, label_column)?,
            Some("tsv") => delimited(path, b'\t', text_columns, label_column)?,
            Some("jsonl") => json_lines(path, text_columns, label_column)?,
            _ => {
                return Err(DataError::Ending {
                    path: path.to_owned(),
                });
            }
        };
        let mut names: Vec<String> = match labels {
            Some(labels) => labels.to_vec(),
            None => rows.iter().map(|row| row.label.clone()).collect(),
        };
        if labels.is_none() {
            names.sort();
            names.dedup();
        }
        let mut table = Self {
            name: path.display().to_string(),
            ..Self::default()
        };
        for row in rows {
            let Some(label) = names.iter().position(|name| *name == row.label) else {
                let problem = format!(
                    "has the label {:?}, which the training data has not; it knows {}",
                    row.label,
                    names.join(", ")
                );
                return Err(at(path, row.line, problem));
            };
            table.texts.push(row.text);
            table.labels.push(label);
        }
        table.label_names = names;
        match table.texts.is_empty() {
            true => Err(DataError::Empty { corpus: table.name }),
            false => Ok(table),
        }
    }

    /// Splits the last `count` rows off.
    pub fn split_off_last(&mut self, count: usize) -> Result<Self, DataError> {
        let left = check_split(&self.name, self.texts.len(), count)?;
        Ok(Self {
            name: self.name.clone(),
            texts: self.texts.split_off(left),
            labels: self.labels.split_off(left),
            label_names: self.label_names.clone(),
        })
    }
}

struct Row {
    line: usize,
    text: String,
    label: String,
}

impl Row {
    fn new(path: &Path, line: usize, texts: &[&str], label: &str) -> Result<Self, DataError> {
        let text = texts.join(" ");
        for (empty, what) in [
            (text.trim().is_empty(), "text"),
            (label.is_empty(), "label"),
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

fn delimited(
    path: &Path,
    delimiter: u8,
    text_columns: &[String],
    label_column: &str,
) -> Result<Vec<Row>, DataError> {
    let bytes = file::read(path)?;
    let text = file::utf8(&path.display().to_string(), &bytes)?;
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
                at(
                    path,
                    1,
                    format!("has no column {name:?}, but {}", columns.join(", ")),
                )
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
                at(
                    path,
                    line,
                    format!(
                        "has {} columns, column {} is needed",
                        record.len(),
                        place + 1
                    ),
                )
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
                "has {len} columns, the lines before it {expected_len}; a quotation mark or a delimiter may be missing"
            ),
        ),
        _ => at(path, line, error.to_string()),
    }
}

fn json_lines(
    path: &Path,
    text_fields: &[String],
    label_field: &str,
) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    for (line, number) in lines::read(path)?.iter().zip(1..) {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(name: &str, content: &str, texts: &[&str], label: &str) -> Result<Table, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let texts: Vec<String> = texts.iter().map(|name| (*name).to_owned()).collect();
        Table::read(&path, &texts, label, None)
    }

    #[test]
    fn all_three_formats_give_the_same_table() {
        let csv = read(
            "t.csv",
            "label,title,body\nb,one,\"x, y\"\na,two,z\n",
            &["title", "body"],
            "label",
        )
        .unwrap();
        assert_eq!(csv.texts, ["one x, y", "two z"]);
        assert_eq!(
            (csv.labels.clone(), csv.label_names.clone()),
            (vec![1, 0], vec!["a".to_owned(), "b".to_owned()])
        );
        let numbered = read("t.csv", "b,one,\"x, y\"\na,two,z\n", &["2", "3"], "1").unwrap();
        let tsv = read(
            "t.tsv",
            "label\ttitle\tbody\nb\tone\tx, y\na\ttwo\tz\n",
            &["title", "body"],
            "label",
        )
        .unwrap();
        let jsonl = "{\"label\":\"b\",\"title\":\"one\",\"body\":\"x, y\"}\n{\"label\":\"a\",\"title\":\"two\",\"body\":\"z\"}";
        let json = read("t.jsonl", jsonl, &["title", "body"], "label").unwrap();
        for other in [numbered, tsv, json] {
            assert_eq!((&other.texts, &other.labels), (&csv.texts, &csv.labels));
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        for (name, content, texts, label, parts) in [
            (
                "t.csv",
                "label,text\na,b\na,b,c\n",
                ["text"],
                "label",
                ["t.csv", "line 3", "3 columns"],
            ),
            (
                "t.csv",
                "label,text\na,b\n",
                ["body"],
                "label",
                ["t.csv", "line 1", "label, text"],
            ),
            ("t.csv", "a,\n", ["2"], "1", ["t.csv", "line 1", "no text"]),
            (
                "t.csv",
                "a,b\n",
                ["3"],
                "1",
                ["t.csv", "line 1", "column 3"],
            ),
            (
                "t.csv",
                "label,text\n,b\n",
                ["text"],
                "label",
                ["t.csv", "line 2", "no label"],
            ),
            (
                "t.jsonl",
                "{\"text\":\"a\"}\n",
                ["text"],
                "label",
                ["t.jsonl", "line 1", "no field"],
            ),
            (
                "t.jsonl",
                "{\"label\":1,\"text\":\"a\"}\nx\n",
                ["text"],
                "label",
                ["t.jsonl", "line 2", "no JSON"],
            ),
            ("t.txt", "a\n", ["text"], "label", ["t.txt", "csv", "jsonl"]),
            (
                "t.csv",
                "label,text\n",
                ["text"],
                "label",
                ["t.csv", "empty", ""],
            ),
        ] {
            let message = read(name, content, &texts, label).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{content:?}: {message}");
            }
        }
    }

    #[test]
    fn a_label_that_training_has_not_seen_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        fs::write(&path, "label,text\na,x\nc,y\n").unwrap();
        let known = ["a".to_owned(), "b".to_owned()];
        let texts = ["text".to_owned()];
        let message = Table::read(&path, &texts, "label", Some(&known))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("line 3") && message.contains("\"c\"") && message.contains("a, b"),
            "{message}"
        );
    }
}
