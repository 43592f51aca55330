//! What a key is: its meaning, its kind, its choices and its default, and all of that as a JSON schema for editors. Read off
//! the structs: examples and defaults by serialising them, choices by asking serde, meanings from the doc comments.

use serde::Deserialize;
use toml::{Table, Value};

use crate::condition::{needs, only_of};
use crate::layer::{expected, nest};
use crate::ranges::range;
use crate::schema::{KEYS, nearest};
use crate::scope::{names, readers};
use crate::{RunConfig, meaning};

/// A key, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The dotted path.
    pub key: String,
    /// What it means, from the schema's documentation.
    pub meaning: &'static str,
    /// What may be written: `a number`, `true or false`, a list of choices.
    pub kind: String,
    /// Which numbers it takes, and what they count: `at least 1, in steps`.
    pub range: Option<String>,
    /// What holds where it is not written, as TOML; none where that depends on other settings or the data.
    pub default: Option<String>,
    /// The tasks that read it.
    pub tasks: String,
    /// What other keys must say for it to count: `with train.distill_from`, `of lm with data.kind = "chat"`.
    pub needs: Vec<String>,
    /// The keys in it, if it is a section.
    pub keys: Vec<String>,
}

/// What a key or a section is.
///
/// # Errors
/// The nearest known one, if there is one.
///
/// ```
/// let steps = bitnet_config::describe("train.steps").unwrap();
/// assert_eq!(steps.meaning, "Optimiser steps.");
/// assert_eq!((steps.kind.as_str(), steps.default.as_deref()), ("a whole number", Some("1000")));
/// assert_eq!(steps.range.as_deref(), Some("at least 1, in steps"));
/// assert_eq!(bitnet_config::describe("train.step"), Err(Some("train.steps".to_owned())));
/// ```
pub fn describe(key: &str) -> Result<Description, Option<String>> {
    let example = KEYS.get(key).ok_or_else(|| nearest(key))?;
    let inside = format!("{key}.");
    let direct = |path: &&String| {
        path.strip_prefix(&inside)
            .is_some_and(|rest| !rest.contains('.'))
    };
    Ok(Description {
        key: key.to_owned(),
        meaning: meaning(key).unwrap_or_default(),
        kind: kind(key, example),
        range: range(key).map(|(range, unit)| match unit {
            "" => range.to_string(),
            unit if unit.starts_with("of ") => format!("{range}, a share {unit}"),
            unit => format!("{range}, in {unit}"),
        }),
        default: default(key)
            .filter(|value| !value.is_table())
            .map(|value| value.to_string()),
        tasks: names(readers(key)),
        needs: (needs(key))
            .map(|(needs, tasks)| match only_of(key, tasks) {
                Some(tasks) => format!("of {tasks} {needs}"),
                None => needs.to_owned(),
            })
            .collect(),
        keys: match example.is_table() {
            true => KEYS.keys().filter(direct).cloned().collect(),
            false => Vec::new(),
        },
    })
}

fn default(key: &str) -> Option<Value> {
    let all = Value::try_from(RunConfig::default()).ok()?;
    key.split('.')
        .try_fold(all, |value, part| value.get(part).cloned())
}

/// What serde would have accepted in the place of something that it does not.
fn kind(key: &str, example: &Value) -> String {
    if example.is_table() {
        return "a section".to_owned();
    }
    let path: Vec<&str> = key.split('.').collect();
    // No key takes a date.
    let date = "1979-05-27".parse().map(Value::Datetime);
    let asked = date.map(|date| RunConfig::deserialize(nest(&path, date)));
    match (choices(key), asked) {
        (Some(choices), _) => format!("one of {}", choices.join(", ")),
        (None, Ok(Err(error))) => {
            let kind = expected(error.message());
            match (kind.strip_suffix(", 0 or more"), range(key)) {
                // The range says it.
                (Some(bare), Some(_)) => bare.to_owned(),
                _ => kind,
            }
        }
        _ => example.type_str().to_owned(),
    }
}

/// The words that a key takes, if it takes some words alone.
fn choices(key: &str) -> Option<Vec<String>> {
    if !KEYS.get(key)?.is_str() {
        return None;
    }
    let path: Vec<&str> = key.split('.').collect();
    let error = RunConfig::deserialize(nest(&path, Value::from("?"))).err()?;
    let (_, list) = error.message().split_once("expected ")?;
    let words: Vec<String> = list
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    (!words.is_empty()).then_some(words)
}

/// A JSON schema (draft 2020-12) of a run's configuration, as a table that serialises to it.
pub fn json_schema() -> Table {
    let mut schema = section("");
    schema.insert(
        "$schema".into(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    schema.insert("title".into(), "A configuration of `bitnet train`".into());
    schema
}

fn section(prefix: &str) -> Table {
    let mut properties = Table::new();
    for (path, example) in KEYS.iter() {
        let name = match prefix {
            "" => Some(path.as_str()),
            prefix => path
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(name) = name.filter(|name| !name.contains('.')) else {
            continue;
        };
        let mut property = match example.is_table() && path != "model.rope_scaling" {
            true => section(path),
            false => leaf(path, example),
        };
        let meaning = meaning(path).unwrap_or_default();
        if !meaning.is_empty() {
            property.insert("description".into(), meaning.into());
        }
        properties.insert(name.to_owned(), property.into());
    }
    Table::from_iter([
        ("type".to_owned(), "object".into()),
        ("additionalProperties".to_owned(), false.into()),
        ("properties".to_owned(), properties.into()),
    ])
}

/// Whether a key takes a list in the place of a string.
fn is_paths(key: &str) -> bool {
    let path: Vec<&str> = key.split('.').collect();
    RunConfig::deserialize(nest(&path, Value::Array(Vec::new()))).is_ok()
}

fn leaf(path: &str, example: &Value) -> Table {
    let mut property = Table::new();
    let kind = match example {
        Value::String(_) if is_paths(path) => {
            property.insert("type".into(), vec!["string", "array"].into());
            return property;
        }
        Value::String(_) => "string",
        Value::Integer(_) => "integer",
        Value::Float(_) => "number",
        Value::Boolean(_) => "boolean",
        Value::Array(_) => "array",
        _ => "object",
    };
    property.insert("type".into(), kind.into());
    if let Some(choices) = choices(path) {
        property.insert("enum".into(), choices.into());
    }
    if let Some(value) = default(path).filter(|value| !value.is_table()) {
        property.insert("default".into(), value);
    }
    property
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_described_and_in_the_schema() {
        let schema = json_schema();
        for key in KEYS.keys() {
            let found = describe(key).unwrap();
            assert!(!found.kind.is_empty(), "{key}");
            if key.starts_with("model.rope_scaling.") {
                continue;
            }
            let mut at = &schema;
            for part in key.split('.') {
                at = at["properties"].as_table().unwrap()[part]
                    .as_table()
                    .unwrap();
            }
            assert!(at.contains_key("type"), "{key}");
        }
        let level = describe("data.level").unwrap();
        assert_eq!(level.kind, "one of char, byte, bpe, model, file");
        assert_eq!(level.default.as_deref(), Some("\"char\""));
        let train = describe("train").unwrap();
        assert!(train.keys.contains(&"train.steps".to_owned()));
        assert_eq!(
            describe("train.learning_rte"),
            Err(Some("train.learning_rate".into()))
        );
    }
}
