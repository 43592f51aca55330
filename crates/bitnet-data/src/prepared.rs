//! A prepared folder: token shards that are trained from in place.
//!
//! | file | holds |
//! |---|---|
//! | `prepared.json` | everything below in one object, behind its checksum: [`Manifest`] |
//! | `tokenizer.json` | what made the ids |
//! | `shard-00000.tokens` | ids, of 16 bits if the vocabulary allows and 32 otherwise, little-endian |
//! | `shard-00000.ends` | the index: where each document ends in the shard, in ids, 64 bits each, little-endian |
//!
//! `prepared.json` is written last, into a folder that has another name until it is complete.

use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

use crate::tokens::Map;
use crate::{DataError, TokenWidth, Tokenizer, Tokens, file};

/// The file that says what is in the folder.
pub(crate) const MANIFEST: &str = "prepared.json";
/// The tokenizer's file.
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// What is in a prepared folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How an id is written.
    pub width: TokenWidth,
    /// Ids are below this.
    pub vocab_size: usize,
    /// Ids of all shards, separators included.
    pub tokens: u64,
    /// Documents of all shards.
    pub documents: u64,
    /// Documents that were left out because an equal one was there.
    pub duplicates: u64,
    /// Bytes of the documents' text.
    pub bytes: u64,
    /// Checksum of `tokenizer.json`.
    pub tokenizer: String,
    /// Ids between two documents.
    pub separator: Vec<u32>,
    /// How the documents were shuffled.
    pub shuffle: Shuffle,
    /// What it was made from.
    pub sources: Vec<SourceFile>,
    /// The shards, in order.
    pub shards: Vec<Shard>,
}

/// The order of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shuffle {
    /// That of the input.
    No,
    /// Drawn from this seed.
    Seed(u64),
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its path as given.
    pub path: String,
    /// Its size on disk.
    pub bytes: u64,
}

/// A shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// File of the ids.
    pub file: String,
    /// How many.
    pub tokens: u64,
    /// BLAKE3 of the file.
    pub checksum: String,
    /// File of the documents' ends.
    pub ends_file: String,
    /// How many documents.
    pub documents: u64,
    /// BLAKE3 of that file.
    pub ends_checksum: String,
}

/// What the manifest begins with: BLAKE3 of everything after the first comma.
const BEGIN: &str = "{\"checksum\":\"";

impl Manifest {
    /// The file's content.
    pub(crate) fn to_json(&self) -> Result<String, DataError> {
        let json = serde_json::to_string_pretty(self)?;
        let rest = &json[1..];
        Ok(format!("{BEGIN}{}\",{rest}", blake3::hash(rest.as_bytes())))
    }

    fn from_json(text: &str) -> Result<Self, String> {
        let sealed = text
            .strip_prefix(BEGIN)
            .and_then(|text| text.split_once("\","));
        let (checksum, rest) = sealed.ok_or("has no checksum")?;
        if *blake3::hash(rest.as_bytes()).to_hex() != *checksum {
            return Err("has another checksum than it says".to_owned());
        }
        serde_json::from_str(&format!("{{{rest}")).map_err(|error| error.to_string())
    }

    /// A checksum of all that is learned from.
    pub fn checksum(&self) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(self.tokenizer.as_bytes());
        for shard in &self.shards {
            hash.update(shard.checksum.as_bytes());
            hash.update(shard.ends_checksum.as_bytes());
        }
        hash.finalize().to_hex().to_string()
    }
}

/// A prepared folder, opened.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub manifest: Manifest,
    /// What made the ids.
    pub tokenizer: Tokenizer,
    /// The ids of all shards.
    pub tokens: Tokens,
}

impl Prepared {
    /// Whether a folder is a prepared one, or was to become one.
    pub fn is_at(path: &Path) -> bool {
        path.join(MANIFEST).exists() || path.join("shard-00000.tokens").exists()
    }

    /// Opens a folder and checks all of it: every byte has a checksum.
    ///
    /// # Errors
    /// If a file is missing, damaged, or half-written.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let unusable = |name: &str, problem: &str| DataError::File {
            path: path.join(name),
            problem: format!("{problem}: prepare the folder again"),
        };
        let read = |name: &str| match path.join(name).exists() {
            true => file::read(&path.join(name)),
            false => Err(unusable(
                name,
                "is missing, the folder was not finished or not copied whole",
            )),
        };
        let text = read(MANIFEST)?;
        let text = str::from_utf8(&text).map_err(|_| unusable(MANIFEST, "is no text"))?;
        let manifest = Manifest::from_json(text).map_err(|problem| unusable(MANIFEST, &problem))?;
        let json = read(TOKENIZER)?;
        if *blake3::hash(&json).to_hex() != *manifest.tokenizer {
            return Err(unusable(
                TOKENIZER,
                "is not the one that the ids were made with",
            ));
        }
        let json = str::from_utf8(&json).map_err(|_| unusable(TOKENIZER, "is no text"))?;
        let tokenizer = Tokenizer::from_json(json)?;
        let width = manifest.width.bytes() as u64;
        let files: Vec<(&str, u64, &str)> = (manifest.shards.iter())
            .flat_map(|shard| {
                let tokens = (
                    shard.file.as_str(),
                    shard.tokens.saturating_mul(width),
                    &*shard.checksum,
                );
                let ends = shard.documents.saturating_mul(8);
                [
                    tokens,
                    (shard.ends_file.as_str(), ends, &*shard.ends_checksum),
                ]
            })
            .collect();
        let maps: Vec<Map> = (files.par_iter())
            .map(|(name, bytes, checksum)| {
                let file = path.join(name);
                let map = Map::open(&file).map_err(|source| file::failed(&file, source))?;
                if map.bytes().len() as u64 != *bytes {
                    let found = map.bytes().len();
                    let problem = format!("has {found} bytes, not {bytes}");
                    return Err(unusable(name, &problem));
                }
                if checksum_of(&map) != *checksum {
                    return Err(unusable(name, "has changed"));
                }
                Ok(map)
            })
            .collect::<Result<_, DataError>>()?;
        let shards = maps.into_iter().step_by(2).collect();
        let tokens = Tokens::mapped(manifest.width, shards);
        if manifest.vocab_size != tokenizer.vocab_size() || tokens.is_empty() {
            return Err(unusable(
                MANIFEST,
                "does not agree with the files beside it",
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            manifest,
            tokenizer,
            tokens,
        })
    }

    /// The first end of a document at or after a token; the number of tokens if there is none.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub(crate) fn end_from(&self, token: u64) -> Result<u64, DataError> {
        let mut first = 0;
        for shard in &self.manifest.shards {
            if first + shard.tokens < token {
                first += shard.tokens;
                continue;
            }
            let path = self.path.join(&shard.ends_file);
            let map = Map::open(&path).map_err(|source| file::failed(&path, source))?;
            let ends = map.bytes().chunks_exact(8).map(|end| {
                let mut word = [0; 8];
                word.copy_from_slice(end);
                first + u64::from_le_bytes(word)
            });
            return Ok(ends
                .into_iter()
                .find(|end| *end >= token)
                .unwrap_or(first + shard.tokens));
        }
        Ok(first)
    }
}

/// BLAKE3 of a file, whose pages are given back on the way.
fn checksum_of(map: &Map) -> String {
    let mut hash = blake3::Hasher::new();
    for block in map.bytes().chunks(64 << 20) {
        hash.update(block);
        map.release();
    }
    hash.finalize().to_hex().to_string()
}
