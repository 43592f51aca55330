//! From files of any size to a folder of token shards that is trained from in place.
//!
//! 1. The tokenizer is read, or learned from a sample of bounded size.
//! 2. One thread reads documents, all others cut them into tokens, and the ids are staged on disk in the order of the input.
//! 3. Equal documents are found by their checksums, bucket by bucket, and the order is drawn by a cipher on the numbers of
//!    the documents: neither keeps more in memory than a bit for each document and one bucket.
//! 4. The shards are written in that order, then `prepared.json`, and the folder gets its name. Whatever ends this before
//!    leaves a folder `….partial` that nothing reads and the next attempt replaces.

mod order;
mod sample;
mod shards;
mod stage;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::documents::Reading;
use crate::prepared::{MANIFEST, Manifest, Shuffle, SourceFile, TOKENIZER};
use crate::{Bpe, DataError, Source, TokenWidth, Tokenizer};

/// The special token that ends a document in a tokenizer that is learned here.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Where the tokenizer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenizerSource {
    /// Bytes.
    Byte,
    /// The characters of all documents.
    Char,
    /// A `tokenizer.json`.
    File(PathBuf),
    /// One that there is.
    Given(Tokenizer),
    /// A byte-pair encoding, learned from a sample.
    Train {
        /// How many ids there are at most.
        vocab_size: usize,
        /// Bytes of the sample.
        sample: u64,
    },
}

/// What to prepare, and how.
#[derive(Debug, Clone)]
pub struct Preparation {
    /// Files, in order.
    pub sources: Vec<Source>,
    /// How documents are found in them.
    pub reading: Reading,
    /// What cuts them into tokens.
    pub tokenizer: TokenizerSource,
    /// Whether of equal documents only the first is kept.
    pub deduplicate: bool,
    /// The seed of the documents' order; none keeps that of the input.
    pub shuffle: Option<u64>,
    /// What is put between two documents: none is the tokenizer's end of text, or a line break where it has none.
    pub separator: Option<String>,
    /// Tokens after which a shard ends, with its document.
    pub shard_tokens: u64,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading a sample and learning a tokenizer from it.
    Tokenizer,
    /// Cutting documents into tokens.
    Tokens,
    /// Writing the shards.
    Shards,
}

/// How far a preparation is, for whoever shows it, and whether it should stop.
#[derive(Debug, Default)]
pub struct Watch {
    stage: AtomicU64,
    done: AtomicU64,
    total: AtomicU64,
    /// Tokens so far.
    pub tokens: AtomicU64,
    /// Becomes true when it should stop.
    pub stop: AtomicBool,
}

impl Watch {
    fn begin(&self, stage: Stage, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.stage.store(stage as u64, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), DataError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(DataError::Stopped),
            false => Ok(()),
        }
    }

    /// The stage, and how much of how much of it is done, in bytes or tokens.
    pub fn progress(&self) -> (Stage, u64, u64) {
        let stage = match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Tokenizer,
            1 => Stage::Tokens,
            _ => Stage::Shards,
        };
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        (stage, read(&self.done), read(&self.total))
    }
}

impl Preparation {
    /// Writes the folder `out`, which must not exist.
    ///
    /// # Errors
    /// If a file cannot be read or written, or is not what it should be; then `out` does not exist.
    pub fn run(&self, out: &Path, watch: &Watch) -> Result<Manifest, DataError> {
        if fs::symlink_metadata(out).is_ok() {
            return Err(DataError::File {
                path: out.to_owned(),
                problem: "exists: remove it, or choose another folder".to_owned(),
            });
        }
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = out.with_file_name(name);
        let write = |path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Write { path, source }
        };
        fs::create_dir_all(&partial).map_err(write(&partial))?;
        let lock = fs::File::create(partial.join(LOCK)).map_err(write(&partial))?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            return Err(DataError::File {
                path: out.to_owned(),
                problem:
                    "is being prepared by another process: wait for it, or choose another folder"
                        .to_owned(),
            });
        }
        clear(&partial).map_err(write(&partial))?;
        let made = self.make(&partial, watch).and_then(|manifest| {
            fs::remove_file(partial.join(LOCK)).map_err(write(&partial))?;
            sync(&partial).map_err(write(&partial))?;
            fs::rename(&partial, out).map_err(write(out))?;
            let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            sync(parent).map_err(write(parent))?;
            Ok(manifest)
        });
        if made.is_err() {
            // The first error is the one worth reporting.
            let _ = fs::remove_dir_all(&partial);
        }
        made
    }

    fn make(&self, folder: &Path, watch: &Watch) -> Result<Manifest, DataError> {
        let tokenizer = self.tokenizer(watch)?;
        let separator = self.separator(&tokenizer)?;
        let width = TokenWidth::of(tokenizer.vocab_size());
        watch.begin(Stage::Tokens, self.bytes());
        let staged = stage::write(self, &tokenizer, width, folder, watch)?;
        if staged.documents() == 0 {
            let corpus = self.sources[0].name();
            return Err(DataError::Empty { corpus });
        }
        let duplicates = match self.deduplicate {
            true => order::duplicates(&staged),
            false => Vec::new(),
        };
        watch.begin(Stage::Shards, staged.tokens());
        let order = order::Order::new(staged.documents(), self.shuffle);
        let written = shards::write(
            &staged,
            (0..staged.documents())
                .map(|place| order.document(place))
                .filter(|document| !order::marked(&duplicates, *document)),
            &separator,
            self.shard_tokens,
            folder,
            watch,
        )?;
        let (documents, staged_documents) = (written.documents, staged.documents());
        staged.remove()?;
        let json = tokenizer.to_json();
        let manifest = Manifest {
            width,
            vocab_size: tokenizer.vocab_size(),
            tokens: written.tokens,
            documents,
            duplicates: staged_documents - documents,
            bytes: written.bytes,
            tokenizer: blake3::hash(json.as_bytes()).to_hex().to_string(),
            separator,
            shuffle: match self.shuffle {
                Some(seed) => Shuffle::Seed(seed),
                None => Shuffle::No,
            },
            sources: (self.sources.iter())
                .map(|source| SourceFile {
                    path: source.name(),
                    bytes: source.size,
                })
                .collect(),
            shards: written.shards,
        };
        write_synced(&folder.join(TOKENIZER), json.as_bytes())?;
        write_synced(&folder.join(MANIFEST), manifest.to_json()?.as_bytes())?;
        Ok(manifest)
    }

    /// Bytes of all files.
    fn bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.size).sum()
    }

    fn tokenizer(&self, watch: &Watch) -> Result<Tokenizer, DataError> {
        match &self.tokenizer {
            TokenizerSource::Byte => Ok(Tokenizer::Byte),
            TokenizerSource::Char => {
                watch.begin(Stage::Tokenizer, self.bytes());
                sample::characters(self, watch).map(Tokenizer::Char)
            }
            TokenizerSource::File(path) => Tokenizer::read(path),
            TokenizerSource::Given(tokenizer) => Ok(tokenizer.clone()),
            TokenizerSource::Train { vocab_size, sample } => {
                watch.begin(Stage::Tokenizer, self.bytes());
                let texts = sample::texts(self, *sample, watch)?;
                watch.check()?;
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                if texts.is_empty() {
                    let corpus = self.sources[0].name();
                    return Err(DataError::Empty { corpus });
                }
                Bpe::train_with(&texts, *vocab_size, &[END_OF_TEXT]).map(Tokenizer::Bpe)
            }
        }
    }

    /// The ids that stand between two documents.
    fn separator(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, DataError> {
        match (&self.separator, tokenizer.end_of_text()) {
            (Some(text), _) => tokenizer.encode(text),
            (None, Some(id)) => Ok(vec![id]),
            // A vocabulary of characters may be without one; then nothing is between them.
            (None, None) => Ok(tokenizer.encode("\n").unwrap_or_default()),
        }
    }
}

/// Locked by the process that prepares, in the folder that is not complete.
const LOCK: &str = "lock";

/// Removes what a kill left in a folder, the lock aside.
fn clear(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            _ if path.ends_with(LOCK) => {}
            true => fs::remove_dir_all(path)?,
            false => fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// Writes a file and has it reach the disk.
fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let written = fs::File::create(path).and_then(|mut file| {
        std::io::Write::write_all(&mut file, bytes)?;
        file.sync_all()
    });
    written.map_err(|source| DataError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Has a folder's names reach the disk, where a folder can be opened.
fn sync(folder: &Path) -> std::io::Result<()> {
    match cfg!(unix) {
        true => fs::File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
