//! Why a model file was refused: one line that names the file, the key or tensor, and what was expected.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a model file could not be read, understood or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused to write.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file contradicts its own format.
    #[error("{}: {place}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The part of it that is wrong.
        place: Place,
        /// What was found and what was expected.
        problem: String,
    },
    /// The file may be right, but reading it as it is would be a guess, or is not implemented.
    #[error("{}: {place}: {reason}; {remedy}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The part of it that is not supported.
        place: Place,
        /// What was found.
        reason: String,
        /// What to do instead.
        remedy: String,
    },
}

impl Error {
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Read {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Write {
            path: path.into(),
            source,
        }
    }
}

/// The part of a file that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// What stands before the metadata, or the header as a whole.
    Header,
    /// A key of the metadata or of a JSON file.
    Key(String),
    /// A tensor.
    Tensor(String),
}

/// Names from a file are shortened to this many characters in messages.
const MAX_NAME: usize = 80;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::File => return f.write_str("the file"),
            Self::Header => return f.write_str("header"),
            Self::Key(name) => ("key", name),
            Self::Tensor(name) => ("tensor", name),
        };
        write!(f, "{kind} `")?;
        for c in name.chars().take(MAX_NAME) {
            write!(f, "{}", c.escape_debug())?;
        }
        f.write_str(if name.chars().nth(MAX_NAME).is_some() {
            "…`"
        } else {
            "`"
        })
    }
}

/// An error before it is known in which file it happened.
#[derive(Debug)]
pub(crate) struct Fault {
    place: Place,
    problem: String,
    /// Set where the file may be right and this crate does not read it.
    remedy: Option<String>,
}

impl Fault {
    pub(crate) fn malformed(place: Place, problem: impl fmt::Display) -> Self {
        Self {
            place,
            problem: problem.to_string(),
            remedy: None,
        }
    }

    pub(crate) fn header(problem: impl fmt::Display) -> Self {
        Self::malformed(Place::Header, problem)
    }

    pub(crate) fn key(name: &str, problem: impl fmt::Display) -> Self {
        Self::malformed(Place::Key(name.into()), problem)
    }

    pub(crate) fn tensor(name: &str, problem: impl fmt::Display) -> Self {
        Self::malformed(Place::Tensor(name.into()), problem)
    }

    pub(crate) fn unsupported(
        place: Place,
        reason: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            place,
            problem: reason.to_string(),
            remedy: Some(remedy.into()),
        }
    }

    pub(crate) fn within(self, path: &Path) -> Error {
        let (path, place) = (path.into(), self.place);
        match self.remedy {
            None => Error::Malformed {
                path,
                place,
                problem: self.problem,
            },
            Some(remedy) => Error::Unsupported {
                path,
                place,
                reason: self.problem,
                remedy,
            },
        }
    }
}
