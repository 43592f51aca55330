//! What can be wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

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
    #[error("{origin}: {message}{}", at(*line))]
    Syntax {
        /// Where it was written.
        origin: Origin,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What the parser says.
        message: String,
    },
    /// The key does not exist.
    #[error("{origin}: unknown key {key}{}{}{}", at(*line), hint(origin, nearest.as_deref()), in_brackets(remark))]
    UnknownKey {
        /// Where it was written.
        origin: Origin,
        /// The full dotted path.
        key: String,
        /// The line, counted from 1.
        line: Option<usize>,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// How that one differs; empty if it does not.
        remark: &'static str,
    },
    /// The key exists, but the run's task does not read it.
    #[error("{origin}: {key}{} is not read by task = \"{task}\", only by {readers}: remove it", at(*line))]
    Unread {
        /// Where it was written.
        origin: Origin,
        /// The full dotted path.
        key: String,
        /// The line, counted from 1.
        line: Option<usize>,
        /// The run's task.
        task: &'static str,
        /// The tasks that read it.
        readers: String,
    },
    /// The key exists, but what was written for it has the wrong type or is not one of its choices.
    #[error("{origin}: {key} = {value}{}: expected {expected}", at(*line))]
    Value {
        /// Where it was written.
        origin: Origin,
        /// The full dotted path.
        key: String,
        /// The value, as TOML.
        value: String,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What would have been accepted.
        expected: String,
    },
    /// The value is out of range, or does not agree with another.
    #[error("{key} = {value} {problem}")]
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
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] bitnet_models::ConfigError),
    /// An argument of `--set` is not `section.key=value`.
    #[error("--set {0}: expected section.key=value, such as train.steps=100")]
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

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line})"))
        .unwrap_or_default()
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
