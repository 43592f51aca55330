//! Flags of the server.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bitnet_generate::BatchOptions;
use bitnet_serve::Limits;
use clap::Args;

use super::compute::thread_count;
use super::{EngineArgs, Pooling};

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Run directory, .gguf file or folder of transformers; NAME=MODEL gives it another name than its file's
    #[arg(required = true, value_name = "MODEL")]
    pub models: Vec<String>,
    /// Address to listen on; another than loopback's lets other machines in
    #[arg(
        long,
        env = "BITNET_HOST",
        default_value = "127.0.0.1",
        value_name = "ADDRESS"
    )]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "BITNET_PORT", default_value_t = 8080, value_name = "N")]
    pub port: u16,
    /// File with the keys of which a request has to give one, a line each; BITNET_API_KEY holds one too
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Origin whose pages may ask, scheme and host; * is all (repeatable)
    #[arg(long, value_name = "ORIGIN")]
    pub cors: Vec<String>,
    /// Name that requests may have in `Host` besides loopback's: that of a proxy in front (repeatable)
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Another name of a model, as in --alias gpt-4o=small (repeatable)
    #[arg(long, value_name = "NAME=MODEL")]
    pub alias: Vec<String>,
    /// Chat template (Jinja) in the place of the models' own
    #[arg(long, value_name = "FILE")]
    pub chat_template: Option<PathBuf>,
    /// Which hidden state of a text is its vector, at /v1/embeddings; without it what the model's files say, or the last
    #[arg(long, value_enum, value_name = "KIND")]
    pub pooling: Option<Pooling>,
    /// Log what people and models wrote, too
    #[arg(long)]
    pub log_text: bool,
    /// No log of the requests
    #[arg(short, long, env = "BITNET_QUIET")]
    pub quiet: bool,
    /// CPU threads, which the models share in turns; 0 takes all cores
    #[arg(short, long, env = "BITNET_THREADS", default_value_t = 0, value_name = "N", value_parser = thread_count)]
    pub threads: usize,
    #[command(flatten)]
    pub batch: BatchArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// How a model's texts are written together.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Batch")]
pub struct BatchArgs {
    /// Texts of a model that are written at once; more wait
    #[arg(long, default_value_t = BatchOptions::default().max_texts, value_name = "N", value_parser = positive)]
    pub batch: usize,
    /// Mebibytes of keys and values of each model, those kept for prompts that begin alike included
    #[arg(long, default_value_t = BatchOptions::default().kv_bytes >> 20, value_name = "MIB", value_parser = mebibytes)]
    pub kv_memory: usize,
    /// Tokens of prompts that are read beside texts that are being written
    #[arg(long, default_value_t = BatchOptions::default().prompt_piece, value_name = "N", value_parser = positive)]
    pub prompt_piece: usize,
    /// Tokens guessed ahead from what the text repeats, and checked; 0 never guesses
    #[arg(long, default_value_t = BatchOptions::default().draft_tokens, value_name = "N")]
    pub draft_tokens: usize,
}

impl BatchArgs {
    pub fn options(&self) -> BatchOptions {
        BatchOptions {
            max_texts: self.batch,
            kv_bytes: self.kv_memory << 20,
            prompt_piece: self.prompt_piece,
            draft_tokens: self.draft_tokens.min(MOST),
            ..BatchOptions::default()
        }
    }
}

/// What is too much.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Texts of a model that wait or are written at a time
    #[arg(long, default_value_t = Limits::default().queue, value_name = "N", value_parser = positive)]
    pub queue: usize,
    /// Texts that one request asks for: choices times prompts
    #[arg(long, default_value_t = Limits::default().choices, value_name = "N", value_parser = positive)]
    pub max_choices: usize,
    /// Tokens of an answer
    #[arg(long, default_value_t = Limits::default().answer_tokens, value_name = "N", value_parser = positive)]
    pub max_tokens: usize,
    /// Seconds for a whole answer
    #[arg(long, default_value_t = Limits::default().request_time.as_secs_f64(), value_name = "S", value_parser = seconds)]
    pub request_time: f64,
    /// Bytes of a request's body
    #[arg(long, default_value_t = Limits::default().body_bytes, value_name = "N", value_parser = positive)]
    pub max_body: usize,
    /// Bytes of all bodies that are being read at a time
    #[arg(long, default_value_t = Limits::default().bodies_bytes, value_name = "N", value_parser = positive)]
    pub max_bodies: usize,
    /// Seconds for a body to arrive
    #[arg(long, default_value_t = Limits::default().body_time.as_secs_f64(), value_name = "S", value_parser = seconds)]
    pub body_time: f64,
    /// Bytes of a request's head, at least 8192
    #[arg(long, default_value_t = Limits::default().head_bytes, value_name = "N", value_parser = positive)]
    pub max_head: usize,
    /// Seconds for a head to arrive; a connection idles no longer
    #[arg(long, default_value_t = Limits::default().head_time.as_secs_f64(), value_name = "S", value_parser = seconds)]
    pub head_time: f64,
    /// Seconds in which a client takes some of its answer
    #[arg(long, default_value_t = Limits::default().write_time.as_secs_f64(), value_name = "S", value_parser = seconds)]
    pub write_time: f64,
    /// Tokens that wait for a client that reads slowly; with more it loses its answer
    #[arg(long, default_value_t = Limits::default().buffered_events, value_name = "N", value_parser = positive)]
    pub max_buffered: usize,
    /// Open connections; one more takes the place of the one that has idled longest
    #[arg(long, default_value_t = Limits::default().connections, value_name = "N", value_parser = positive)]
    pub max_connections: usize,
    /// Seconds that running answers have to end in when the server is told to
    #[arg(long, default_value_t = Limits::default().shutdown_time.as_secs_f64(), value_name = "S", value_parser = seconds)]
    pub shutdown_time: f64,
}

impl LimitArgs {
    pub fn limits(&self) -> Limits {
        let time = Duration::from_secs_f64;
        Limits {
            body_bytes: self.max_body,
            bodies_bytes: self.max_bodies,
            body_time: time(self.body_time),
            head_bytes: self.max_head,
            head_time: time(self.head_time),
            connections: self.max_connections,
            queue: self.queue,
            choices: self.max_choices,
            answer_tokens: self.max_tokens,
            request_time: time(self.request_time),
            write_time: time(self.write_time),
            buffered_events: self.max_buffered,
            shutdown_time: time(self.shutdown_time),
        }
    }
}

/// Semaphores and channels count no further.
const MOST: usize = 1 << 28;

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MOST) => Ok(number),
        _ => Err(format!("must be a number from 1 to {MOST}")),
    }
}

fn mebibytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=MOST) => Ok(number),
        _ => Err(format!("must be a number of mebibytes from 1 to {MOST}")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
        _ => Err("must be a number above 0, at most 1e6".into()),
    }
}
