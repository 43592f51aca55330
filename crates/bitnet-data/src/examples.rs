//! The examples of a file or a stream, one after another: CSV, TSV, JSON lines, or a text in each line. Only the example at
//! hand is in memory, so a stream may be longer than that.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use csv::StringRecord;

use crate::lines::{Lines, Stream, at, csv_error, other_delimiter, without_mark};
use crate::{DataError, Format, Source};

impl Source {
    /// How a table of one example a row is read: as its name says, or as `otherwise` where that says text or nothing.
    pub(crate) fn table_format(
        &self,
        otherwise: Option<ExampleFormat>,
    ) -> Result<ExampleFormat, DataError> {
        let path = self.path.clone();
        match self.format {
            Format::Csv => Ok(ExampleFormat::Csv),
            Format::Tsv => Ok(ExampleFormat::Tsv),
            Format::JsonLines => Ok(ExampleFormat::JsonLines),
            Format::Text => otherwise.ok_or(DataError::Ending { path }),
            Format::Parquet => Err(DataError::File {
                path,
                problem:
                    "is Parquet, which language models alone read: save it as CSV or JSON lines"
                        .to_owned(),
            }),
        }
    }
}

/// How examples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExampleFormat {
    /// A text in each line; empty lines are none.
    Lines,
    /// Columns with commas between them; quotation marks hold commas and line feeds.
    Csv,
    /// Columns with tabs between them; quotation marks are text.
    Tsv,
    /// A JSON object in each line; empty lines are none.
    JsonLines,
}

impl ExampleFormat {
    /// The format that the ending of a file's name says, if it says one: `csv`, `tsv`, `jsonl` or `ndjson`.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

impl FromStr for ExampleFormat {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "lines" => Ok(Self::Lines),
            "csv" => Ok(Self::Csv),
            "tsv" => Ok(Self::Tsv),
            "jsonl" => Ok(Self::JsonLines),
            _ => Err("must be lines, csv, tsv or jsonl".to_owned()),
        }
    }
}

impl fmt::Display for ExampleFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "lines",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::JsonLines => "jsonl",
        })
    }
}

/// Which columns, or fields of JSON, an example is made of: names of the header, or numbers from 1 if the file has none,
/// which is taken to be so if all names are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// What is joined by a space to the text.
    pub texts: Vec<String>,
    /// What holds the label.
    pub label: Option<String>,
    /// Whether an example without a label is an error; else its label is `None`.
    pub label_needed: bool,
    /// What text and label are called in messages.
    pub words: Words,
}

/// What an example is made of, in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// A text and its label.
    TextAndLabel,
    /// A sentence and its translation.
    SourceAndTarget,
}

impl Words {
    fn pair(self) -> [&'static str; 2] {
        match self {
            Self::TextAndLabel => ["text", "label"],
            Self::SourceAndTarget => ["source", "target"],
        }
    }

    /// How columns without names are told.
    fn numbered(self) -> &'static str {
        match self {
            Self::TextAndLabel => "data.text_columns = [\"2\"] and data.label_column = \"1\"",
            Self::SourceAndTarget => "data.source_column = \"1\" and data.target_column = \"2\"",
        }
    }
}

/// One example and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The line, counted from 1.
    pub line: usize,
    /// The text columns, joined.
    pub text: String,
    /// The label, where there is one.
    pub label: Option<String>,
}

/// Reads examples one by one.
pub struct Examples {
    path: PathBuf,
    columns: Columns,
    rows: Rows,
}

enum Rows {
    Lines(Lines),
    Json(Lines),
    Records {
        records: csv::StringRecordsIntoIter<Stream>,
        texts: Vec<usize>,
        label: Option<usize>,
    },
}

impl Examples {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, has not the columns, or its name does not say how it is read.
    pub fn open(source: &Source, columns: Columns) -> Result<Self, DataError> {
        let format = source.table_format(None)?;
        Self::read(source.reader()?, &source.path, format, columns)
    }

    /// Reads a stream; `path` stands for it in messages.
    ///
    /// # Errors
    /// If its head cannot be read, or it has not the columns.
    pub fn read(
        source: Stream,
        path: &Path,
        format: ExampleFormat,
        columns: Columns,
    ) -> Result<Self, DataError> {
        if columns.texts.is_empty() {
            return Err(DataError::Zero {
                what: "number of text columns",
            });
        }
        let source = without_mark(source, path)?;
        let rows = match format {
            ExampleFormat::Lines => Rows::Lines(Lines::new(source)),
            ExampleFormat::JsonLines => Rows::Json(Lines::new(source)),
            ExampleFormat::Csv => delimited(source, path, b',', &columns)?,
            ExampleFormat::Tsv => delimited(source, path, b'\t', &columns)?,
        };
        Ok(Self {
            path: path.to_owned(),
            columns,
            rows,
        })
    }

    fn example(
        &self,
        line: usize,
        texts: &[&str],
        label: Option<&str>,
    ) -> Result<Example, DataError> {
        let text = texts.join(" ");
        let label = label.filter(|label| !label.trim().is_empty());
        let [text_word, label_word] = self.columns.words.pair();
        for (empty, what) in [
            (text.trim().is_empty(), text_word),
            (label.is_none() && self.columns.label_needed, label_word),
        ] {
            if empty {
                let problem = format!("has no {what}; give it one, or take the row out");
                return Err(at(&self.path, line, problem));
            }
        }
        Ok(Example {
            line,
            text,
            label: label.map(str::to_owned),
        })
    }

    fn of_record(&self, record: &StringRecord) -> Result<Example, DataError> {
        let Rows::Records { texts, label, .. } = &self.rows else {
            return self.example(0, &[], None);
        };
        let line = record.position().map_or(0, |position| position.line());
        let line = line as usize;
        let cell = |place: usize| {
            record.get(place).ok_or_else(|| {
                let problem = other_delimiter(record).unwrap_or_else(|| {
                    format!(
                        "has {} columns, column {} is needed",
                        record.len(),
                        place + 1
                    )
                });
                at(&self.path, line, problem)
            })
        };
        let texts: Vec<&str> = texts
            .iter()
            .map(|place| cell(*place))
            .collect::<Result<_, _>>()?;
        let label = match (label, self.columns.label_needed) {
            (Some(place), true) => Some(cell(*place)?),
            (place, _) => place.and_then(|place| record.get(place)),
        };
        self.example(line, &texts, label)
    }

    fn of_json(&self, line: usize, text: &str) -> Result<Example, DataError> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
            .map_err(|error| at(&self.path, line, format!("is no JSON object: {error}")))?;
        let field = |name: &str| match object.get(name) {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                Ok(value.to_string())
            }
            Some(_) => Err(at(
                &self.path,
                line,
                format!("has a field {name:?} that is no text"),
            )),
            None => {
                let fields: Vec<&str> = object.keys().map(String::as_str).collect();
                Err(at(
                    &self.path,
                    line,
                    format!("has no field {name:?}, but {}", fields.join(", ")),
                ))
            }
        };
        let texts: Vec<String> = (self.columns.texts.iter())
            .map(|name| field(name))
            .collect::<Result<_, _>>()?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let label = match &self.columns.label {
            Some(name) if self.columns.label_needed || object.contains_key(name) => {
                Some(field(name)?)
            }
            _ => None,
        };
        self.example(line, &texts, label.as_deref())
    }
}

impl Iterator for Examples {
    type Item = Result<Example, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = &self.path;
        match &mut self.rows {
            Rows::Records { records, .. } => {
                let record = records.next()?;
                let record = record.map_err(|error| csv_error(path, &error));
                Some(record.and_then(|record| self.of_record(&record)))
            }
            Rows::Lines(lines) | Rows::Json(lines) => {
                let (line, text) = match lines.next_full(path)? {
                    Ok(found) => found,
                    Err(error) => return Some(Err(error)),
                };
                Some(match self.rows {
                    Rows::Json(_) => self.of_json(line, &text),
                    _ => self.example(line, &[&text], None),
                })
            }
        }
    }
}

/// The records of a file with a delimiter between columns; only commas come with quotation marks.
fn delimited(
    source: Stream,
    path: &Path,
    delimiter: u8,
    columns: &Columns,
) -> Result<Rows, DataError> {
    let names = || {
        (columns.texts.iter())
            .map(String::as_str)
            .chain(columns.label.as_deref())
    };
    let numbered = names().all(|name| name.parse::<usize>().is_ok_and(|number| number > 0));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter == b',')
        .has_headers(!numbered)
        .from_reader(source);
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
            .ok_or_else(|| at(path, 1, no_column(name, header, columns.words))),
    };
    let label = match (&columns.label, columns.label_needed) {
        (Some(name), true) => Some(place(name)?),
        (Some(name), false) => place(name).ok(),
        (None, _) => None,
    };
    Ok(Rows::Records {
        texts: (columns.texts.iter())
            .map(|name| place(name))
            .collect::<Result<_, _>>()?,
        label,
        records: reader.into_records(),
    })
}

/// What is wrong with a header that lacks a column, and how columns without names are told.
fn no_column(name: &str, header: &StringRecord, words: Words) -> String {
    if header.is_empty() {
        return "the file is empty".to_owned();
    }
    if let Some(problem) = other_delimiter(header) {
        return problem;
    }
    let shown = |(at, cell): (usize, &str)| {
        let mut short: String = cell.chars().take(24).collect();
        if short.len() < cell.len() {
            short.push('…');
        }
        format!("{} is {short:?}", at + 1)
    };
    let columns: Vec<String> = header.iter().enumerate().map(shown).collect();
    format!(
        "has no column {name:?}; column {}; if that line is an example and no header, name the columns by their numbers, as \
         in {}",
        columns.join(", "),
        words.numbered()
    )
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(format: ExampleFormat, text: &str, needed: bool) -> Result<Vec<Example>, DataError> {
        let columns = Columns {
            texts: vec!["text".into()],
            label: Some("label".into()),
            label_needed: needed,
            words: Words::TextAndLabel,
        };
        let source = Box::new(Cursor::new(text.as_bytes().to_vec()));
        Examples::read(source, Path::new("stdin"), format, columns)?.collect()
    }

    #[test]
    fn a_label_may_be_absent_where_none_is_needed() {
        use ExampleFormat::{Csv, JsonLines, Lines};
        for (format, text) in [
            (Lines, "\u{feff}one\r\n\ntwo"),
            (Csv, "text\none\ntwo\n"),
            (Csv, "label,text\n,one\n,two\n"),
            (JsonLines, "{\"text\": \"one\"}\n{\"text\": \"two\"}\n"),
        ] {
            let found = read(format, text, false).unwrap();
            let texts: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
            assert_eq!(texts, ["one", "two"], "{format}");
            assert!(found.iter().all(|one| one.label.is_none()), "{format}");
            assert!(read(format, text, true).is_err() || format == Lines);
        }
        let given = read(Csv, "label,text\na,one\n", false).unwrap();
        assert_eq!((given[0].label.as_deref(), given[0].line), (Some("a"), 2));
    }

    #[test]
    fn a_file_without_a_header_is_told_by_its_columns() {
        let text = "3,\"Wall St. Bears Claw Back Into the Black\",short\n";
        let message = read(ExampleFormat::Csv, text, true)
            .unwrap_err()
            .to_string();
        for part in [
            "line 1: has no column \"label\"; column 1 is \"3\", 2 is \"Wall St. Bears Claw Back…\", 3 is \"short\"",
            "name the columns by their numbers",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}
