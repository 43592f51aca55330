//! Text generation at the level of token ids: prefill once, then one token at a time through the KV cache.

use std::time::{Duration, Instant};

use bitnet_engine::EngineError;

use crate::{Runner, Sampler};

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As many tokens as were asked for.
    Length,
    /// The callback said so.
    Asked,
    /// The context is full.
    ContextFull,
}

/// What was generated, and how long it took.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
    /// Until the first token: prefill of the prompt and one draw.
    pub time_to_first_token: Duration,
    /// The whole of it.
    pub total: Duration,
}

impl Generation {
    /// Mean time of each token after the first; `None` with fewer than two tokens.
    pub fn time_per_output_token(&self) -> Option<Duration> {
        let rest = u32::try_from(self.tokens.len()).ok()?.checked_sub(1)?;
        (rest > 0).then(|| (self.total - self.time_to_first_token) / rest)
    }
}

/// A prompt that a model cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// There is nothing to continue.
    #[error("the prompt is empty; give at least one token")]
    EmptyPrompt,
    /// A beam search that keeps or writes nothing.
    #[error("the beam and the length of an output must be at least 1")]
    EmptyBeam,
    /// The prompt does not fit.
    #[error(
        "the prompt has {tokens} tokens, the model's context holds {context}; shorten the prompt"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// `max_position_embeddings`.
        context: usize,
    },
    /// A token id that the model does not know.
    #[error("token {token} is outside the model's vocabulary of {vocab_size}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// A text that long does not fit.
    #[error("a text of {tokens} tokens was asked for, the model's context holds {context}")]
    TooLong {
        /// Tokens asked for.
        tokens: usize,
        /// `max_position_embeddings`.
        context: usize,
    },
    /// There is no room left in the text.
    #[error("{tokens} more tokens were given, the text has room for {room}")]
    Full {
        /// Tokens given.
        tokens: usize,
        /// Tokens that fit.
        room: usize,
    },
    /// A GPU gives a kernel only so much of a buffer.
    #[error(
        "the keys of {tokens} tokens take {} MB in each layer, this device binds at most {} MB at once; take a shorter \
         text, another device or `--backend flex`",
        bytes.div_ceil(1_000_000), limit / 1_000_000
    )]
    CacheTooLarge {
        /// Tokens asked for.
        tokens: usize,
        /// Bytes of one layer's keys.
        bytes: u64,
        /// Most that the device binds.
        limit: u64,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The logits could not be read back.
    #[error("the logits could not be read from the device: {0}")]
    Read(String),
}

/// Continues `prompt` by up to `max_new_tokens`, which `on_token` sees one by one; it ends the text by returning false.
///
/// # Errors
/// If the prompt is empty, too long or holds unknown tokens, or the device fails.
pub fn generate(
    model: &mut dyn Runner,
    prompt: &[u32],
    max_new_tokens: usize,
    sampler: &mut Sampler,
    mut on_token: impl FnMut(u32) -> bool,
) -> Result<Generation, GenerateError> {
    check_prompt(model, prompt)?;
    let context = model.context();
    let start = Instant::now();
    model.start(context.min(prompt.len().saturating_add(max_new_tokens)))?;
    let mut text = prompt.to_vec();
    let mut tokens = Vec::new();
    let mut first = None;
    let mut stop = Stop::Length;
    let mut read = 0;
    while tokens.len() < max_new_tokens {
        if text.len() > context {
            stop = Stop::ContextFull;
            break;
        }
        let logits = model.read(&text[read..])?;
        read = text.len();
        let token = sampler.sample(logits, &text);
        first.get_or_insert_with(|| start.elapsed());
        text.push(token);
        tokens.push(token);
        if !on_token(token) {
            stop = Stop::Asked;
            break;
        }
    }
    let total = start.elapsed();
    Ok(Generation {
        tokens,
        stop,
        time_to_first_token: first.unwrap_or(total),
        total,
    })
}

/// Checks that the model can take `prompt`.
///
/// # Errors
/// If it is empty, longer than the context, or holds ids outside the vocabulary.
pub fn check_prompt(model: &dyn Runner, prompt: &[u32]) -> Result<(), GenerateError> {
    let (context, vocab_size) = (model.context(), model.vocab_size());
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    if prompt.len() > context {
        return Err(GenerateError::PromptTooLong {
            tokens: prompt.len(),
            context,
        });
    }
    match prompt.iter().find(|token| **token as usize >= vocab_size) {
        Some(&token) => Err(GenerateError::UnknownToken { token, vocab_size }),
        None => Ok(()),
    }
}
