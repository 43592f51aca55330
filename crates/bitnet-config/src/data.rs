//! `[data]`: what is learned from, and how text is cut into tokens.
//!
//! Which keys count depends on the task. Every path may be a list, a folder or a pattern (`data/*.csv`), and files may be
//! compressed (`.gz`, `.zst`).
//!
//! | task | reads |
//! |---|---|
//! | `lm` | `kind`, `path`, `text_columns`, `validation_path` or `train_fraction`, or for stories `characters` and `seed` |
//! | `lm`, `kind = "chat"` | `path` (JSONL), `validation_path` or the last `validation_examples` lines, `chat_template` |
//! | `translate` | `shuffle` and `seed`; `source` and `target`, files of one sentence a line, or `path`, tables of both (TSV, CSV, JSONL) with `source_column` and `target_column`; the same for `validation_…` and `test_…` |
//! | `classify` | `path` (CSV, TSV, JSONL, or a folder of texts for each class), `text_columns`, `label_column`; `test_path` or `test_examples` rows, shuffled (`shuffle`, `seed`) |
//! | `vectors` | `path` (CSV, TSV or JSONL of numbers), `label_column`; `test_path` or `test_examples` of the shuffled rows |
//! | `synthetic` | `synthetic`, `examples`, `min_symbols`, `max_symbols`, `seed` |
//! | `layer` | `examples`, `noise`, `seed`; the widths are `model.input_size` and `model.num_labels` |

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Paths;

/// Where the text of a language model comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataKind {
    /// The built-in synthetic stories: no file needed.
    #[default]
    Stories,
    /// Text at `data.path`: a file, a folder of files, JSON lines, or what `bitnet data prepare` made.
    Text,
    /// Conversations, one a line of `data.path`, of which the assistant's answers are learned; for a model that starts from
    /// another one (`train.init_from`), whose chat template writes them.
    Chat,
}

/// What one token is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A character: the vocabulary is the set of characters that occur.
    #[default]
    Char,
    /// A byte: 256 token ids, any text can be encoded.
    Byte,
    /// A piece of byte-level byte-pair encoding, trained on the training text: any text can be encoded.
    Bpe,
    /// What it is to the model of `train.init_from`.
    Model,
    /// What it is to the tokenizer of `data.tokenizer`.
    File,
}

impl Level {
    /// As configurations write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Char => "\"char\"",
            Self::Byte => "\"byte\"",
            Self::Bpe => "\"bpe\"",
            Self::Model => "\"model\"",
            Self::File => "\"file\"",
        }
    }
}

/// What a synthetic task asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synthetic {
    /// The letters of the source.
    Copy,
    /// The letters of the source, last first.
    #[default]
    Reverse,
    /// The letters of the source in alphabetical order.
    Sort,
    /// The sum of two decimal numbers.
    Addition,
}

/// The data of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// `stories`, `text` or `chat` (task `lm`).
    pub kind: DataKind,
    /// A file, a folder or a pattern, or a list of them; of task `lm` also a prepared folder, whose tokenizer is taken. A
    /// relative path starts at the current directory, not at the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Paths>,
    /// A file of the same form to validate on; absent takes `validation_examples` from the end of the training data, of
    /// a text what `train_fraction` leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_path: Option<Paths>,
    /// A file of the same form to test on; absent takes `test_examples` from the end of the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_path: Option<Paths>,
    /// Source sentences, one a line (task `translate`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Paths>,
    /// Target sentences, line by line with `data.source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Paths>,
    /// Source sentences to validate on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_source: Option<Paths>,
    /// Target sentences, line by line with `data.validation_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_target: Option<Paths>,
    /// Source sentences to test on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_source: Option<Paths>,
    /// Target sentences, line by line with `data.test_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_target: Option<Paths>,
    /// Column or field of `path` that holds the source sentence: a name of the header, or a number from 1 if there is none.
    /// Empty is `source`, or of a TSV without a header the first of two.
    pub source_column: String,
    /// Column or field of the translation; empty is `target`, or of a TSV without a header the second of two.
    pub target_column: String,
    /// Columns or fields that hold text, joined by a space (tasks `classify`, and `lm` of JSON lines and tables): names of
    /// the header, or numbers from 1 if there is none.
    pub text_columns: Vec<String>,
    /// Column or field of the label; empty is `label`, or in a table of vectors the last.
    pub label_column: String,
    /// `char`, `byte` or `bpe`; `model` with `train.init_from` and `file` with `data.tokenizer`, and only then.
    pub level: Level,
    /// A `tokenizer.json` that cuts the text: of a run, or one of Hugging Face's form with byte-level BPE (GPT-2, Llama 3,
    /// Qwen, SmolLM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// A chat template (Jinja) in the place of the model's own (`kind = "chat"`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<PathBuf>,
    /// Whether texts are turned to lower case first (task `classify`).
    pub lowercase: bool,
    /// Size of the `bpe` vocabulary.
    pub vocab_size: usize,
    /// Most tokens of a sequence: longer texts are cut, longer pairs are left out of training.
    pub max_length: usize,
    /// Leading share of the text that is trained on; the rest is the validation split (task `lm`).
    pub train_fraction: f64,
    /// Examples of the validation split, where no file holds them; of `kind = "chat"`, lines.
    pub validation_examples: usize,
    /// Examples of the test split, where no file holds them.
    pub test_examples: usize,
    /// Whether the examples are shuffled by `seed` before the validation and test splits are taken from their end (tasks
    /// `translate` and `classify`; vectors always are): files are often sorted.
    pub shuffle: bool,
    /// Length of the generated text (stories only).
    pub characters: usize,
    /// `copy`, `reverse`, `sort` or `addition` (task `synthetic`).
    pub synthetic: Synthetic,
    /// Generated examples to train on (tasks `synthetic` and `layer`).
    pub examples: usize,
    /// Fewest letters, or digits of a number (task `synthetic`).
    pub min_symbols: usize,
    /// Most letters, or digits of a number (task `synthetic`).
    pub max_symbols: usize,
    /// Standard deviation of the noise in the targets (task `layer`).
    pub noise: f64,
    /// Seed of what is generated or shuffled.
    pub seed: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            kind: DataKind::Stories,
            path: None,
            validation_path: None,
            test_path: None,
            source: None,
            target: None,
            validation_source: None,
            validation_target: None,
            test_source: None,
            test_target: None,
            source_column: String::new(),
            target_column: String::new(),
            text_columns: vec!["text".into()],
            label_column: String::new(),
            level: Level::Char,
            tokenizer: None,
            chat_template: None,
            lowercase: false,
            vocab_size: 4000,
            max_length: 128,
            train_fraction: 0.9,
            validation_examples: 500,
            test_examples: 500,
            shuffle: true,
            characters: 1_000_000,
            synthetic: Synthetic::Reverse,
            examples: 10_000,
            min_symbols: 1,
            max_symbols: 10,
            noise: 0.1,
            seed: 0,
        }
    }
}
