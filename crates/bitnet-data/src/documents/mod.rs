//! Documents out of files of any size: text, JSON lines, CSV, TSV and Parquet, as they are or compressed.
//!
//! A document arrives in parts of about [`PART`] bytes, so that neither a file nor a document has to fit into memory. Parts
//! end where every tokenizer that looks at words ends a token: their ids, joined, are those of the whole.

mod columns;
pub(crate) mod cut;
mod rows;
mod source;
mod text;

use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;

pub use source::{Compression, Format, Source, sources};
pub(crate) use source::{tables, texts_by_folder};

use crate::DataError;

/// Bytes of a part, about.
pub(crate) const PART: usize = 1 << 20;

/// Longest line of a file of one document a line.
const LONGEST_LINE: usize = 1 << 30;

/// How documents are found in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Fields or columns that hold text, joined by a space: names, or numbers from 1 in a CSV or TSV file without a header.
    pub fields: Vec<String>,
    /// What stands between two documents of a text file; without it the file is one.
    pub split_at: Option<String>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            fields: vec!["text".to_owned()],
            split_at: None,
        }
    }
}

impl Reading {
    /// Checks that some of the files have what it names: fields to take, or a text to split.
    ///
    /// # Errors
    /// If none has.
    pub fn check(&self, found: &[Source]) -> Result<(), DataError> {
        let is_text = |source: &Source| source.format == Format::Text;
        let problem = match found {
            [_, ..] if self.names_fields() && found.iter().all(is_text) => format!(
                "is plain text, which has no fields: leave out {}",
                self.fields.join(", ")
            ),
            [_, ..] if self.split_at.is_some() && !found.iter().any(is_text) => {
                "has a document in each row, and no text to split: leave that out".to_owned()
            }
            _ => return Ok(()),
        };
        Err(DataError::File {
            path: found[0].path.clone(),
            problem,
        })
    }

    /// Whether it says which fields.
    pub(crate) fn names_fields(&self) -> bool {
        self.fields != Self::default().fields
    }
}

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub bytes: Vec<u8>,
    /// Where it stands, for errors.
    pub place: Place,
    /// Whether the document ends with it.
    pub ends: bool,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Lines before it.
    pub lines: usize,
    /// Bytes before it, decompressed.
    pub bytes: usize,
}

impl Place {
    fn pass(&mut self, bytes: &[u8]) {
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count();
        self.bytes += bytes.len();
    }
}

/// Takes parts until it has enough.
pub(crate) type Take<'a> = &'a mut dyn FnMut(Part) -> ControlFlow<()>;

/// Hands the documents of a file to `take`, in order. `read` counts the bytes of the file, for a progress bar.
pub(crate) fn read(
    source: &Source,
    reading: &Reading,
    read: &AtomicU64,
    take: Take<'_>,
) -> Result<ControlFlow<()>, DataError> {
    match source.format {
        Format::Text => text::read(source, reading.split_at.as_deref(), read, take),
        Format::JsonLines => rows::json_lines(source, reading, read, take),
        Format::Csv => rows::delimited(source, b',', reading, read, take),
        Format::Tsv => rows::delimited(source, b'\t', reading, read, take),
        Format::Parquet => columns::parquet(source, reading, read, take),
    }
}

/// Hands over a document that is in memory. One without a character that is not white space is none.
fn document(text: &[u8], place: Place, take: Take<'_>) -> ControlFlow<()> {
    if text.trim_ascii().is_empty() {
        return ControlFlow::Continue(());
    }
    let (mut rest, mut place) = (text, place);
    while let Some(at) = (rest.len() > PART).then(|| cut::place(&rest[..PART])) {
        let at = at.unwrap_or(PART);
        take(Part {
            bytes: rest[..at].to_vec(),
            place,
            ends: false,
        })?;
        place.pass(&rest[..at]);
        rest = &rest[at..];
    }
    take(Part {
        bytes: rest.to_vec(),
        place,
        ends: true,
    })
}

#[cfg(test)]
mod tests;
