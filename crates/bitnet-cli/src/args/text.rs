//! Flags of the commands that read and write text.

use std::path::PathBuf;

use clap::Args;

use super::{DeviceArgs, DtypeArgs, EngineArgs, OutputArgs};

/// How the next token is chosen, and where the text ends.
#[derive(Clone, Debug, Args)]
pub struct SamplingArgs {
    /// Most tokens to write (of an answer, in a chat); default: 128, in a chat 1024
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Divide the logits by T; 0 is greedy; default: what the model's files suggest, or 0.8
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Only the K likeliest tokens; 0 is off; default: what the model's files suggest, or 0
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that reach probability P together; 1 is off; default: as suggested, or 1
    #[arg(long, value_name = "P")]
    pub top_p: Option<f32>,
    /// Only tokens at least P times as likely as the likeliest; 0 is off; default: as suggested, or 0
    #[arg(long, value_name = "P")]
    pub min_p: Option<f32>,
    /// Make tokens of the text so far less likely; 1 is off; default: as suggested, or 1
    #[arg(long, value_name = "R")]
    pub repetition_penalty: Option<f32>,
    /// End before this text (repeatable)
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Seed of the draws; default: 0
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl SamplingArgs {
    /// The first of its flags that was given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--max-new-tokens", self.max_new_tokens.is_some()),
            ("--temperature", self.temperature.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--repetition-penalty", self.repetition_penalty.is_some()),
            ("--stop", !self.stop.is_empty()),
            ("--seed", self.seed.is_some()),
        ];
        flags
            .into_iter()
            .find_map(|(flag, given)| given.then_some(flag))
    }
}

/// Where the prompt comes from.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PromptArgs {
    /// Text to continue
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// File with the text to continue, without its last line break; - is stdin
    #[arg(long, value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct GenerateArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    pub model: PathBuf,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Read \n, \t, \\, \" and \u{1F600} in the prompt as the characters that they stand for
    #[arg(long)]
    pub escape: bool,
    /// Take special tokens in the prompt as tokens, not as text, and show those that are written
    #[arg(long)]
    pub special: bool,
    /// Answer the prompt as a user's message, by the model's chat template
    #[arg(long, conflicts_with = "special")]
    pub chat: bool,
    /// System prompt of --chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Use the latent weights with fake quantisation, not the packed model
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

impl GenerateArgs {
    /// The first flag that only a language model heeds and that was given.
    pub fn language_model_flag(&self) -> Option<&'static str> {
        let flags = [
            ("--special", self.special),
            ("--chat", self.chat),
            ("--system", self.system.is_some()),
        ];
        let own = flags
            .into_iter()
            .find_map(|(flag, set)| set.then_some(flag));
        self.sampling.given().or(own)
    }
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct ChatArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    pub model: PathBuf,
    /// System prompt
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Chat template (Jinja) in the place of the model's own
    #[arg(long, value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// Variable of the chat template, as in --template-var enable_thinking=false (JSON, or text; repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub template_var: Vec<String>,
    /// Most tokens of the whole conversation; 0 is as many as the model takes; default: 4096, or that if it is less
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Use the latent weights with fake quantisation, not the packed model
    #[arg(long)]
    pub latent: bool,
    /// No speed after an answer
    #[arg(short, long, env = "BITNET_QUIET")]
    pub quiet: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub activations: DtypeArgs,
}

#[derive(Debug, Args)]
pub struct TokenizeArgs {
    /// Run directory, .gguf file, folder of transformers, or hf://org/name (@revision after it)
    pub model: PathBuf,
    /// The text; - is stdin
    pub text: String,
    /// Take special tokens in the text as tokens, not as text
    #[arg(long)]
    pub special: bool,
    /// Leave out what the model puts before every text
    #[arg(long)]
    pub bare: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}
