//! The text of a language model from files of any kind and size: read into memory where it is a small file of plain text,
//! else cut into tokens on disk and read from there. Tokens that took a while to make are kept, by a checksum of all
//! that they
//! depend on.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use crate::corpus::check_fraction;
use crate::prepare::{Preparation, TokenizerSource, Watch};
use crate::{
    Corpus, DataError, Prepared, Reading, Source, Tokenizer, TokenizerKind, documents, file,
    origins, sources,
};

/// Bytes of text that a byte-pair encoding is learned from, and that are read into memory.
pub const SAMPLE: u64 = 64 << 20;

/// Tokens of a shard.
pub const SHARD: u64 = 1 << 28;

/// Bytes of plain text from which on tokens of a byte-pair encoding are worth keeping: a second of work.
const WORTH_KEEPING: u64 = 1 << 20;

/// Texts whose tokens are kept; of more, those that were not used for longest are removed.
const KEPT: usize = 16;

/// What was used this recently is not removed: somebody may be about to open it.
const RECENT: Duration = Duration::from_secs(3600);

/// How a text becomes ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// By a tokenizer that is made from it.
    Learned(TokenizerKind),
    /// By one that there is.
    Given(Tokenizer),
}

impl From<TokenizerKind> for Cut {
    fn from(kind: TokenizerKind) -> Self {
        Self::Learned(kind)
    }
}

impl Cut {
    fn is_bpe(&self) -> bool {
        matches!(
            self,
            Self::Learned(TokenizerKind::Bpe { .. }) | Self::Given(Tokenizer::Bpe(_))
        )
    }

    /// For files of any size.
    fn source(self) -> TokenizerSource {
        match self {
            Self::Given(tokenizer) => TokenizerSource::Given(tokenizer),
            Self::Learned(TokenizerKind::Byte) => TokenizerSource::Byte,
            Self::Learned(TokenizerKind::Char) => TokenizerSource::Char,
            Self::Learned(TokenizerKind::Bpe { vocab_size }) => TokenizerSource::Train {
                vocab_size,
                sample: SAMPLE,
            },
        }
    }
}

/// Files of text, and how they are read.
#[derive(Debug, Clone)]
pub struct TextFiles {
    /// Files, folders and patterns, or one folder that was prepared.
    pub paths: Vec<PathBuf>,
    /// How documents are found in them.
    pub reading: Reading,
    /// The folder in which tokens are kept; without one they are made each time.
    pub cache: Option<PathBuf>,
}

impl TextFiles {
    /// One file, folder or pattern, whose tokens are not kept.
    pub fn at(path: &Path) -> Self {
        Self {
            paths: vec![path.to_owned()],
            reading: Reading::default(),
            cache: None,
        }
    }

    /// Checks that fields, where some are named, are those of a file.
    ///
    /// # Errors
    /// If no file has any.
    pub fn check_fields(&self) -> Result<(), DataError> {
        let (prepared, others): (Vec<_>, Vec<_>) =
            (self.paths.iter().cloned()).partition(|path| Prepared::is_at(path));
        let found = match others.is_empty() {
            true => Vec::new(),
            false => sources(&others, None)?,
        };
        self.reading.check(&found)?;
        match prepared.first() {
            Some(path) if found.is_empty() && self.reading.names_fields() => Err(DataError::File {
                path: path.clone(),
                problem: format!(
                    "was cut into tokens, of the fields that were asked for then: leave out {}",
                    self.reading.fields.join(", ")
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The ids in two splits. A text file is one document, which the byte tokenizer accepts with any content, the others as
    /// UTF-8; a folder that was prepared has a tokenizer, which is taken.
    ///
    /// # Errors
    /// If a file cannot be read or is not what it should be, or a prepared folder has another tokenizer than the one given.
    pub fn read(&self, cut: Cut, train_fraction: f64) -> Result<Corpus, DataError> {
        check_fraction(train_fraction)?;
        if let [path] = &self.paths[..]
            && Prepared::is_at(path)
        {
            let corpus = Corpus::prepared(&Prepared::open(path)?, train_fraction)?;
            return match cut {
                Cut::Given(tokenizer) if tokenizer != corpus.tokenizer => Err(DataError::File {
                    path: path.clone(),
                    problem: "was cut into tokens by another tokenizer: give the text itself, or prepare it with --tokenizer \
                              and the tokenizer.json in question"
                        .to_owned(),
                }),
                _ => Ok(corpus),
            };
        }
        let found = sources(&self.paths, None)?;
        let name = origins::name(&found);
        let plain = self.plain(&found);
        let worth_keeping =
            |source: &Source| cut.is_bpe() && source.size >= WORTH_KEEPING && self.cache.is_some();
        if let Some(source) = plain.filter(|source| !worth_keeping(source)) {
            let bytes = source.bytes()?;
            return match cut {
                Cut::Learned(kind) => Corpus::from_bytes(name, &bytes, kind, train_fraction),
                Cut::Given(tokenizer) => {
                    Corpus::from_bytes_with(name, &bytes, tokenizer, train_fraction)
                }
            };
        }
        let (prepared, folder) = match &self.cache {
            Some(cache) => (self.kept(cache, &found, &cut, plain)?, None),
            None => {
                let folder = tempfile::tempdir().map_err(unwritable(&std::env::temp_dir()))?;
                let out = folder.path().join("prepared");
                self.prepare(&found, &cut, plain, &out)?;
                (Prepared::open(&out)?, Some(Arc::new(folder)))
            }
        };
        let mut corpus = Corpus::prepared(&prepared, train_fraction)?;
        if plain.is_some() {
            // The ids are those that would be in memory, and have the checksum of those.
            corpus.checksum = None;
        }
        corpus.text.name = name;
        corpus.folder = folder;
        Ok(corpus)
    }

    /// All ids of a given tokenizer as the validation split, to evaluate a finished model on.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn to_evaluate(&self, tokenizer: Tokenizer) -> Result<Corpus, DataError> {
        self.read(Cut::Given(tokenizer), 0.5)
            .map(Corpus::to_evaluate)
    }

    /// All documents as one text in memory, with a line break between two, and how many they are.
    ///
    /// # Errors
    /// If a file cannot be read, is no text or has none.
    pub fn text(&self) -> Result<(String, u64), DataError> {
        let found = sources(&self.paths, None)?;
        if let Some(source) = self.plain(&found) {
            return Ok((source.text()?, 1));
        }
        let (mut bytes, mut documents) = (Vec::new(), 0);
        for source in &found {
            let read = documents::read(source, &self.reading, &AtomicU64::new(0), &mut |part| {
                bytes.extend(part.bytes);
                bytes.extend(part.ends.then_some(b'\n'));
                documents += u64::from(part.ends);
                ControlFlow::Continue(())
            })?;
            debug_assert!(read.is_continue());
        }
        bytes.pop();
        let name = origins::name(&found);
        match bytes.is_empty() {
            true => Err(DataError::Empty { corpus: name }),
            false => file::utf8(&name, &bytes).map(|text| (text.to_owned(), documents)),
        }
    }

    /// The only file, if it is plain text that fits into memory.
    fn plain<'a>(&self, found: &'a [Source]) -> Option<&'a Source> {
        match (found, &self.paths[..]) {
            ([one], [path]) => {
                Some(one).filter(|one| one.is_plain() && one.size <= SAMPLE && !path.is_dir())
            }
            _ => None,
        }
    }

    /// The tokens of files, from the cache or made for it.
    fn kept(
        &self,
        cache: &Path,
        found: &[Source],
        cut: &Cut,
        plain: Option<&Source>,
    ) -> Result<Prepared, DataError> {
        let key = self.key(found, cut)?;
        let folder = cache.join(&key);
        if let Ok(prepared) = Prepared::open(&folder) {
            used(&folder);
            return Ok(prepared);
        }
        let out = cache.join(format!("{key}-{}", std::process::id()));
        self.prepare(found, cut, plain, &out)?;
        // What is there is damaged, or another process was as fast.
        let placed = fs::rename(&out, &folder).or_else(|_| {
            fs::remove_dir_all(&folder)?;
            fs::rename(&out, &folder)
        });
        placed.map_err(unwritable(&folder))?;
        used(&folder);
        remove_unused(cache);
        Prepared::open(&folder)
    }

    fn prepare(
        &self,
        found: &[Source],
        cut: &Cut,
        plain: Option<&Source>,
        out: &Path,
    ) -> Result<(), DataError> {
        let tokenizer = match (cut, plain) {
            // From all of it, as in memory.
            (Cut::Learned(kind), Some(source)) => {
                TokenizerSource::Given(Tokenizer::for_text(*kind, &source.text()?)?)
            }
            (cut, _) => cut.clone().source(),
        };
        let preparation = Preparation {
            sources: found.to_vec(),
            reading: self.reading.clone(),
            tokenizer,
            deduplicate: false,
            shuffle: None,
            separator: None,
            shard_tokens: SHARD,
        };
        preparation.run(out, &Watch::default()).map(drop)
    }

    /// A checksum of all that the tokens depend on.
    fn key(&self, found: &[Source], cut: &Cut) -> Result<String, DataError> {
        let mut hash = blake3::Hasher::new();
        let mut add = |text: &str| {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        };
        add(VERSION);
        add(&match cut {
            Cut::Learned(kind) => format!("{kind:?}"),
            Cut::Given(tokenizer) => tokenizer.to_json(),
        });
        add(&format!("{:?}", self.reading));
        add(&format!("{}", found.len()));
        for source in found {
            add(&format!(
                "{:?} {:?} {}",
                source.format, source.compression, source.size
            ));
        }
        for source in found {
            let mut file = file::open(&source.path)?;
            std::io::copy(&mut file, &mut hash)
                .map_err(|error| file::failed(&source.path, error))?;
        }
        Ok(hash.finalize().to_hex()[..32].to_owned())
    }
}

/// Changes where the same text becomes other tokens than before.
const VERSION: &str = "tokens 1";

fn unwritable(path: &Path) -> impl FnOnce(std::io::Error) -> DataError {
    let path = path.to_owned();
    move |source| DataError::Write { path, source }
}

/// Notes that tokens were used now. Where that fails they are removed earlier than they could be.
fn used(folder: &Path) {
    let _ = fs::File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now()));
}

/// Removes the tokens of all but the texts that were used last.
fn remove_unused(cache: &Path) {
    let Ok(entries) = fs::read_dir(cache) else {
        return;
    };
    let mut folders: Vec<(SystemTime, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    folders.sort();
    let spare = folders.len().saturating_sub(KEPT);
    for (time, folder) in folders.into_iter().take(spare) {
        if time.elapsed().is_ok_and(|age| age > RECENT) {
            // Of no consequence: the next one tries again.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(cache: Option<&Path>, paths: &[&Path]) -> TextFiles {
        TextFiles {
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
            reading: Reading::default(),
            cache: cache.map(Path::to_owned),
        }
    }

    fn all(corpus: &Corpus) -> Vec<u32> {
        let text = corpus.train.joined(&corpus.validation);
        text.to_vec(0..text.len())
    }

    #[test]
    fn tokens_that_are_kept_are_those_of_the_text_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (path, cache) = (folder.path().join("a.txt"), folder.path().join("cache"));
        let text = format!("\u{feff} {}\n \n", crate::stories::generate(1, 1 << 20));
        fs::write(&path, &text).unwrap();
        let cut = Cut::Learned(TokenizerKind::Bpe { vocab_size: 300 });
        let plain = files(None, &[&path]).read(cut.clone(), 0.9).unwrap();
        let entries = || fs::read_dir(&cache).unwrap().count();
        let kept = files(Some(&cache), &[&path]);
        for _ in 0..2 {
            let corpus = kept.read(cut.clone(), 0.9).unwrap();
            assert_eq!(corpus.tokenizer, plain.tokenizer);
            assert_eq!(corpus.train, plain.train);
            assert_eq!(corpus.validation, plain.validation);
            assert_eq!(corpus.validation_bytes, plain.validation_bytes);
            assert_eq!(
                (corpus.name.clone(), corpus.checksum),
                (plain.name.clone(), None)
            );
            assert_eq!(entries(), 1);
        }
        // Damage is made good.
        let entry = fs::read_dir(&cache)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        fs::write(entry.join("shard-00000.tokens"), b"x").unwrap();
        assert_eq!(kept.read(cut.clone(), 0.9).unwrap().train, plain.train);
        assert_eq!(entries(), 1);
        // What depends on another vocabulary or text is another.
        kept.read(Cut::Learned(TokenizerKind::Bpe { vocab_size: 301 }), 0.9)
            .unwrap();
        let given = kept.read(Cut::Given(plain.tokenizer.clone()), 0.9).unwrap();
        assert_eq!(given.train, plain.train);
        assert_eq!(entries(), 3);
        fs::write(&path, text.replacen("the", "The", 1)).unwrap();
        let other = kept.read(Cut::Given(plain.tokenizer.clone()), 0.9).unwrap();
        assert_eq!(entries(), 4);
        assert_ne!(other.train, plain.train);
        let whole = kept.to_evaluate(plain.tokenizer.clone()).unwrap();
        assert_eq!((all(&whole), whole.train.len()), (all(&other), 0));
    }

    #[test]
    fn what_was_not_used_for_longest_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        for age in 0..KEPT as u64 + 3 {
            let path = folder.path().join(format!("{age}"));
            fs::create_dir(&path).unwrap();
            let time = SystemTime::now() - Duration::from_secs(3000 * age);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        remove_unused(folder.path());
        let left = |age: u64| folder.path().join(format!("{age}")).exists();
        assert!(left(0) && left(KEPT as u64 - 1));
        assert!(!left(KEPT as u64) && !left(KEPT as u64 + 2));
    }

    #[test]
    fn several_files_are_one_text_and_all_of_it_can_be_evaluated() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.txt"), folder.path().join("b.jsonl"));
        fs::write(&a, "one two").unwrap();
        fs::write(&b, "{\"text\": \"three\"}\n").unwrap();
        let pattern = folder.path().join("*");
        for paths in [
            vec![a.as_path(), b.as_path()],
            vec![pattern.as_path()],
            vec![folder.path()],
        ] {
            let files = files(None, &paths);
            let corpus = files.read(TokenizerKind::Char.into(), 0.5).unwrap();
            assert_eq!(corpus.tokenizer.decode(&all(&corpus)), "one two\nthree");
            let whole = files.to_evaluate(Tokenizer::Byte).unwrap();
            assert_eq!((whole.validation.len(), whole.validation_bytes), (13, 13));
            assert_eq!(files.text().unwrap(), ("one two\nthree".to_owned(), 2));
            assert_eq!((corpus.documents, corpus.document_length()), (2, 7));
        }
        let of_field = |path: &Path| TextFiles {
            reading: Reading {
                fields: vec!["body".to_owned()],
                split_at: None,
            },
            ..files(None, &[path])
        };
        files(None, &[&a]).check_fields().unwrap();
        of_field(&b).check_fields().unwrap();
        of_field(folder.path()).check_fields().unwrap();
        let error = of_field(&a).check_fields().unwrap_err().to_string();
        assert!(error.contains("a.txt") && error.contains("body"), "{error}");
        let out = folder.path().join("out");
        files(None, &[&a])
            .prepare(
                &sources(std::slice::from_ref(&a), None).unwrap(),
                &TokenizerKind::Char.into(),
                None,
                &out,
            )
            .unwrap();
        files(None, &[&out]).check_fields().unwrap();
        assert!(of_field(&out).check_fields().is_err());
        let other = files(None, &[&out])
            .to_evaluate(Tokenizer::Byte)
            .unwrap_err();
        assert!(other.to_string().contains("another tokenizer"), "{other}");
    }
}
