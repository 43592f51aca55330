//! One text as two sequences of token ids: the first part to train on, the rest to validate on.
//!
//! The split is nanoGPT's: of `n` tokens the first `int(n * 0.9)` are training, without shuffling, so that a
//! validation window never overlaps a training window.

use std::ops::Deref;
use std::sync::Arc;

use tempfile::TempDir;

use crate::{DataError, Evaluated, Prepared, Tokenizer, TokenizerKind, Tokens, file, stories};

/// A tokenized text, its two splits, and its tokenizer.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// The ids.
    pub text: SplitText,
    /// What made the ids, and turns them back into text.
    pub tokenizer: Tokenizer,
    /// The checksum of what was prepared, where the ids are read in place.
    pub checksum: Option<String>,
    /// Where they were prepared for this once; it is removed with the last copy.
    pub(crate) folder: Option<Arc<TempDir>>,
}

/// A text as ids, of whatever tokenizer, in two splits.
#[derive(Debug, Clone)]
pub struct SplitText {
    /// The file, or the name of the text; it opens error messages.
    pub name: String,
    /// The first part of the text.
    pub train: Tokens,
    /// The rest of the text.
    pub validation: Tokens,
    /// The size of the validation split in bytes of UTF-8, whatever the tokenizer.
    pub validation_bytes: usize,
    /// The documents of both splits.
    pub documents: u64,
}

impl Deref for Corpus {
    type Target = SplitText;

    fn deref(&self) -> &SplitText {
        &self.text
    }
}

impl Corpus {
    /// The ids of a prepared folder, cut at the end of a document where there are several.
    pub fn prepared(prepared: &Prepared, train_fraction: f64) -> Result<Self, DataError> {
        check_fraction(train_fraction)?;
        let tokens = &prepared.tokens;
        let length = train_length(tokens.len(), train_fraction);
        let end = prepared.end_from(length as u64)? as usize;
        let length = if end < tokens.len() { end } else { length };
        let (train, validation) = tokens.split_at(length);
        let lengths = validation.blocks();
        let text = SplitText {
            name: prepared.path.display().to_string(),
            validation_bytes: lengths
                .map(|ids| prepared.tokenizer.byte_length(&ids))
                .sum(),
            train,
            validation,
            documents: prepared.manifest.documents,
        };
        Ok(Self {
            text,
            tokenizer: prepared.tokenizer.clone(),
            checksum: Some(prepared.manifest.checksum()),
            folder: None,
        })
    }

    /// The built-in stories: see [`stories::generate`].
    pub fn stories(
        seed: u64,
        characters: usize,
        kind: TokenizerKind,
        train_fraction: f64,
    ) -> Result<Self, DataError> {
        let text = stories::generate(seed, characters);
        Self::from_bytes(
            "the built-in stories",
            text.as_bytes(),
            kind,
            train_fraction,
        )
    }

    /// The same ids, all of them as the validation split: to evaluate a finished model on.
    pub fn to_evaluate(self) -> Self {
        let tokens = self.train.joined(&self.validation);
        let bytes = tokens.blocks().map(|ids| self.tokenizer.byte_length(&ids));
        let text = SplitText {
            name: self.text.name,
            validation_bytes: bytes.sum(),
            train: Vec::new().into(),
            validation: tokens,
            documents: self.text.documents,
        };
        Self { text, ..self }
    }

    /// A text in memory; `name` stands for it in error messages.
    ///
    /// The tokenizer is made from the whole text, its validation part included: the characters of
    /// [`TokenizerKind::Char`], so that none is unknown, and likewise the pieces of [`TokenizerKind::Bpe`].
    pub fn from_bytes(
        name: impl Into<String>,
        bytes: &[u8],
        kind: TokenizerKind,
        train_fraction: f64,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let bytes = file::without_mark(bytes);
        let tokenizer = match kind {
            _ if bytes.is_empty() => return Err(DataError::Empty { corpus: name }),
            TokenizerKind::Byte => Tokenizer::Byte,
            TokenizerKind::Char | TokenizerKind::Bpe { .. } => {
                Tokenizer::for_text(kind, file::utf8(&name, bytes)?)?
            }
        };
        Self::from_bytes_with(name, bytes, tokenizer, train_fraction)
    }

    /// A text in memory with a given tokenizer.
    pub fn from_bytes_with(
        name: impl Into<String>,
        bytes: &[u8],
        tokenizer: Tokenizer,
        train_fraction: f64,
    ) -> Result<Self, DataError> {
        check_fraction(train_fraction)?;
        Self::split(name.into(), bytes, tokenizer, |tokens| {
            train_length(tokens, train_fraction)
        })
    }

    /// All of it to train on, and another one's validation split.
    pub fn with_validation(self, held_back: Self) -> Self {
        let text = SplitText {
            name: format!("{}, validated on {}", self.name, held_back.name),
            train: self.train.joined(&self.validation),
            documents: self.documents + held_back.documents,
            ..held_back.text
        };
        Self {
            text,
            // It is of what was prepared, and the validation split is not.
            checksum: None,
            ..self
        }
    }

    /// Cuts the tokens in two; the first part has as many as `train_length` says.
    pub(crate) fn split(
        name: String,
        bytes: &[u8],
        tokenizer: Tokenizer,
        train_length: impl FnOnce(usize) -> usize,
    ) -> Result<Self, DataError> {
        let bytes = file::without_mark(bytes);
        if bytes.is_empty() {
            return Err(DataError::Empty { corpus: name });
        }
        let mut train: Vec<u32> = match &tokenizer {
            Tokenizer::Byte => bytes.iter().copied().map(u32::from).collect(),
            Tokenizer::Char(_) | Tokenizer::Bpe(_) => {
                tokenizer.encode(file::utf8(&name, bytes)?)?
            }
        };
        let validation = train.split_off(train_length(train.len()));
        let validation_bytes = tokenizer.byte_length(&validation);
        let text = SplitText {
            name,
            train: train.into(),
            validation: validation.into(),
            validation_bytes,
            documents: 1,
        };
        Ok(Self {
            text,
            tokenizer,
            checksum: None,
            folder: None,
        })
    }
}

impl SplitText {
    /// Cuts ids in two, the first of `train_fraction` of them to train on; `bytes` are what some ids stand for.
    ///
    /// # Errors
    /// If a split would be empty whatever the text.
    pub fn new(
        name: String,
        mut ids: Vec<u32>,
        train_fraction: f64,
        bytes: impl FnOnce(&[u32]) -> usize,
    ) -> Result<Self, DataError> {
        check_fraction(train_fraction)?;
        let validation = ids.split_off(train_length(ids.len(), train_fraction));
        Ok(Self {
            name,
            validation_bytes: bytes(&validation),
            train: ids.into(),
            validation: validation.into(),
            documents: 1,
        })
    }

    /// Checks that both splits can fill a window: `context` inputs and the one token that follows them.
    pub fn check_context(&self, context: usize) -> Result<(), DataError> {
        let needed = context.saturating_add(1);
        for (split, tokens) in [
            ("train", self.train.len()),
            ("validation", self.validation.len()),
        ] {
            if tokens < needed {
                let corpus = self.name.clone();
                return Err(DataError::TooShort {
                    corpus,
                    split,
                    tokens,
                    needed,
                    context,
                });
            }
        }
        Ok(())
    }

    /// Tokens of a document, on average.
    pub fn document_length(&self) -> usize {
        let tokens = (self.train.len() + self.validation.len()) as f64;
        (tokens / self.documents.max(1) as f64).round() as usize
    }

    /// The validation split.
    pub fn evaluated(&self) -> Evaluated<'_> {
        Evaluated {
            tokens: &self.validation,
            bytes: self.validation_bytes,
        }
    }
}

pub(crate) fn check_fraction(fraction: f64) -> Result<(), DataError> {
    match fraction > 0.0 && fraction < 1.0 {
        true => Ok(()),
        false => Err(DataError::TrainFraction { fraction }),
    }
}

/// `int(tokens * fraction)` in double precision, as Python computes it.
fn train_length(tokens: usize, fraction: f64) -> usize {
    (tokens as f64 * fraction) as usize
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::TextFiles;

    fn all(tokens: &Tokens) -> Vec<u32> {
        tokens.to_vec(0..tokens.len())
    }

    fn read(path: &Path, kind: TokenizerKind) -> Corpus {
        TextFiles::at(path).read(kind.into(), 0.5).unwrap()
    }

    #[test]
    fn the_split_is_python_s_int_of_n_times_fraction() {
        // From Python: [int(n * 0.9) for n in (...)]; the last is the size of tiny Shakespeare.
        let expected = [
            (1, 0),
            (2, 1),
            (7, 6),
            (10, 9),
            (11, 9),
            (99, 89),
            (101, 90),
            (1_115_394, 1_003_854),
        ];
        for (tokens, train) in expected {
            assert_eq!(train_length(tokens, 0.9), train, "{tokens} tokens");
            let corpus =
                Corpus::from_bytes("t", &vec![b'a'; tokens], TokenizerKind::Char, 0.9).unwrap();
            assert_eq!(
                (corpus.train.len(), corpus.validation.len()),
                (train, tokens - train)
            );
        }
    }

    #[test]
    fn the_vocabulary_is_that_of_the_whole_text() {
        let corpus =
            Corpus::from_bytes("t", "aaaaaaaaaö".as_bytes(), TokenizerKind::Char, 0.9).unwrap();
        assert_eq!(corpus.tokenizer.vocab_size(), 2);
        assert_eq!(corpus.tokenizer.decode(&all(&corpus.validation)), "ö");
        assert_eq!(corpus.validation_bytes, 2);
        // One bit for a token of two bytes.
        assert_eq!(
            corpus.evaluated().bits_per_byte(std::f64::consts::LN_2),
            0.5
        );
    }

    #[test]
    fn a_file_is_read_and_its_tokenizer_can_be_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        fs::write(&path, [255_u8, b'a', b'\n', b'b']).unwrap();
        let corpus = read(&path, TokenizerKind::Byte);
        assert_eq!(
            (all(&corpus.train), all(&corpus.validation)),
            (vec![255, 97], vec![10, 98])
        );

        fs::write(&path, "abc").unwrap();
        let corpus = read(&path, TokenizerKind::Char);
        fs::write(&path, "cab").unwrap();
        let again = TextFiles::at(&path).to_evaluate(corpus.tokenizer).unwrap();
        assert_eq!(all(&again.validation), [2, 0, 1]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        for kind in [
            TokenizerKind::Byte,
            TokenizerKind::Char,
            TokenizerKind::Bpe { vocab_size: 260 },
        ] {
            let read = |text: &str| {
                fs::write(&path, text).unwrap();
                read(&path, kind)
            };
            let (plain, marked) = (read("abab cdcd"), read("\u{feff}abab cdcd"));
            assert_eq!(marked.tokenizer, plain.tokenizer);
            assert_eq!(
                (&marked.train, &marked.validation),
                (&plain.train, &plain.validation)
            );
            let whole = TextFiles::at(&path)
                .to_evaluate(plain.tokenizer.clone())
                .unwrap();
            assert_eq!(plain.tokenizer.decode(&all(&whole.validation)), "abab cdcd");
        }
        fs::write(&path, "\u{feff}").unwrap();
        let empty = TextFiles::at(&path)
            .read(TokenizerKind::Byte.into(), 0.5)
            .unwrap_err();
        assert!(matches!(empty, DataError::Empty { .. }), "{empty}");
    }

    #[test]
    fn a_text_too_short_for_the_context_names_split_and_numbers() {
        let corpus =
            Corpus::from_bytes("tiny.txt", &[b'a'; 100], TokenizerKind::Byte, 0.9).unwrap();
        assert!(corpus.check_context(9).is_ok());
        let message = corpus.check_context(10).unwrap_err().to_string();
        for part in [
            "tiny.txt",
            "validation split has 10 tokens",
            "at least 11",
            "longer text",
        ] {
            assert!(message.contains(part), "{message}");
        }
        let message = corpus.check_context(usize::MAX).unwrap_err().to_string();
        assert!(message.contains("train split has 90"), "{message}");
    }

    #[test]
    fn a_train_fraction_that_empties_a_split_is_refused() {
        for fraction in [0.0, 1.0, -0.1, 9.0, f64::NAN] {
            let result = Corpus::from_bytes("t", b"abc", TokenizerKind::Byte, fraction);
            assert!(
                matches!(result, Err(DataError::TrainFraction { .. })),
                "{fraction}"
            );
        }
    }

    #[test]
    fn the_built_in_stories_are_a_corpus() {
        let corpus = Corpus::stories(1, 20_000, TokenizerKind::Char, 0.9).unwrap();
        corpus.check_context(1024).unwrap();
        assert_eq!(corpus.validation_bytes, corpus.validation.len());
        let text = corpus
            .tokenizer
            .decode(&[all(&corpus.train), all(&corpus.validation)].concat());
        assert_eq!(text, stories::generate(1, 20_000));
    }
}
