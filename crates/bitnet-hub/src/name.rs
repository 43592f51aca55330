//! `hf://org/name@revision/file.gguf`, taken apart.

use std::{fmt, path::Path};

use crate::HubError;

/// What a name begins with.
const SCHEME: &str = "hf://";

/// The branch that is meant where none is named.
const MAIN: &str = "main";

/// A model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `org/name`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// One file of several, a GGUF one.
    pub file: Option<String>,
}

impl Name {
    /// Takes a name apart; `None` of a path that is none.
    ///
    /// # Errors
    ///
    /// If it begins as a name does and is none.
    pub fn parse(path: &Path) -> Result<Option<Self>, HubError> {
        let Some(rest) = path.to_str().and_then(|path| path.strip_prefix(SCHEME)) else {
            return Ok(None);
        };
        let malformed = || HubError::Name(format!("{SCHEME}{rest}"));
        let mut parts = rest.splitn(3, '/');
        let (Some(org), Some(name)) = (parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let file = parts.next().map(String::from);
        let (name, revision) = match name.split_once('@') {
            Some((name, revision)) => (name, revision),
            None => (name, MAIN),
        };
        let is_word = |word: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !word.is_empty() && word.chars().all(letter) && !matches!(word, "." | "..")
        };
        let is_file = |file: &String| file.split('/').all(is_word) && file.ends_with(".gguf");
        if ![org, name, revision].into_iter().all(is_word) || !file.iter().all(is_file) {
            return Err(malformed());
        }
        Ok(Some(Self {
            repository: format!("{org}/{name}"),
            revision: revision.into(),
            file,
        }))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repository)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Name>, HubError> {
        Name::parse(Path::new(text))
    }

    #[test]
    fn names_are_taken_apart() {
        for (text, repository, revision, file) in [
            ("hf://a/b", "a/b", "main", None),
            ("hf://a-1/b.c_2@v1.0", "a-1/b.c_2", "v1.0", None),
            ("hf://a/b/c.gguf", "a/b", "main", Some("c.gguf")),
            ("hf://a/b@0f/d/c.gguf", "a/b", "0f", Some("d/c.gguf")),
        ] {
            let name = parse(text).unwrap().unwrap();
            assert_eq!(name.repository, repository);
            assert_eq!(name.revision, revision);
            assert_eq!(name.file.as_deref(), file);
            assert_eq!(name.to_string(), text);
        }
        assert_eq!(parse("runs/a").unwrap(), None);
        assert_eq!(parse("hf:/a/b").unwrap(), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "hf://",
            "hf://a",
            "hf://a/",
            "hf:///b",
            "hf://a/b@",
            "hf://a/b/",
            "hf://a/b/c.bin",
            "hf://a/../c.gguf",
            "hf://a/b/../c.gguf",
            "hf://a b/c",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("hf://org/name"), "{text}: {error}");
        }
    }
}
