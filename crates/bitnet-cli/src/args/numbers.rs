//! Flags of commands that print what a model computes: logits and embeddings.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::compute::thread_count;
use super::{EngineArgs, OutputArgs};

#[derive(Debug, Args)]
pub struct LogitsArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    pub model: PathBuf,
    /// Token ids, as in --tokens 1,2,3
    #[arg(long, value_delimiter = ',', required = true, value_name = "ID,…")]
    pub tokens: Vec<u32>,
    /// CPU threads; 0 takes all cores
    #[arg(short, long, env = "BITNET_THREADS", default_value_t = 0, value_name = "N", value_parser = thread_count)]
    pub threads: usize,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How the states of a text's tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pooling {
    /// The last token's, which has seen all others
    Last,
    /// The mean of all
    Mean,
}

#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    pub model: PathBuf,
    /// A text in each line; - for stdin
    pub data: PathBuf,
    /// The lines are JSON objects, with the text in this field
    #[arg(long, value_name = "NAME")]
    pub field: Option<String>,
    /// Which hidden state of a text is its vector; without it what the model's files say, or the last
    #[arg(long, value_enum, value_name = "KIND")]
    pub pooling: Option<Pooling>,
    /// Vectors as they are, not scaled to length 1
    #[arg(long)]
    pub raw: bool,
    /// Write an array of numpy (float32, a row for each text) instead of JSON lines
    #[arg(long, value_name = "FILE")]
    pub npy: Option<PathBuf>,
    /// CPU threads; 0 takes all cores
    #[arg(short, long, env = "BITNET_THREADS", default_value_t = 0, value_name = "N", value_parser = thread_count)]
    pub threads: usize,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}
