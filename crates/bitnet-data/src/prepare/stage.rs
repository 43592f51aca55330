//! Tokens of all documents in the order of the input, on disk.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{Preparation, Watch};
use crate::documents::{self, PART, Part};
use crate::tokens::Map;
use crate::{DataError, Source, TokenWidth, Tokenizer, file};

/// Bytes of the parts that are handed over together.
const BATCH: usize = 8 * PART;

/// What is known of a document: where its tokens end, its bytes, and half its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub end: u64,
    pub bytes: u64,
    pub hash: [u8; 16],
}

impl Record {
    const SIZE: usize = 32;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.end.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&self.hash);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let mut hash = [0; 16];
        hash.copy_from_slice(&bytes[16..Self::SIZE]);
        Self {
            end: word(0),
            bytes: word(8),
            hash,
        }
    }
}

/// What was staged.
pub(super) struct Staged {
    paths: [PathBuf; 2],
    tokens: Map,
    records: Map,
    width: TokenWidth,
}

impl Staged {
    pub(super) fn documents(&self) -> u64 {
        (self.records.bytes().len() / Record::SIZE) as u64
    }

    pub(super) fn tokens(&self) -> u64 {
        (self.tokens.bytes().len() / self.width.bytes()) as u64
    }

    pub(super) fn width(&self) -> TokenWidth {
        self.width
    }

    pub(super) fn record(&self, document: u64) -> Record {
        let at = document as usize * Record::SIZE;
        Record::from_bytes(&self.records.bytes()[at..at + Record::SIZE])
    }

    /// The tokens of a document, as a shard holds them.
    pub(super) fn bytes_of(&self, document: u64) -> &[u8] {
        let begin = document
            .checked_sub(1)
            .map_or(0, |before| self.record(before).end);
        let place = |token: u64| token as usize * self.width.bytes();
        &self.tokens.bytes()[place(begin)..place(self.record(document).end)]
    }

    /// Gives pages back that were looked at.
    pub(super) fn release(&self) {
        self.tokens.release();
        self.records.release();
    }

    pub(super) fn remove(self) -> Result<(), DataError> {
        let paths = self.paths.clone();
        drop(self);
        for path in paths {
            fs::remove_file(&path).map_err(|source| DataError::Write { path, source })?;
        }
        Ok(())
    }
}

/// Parts and the file that they are of.
type Batch = Vec<(usize, Part)>;

/// Reads and cuts all documents.
pub(super) fn write(
    preparation: &Preparation,
    tokenizer: &Tokenizer,
    width: TokenWidth,
    folder: &Path,
    watch: &Watch,
) -> Result<Staged, DataError> {
    let paths = ["staged.tokens", "staged.documents"].map(|name| folder.join(name));
    let mut writer = Writer::new(&paths, width)?;
    // The reader is at most two batches ahead.
    let (sender, receiver) = sync_channel(2);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(preparation, watch, sender));
        let written = cut_all(preparation, tokenizer, watch, receiver, &mut writer);
        // Its receiver is gone, so the reader ends; what it found wrong comes first.
        let read = reader.join().unwrap_or(Err(DataError::Stopped));
        watch.check()?;
        read.and(written)
    })?;
    writer.finish()?;
    let map = |path: &Path| Map::open(path).map_err(|source| file::failed(path, source));
    Ok(Staged {
        tokens: map(&paths[0])?,
        records: map(&paths[1])?,
        paths,
        width,
    })
}

fn read_all(
    preparation: &Preparation,
    watch: &Watch,
    sender: SyncSender<Batch>,
) -> Result<(), DataError> {
    let (mut batch, mut bytes) = (Batch::new(), 0);
    for (number, source) in preparation.sources.iter().enumerate() {
        let read = documents::read(source, &preparation.reading, &watch.done, &mut |part| {
            bytes += part.bytes.len();
            batch.push((number, part));
            if bytes < BATCH && batch.len() < BATCH / 64 {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            match sender.send(std::mem::take(&mut batch)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        if read.is_break() {
            return Ok(());
        }
    }
    // Where nobody receives, an error is known already.
    let _ = sender.send(batch);
    Ok(())
}

fn cut_all(
    preparation: &Preparation,
    tokenizer: &Tokenizer,
    watch: &Watch,
    receiver: Receiver<Batch>,
    writer: &mut Writer,
) -> Result<(), DataError> {
    for batch in receiver {
        watch.check()?;
        let ids: Vec<Vec<u32>> = (batch.par_iter())
            .map(|(number, part)| encode(tokenizer, &preparation.sources[*number], part))
            .collect::<Result<_, _>>()?;
        for ((_, part), ids) in batch.iter().zip(&ids) {
            writer.add(part, ids)?;
        }
        watch.tokens.store(writer.tokens, Ordering::Relaxed);
    }
    Ok(())
}

fn encode(tokenizer: &Tokenizer, source: &Source, part: &Part) -> Result<Vec<u32>, DataError> {
    if matches!(tokenizer, Tokenizer::Byte) {
        return Ok(part.bytes.iter().copied().map(u32::from).collect());
    }
    let text = file::utf8(&source.name(), &part.bytes).map_err(|error| match error {
        DataError::NotUtf8 {
            corpus,
            line,
            offset,
        } => DataError::NotUtf8 {
            corpus,
            line: line + part.place.lines,
            offset: offset + part.place.bytes,
        },
        error => error,
    })?;
    tokenizer.encode(text)
}

/// The staged files while they are written.
struct Writer {
    paths: [PathBuf; 2],
    tokens_file: BufWriter<File>,
    records_file: BufWriter<File>,
    width: TokenWidth,
    buffer: Vec<u8>,
    tokens: u64,
    bytes: u64,
    hash: blake3::Hasher,
}

impl Writer {
    fn new(paths: &[PathBuf; 2], width: TokenWidth) -> Result<Self, DataError> {
        let create = |path: &PathBuf| {
            let file = File::create(path).map_err(|source| DataError::Write {
                path: path.clone(),
                source,
            })?;
            Ok::<_, DataError>(BufWriter::with_capacity(PART, file))
        };
        Ok(Self {
            tokens_file: create(&paths[0])?,
            records_file: create(&paths[1])?,
            paths: paths.clone(),
            width,
            buffer: Vec::new(),
            tokens: 0,
            bytes: 0,
            hash: blake3::Hasher::new(),
        })
    }

    fn add(&mut self, part: &Part, ids: &[u32]) -> Result<(), DataError> {
        self.buffer.clear();
        self.width.write(ids, &mut self.buffer);
        let written = self.tokens_file.write_all(&self.buffer);
        written.map_err(self.failed(0))?;
        self.tokens += ids.len() as u64;
        self.bytes += part.bytes.len() as u64;
        self.hash.update(&part.bytes);
        if part.ends {
            let mut hash = [0; 16];
            hash.copy_from_slice(&self.hash.finalize().as_bytes()[..16]);
            let record = Record {
                end: self.tokens,
                bytes: self.bytes,
                hash,
            };
            let written = self.records_file.write_all(&record.to_bytes());
            written.map_err(self.failed(1))?;
            self.bytes = 0;
            self.hash.reset();
        }
        Ok(())
    }

    fn failed(&self, file: usize) -> impl Fn(std::io::Error) -> DataError {
        let path = self.paths[file].clone();
        move |source| DataError::Write {
            path: path.clone(),
            source,
        }
    }

    fn finish(mut self) -> Result<(), DataError> {
        self.tokens_file.flush().map_err(self.failed(0))?;
        self.records_file.flush().map_err(self.failed(1))
    }
}
