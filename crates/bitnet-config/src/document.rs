//! A text of settings, and where in it each of them stands: what an error shows of it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::schema::join;
use crate::{ConfigError, Origin};

/// Characters of a line that are shown; of a longer one, those around what is meant.
const SHOWN: usize = 100;
/// Of these, those that stand before it.
const BEFORE: usize = 40;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The layer.
    pub origin: Origin,
    /// What is shown of it; nothing of an environment variable, which is one value.
    pub(crate) excerpt: Option<Box<Excerpt>>,
}

impl Place {
    /// The line, counted from 1, of a file or of a text that is built in.
    pub fn line(&self) -> Option<usize> {
        self.excerpt.as_ref()?.line
    }

    /// ` (line 3)`, where there are lines.
    pub(crate) fn at(&self) -> String {
        self.line()
            .map(|line| format!(" (line {line})"))
            .unwrap_or_default()
    }

    /// `, line 3`, where there are lines.
    pub(crate) fn on_line(&self) -> String {
        self.line()
            .map(|line| format!(", line {line}"))
            .unwrap_or_default()
    }

    /// The line and a caret below what is meant, each on a line of its own.
    pub(crate) fn shown(&self) -> String {
        self.excerpt
            .as_ref()
            .map(|excerpt| format!("\n{excerpt}"))
            .unwrap_or_default()
    }
}

/// A line, and the part of it that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// Its number, if the text has several.
    line: Option<usize>,
    text: String,
    /// What stands below the characters before the part: spaces, and tabs below tabs.
    indent: String,
    /// Characters of the part.
    width: usize,
}

impl Excerpt {
    /// The line where the part begins; of a part of several lines, its first.
    fn new(text: &str, part: Range<usize>, numbered: bool) -> Self {
        let start = part.start.min(text.len());
        let before = text.get(..start).unwrap_or(text);
        let begin = before.rfind('\n').map_or(0, |at| at + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let before = text[begin..].get(..start - begin).unwrap_or(line);
        let meant = line.get(before.len()..).unwrap_or_default();
        let meant = meant
            .get(..part.len().min(meant.len()))
            .unwrap_or(meant)
            .trim_end();
        let (skipped, first) = match before.chars().count() + meant.chars().count() > SHOWN {
            true => (before.chars().count().saturating_sub(BEFORE), "…"),
            false => (0, ""),
        };
        let first = if skipped > 0 { first } else { "" };
        // Control characters of a file are not for the terminal.
        let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        let kept = line.chars().skip(skipped).map(|c| match c {
            '\t' => c,
            c => clean(c),
        });
        let mut kept: String = first.chars().chain(kept).collect();
        if kept.chars().count() > SHOWN {
            kept = kept.chars().take(SHOWN).chain(['…']).collect();
        }
        let indent = (first.chars().chain(before.chars().skip(skipped)))
            .map(|c| if c == '\t' { c } else { ' ' })
            .collect::<String>();
        let room = SHOWN.saturating_sub(indent.chars().count());
        Self {
            line: numbered.then(|| {
                1 + text.as_bytes()[..begin]
                    .iter()
                    .filter(|b| **b == b'\n')
                    .count()
            }),
            text: kept,
            width: meant.chars().count().clamp(1, room.max(1)),
            indent,
        }
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.map(|line| line.to_string()).unwrap_or_default();
        let carets = "^".repeat(self.width);
        writeln!(f, "{number:>5} | {}", self.text)?;
        write!(f, "{:>5} | {}{carets}", "", self.indent)
    }
}

/// What of a setting is meant.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Key,
    Value,
}

/// The text.
#[derive(Clone)]
pub(crate) struct Document {
    origin: Origin,
    /// None of an environment variable.
    text: Option<String>,
    /// Whether it has several lines.
    numbered: bool,
    /// Where the key and the value of each dotted path stand; elements of lists have their index as the last part.
    spans: BTreeMap<String, [Range<usize>; 2]>,
    /// Where all of it stands, if that is in another text.
    quoted: Option<Place>,
}

impl Document {
    /// Reads TOML, as settings and as a document.
    ///
    /// # Errors
    /// If it is no TOML, or does not make a `T`.
    pub fn parse<T: serde::de::DeserializeOwned>(
        origin: Origin,
        text: &str,
    ) -> Result<(T, Self), ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut document = Self {
            origin,
            text: Some(text.to_owned()),
            numbered: true,
            spans: BTreeMap::new(),
            quoted: None,
        };
        let root = DeTable::parse(text).map_err(|error| document.syntax(&error))?;
        document.collect("", root.get_ref());
        match toml::from_str(text) {
            Ok(settings) => Ok((settings, document)),
            Err(error) => Err(document.misfit(&error)),
        }
    }

    /// One `section.key=value`: where its key ends and its value begins.
    pub fn assignment(origin: Origin, text: &str, path: &[&str], value: &str) -> Self {
        let mut spans = BTreeMap::new();
        let within = |part: &str| {
            let start = part.as_ptr() as usize - text.as_ptr() as usize;
            start..start + part.len()
        };
        let value = within(value);
        let (mut known, begin) = (String::new(), within(path[0]).start);
        for part in path {
            known = join(&known, part);
            spans.insert(known.clone(), [begin..within(part).end, value.clone()]);
        }
        Self {
            origin,
            text: Some(text.to_owned()),
            numbered: false,
            spans,
            quoted: None,
        }
    }

    /// A text of which nothing is shown.
    pub fn unseen(origin: Origin) -> Self {
        Self {
            origin,
            text: None,
            numbered: false,
            spans: BTreeMap::new(),
            quoted: None,
        }
    }

    /// A setting that is quoted in another text.
    pub fn quoted(place: &Place) -> Self {
        Self {
            quoted: Some(place.clone()),
            ..Self::unseen(place.origin.clone())
        }
    }

    /// Where a part of a setting stands.
    pub fn place(&self, path: &str, part: Part) -> Place {
        if let Some(place) = &self.quoted {
            return place.clone();
        }
        let span = self.spans.get(path).map(|[key, value]| match part {
            Part::Key => key.clone(),
            Part::Value => value.clone(),
        });
        self.at(span)
    }

    /// Where a part of every setting stands.
    pub fn places(&self, part: Part) -> BTreeMap<String, Place> {
        let paths = self.spans.keys();
        paths
            .map(|path| (path.clone(), self.place(path, part)))
            .collect()
    }

    fn at(&self, span: Option<Range<usize>>) -> Place {
        let shown = self.text.as_ref().zip(span);
        Place {
            origin: self.origin.clone(),
            excerpt: shown.map(|(text, span)| Box::new(Excerpt::new(text, span, self.numbered))),
        }
    }

    /// What the parser does not take.
    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let place = self.at(error.span());
        let has_backslash = (place.excerpt.as_ref()).is_some_and(|shown| shown.text.contains('\\'));
        let remedy = match has_backslash {
            true => {
                "; in double quotes a backslash begins an escape: write such a path in single quotes, or with slashes"
            }
            false => "",
        };
        ConfigError::Syntax {
            place,
            message: format!("{}{remedy}", error.message()),
        }
    }

    /// What is TOML, but not of the form that is asked for.
    fn misfit(&self, error: &toml::de::Error) -> ConfigError {
        let at = error.span().unwrap_or_default();
        let inside = |[key, value]: &[Range<usize>; 2]| *key == at || *value == at;
        // The deepest: a table may span its only entry.
        let path = (self.spans.iter().filter(|(_, spans)| inside(spans)))
            .map(|(path, _)| path)
            .max_by_key(|path| path.len());
        let message = error.message();
        match (path, message.strip_prefix("unknown field `")) {
            (Some(path), Some(rest)) => {
                let mut names = rest.split('`');
                let unknown = names.next().unwrap_or_default();
                // The rest is `, expected one of `a`, `b``.
                let known = names.skip(1).step_by(2);
                ConfigError::UnknownKey {
                    place: self.place(path, Part::Key),
                    nearest: crate::schema::closest(unknown, known).map(str::to_owned),
                    key: without_indices(path),
                    remark: "",
                }
            }
            (Some(path), None) => ConfigError::Value {
                place: self.place(path, Part::Value),
                key: without_indices(path),
                value: self.written(path),
                expected: crate::layer::expected(message),
            },
            (None, _) => self.syntax(error),
        }
    }

    /// A value as it stands there.
    fn written(&self, path: &str) -> String {
        let span = self.spans.get(path).map(|[_, value]| value.clone());
        let text = self.text.as_deref().unwrap_or_default();
        let value = span.and_then(|span| text.get(span)).unwrap_or_default();
        value.lines().next().unwrap_or_default().to_owned()
    }

    fn collect(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = join(prefix, key.get_ref());
            self.add(path, key.span(), value);
        }
    }

    fn add(&mut self, path: String, key: Range<usize>, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(section) => self.collect(&path, section),
            DeValue::Array(values) => {
                for (index, element) in values.iter().enumerate() {
                    let span = element.span();
                    self.add(join(&path, &index.to_string()), span, element);
                }
            }
            _ => {}
        }
        self.spans.insert(path, [key, value.span()]);
    }
}

/// `variants.name` of `variants.2.name`.
fn without_indices(path: &str) -> String {
    let is_name = |part: &&str| part.parse::<usize>().is_err();
    let names: Vec<&str> = path.split('.').filter(is_name).collect();
    names.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, part: &str) -> String {
        let start = text.find(part).unwrap();
        Excerpt::new(text, start..start + part.len(), true).to_string()
    }

    #[test]
    fn carets_stand_below_what_is_meant() {
        assert_eq!(
            shown("a = 1\r\n\tb = 23\r\n", "23"),
            "    2 | \tb = 23\n      | \t    ^^"
        );
        assert_eq!(shown("é = 12", "12"), "    1 | é = 12\n      |     ^^");
        let list = "a = [\n 1,\n]";
        assert_eq!(shown(list, "[\n 1,\n]"), "    1 | a = [\n      |     ^");
        let end = Excerpt::new("a = ", 4..4, false);
        assert_eq!(end.to_string(), "      | a = \n      |     ^");
        let beyond = Excerpt::new("a\n", 7..9, true);
        assert_eq!(beyond.to_string(), "    2 | \n      | ^");
        let escape = "a = \u{1b}";
        assert_eq!(shown(escape, "a"), "    1 | a = \u{fffd}\n      | ^");
    }

    #[test]
    fn of_a_long_line_what_is_around() {
        for before in [0, 30, 90, 3000] {
            let text = format!("{}key = {}", "é".repeat(before), "1".repeat(500));
            let shown = shown(&text, "key");
            let (line, carets) = shown.split_once('\n').unwrap();
            let at = carets.chars().position(|c| c == '^').unwrap();
            let below: String = line.chars().skip(at).take(3).collect();
            assert_eq!((below.as_str(), carets.matches('^').count()), ("key", 3));
            assert!(line.chars().count() < SHOWN + 20, "{line}");
        }
    }
}
