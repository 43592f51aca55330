//! One layer of settings, checked key by key against the schema before it is merged.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::de::DeTable;
use toml::{Table, Value};

use crate::foreign::known_as;
use crate::schema::{KEYS, join, nearest};
use crate::{ConfigError, Origin, RunConfig};

/// A table that is one value: which keys it has depends on one of them.
const WHOLE: &str = "model.rope_scaling";

/// Where a setting was written.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) origin: Origin,
    /// The line, counted from 1.
    pub(crate) line: Option<usize>,
}

/// Settings from one place.
pub(crate) struct Layer {
    origin: Origin,
    table: Table,
    /// The line of each dotted path, when the layer is a text.
    lines: BTreeMap<String, usize>,
}

impl Layer {
    /// Parses a TOML document.
    pub(crate) fn parse(origin: Origin, text: &str) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let syntax = |error: toml::de::Error| {
            let line = error.span().map(|span| line_of(text, span.start));
            let written = line.and_then(|line| text.lines().nth(line - 1));
            let remedy = match written.is_some_and(|written| written.contains('\\')) {
                true => {
                    "; in double quotes a backslash begins an escape: write such a path in single quotes, or with slashes"
                }
                false => "",
            };
            ConfigError::Syntax {
                origin: origin.clone(),
                line,
                message: format!("{}{remedy}", error.message()),
            }
        };
        let table = toml::from_str(text).map_err(syntax)?;
        let mut lines = BTreeMap::new();
        collect_lines(
            &mut lines,
            text,
            "",
            DeTable::parse(text).map_err(syntax)?.get_ref(),
        );
        Ok(Self {
            origin,
            table,
            lines,
        })
    }

    /// A single setting, given as text: TOML, or else a plain string.
    pub(crate) fn single(origin: Origin, path: &[&str], text: &str) -> Self {
        let wants_string = KEYS.get(&path.join(".")).is_some_and(Value::is_str);
        let value = match text.parse::<Value>() {
            Ok(value) if value.is_str() || !wants_string => value,
            _ => Value::String(text.to_owned()),
        };
        Self {
            origin,
            table: nest(path, value),
            lines: BTreeMap::new(),
        }
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
            let place = Place {
                origin: self.origin.clone(),
                line: self.lines.get(&path).copied(),
            };
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
        let line = self.lines.get(&key).copied();
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
            origin: self.origin.clone(),
            nearest,
            remark,
            key,
            line,
        }
    }

    fn wrong(&self, key: String, value: &Value, expected: String) -> ConfigError {
        let line = self.lines.get(&key).copied();
        ConfigError::Value {
            origin: self.origin.clone(),
            key,
            value: value.to_string(),
            line,
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

fn collect_lines(
    lines: &mut BTreeMap<String, usize>,
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        lines.insert(path.clone(), line_of(text, key.span().start));
        if let Some(section) = value.get_ref().as_table() {
            collect_lines(lines, text, &path, section);
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
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
