//! Files to read: what paths, folders and patterns name, and how each of them is read.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{DataError, file};

/// How documents stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Plain text: one document, or several with something between them.
    Text,
    /// A JSON object a line.
    JsonLines,
    /// A table with commas and a header.
    Csv,
    /// A table with tabs and a header.
    Tsv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Of a file's ending; none if it tells nothing.
    fn of(ending: &str) -> Option<Self> {
        Some(match ending {
            "txt" | "text" | "md" => Self::Text,
            "jsonl" | "ndjson" | "json" => Self::JsonLines,
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of(text).ok_or_else(|| format!("{text:?}: use txt, jsonl, csv, tsv or parquet"))
    }
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`.
    Gzip,
    /// `.zst`.
    Zstd,
}

/// A file of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// How its documents stand in it.
    pub format: Format,
    /// How it is compressed.
    pub compression: Compression,
    /// Its size on disk.
    pub size: u64,
}

/// The files that paths name, in the order given: a file, a folder with everything in it that has a known ending, or a
/// pattern such as `data/*.jsonl.gz`. Files of a folder or pattern are in the order of their names; hidden ones are left
/// out. A file whose name tells nothing is text, unless `format` says otherwise.
///
/// # Errors
/// If a path names nothing, or a folder holds nothing that is known.
pub fn sources(paths: &[PathBuf], format: Option<Format>) -> Result<Vec<Source>, DataError> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        if path.is_dir() {
            folder(path, format, &mut found)?;
        } else if path.exists() {
            found.push(source(path, format)?);
        } else {
            for path in pattern(path)? {
                match path.is_dir() {
                    true => folder(&path, format, &mut found)?,
                    false => found.push(source(&path, format)?),
                }
            }
        }
        if found.len() == before {
            return Err(DataError::File {
                path: path.clone(),
                problem: "has no file that ends in txt, md, jsonl, csv, tsv or parquet (.gz and .zst too)"
                    .to_owned(),
            });
        }
    }
    Ok(found)
}

/// Files of one example a row: those that paths name, as [`sources`] finds them. Of a folder or a pattern only the tables
/// are taken, since others may stand beside them; a file that is named itself is taken whatever its name.
pub(crate) fn tables(paths: &[PathBuf]) -> Result<Vec<Source>, DataError> {
    let mut found = Vec::new();
    for path in paths {
        let named = path.is_file();
        let before = found.len();
        let all = sources(std::slice::from_ref(path), None)?.into_iter();
        found.extend(all.filter(|source| {
            named || matches!(source.format, Format::Csv | Format::Tsv | Format::JsonLines)
        }));
        if found.len() == before {
            return Err(DataError::File {
                path: path.clone(),
                problem: "has no file that ends in csv, tsv or jsonl (.gz and .zst too)".to_owned(),
            });
        }
    }
    Ok(found)
}

/// The files of a folder that holds texts alone, each in a folder below it, with the names of these folders.
pub(crate) fn texts_by_folder(path: &Path) -> Result<Vec<(Source, String)>, DataError> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let all = sources(&[path.to_owned()], None)?;
    let within = |source: Source| {
        let parent = source.path.parent().filter(|parent| *parent != path)?;
        let name = parent.file_name()?.to_string_lossy().into_owned();
        (source.format == Format::Text).then_some((source, name))
    };
    let found: Option<Vec<_>> = all.into_iter().map(within).collect();
    Ok(found.unwrap_or_default())
}

/// What a pattern names.
fn pattern(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    let text = path.to_string_lossy();
    let missing = || DataError::Missing {
        path: path.to_owned(),
    };
    if text == "-" {
        return Err(DataError::File {
            path: path.to_owned(),
            problem: "is standard input, which can be read once only: save it to a file, or keep it with `… | bitnet data \
                      prepare - --out FOLDER`"
                .to_owned(),
        });
    }
    if !text.contains(['*', '?', '[']) {
        return Err(missing());
    }
    let failed = |problem: String| DataError::File {
        path: path.to_owned(),
        problem,
    };
    let paths = glob::glob(&text).map_err(|error| failed(format!("is no pattern: {error}")))?;
    let paths: Result<Vec<PathBuf>, _> = paths.collect();
    let paths = paths.map_err(|error| failed(error.to_string()))?;
    match paths.is_empty() {
        true => Err(missing()),
        false => Ok(paths),
    }
}

/// Everything in a folder that has a known ending.
fn folder(path: &Path, format: Option<Format>, found: &mut Vec<Source>) -> Result<(), DataError> {
    let unreadable = |source| DataError::Read {
        path: path.to_owned(),
        source,
    };
    let entries = fs::read_dir(path).map_err(unreadable)?;
    let paths: io::Result<Vec<PathBuf>> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut paths = paths.map_err(unreadable)?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            folder(&path, format, found)?;
        } else if by_name(&path).0.is_some() {
            found.push(source(&path, format)?);
        }
    }
    Ok(())
}

/// What a file's name tells.
fn by_name(path: &Path) -> (Option<Format>, Compression) {
    let ending = |path: &Path| {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        ending.to_lowercase()
    };
    let compression = match ending(path).as_str() {
        "gz" => Compression::Gzip,
        "zst" => Compression::Zstd,
        _ => Compression::None,
    };
    let inner = match compression {
        Compression::None => ending(path),
        _ => ending(Path::new(path.file_stem().unwrap_or_default())),
    };
    (Format::of(&inner), compression)
}

fn source(path: &Path, format: Option<Format>) -> Result<Source, DataError> {
    let (named, compression) = by_name(path);
    let metadata = fs::metadata(path).map_err(|source| file::failed(path, source))?;
    Ok(Source {
        path: path.to_owned(),
        format: format.or(named).unwrap_or(Format::Text),
        compression,
        size: metadata.len(),
    })
}

impl Source {
    /// Whether it is text as it is.
    pub(crate) fn is_plain(&self) -> bool {
        self.format == Format::Text && self.compression == Compression::None
    }

    /// The name in errors.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The decompressed content, counted as it is on disk.
    pub(super) fn open<'a>(
        &self,
        read: &'a AtomicU64,
    ) -> Result<Box<dyn Read + Send + 'a>, DataError> {
        let file = file::open(&self.path)?;
        self.decompressed(BufReader::with_capacity(1 << 17, Counted { file, read }))
    }

    /// The decompressed content.
    pub(crate) fn reader(&self) -> Result<Box<dyn Read + Send>, DataError> {
        self.decompressed(BufReader::with_capacity(1 << 17, file::open(&self.path)?))
    }

    /// All of the decompressed content.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        match self.reader()?.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    /// All of it as text, without a byte order mark.
    ///
    /// # Errors
    /// If it cannot be read, or is not UTF-8.
    pub fn text(&self) -> Result<String, DataError> {
        let bytes = self.bytes()?;
        file::utf8(&self.name(), file::without_mark(&bytes)).map(String::from)
    }

    fn decompressed<'a>(
        &self,
        file: impl BufRead + Send + 'a,
    ) -> Result<Box<dyn Read + Send + 'a>, DataError> {
        Ok(match self.compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Compression::Zstd => Box::new(
                zstd::Decoder::with_buffer(file).map_err(|source| self.unreadable(source))?,
            ),
        })
    }

    /// What reading says.
    pub(super) fn unreadable(&self, error: io::Error) -> DataError {
        match self.compression {
            Compression::None => file::failed(&self.path, error),
            _ => DataError::File {
                path: self.path.clone(),
                problem: format!("cannot be decompressed: {error}; copy it again"),
            },
        }
    }
}

/// A file whose bytes are counted.
struct Counted<'a> {
    file: File,
    read: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
