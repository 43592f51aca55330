//! What can be wrong with a configuration.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use crate::document::Place;

/// The layer that a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// A text that is built into the program, by name.
    Builtin(String),
    /// An environment variable, by name.
    Env(String),
    /// `--set` on the command line.
    Set,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Builtin(name) => write!(f, "built-in {name}"),
            Self::Env(name) => f.write_str(name),
            Self::Set => f.write_str("--set"),
        }
    }
}

/// A configuration that cannot be read, or that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not TOML.
    #[error("{}: {}{}{}", place.origin, plain(message), place.at(), place.shown())]
    Syntax {
        /// Where it was written.
        place: Place,
        /// What the parser says.
        message: String,
    },
    /// The key does not exist.
    #[error(
        "{}: unknown key {}{}{}{}{}",
        place.origin, plain(key), place.at(), hint(&place.origin, nearest.as_deref()), in_brackets(remark), place.shown()
    )]
    UnknownKey {
        /// Where it was written.
        place: Place,
        /// The full dotted path.
        key: String,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// How that one differs; empty if it does not.
        remark: &'static str,
    },
    /// The key exists, but the run's task does not read it.
    #[error(
        "{}: {key}{} is not read by task = \"{task}\", only by {readers}: remove it{}",
        place.origin, place.at(), place.shown()
    )]
    Unread {
        /// Where it was written.
        place: Place,
        /// The full dotted path.
        key: String,
        /// The run's task.
        task: &'static str,
        /// The tasks that read it.
        readers: String,
    },
    /// The key exists, but what was written for it has the wrong type or is not one of its choices.
    #[error(
        "{}: {key} = {}{}: expected {}{}",
        place.origin, plain(value), place.at(), plain(expected), place.shown()
    )]
    Value {
        /// Where it was written.
        place: Place,
        /// The full dotted path.
        key: String,
        /// The value, as TOML.
        value: String,
        /// What would have been accepted.
        expected: String,
    },
    /// The value is out of range, or does not agree with another.
    #[error("{key} = {} {}", plain(value), plain(problem))]
    Invalid {
        /// The full dotted path.
        key: String,
        /// The value.
        value: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A key must be written because of the value of another.
    #[error("{key} is missing: {reason}")]
    Missing {
        /// The full dotted path.
        key: String,
        /// Why it is needed, and what to do.
        reason: String,
    },
    /// What is wrong, and where the setting stands that is to blame.
    #[error("{}: {error}{}{}", place.origin, place.at(), place.shown())]
    Placed {
        /// Where it was written.
        place: Place,
        /// What is wrong with it.
        error: Box<ConfigError>,
    },
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] bitnet_models::ConfigError),
    /// An argument of `--set` is not `section.key=value`.
    #[error("--set {}: expected section.key=value, such as train.steps=100", plain(.0))]
    Assignment(String),
    /// The value of an environment variable is not Unicode.
    #[error("{0}: the value of this environment variable is not valid Unicode")]
    Encoding(String),
    /// The merged layers do not fit the schema.
    #[error(transparent)]
    Schema(toml::de::Error),
    /// The configuration cannot be written as TOML.
    #[error("cannot write the configuration as TOML")]
    Serialize(#[source] toml::ser::Error),
}

/// What a file or a flag says, on one line: control characters as they are escaped in TOML.
fn plain(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => text
            .chars()
            .map(|c| match c.is_control() {
                true => c.escape_default().to_string(),
                false => c.to_string(),
            })
            .collect::<String>()
            .into(),
        false => text.into(),
    }
}

fn in_brackets(remark: &str) -> String {
    match remark {
        "" => String::new(),
        remark => format!(" ({remark})"),
    }
}

/// Names the nearest key in the spelling of the layer, so that it can be pasted.
fn hint(origin: &Origin, nearest: Option<&str>) -> String {
    match (origin, nearest) {
        (_, None) => String::new(),
        (Origin::Env(_), Some(key)) if key.contains('.') => {
            format!("; did you mean {}?", crate::loader::env_name(key))
        }
        (_, Some(key)) => format!("; did you mean {key}?"),
    }
}
