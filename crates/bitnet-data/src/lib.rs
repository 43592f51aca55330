//! Corpora, tokenizers and batches: text files and a built-in synthetic language.
//!
//! | file | concept |
//! |---|---|
//! | `tokenizer`, `bpe`, `vocabulary`, `word_cache` | text to ids; byte pairs; characters; words met before |
//! | `corpus`, `tokens` | a text in two splits; ids in memory or mapped |
//! | `text_files`, `documents` | a text from files of any kind; documents out of them, part by part |
//! | `prepare`, `prepared` | token shards: made, trained from |
//! | `batches`, `evaluation` | windows of a text: random, consecutive |
//! | `pairs`, `table`, `vectors`, `dialogues` | examples to train on |
//! | `sampler`, `sequences` | which examples a step sees; padded ids |
//! | `examples` | examples of a file or stream, one by one |
//! | `stories`, `synthetic`, `regression` | data made from a seed |
//! | `scores`, `baselines`, `classes` | scores of outputs; what a classifier has to beat; labels that training lacks |
//! | `file`, `lines`, `origins`, `error` | files, their lines, where examples stand; what can go wrong |
//! | `rng` | random numbers that never change |
//!
//! Training a language model on one text takes four decisions, and each is one type here.
//!
//! 1. *What is a token?* A byte, a character, or a piece of a byte-pair encoding: [`Tokenizer`]. All are reversible. The
//!    first two need no training, so that a comparison of two models is not a comparison of two vocabularies.
//! 2. *What is held back?* The last tenth of the text, unshuffled: [`Corpus`].
//! 3. *What does step `t` see?* Random windows that depend on the seed and on `t` only: [`BatchSampler`]. Twin runs see
//!    the same data, and a resumed run continues where it stopped.
//! 4. *What does the loss mean?* The mean over [`evaluation_windows`], which predict every token but the first exactly
//!    once. [`Evaluated::bits_per_byte`] makes it comparable across tokenizers.
//!
//! For a first run there is a text that needs no download: [`stories`] writes a small language with agreement, memory
//! and arithmetic in it, and probes that ask a trained model about them.
//!
//! ```
//! use bitnet_data::{BatchSampler, Corpus, TokenizerKind, evaluation_windows};
//!
//! let corpus = Corpus::stories(1337, 50_000, TokenizerKind::Char, 0.9)?;
//! corpus.check_context(128)?;
//!
//! let sampler = BatchSampler::new(&corpus.train, 8, 128, 1337)?;
//! let batch = sampler.batch(0);
//! assert_eq!(batch.inputs.len(), 8 * 128);
//! assert_eq!(batch, sampler.batch(0));
//!
//! let predicted: usize = evaluation_windows(&corpus.validation, 128, 8)?.map(|batch| batch.predictions()).sum();
//! assert_eq!(predicted, corpus.validation.len() - 1);
//!
//! let prompt = corpus.tokenizer.encode("One day")?;
//! assert_eq!(corpus.tokenizer.decode(&prompt), "One day");
//! # Ok::<(), bitnet_data::DataError>(())
//! ```
//!
//! Other tasks have examples instead of one text: sentence [`Pairs`] and [`synthetic`] ones, a [`Table`] of labelled
//! texts, labelled [`Vectors`], a [`Regression`]; a finished model reads [`Examples`] or [`VectorExamples`] one by one.
//! [`EpochSampler`] says which of them a step sees, [`SequenceVocabulary`] and [`PairBatch`] make padded ids of them,
//! and [`scores`] compares what a model wrote with what it should have written.
//!
//! No framework appears in this crate: a batch is two vectors of integers.

mod baselines;
mod batches;
mod bpe;
mod classes;
mod corpus;
mod dialogues;
mod documents;
mod error;
mod evaluation;
mod examples;
mod file;
mod lines;
mod origins;
mod pairs;
pub mod prepare;
mod prepared;
mod regression;
mod rng;
mod sampler;
pub mod scores;
mod sequences;
pub mod stories;
pub mod synthetic;
mod table;
mod text_files;
mod tokenizer;
mod tokens;
mod vectors;
mod vocabulary;
mod word_cache;

pub use baselines::{NaiveBayes, majority};
pub use batches::{Batch, BatchSampler};
pub use bpe::Bpe;
pub use corpus::{Corpus, SplitText};
pub use dialogues::{Dialogue, DialogueBatch, Dialogues};
pub use documents::{Compression, Format, Reading, Source, sources};
pub use error::DataError;
pub use evaluation::{Evaluated, EvaluationWindows, evaluation_windows};
pub use examples::{Columns, Example, ExampleFormat, Examples, Words};
pub use file::read_text;
pub use pairs::{PairColumns, Pairs};
pub use prepared::{Manifest, Prepared, Shard, Shuffle, SourceFile};
pub use regression::Regression;
pub use sampler::EpochSampler;
pub use sequences::{
    BOS, EOS, LabelledBatch, PAD, PaddedBatch, PairBatch, SPECIALS, SequenceVocabulary, UNK,
    at_least_one,
};
pub use synthetic::SyntheticTask;
pub use table::Table;
pub use text_files::{Cut, SAMPLE, SHARD, TextFiles};
pub use tokenizer::{Tokenizer, TokenizerKind};
pub use tokens::{TokenWidth, Tokens};
pub use vectors::{VectorExample, VectorExamples, Vectors};
pub use vocabulary::Vocabulary;
