//! A configuration as TOML: what its task reads, and on request what it leaves open.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;

use crate::schema::{KEYS, join};
use crate::{ConfigError, RunConfig, meaning};

impl RunConfig {
    /// The configuration as TOML, defaults included, without the keys that count for nothing in it; it loads back to an
    /// equal value.
    ///
    /// # Errors
    /// A path is not valid Unicode.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        let text = toml::to_string(self).map_err(ConfigError::Serialize)?;
        let parsed = DeTable::parse(&text).map_err(ConfigError::Schema)?;
        let mut unread = Vec::new();
        self.collect_unread(&text, "", parsed.get_ref(), &mut unread);
        unread.sort_by_key(|range| range.start);
        let (mut kept, mut at) = (String::new(), 0);
        for range in unread {
            kept.push_str(&text[at..range.start]);
            at = range.end;
        }
        kept.push_str(&text[at..]);
        Ok(kept)
    }

    /// The same as a table.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn to_table(&self) -> Result<toml::Table, ConfigError> {
        self.to_toml()?.parse().map_err(ConfigError::Schema)
    }

    /// The lines of the keys that count for nothing, and of the heads of sections that hold nothing else.
    fn collect_unread(
        &self,
        text: &str,
        prefix: &str,
        table: &DeTable<'_>,
        unread: &mut Vec<Range<usize>>,
    ) -> bool {
        let mut all = true;
        for (key, value) in table {
            let path = join(prefix, key.get_ref());
            let here = match value.get_ref().as_table() {
                // An inline table is one value.
                Some(section) if !text[value.span()].starts_with('{') => {
                    let nothing = self.collect_unread(text, &path, section, unread);
                    (nothing && !section.is_empty()).then(|| key.span())
                }
                _ if self.reads(&path) => None,
                _ => Some(key.span().start..value.span().end),
            };
            match here {
                None => all = false,
                Some(span) => {
                    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
                    let rest = text[span.end..].find('\n').map(|at| span.end + at + 1);
                    unread.push(start..rest.unwrap_or(text.len()));
                }
            }
        }
        all
    }

    /// [`to_toml`](Self::to_toml) with a comment for each key that the task reads and that is not set, which says what it
    /// means.
    ///
    /// # Errors
    /// As [`to_toml`](Self::to_toml).
    pub fn to_commented_toml(&self) -> Result<String, ConfigError> {
        let text = self.to_toml()?;
        let set = self.to_table()?;
        let mut comments: BTreeMap<&str, String> = BTreeMap::new();
        for (key, example) in KEYS.iter() {
            let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
            let inside = |section: &str| section.starts_with("model.rope_scaling");
            let open = !has(&set, key) && !inside(section) && self.reads(key);
            if !open || (example.is_table() && !inside(key)) {
                continue;
            }
            let comment = comments.entry(section).or_default();
            if section.starts_with("train.") {
                // Each has the meaning of the key of the same name in [train].
                let begin = match comment.is_empty() {
                    true => "# not set, so as in [train]: ",
                    false => ", ",
                };
                comment.push_str(&format!("{begin}{name}"));
                continue;
            }
            comment.push_str(&format!(
                "# {name} is not set: {}\n",
                meaning(key).unwrap_or("")
            ));
        }
        let (mut out, mut section) = (String::new(), String::new());
        let finish = |out: &mut String, comment: Option<String>| {
            if let Some(comment) = comment {
                let trimmed = out.trim_end().len();
                out.truncate(trimmed);
                out.push('\n');
                out.push_str(comment.trim_end());
                out.push_str("\n\n");
            }
        };
        for line in text.lines() {
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.split(']').next())
            {
                finish(&mut out, comments.remove(section.as_str()));
                name.clone_into(&mut section);
            }
            out.push_str(line);
            out.push('\n');
        }
        finish(&mut out, comments.remove(section.as_str()));
        Ok(out.trim_end().to_owned() + "\n")
    }
}

fn has(table: &toml::Table, key: &str) -> bool {
    let mut keys = key.split('.');
    let first = keys.next().and_then(|key| table.get(key));
    keys.fold(first, |value, key| value?.get(key)).is_some()
}
