//! One layer of settings, checked key by key against the schema before it is merged.

use serde::Deserialize;
use toml::{Table, Value};

use crate::document::{Document, Part, Place};
use crate::foreign::known_as;
use crate::schema::{KEYS, join, nearest};
use crate::{ConfigError, Origin, RunConfig};

/// A table that is one value: which keys it has depends on one of them.
const WHOLE: &str = "model.rope_scaling";

/// Settings from one place.
pub(crate) struct Layer {
    table: Table,
    document: Document,
}

impl Layer {
    /// Parses a TOML document.
    pub(crate) fn parse(origin: Origin, text: &str) -> Result<Self, ConfigError> {
        let (table, document) = Document::parse(origin, text)?;
        Ok(Self { table, document })
    }

    /// A single setting, given as text: TOML, or else a plain string.
    pub(crate) fn single(origin: Origin, path: &[&str], text: &str) -> Self {
        let wants_string = KEYS.get(&path.join(".")).is_some_and(Value::is_str);
        let value = match text.parse::<Value>() {
            Ok(value) if value.is_str() || !wants_string => value,
            _ => Value::String(text.to_owned()),
        };
        Self {
            table: nest(path, value),
            document: Document::unseen(origin),
        }
    }

    /// A single `section.key=value`.
    pub(crate) fn assignment(origin: Origin, assignment: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::Assignment(assignment.to_owned());
        let (key, value) = assignment.split_once('=').ok_or_else(malformed)?;
        let path: Vec<&str> = key.split('.').map(str::trim).collect();
        if path.contains(&"") {
            return Err(malformed());
        }
        let value = value.trim();
        let document = Document::assignment(origin.clone(), assignment, &path, value);
        Ok(Self {
            document,
            ..Self::single(origin, &path, value)
        })
    }

    /// The same settings, which stand in another text.
    pub(crate) fn shown_at(mut self, place: &Place) -> Self {
        self.document = Document::quoted(place);
        self
    }

    /// Rejects unknown keys and wrong types, and gives out the settings and where each was written.
    pub(crate) fn check(self) -> Result<(Table, Vec<(String, Place)>), ConfigError> {
        self.check_section(&mut Vec::new(), &self.table)?;
        let mut places = Vec::new();
        self.places("", &self.table, &mut places);
        Ok((self.table, places))
    }

    fn places(&self, prefix: &str, table: &Table, places: &mut Vec<(String, Place)>) {
        for (key, value) in table {
            let path = join(prefix, key);
            if let Value::Table(section) = value
                && path != WHOLE
            {
                self.places(&path, section, places);
                continue;
            }
            let place = self.document.place(&path, Part::Value);
            places.push((path, place));
        }
    }

    fn check_section<'a>(
        &self,
        parents: &mut Vec<&'a str>,
        table: &'a Table,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            parents.push(key);
            let path = parents.join(".");
            match (KEYS.get(&path), value) {
                (None, _) => return Err(self.unknown(path, value)),
                (Some(Value::Table(_)), Value::Table(section)) if path != WHOLE => {
                    self.check_section(parents, section)?
                }
                (Some(Value::Table(_)), value) if !value.is_table() => {
                    let expected = format!("a section, [{path}]");
                    return Err(self.wrong(path, value, expected));
                }
                (Some(_), _) => {
                    if let Err(error) = RunConfig::deserialize(nest(parents, value.clone())) {
                        return Err(self.wrong(path, value, expected(error.message())));
                    }
                }
            }
            parents.pop();
        }
        Ok(())
    }

    fn unknown(&self, mut key: String, mut value: &Value) -> ConfigError {
        let place = self.document.place(&key, Part::Key);
        // Names the key in full when an unknown section holds just one.
        while let Value::Table(table) = value
            && let (1, Some((inner, next))) = (table.len(), table.iter().next())
        {
            key = join(&key, inner);
            value = next;
        }
        let name = key.rsplit('.').next().unwrap_or_default();
        let (nearest, remark) = match known_as(name) {
            Some((nearest, remark)) => (Some(nearest.to_owned()), remark),
            None => (nearest(&key), ""),
        };
        ConfigError::UnknownKey {
            place,
            nearest,
            remark,
            key,
        }
    }

    fn wrong(&self, key: String, value: &Value, expected: String) -> ConfigError {
        ConfigError::Value {
            place: self.document.place(&key, Part::Value),
            key,
            value: value.to_string(),
            expected,
        }
    }
}

/// A table that holds one value at a path.
pub(crate) fn nest(path: &[&str], value: Value) -> Table {
    let Some((first, rest)) = path.split_first() else {
        return Table::new();
    };
    let inner = if rest.is_empty() {
        value
    } else {
        Value::Table(nest(rest, value))
    };
    Table::from_iter([((*first).to_owned(), inner)])
}

/// Puts the settings of `upper` over those of `lower`: sections are merged, values and lists replaced.
pub(crate) fn merge(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

/// Says in plain words what serde expected: its messages end in `expected …`, often with a Rust type.
pub(crate) fn expected(message: &str) -> String {
    let what = message
        .rsplit_once("expected ")
        .map_or(message, |(_, what)| what)
        .trim();
    match what {
        "usize" => "a whole number, 0 or more",
        "u64" => "a whole number from 0 to 9223372036854775807",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "path string" | "string only" => "a string",
        other => other,
    }
    .to_owned()
}
