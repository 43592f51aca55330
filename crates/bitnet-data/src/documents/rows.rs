//! Files of one document a line or row: JSON lines, CSV, TSV.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use super::{LONGEST_LINE, Place, Reading, Source, Take, document};
use crate::lines::{at, csv_error, other_delimiter};
use crate::{DataError, file};

/// The documents of a file with one JSON object a line; empty lines are none.
pub(super) fn json_lines(
    source: &Source,
    reading: &Reading,
    count: &AtomicU64,
    take: Take<'_>,
) -> Result<ControlFlow<()>, DataError> {
    let mut reader = BufReader::with_capacity(1 << 16, source.open(count)?);
    let (mut line, mut place) = (Vec::new(), Place::default());
    loop {
        line.clear();
        let read = (&mut reader)
            .take(LONGEST_LINE as u64)
            .read_until(b'\n', &mut line)
            .map_err(|error| source.unreadable(error))?;
        if read == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        let failed = |problem: String| at(&source.path, place.lines + 1, problem);
        if read == LONGEST_LINE {
            return Err(failed("is longer than a gigabyte; cut it".to_owned()));
        }
        let content = match place.bytes {
            0 => file::without_mark(&line),
            _ => &line,
        };
        if !content.trim_ascii().is_empty() {
            let text = text_of(content, &reading.fields).map_err(failed)?;
            if document(text.as_bytes(), place, take).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        place.lines += 1;
        place.bytes += read;
    }
}

/// The fields of an object, joined by spaces.
fn text_of(line: &[u8], fields: &[String]) -> Result<String, String> {
    let mut json = serde_json::Deserializer::from_slice(line);
    let found = Chosen(fields)
        .deserialize(&mut json)
        .and_then(|found| json.end().map(|()| found))
        .map_err(|error| match line.trim_ascii_start().first() {
            Some(b'[') => {
                "begins a list: write its objects one a line, without commas between them (JSON lines)"
                    .to_owned()
            }
            _ => format!("is no JSON object: {error}"),
        })?;
    let mut text = String::new();
    for (name, value) in fields.iter().zip(found) {
        let value = match value {
            Some(serde_json::Value::String(value)) => value,
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                value.to_string()
            }
            Some(serde_json::Value::Null) => String::new(),
            Some(_) => return Err(format!("has a field {name:?} that is no text")),
            None => {
                let object: serde_json::Map<String, serde_json::Value> =
                    serde_json::from_slice(line).unwrap_or_default();
                let names: Vec<&str> = object.keys().map(String::as_str).collect();
                let names = names.join(", ");
                return Err(format!(
                    "has no field {name:?}, but {names}: choose one of these"
                ));
            }
        };
        if text.is_empty() {
            text = value;
        } else if !value.is_empty() {
            text.push(' ');
            text.push_str(&value);
        }
    }
    Ok(text)
}

/// Reads some fields of an object and passes over the others.
struct Chosen<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Chosen<'_> {
    type Value = Vec<Option<serde_json::Value>>;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Chosen<'_> {
    type Value = Vec<Option<serde_json::Value>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = vec![None; self.0.len()];
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.0.iter().position(|name| *name == key) {
                Some(field) => found[field] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// The documents of a file with a delimiter between columns; only commas come with quotation marks. Where the fields are
/// numbers, there is no header.
pub(super) fn delimited(
    source: &Source,
    delimiter: u8,
    reading: &Reading,
    count: &AtomicU64,
    take: Take<'_>,
) -> Result<ControlFlow<()>, DataError> {
    let path = &source.path;
    let fields = &reading.fields;
    let number = |name: &String| name.parse::<usize>().ok().filter(|number| *number > 0);
    let numbers: Option<Vec<usize>> = fields.iter().map(number).collect();
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter == b',')
        .has_headers(numbers.is_none())
        .from_reader(source.open(count)?);
    let places: Vec<usize> = match numbers {
        Some(numbers) => numbers.into_iter().map(|number| number - 1).collect(),
        None => {
            let header = reader.headers().map_err(|error| csv_error(path, &error))?;
            let place = |name: &String| {
                let mut columns = header.iter();
                columns
                    .position(|column| column.trim_start_matches('\u{feff}') == name)
                    .ok_or_else(|| {
                        let columns: Vec<&str> = header.iter().collect();
                        let problem = match (columns.is_empty(), other_delimiter(header)) {
                            (true, _) => "the file is empty".to_owned(),
                            (_, Some(problem)) => problem,
                            _ => format!(
                                "has no column {name:?}, but {}: choose one of these",
                                columns.join(", ")
                            ),
                        };
                        at(path, 1, problem)
                    })
            };
            fields.iter().map(place).collect::<Result<_, _>>()?
        }
    };
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(ControlFlow::Continue(())),
            Err(error) => return Err(csv_error(path, &error)),
        }
        let position = record.position();
        let line = position.map_or(0, |position| position.line() as usize);
        let cell = |place: &usize| {
            record.get(*place).ok_or_else(|| {
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
        let cells: Vec<&str> = places.iter().map(cell).collect::<Result<_, _>>()?;
        let place = Place {
            lines: line.saturating_sub(1),
            bytes: position.map_or(0, |position| position.byte() as usize),
        };
        if document(cells.join(" ").as_bytes(), place, take).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}
