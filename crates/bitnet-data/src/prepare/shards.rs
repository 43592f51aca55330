//! The shards, written document by document.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::Watch;
use super::stage::Staged;
use crate::DataError;
use crate::documents::PART;
use crate::prepared::Shard;
use crate::tokens::{AROUND, KEPT};

/// What was written.
pub(super) struct Written {
    pub shards: Vec<Shard>,
    pub documents: u64,
    pub tokens: u64,
    pub bytes: u64,
}

/// Writes documents, with `separator` between two of them; the separator belongs to the one before it.
pub(super) fn write(
    staged: &Staged,
    documents: impl Iterator<Item = u64>,
    separator: &[u32],
    shard_tokens: u64,
    folder: &Path,
    watch: &Watch,
) -> Result<Written, DataError> {
    let mut between = Vec::new();
    staged.width().write(separator, &mut between);
    let bytes_of_separator = between.len() as u64;
    let width = staged.width().bytes() as u64;
    let mut written = Written {
        shards: Vec::new(),
        documents: 0,
        tokens: 0,
        bytes: 0,
    };
    let mut open: Option<Open> = None;
    let mut looked_at = 0;
    let mut before = None;
    for document in documents {
        // In their order, one document's pages are those of the one before it.
        if before
            .replace(document)
            .is_none_or(|before| document != before + 1)
        {
            looked_at += AROUND;
        }
        if let Some(mut shard) = open.take() {
            shard.tokens.write(&between)?;
            shard.end_document(bytes_of_separator / width)?;
            match shard.length < shard_tokens {
                true => open = Some(shard),
                false => written.close(shard)?,
            }
        }
        let mut shard = match open.take() {
            Some(shard) => shard,
            None => Open::new(folder, written.shards.len())?,
        };
        // A document may be as large as all of them.
        for tokens in staged.bytes_of(document).chunks(KEPT) {
            shard.tokens.write(tokens)?;
            shard.length += tokens.len() as u64 / width;
            watch
                .done
                .fetch_add(tokens.len() as u64 / width, Ordering::Relaxed);
            looked_at += tokens.len();
            if looked_at >= KEPT {
                looked_at = 0;
                staged.release();
                watch.check()?;
            }
        }
        written.documents += 1;
        written.bytes += staged.record(document).bytes;
        open = Some(shard);
    }
    if let Some(mut shard) = open {
        shard.end_document(0)?;
        written.close(shard)?;
    }
    Ok(written)
}

impl Written {
    fn close(&mut self, shard: Open) -> Result<(), DataError> {
        self.tokens += shard.length;
        self.shards.push(Shard {
            tokens: shard.length,
            documents: shard.documents,
            file: shard.tokens.name(),
            checksum: shard.tokens.finish()?,
            ends_file: shard.ends.name(),
            ends_checksum: shard.ends.finish()?,
        });
        Ok(())
    }
}

/// A shard while it is written.
struct Open {
    tokens: Hashed,
    ends: Hashed,
    length: u64,
    documents: u64,
}

impl Open {
    fn new(folder: &Path, number: usize) -> Result<Self, DataError> {
        let file = |ending| Hashed::create(folder.join(format!("shard-{number:05}.{ending}")));
        Ok(Self {
            tokens: file("tokens")?,
            ends: file("ends")?,
            length: 0,
            documents: 0,
        })
    }

    /// A document ends after `more` tokens.
    fn end_document(&mut self, more: u64) -> Result<(), DataError> {
        self.length += more;
        self.documents += 1;
        self.ends.write(&self.length.to_le_bytes())
    }
}

/// A file and the checksum of what is written to it.
struct Hashed {
    path: PathBuf,
    file: BufWriter<File>,
    hash: blake3::Hasher,
}

impl Hashed {
    fn create(path: PathBuf) -> Result<Self, DataError> {
        match File::create(&path) {
            Ok(file) => Ok(Self {
                path,
                file: BufWriter::with_capacity(PART, file),
                hash: blake3::Hasher::new(),
            }),
            Err(source) => Err(DataError::Write { path, source }),
        }
    }

    fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.hash.update(bytes);
        self.file
            .write_all(bytes)
            .map_err(|source| DataError::Write {
                path: self.path.clone(),
                source,
            })
    }

    /// Has it reach the disk.
    fn finish(mut self) -> Result<String, DataError> {
        let synced = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all());
        match synced {
            Ok(()) => Ok(self.hash.finalize().to_hex().to_string()),
            Err(source) => Err(DataError::Write {
                path: self.path,
                source,
            }),
        }
    }
}
