//! What can go wrong between a file on disk and a batch of token ids.

use std::path::PathBuf;

/// Why a corpus, a tokenizer or a sampler could not be made. Each message names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The path names nothing.
    #[error("there is no file at {}: check the path, which is taken from the working directory; the head of each configuration says where its data is from", path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },

    /// The path names a directory.
    #[error("{} is a directory: give the path of one text file", path.display())]
    Directory {
        /// The path as given.
        path: PathBuf,
    },

    /// The file is there and could not be read.
    #[error("cannot read {}: check its permissions", path.display())]
    Read {
        /// The path as given.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A file is not what it should be.
    #[error("{} {problem}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and the remedy.
        problem: String,
    },

    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// Somebody asked to stop.
    #[error("stopped")]
    Stopped,

    /// The text has no characters.
    #[error("{corpus} is empty: give a text to learn from")]
    Empty {
        /// The file, or the name of the text.
        corpus: String,
    },

    /// Bytes that are not text were read as text.
    #[error(
        "{corpus} is not UTF-8 at line {line}, byte offset {offset}: \
         convert the file to UTF-8; only a language model with the byte tokenizer reads any bytes"
    )]
    NotUtf8 {
        /// The file, or the name of the text.
        corpus: String,
        /// The line of the first invalid byte, counted from 1.
        line: usize,
        /// The first invalid byte, counted from 0.
        offset: usize,
    },

    /// A line of a file is not what it should be.
    #[error("{file}, line {line}: {problem}")]
    Line {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong, and the remedy.
        problem: String,
    },

    /// The format of a table is told by its name.
    #[error("{}: the file's name must end in csv, tsv or jsonl, which says how it is read", path.display())]
    Ending {
        /// The path as given.
        path: PathBuf,
    },

    /// A split would leave nothing to train on.
    #[error(
        "{name} has {have} examples, and {count} of them are asked for validation or test: lower that, or give a file of its own"
    )]
    TooFew {
        /// The data.
        name: String,
        /// Examples left.
        have: usize,
        /// Examples asked for.
        count: usize,
    },

    /// No conversation of a split has an answer that is read.
    #[error(
        "{name}: no conversation to train on, or none to validate on, has an answer in its first {context} tokens: raise \
         train.context, or give conversations with answers of the assistant"
    )]
    NoAnswers {
        /// The file.
        name: String,
        /// Tokens that are read.
        context: usize,
    },

    /// A synthetic task has too few different sources.
    #[error(
        "{name} gave only {have} different sources, {wanted} are wanted: allow longer ones, or take fewer examples"
    )]
    FewSources {
        /// The task and its lengths.
        name: String,
        /// Different sources found.
        have: usize,
        /// Different sources wanted.
        wanted: usize,
    },

    /// A byte-level vocabulary begins with all bytes.
    #[error(
        "a BPE vocabulary of {vocab_size} has no room beside its 256 bytes: raise it, or use the byte tokenizer"
    )]
    BpeVocabulary {
        /// The size as given.
        vocab_size: usize,
    },

    /// A BPE tokenizer cannot be made or read.
    #[error("the BPE tokenizer cannot be used: {problem}")]
    Bpe {
        /// What the library says.
        problem: String,
    },

    /// The share of the text used for training is not a share: one split would be empty for any text.
    #[error(
        "the train fraction {fraction} is not between 0 and 1: use 0.9 for nine parts of training to one of validation"
    )]
    TrainFraction {
        /// The value as given.
        fraction: f64,
    },

    /// A split cannot fill even one window.
    #[error(
        "{corpus}: the {split} split has {tokens} tokens, and context {context} needs at least {needed}: \
         use a longer text, a smaller context, or another train fraction"
    )]
    TooShort {
        /// The file, or the name of the text.
        corpus: String,
        /// `train` or `validation`.
        split: &'static str,
        /// How many tokens the split has.
        tokens: usize,
        /// How many it would need: one more than the context, for the last target.
        needed: usize,
        /// The context that was asked for.
        context: usize,
    },

    /// A size that must be at least 1 is 0.
    #[error("the {what} is 0: use at least 1")]
    Zero {
        /// Which size.
        what: &'static str,
    },

    /// The text holds a character the vocabulary lacks.
    #[error(
        "character {character:?} at position {position} is not among the {vocabulary} characters of the vocabulary: \
         leave it out, or use a model trained with the byte tokenizer"
    )]
    UnknownCharacter {
        /// The offending character.
        character: char,
        /// Its place in the text in characters, counted from 0.
        position: usize,
        /// The size of the vocabulary.
        vocabulary: usize,
    },

    /// A tokenizer file is not the JSON that this crate writes.
    #[error(
        "the tokenizer is not valid JSON of the form {{\"kind\": ..., \"chars\": ...}}: copy the file again from its run"
    )]
    TokenizerJson {
        /// What the JSON reader said, with line and column.
        #[from]
        source: serde_json::Error,
    },

    /// A tokenizer file is of a kind this crate does not know.
    #[error("unknown tokenizer kind {kind:?}: use \"byte\" or \"char\"")]
    TokenizerKind {
        /// The kind as given.
        kind: String,
    },

    /// A character vocabulary is missing, empty, out of order, has a duplicate, or comes with a byte tokenizer.
    #[error(
        "the tokenizer's character list {problem}: copy the file again from its run, the ids depend on it"
    )]
    Vocabulary {
        /// What is wrong, with the offending character.
        problem: String,
    },
}
