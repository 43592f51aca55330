//! Flags of `bitnet data`.

use std::path::PathBuf;

use bitnet_data::Format as FileFormat;
use clap::{Args, Subcommand};

use super::OutputArgs;
use super::compute::thread_count;

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Cut files of any size into tokens once, into a folder that `lm` trains from in place (data.path = FOLDER)
    Prepare(PrepareArgs),
    /// Check every byte of a prepared folder, and say what is in it
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Files, folders, or patterns such as 'data/*.jsonl.gz': txt, md, jsonl, csv, tsv, parquet; as they are, .gz or .zst;
    /// - is stdin, which is kept beside the folder while it is read
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The new folder
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Field or column that holds the text (repeatable: joined by a space); in CSV and TSV without a header its number
    #[arg(long, value_name = "NAME", default_value = "text")]
    pub field: Vec<String>,
    /// How files are read, whatever their names say: txt, jsonl, csv, tsv or parquet
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FileFormat>,
    /// What stands between two documents of a text file, as in --split-at '<|endoftext|>'; default: a file is a document
    #[arg(long, value_name = "TEXT")]
    pub split_at: Option<String>,
    /// byte, char, or a tokenizer.json (byte-level BPE); default: BPE, learned from a sample
    #[arg(long, value_name = "KIND|FILE")]
    pub tokenizer: Option<String>,
    /// Ids of the BPE that is learned
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8192,
        conflicts_with = "tokenizer"
    )]
    pub vocab_size: usize,
    /// Megabytes of text that it is learned from
    #[arg(long, value_name = "MB", default_value_t = 64, conflicts_with = "tokenizer",
          value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub sample: u64,
    /// Of documents with equal text keep the first
    #[arg(long)]
    pub deduplicate: bool,
    /// Shuffle the documents by this seed; default: the order of the input
    #[arg(long, value_name = "SEED")]
    pub shuffle: Option<u64>,
    /// Text between two documents; default: the tokenizer's end of text, or a line break
    #[arg(long, value_name = "TEXT")]
    pub separator: Option<String>,
    /// Tokens after which a shard ends, with its document
    #[arg(long, value_name = "N", default_value_t = bitnet_data::SHARD, value_parser = clap::value_parser!(u64).range(1..))]
    pub shard_tokens: u64,
    /// CPU threads; 0 takes all cores
    #[arg(long, env = "BITNET_THREADS", default_value_t = 0, value_name = "N", value_parser = thread_count)]
    pub threads: usize,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A prepared folder
    pub folder: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
}
