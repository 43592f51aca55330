//! Every flag, once.

use std::path::PathBuf;
use std::str::FromStr;

use bitnet_formats::{Target, UnknownTarget};
use bitnet_kernels::Strategy;
use bitnet_train::Backend;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

mod board;
mod compute;
mod config;
mod data;
mod experiment;
mod init;
mod numbers;
mod predict;
mod serve;
mod text;

pub use board::{BoardArgs, ReportArgs};
use compute::thread_count;
pub use compute::{Activations, DeviceArgs, Dtype, DtypeArgs, EngineArgs};
pub use config::ConfigCommand;
pub use data::{CheckArgs, DataCommand, PrepareArgs};
pub use experiment::{
    ExecutorKind, ExperimentArgs, ExperimentCommand, RenderArgs, TaskArgs, WhichArgs,
};
pub use init::InitArgs;
pub use numbers::{EmbedArgs, LogitsArgs, Pooling};
pub use predict::{AskArgs, EvalArgs, PredictArgs};
pub use serve::ServeArgs;
pub use text::{ChatArgs, GenerateArgs, PromptArgs, SamplingArgs, TokenizeArgs};

/// What a shell is told.
const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 ran, but a check failed; 2 usage, configuration or input error; 3 the loss of a training diverged; 130 \
interrupted, state saved";

/// Train ternary (BitNet b1.58) and float models side by side, compare them, and run them.
#[derive(Debug, Parser)]
#[command(name = "bitnet", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The command line, with the exit codes below the help of every command.
    pub fn described() -> clap::Command {
        fn told(command: clap::Command) -> clap::Command {
            let commands = command.get_subcommands();
            let names: Vec<String> = commands.map(|one| one.get_name().to_owned()).collect();
            let command = command.after_help(EXIT_CODES);
            (names.iter()).fold(command, |command, name| command.mut_subcommand(name, told))
        }
        told(Self::command())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a config file that fits a text and this machine
    Init(InitArgs),
    /// What settings mean, and a schema of them
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Train one model from a config file
    Train(TrainArgs),
    /// Train a float and a ternary twin, compare them and write a report; without CONFIG: the built-in quick start
    Compare(CompareArgs),
    /// Score a trained model on a file, or on its own test split
    Eval(EvalArgs),
    /// Ask a trained model about new examples: classes with their probabilities, translations
    Predict(PredictArgs),
    /// Continue a prompt, or translate it
    Generate(GenerateArgs),
    /// Talk with a model: line by line in a terminal, or each line of stdin a turn
    Chat(ChatArgs),
    /// Serve models to programs that speak OpenAI's API, and a chat page to people
    Serve(ServeArgs),
    /// The token ids of a text and the piece that each stands for
    Tokenize(TokenizeArgs),
    /// Train many variants of a run under many seeds, compare them and write a report
    #[command(subcommand)]
    Experiment(ExperimentCommand),
    /// Show runs on a page that follows them while they train: losses, layers, samples, settings that differ
    Board(BoardArgs),
    /// Write the page of `bitnet board` as one file
    Report(ReportArgs),
    /// Prepare text of any size for training, or check what was prepared
    #[command(subcommand)]
    Data(DataCommand),
    /// Measure prefill and decode of a model, or of random weights of any shape
    Bench(BenchArgs),
    /// The logits of every position of some token ids
    Logits(LogitsArgs),
    /// A vector for each line of a file, from the model's hidden states
    Embed(EmbedArgs),
    /// What a model's files hold: each convention with its evidence, the codes of each tensor, what is odd
    Inspect(InspectArgs),
    /// Write a model, a run too, as another format: hf, hf-packed, or a GGUF file with ternary weights (gguf-i2_s,
    /// gguf-tq1_0, gguf-tq2_0, gguf-q2_0) or floats (gguf-f32, gguf-f16, gguf-q8_0, gguf-q4_1, gguf-q4_0); or files of
    /// others as a run
    Convert(ConvertArgs),
    /// What this machine offers: backends, adapters, CPU features, the kernel chosen and why
    Doctor(DoctorArgs),
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command into a folder
    Man {
        /// The folder, such as ~/.local/share/man/man1
        folder: PathBuf,
    },
    /// Measure a trained run, or time several in turns, for `compare` and `experiment`
    #[command(hide = true)]
    Measure(MeasureArgs),
}

impl Command {
    /// Where it computes.
    pub fn backend(&self) -> Backend {
        match self {
            Command::Init(args) => args.device.backend,
            Command::Train(args) => args.device.backend,
            Command::Compare(args) => args.device.backend,
            Command::Eval(args) => args.device.backend,
            Command::Predict(args) => args.device.backend,
            Command::Generate(args) => args.device.backend,
            Command::Chat(args) => args.device.backend,
            Command::Bench(args) => args.backend,
            Command::Measure(args) => args.device.backend,
            Command::Experiment(command) => command.backend(),
            Command::Serve(_)
            | Command::Config(_)
            | Command::Data(_)
            | Command::Board(_)
            | Command::Report(_)
            | Command::Logits(_)
            | Command::Embed(_)
            | Command::Tokenize(_)
            | Command::Inspect(_)
            | Command::Convert(_)
            | Command::Doctor(_)
            | Command::Completions { .. }
            | Command::Man { .. } => Backend::Flex,
        }
    }
}

/// How results and progress are shown.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Format of the result on stdout
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,
    /// No progress on stderr
    #[arg(short, long, env = "BITNET_QUIET")]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// A Markdown table (`compare`, `bench`, `experiment run`)
    Md,
    /// A CSV table (`compare`, `bench`, `experiment run`)
    Csv,
}

/// How the configuration is put together: defaults < file < environment < --set < flags.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Override one setting, as in --set train.steps=100 (repeatable)
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of the initial weights and of the order of the data
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print the resolved configuration and stop
    #[arg(long)]
    pub print_config: bool,
    /// Check the configuration, the data and the device, take a few steps, say what a whole run would take, and stop
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Config file (TOML)
    pub config: PathBuf,
    #[command(flatten)]
    pub overrides: ConfigArgs,
    /// Folder of the run; default: the first free one of runs/NAME, runs/NAME-2, …
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Continue a run: `auto` takes the newest checkpoint of --run-dir, or give a checkpoint's folder
    #[arg(long, value_name = "auto|PATH", requires = "run_dir")]
    pub resume: Option<String>,
    /// Find a learning rate instead: a fresh model takes this many steps at growing rates, until its loss explodes
    #[arg(long, value_name = "STEPS", num_args = 0..=1, default_missing_value = "120", conflicts_with_all = ["run_dir", "resume"],
          value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub find_rate: Option<u32>,
    /// Lines instead of curves on a terminal
    #[arg(long, env = "BITNET_NO_TUI")]
    pub no_tui: bool,
    /// Write TensorBoard's event files into the run's folder too
    #[arg(long)]
    pub tensorboard: bool,
    /// How ternary products add up on the CPU: dot, lookup (tables beside dot products) or signed (additions and
    /// subtractions alone), all to the same bits; default: dot
    #[arg(long, value_name = "NAME")]
    pub strategy: Option<Strategy>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Devices that share each step, as in 0,1: each takes some of its train.accumulate parts, the first has the model
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        conflicts_with = "find_rate"
    )]
    pub devices: Vec<usize>,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Config file (TOML); default: the built-in quick start
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub overrides: ConfigArgs,
    /// Folder of the comparison; default: the first free one of runs/NAME, runs/NAME-2, …
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Linear {
    /// Ternary weights and int8 activations
    Ternary,
    /// Float weights and activations
    Float,
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    #[arg(conflicts_with = "arch")]
    pub model: Option<PathBuf>,
    /// Config file of a model's shape, which gets random weights
    #[arg(long, value_name = "CONFIG")]
    pub arch: Option<PathBuf>,
    /// Linear layers of --arch: ternary or float
    #[arg(long, requires = "arch", value_name = "KIND")]
    pub linear: Option<Linear>,
    /// Override a setting of --arch, as in --set model.num_hidden_layers=2 (repeatable)
    #[arg(long = "set", requires = "arch", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Tokens of a prompt, read at once; 0 leaves the test out
    #[arg(
        short = 'p',
        long,
        value_delimiter = ',',
        default_value = "512",
        value_name = "N,…"
    )]
    pub n_prompt: Vec<usize>,
    /// Tokens written one by one; 0 leaves the test out
    #[arg(
        short = 'n',
        long,
        value_delimiter = ',',
        default_value = "128",
        value_name = "N,…"
    )]
    pub n_gen: Vec<usize>,
    /// Tokens that stand in the context before the test
    #[arg(
        short = 'd',
        long,
        value_delimiter = ',',
        default_value = "0",
        value_name = "N,…"
    )]
    pub n_depth: Vec<usize>,
    /// Repetitions of each test, after one that does not count
    #[arg(short, long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub repetitions: u32,
    /// CPU threads; 0 takes all cores
    #[arg(
        short,
        long,
        env = "BITNET_THREADS",
        value_delimiter = ',',
        default_value = "0",
        value_name = "N,…",
        value_parser = thread_count
    )]
    pub threads: Vec<usize>,
    /// flex, ndarray, wgpu or cuda
    #[arg(long, env = "BITNET_BACKEND", default_value_t = Backend::Flex)]
    pub backend: Backend,
    /// Which of the backend's devices (`bitnet doctor` lists them)
    #[arg(long, env = "BITNET_DEVICE", default_value_t = 0, value_name = "N")]
    pub device: usize,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub activations: DtypeArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    pub model: PathBuf,
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    pub model: PathBuf,
    /// The new file or folder, which must not exist
    pub path: PathBuf,
    /// hf, hf-packed, gguf-i2_s, gguf-tq1_0, gguf-tq2_0, gguf-q2_0, gguf-f32, gguf-f16, gguf-q8_0, gguf-q4_1 or gguf-q4_0;
    /// run for a folder that `train` starts from
    #[arg(long, value_name = "FORMAT")]
    pub to: To,
    /// Read the new files back and compare the logits of 32 tokens with those of the model
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What a model is written as.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// A run.
    Run,
    /// Another program's format.
    File(Target),
}

impl FromStr for To {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "run" => Ok(Self::Run),
            name => name
                .parse()
                .map(Self::File)
                .map_err(|error: UnknownTarget| format!("{error}, or run")),
        }
    }
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Debug, Args)]
pub struct MeasureArgs {
    /// Run directories of finished trainings
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// Time them in turns, and nothing else; a .gguf file in a run's folder is timed beside the runs
    #[arg(long)]
    pub turns: bool,
    /// Store the models in these formats of GGUF, in their folders, and measure these files and nothing else
    #[arg(
        long,
        value_name = "FORMAT",
        value_delimiter = ',',
        conflicts_with = "turns"
    )]
    pub formats: Vec<String>,
    /// In turns, time training steps too
    #[arg(long, requires = "turns")]
    pub steps: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
}
