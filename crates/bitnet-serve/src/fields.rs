//! The fields of a request, taken one by one: what is left in the end was not understood, and is refused by its name.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::ApiError;

/// The fields of a JSON object.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    /// The object's own name and a dot; empty for the whole request.
    path: String,
}

impl Fields {
    /// Of a request's body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let value = serde_json::from_slice(body).map_err(|error| {
            let message = match body.is_empty() {
                true => "the body is empty; expected a JSON object".into(),
                false => format!("the body is not JSON: {error}"),
            };
            ApiError::request(message).code("invalid_json")
        })?;
        match value {
            Value::Object(map) => Ok(Self {
                map,
                path: String::new(),
            }),
            _ => Err(ApiError::request("the body is not a JSON object").code("invalid_json")),
        }
    }

    /// Of a value within a request, which `name` names in full.
    pub(crate) fn within(name: &str, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(map) => Ok(Self {
                map,
                path: format!("{name}."),
            }),
            other => Err(wrong(name, "an object", &other)),
        }
    }

    /// A field's full name.
    pub(crate) fn name(&self, field: &str) -> String {
        format!("{}{field}", self.path)
    }

    /// A field's value; null is absent.
    pub(crate) fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field).filter(|value| !value.is_null())
    }

    pub(crate) fn string(&mut self, field: &str) -> Result<Option<String>, ApiError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(&self.name(field), "a string", &other)),
        }
    }

    pub(crate) fn boolean(&mut self, field: &str) -> Result<Option<bool>, ApiError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(wrong(&self.name(field), "true or false", &other)),
        }
    }

    /// A whole number in a range; 3.0 is one.
    pub(crate) fn integer(
        &mut self,
        field: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let whole = value.as_i64().or_else(|| {
            let float = value.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
        });
        let (low, high) = (range.start(), range.end());
        let expected = match *high {
            i64::MAX => format!("a whole number from {low} on"),
            _ => format!("a whole number from {low} to {high}"),
        };
        match whole.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(&self.name(field), &expected, &value)),
        }
    }

    /// A number that is not below `low` (nor equal to it, if `open`) and not above `high`.
    pub(crate) fn float(
        &mut self,
        field: &str,
        (low, open, high): (f64, bool, f64),
    ) -> Result<Option<f32>, ApiError> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let inside = |x: &f64| (*x > low || (!open && *x == low)) && *x <= high;
        match value.as_f64().filter(inside) {
            // What is above 0 stays above it in f32.
            Some(number) if open => Ok(Some((number as f32).max(f32::MIN_POSITIVE))),
            Some(number) => Ok(Some(number as f32)),
            None => {
                let from = if open { "above" } else { "from" };
                let expected = format!("a number {from} {low} to {high}");
                Err(wrong(&self.name(field), &expected, &value))
            }
        }
    }

    /// Refuses fields that are known and not supported, unless they say what would be done without them.
    pub(crate) fn refuse(&mut self, fields: &[&str]) -> Result<(), ApiError> {
        for field in fields {
            let nothing = |value: &Value| match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::Bool(flag) => !flag,
                Value::String(text) => text == "none" || text.is_empty(),
                _ => false,
            };
            if self.take(field).is_some_and(|value| !nothing(&value)) {
                return Err(ApiError::unsupported(self.name(field)));
            }
        }
        Ok(())
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.map.keys().next() {
            Some(field) => Err(ApiError::unknown(self.name(&shortened(field)))),
            None => Ok(()),
        }
    }
}

/// A value that is not what is expected.
pub(crate) fn wrong(name: &str, expected: &str, found: &Value) -> ApiError {
    let found = shortened(&found.to_string());
    ApiError::field(name, format!("`{name}`: expected {expected}, not {found}"))
}

/// At most so many characters of what somebody sent.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).unwrap()
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>, param: &str) {
        let body = result.unwrap_err().body();
        assert_eq!(body["error"]["param"], param, "{body}");
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let mut f = fields(r#"{"a": 1.5, "b": "x", "c": null, "d": [1], "e": [], "f": 3.0}"#);
        refused(f.integer("a", 0..=9), "a");
        refused(f.boolean("b"), "b");
        assert!(f.string("c").unwrap().is_none());
        assert_eq!(f.integer("f", 0..=9).unwrap(), Some(3));
        refused(f.refuse(&["e", "d"]), "d");
        f.finish().unwrap();
        refused(fields(r#"{"zz": null}"#).finish(), "zz");
        let inner = serde_json::json!({"y": 1});
        refused(Fields::within("x", inner).unwrap().finish(), "x.y");
    }

    #[test]
    fn ranges_are_closed_or_open_at_their_low_end() {
        let mut f = fields(r#"{"a": 0, "b": 0, "c": 1, "d": 1.01}"#);
        assert_eq!(f.float("a", (0.0, false, 1.0)).unwrap(), Some(0.0));
        refused(f.float("b", (0.0, true, 1.0)), "b");
        assert_eq!(f.float("c", (0.0, true, 1.0)).unwrap(), Some(1.0));
        refused(f.float("d", (0.0, true, 1.0)), "d");
    }

    #[test]
    fn half_a_character_is_no_json() {
        for body in [r#"{"a": "\ud800"}"#, "", "[1]", "{\"a\": \"\u{0}\"}", "{"] {
            let error = Fields::parse(body.as_bytes()).unwrap_err();
            assert_eq!(error.status, 400);
        }
    }
}
