//! What chat templates take from Python: `json.dumps`, `strftime`, the repr of a float.

use chrono::{DateTime, Local, format::Item, format::StrftimeItems};
use minijinja::{Error, ErrorKind, Value, value::ValueKind};
use std::fmt::Write;

/// How transformers writes JSON in a template.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dumps {
    pub(crate) indent: Option<usize>,
    pub(crate) ensure_ascii: bool,
    pub(crate) sort_keys: bool,
    /// Between items, and after a key.
    pub(crate) separators: Option<(String, String)>,
}

/// Lists and objects within each other.
const MAX_DEPTH: usize = 64;

impl Dumps {
    /// `json.dumps(value, …)`.
    pub(crate) fn text(&self, value: &Value) -> Result<String, Error> {
        let mut out = String::new();
        self.write(value, 0, &mut out)?;
        Ok(out)
    }

    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid(format!("tojson: more than {MAX_DEPTH} levels")));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => push(out, value),
            ValueKind::Number => {
                let number = f64::try_from(value.clone())?;
                out.push_str(&match number {
                    n if n.is_nan() => "NaN".into(),
                    n if n.is_infinite() && n > 0.0 => "Infinity".into(),
                    n if n.is_infinite() => "-Infinity".into(),
                    n => float(n),
                });
            }
            ValueKind::String => self.write_text(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.write_items(('[', ']'), depth, out, items.len(), |this, index, out| {
                    this.write(&items[index], depth + 1, out)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.write_items(('{', '}'), depth, out, keys.len(), |this, index, out| {
                    let key = &keys[index];
                    match key.as_str() {
                        Some(key) => this.write_text(key, out),
                        None => {
                            let mut text = String::new();
                            this.write(key, depth + 1, &mut text)?;
                            this.write_text(&text, out);
                        }
                    }
                    out.push_str(this.separators.as_ref().map_or(": ", |(_, after)| after));
                    this.write(&value.get_item(key)?, depth + 1, out)
                })?;
            }
            kind => {
                return Err(invalid(format!(
                    "tojson: a value of the kind {kind} is no JSON"
                )));
            }
        }
        Ok(())
    }

    fn write_items(
        &self,
        (open, close): (char, char),
        depth: usize,
        out: &mut String,
        count: usize,
        write: impl Fn(&Self, usize, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |out: &mut String, depth: usize| {
            if let Some(indent) = self.indent {
                out.push('\n');
                out.extend(std::iter::repeat_n(' ', indent.saturating_mul(depth)));
            }
        };
        let between = match (&self.separators, self.indent) {
            (Some((between, _)), _) => between,
            (None, Some(_)) => ",",
            (None, None) => ", ",
        };
        out.push(open);
        for index in 0..count {
            if index > 0 {
                out.push_str(between);
            }
            line(out, depth + 1);
            write(self, index, out)?;
        }
        if count > 0 {
            line(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn write_text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' '
                    || (self.ensure_ascii && !c.is_ascii())
                    || c == '\u{7f}' && self.ensure_ascii =>
                {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        push(out, format_args!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// Writing to a string does not fail.
fn push(out: &mut String, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}");
}

/// Python's repr of a finite float: the shortest digits that are read back as it, with an exponent below 1e-4 and from 1e16.
fn float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ (..-4 | 16..)) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => {
            let text = value.to_string();
            match text.contains('.') {
                true => text,
                false => text + ".0",
            }
        }
    }
}

/// `datetime.now().strftime(format)`.
pub(crate) fn strftime(now: DateTime<Local>, format: &str) -> Result<String, Error> {
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        return Err(invalid(format!(
            "strftime_now: the format {format:?} is unknown"
        )));
    }
    let mut text = String::new();
    write!(text, "{}", now.format_with_items(items.iter()))
        .map_err(|_| invalid(format!("strftime_now: the format {format:?} is unknown")))?;
    Ok(text)
}

pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_does() {
        // python3 -c "print(*map(repr, […]))"
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (123456.789, "123456.789"),
        ] {
            assert_eq!(float(value), expected);
        }
    }

    #[test]
    fn json_is_written_as_python_does() {
        let json = r#"{"a": {"x": 1, "y": null}, "b": ["é\"\n\u007f\u0001", {}, []], "c": true}"#;
        let value: Value = serde_json::from_str(json).unwrap();
        let dumps = |dumps: Dumps| dumps.text(&value).unwrap();
        assert_eq!(
            dumps(Dumps::default()),
            "{\"a\": {\"x\": 1, \"y\": null}, \"b\": [\"é\\\"\\n\u{7f}\\u0001\", {}, []], \"c\": true}"
        );
        let ascii = Dumps {
            ensure_ascii: true,
            sort_keys: true,
            separators: Some((",".into(), ":".into())),
            ..Dumps::default()
        };
        assert_eq!(
            dumps(ascii),
            r#"{"a":{"x":1,"y":null},"b":["\u00e9\"\n\u007f\u0001",{},[]],"c":true}"#
        );
        let indented = Dumps {
            indent: Some(2),
            ..Dumps::default()
        };
        let text = dumps(indented);
        assert!(text.starts_with("{\n  \"a\": {\n    \"x\": 1,"), "{text}");
        assert!(text.contains("{},\n    []\n  ],\n  \"c\""), "{text}");
    }

    #[test]
    fn a_format_that_is_unknown_is_an_error() {
        let now = Local::now();
        assert_eq!(
            strftime(now, "%d %b %Y").unwrap(),
            now.format("%d %b %Y").to_string()
        );
        assert!(strftime(now, "%Q%").is_err());
    }
}
