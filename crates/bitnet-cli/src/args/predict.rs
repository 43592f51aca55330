//! Flags of the commands that ask and score trained models.

use std::path::PathBuf;

use bitnet_data::ExampleFormat;
use clap::Args;

use super::{DeviceArgs, DtypeArgs, EngineArgs, OutputArgs};

/// How examples are read from a file.
#[derive(Clone, Debug, Args)]
pub struct AskArgs {
    /// How the examples are written: lines, csv, tsv or jsonl; default: by the ending of the file's name, else lines, or csv
    /// for vectors
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<ExampleFormat>,
    /// Columns, or fields of JSON lines, that hold the text: names, or numbers from 1 where there is no header; default:
    /// data.text_columns of the run
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub columns: Vec<String>,
    /// Column of the label; default: data.label_column of the run
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
}

#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Run directory, or one of its checkpoints
    pub model: PathBuf,
    /// File of examples; - is stdin
    #[arg(value_name = "FILE", conflicts_with_all = ["data", "text"])]
    pub input: Option<PathBuf>,
    /// The same
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub data: Option<PathBuf>,
    /// An example (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub ask: AskArgs,
    /// Examples at a time: answers appear when so many are read; default: 256, and 1 if they are typed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub batch: Option<u32>,
    /// Use the latent weights with fake quantisation, not the packed model
    #[arg(long)]
    pub latent: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Run directory or one of its checkpoints, .gguf file or folder of transformers
    pub model: PathBuf,
    /// File to evaluate on: a text for a language model (- for stdin), else examples with their labels or
    /// targets; default: the validation split that a language model was trained beside, the test split of other tasks
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Targets of --data, line by line, for a run that translates and a --data without them
    #[arg(long, value_name = "FILE", requires = "data")]
    pub references: Option<PathBuf>,
    #[command(flatten)]
    pub ask: AskArgs,
    /// Write what was predicted for each example, as .csv or .jsonl
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Draw which classes are taken for which, as .svg
    #[arg(long, value_name = "FILE")]
    pub confusion: Option<PathBuf>,
    /// Tokens in a window of a language model; default: the training context, of a model file 512
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// Evaluate the latent weights with fake quantisation, not the packed model
    #[arg(long)]
    pub latent: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub activations: DtypeArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

impl EvalArgs {
    /// The first flag that language models do not heed and that was given.
    pub fn example_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--references", self.references.is_some()),
            ("--format", self.ask.format.is_some()),
            ("--columns", !self.ask.columns.is_empty()),
            ("--label-column", self.ask.label_column.is_some()),
            ("--predictions", self.predictions.is_some()),
            ("--confusion", self.confusion.is_some()),
        ];
        flags
            .into_iter()
            .find_map(|(flag, given)| given.then_some(flag))
    }
}
