//! Text generation at the level of token ids: prefill once, then one token at a time through the KV cache.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bitnet_engine::EngineError;
use bitnet_generate::{EmptyBeam, Vocabulary};

use crate::{Runner, Sampler};

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// As many tokens as were asked for.
    Length,
    /// The callback said so, or somebody interrupted.
    Asked,
    /// The model wrote a token that ends a text.
    EndToken,
    /// The context is full.
    ContextFull,
}

/// What was generated, and how long it took.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The new tokens, without one that ended the text.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub stop: Stop,
    /// Tokens of the prompt that had been read before.
    pub reused: usize,
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
    #[error(transparent)]
    EmptyBeam(#[from] EmptyBeam),
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
    /// Weights or activations are broken: no token is the likeliest.
    #[error(
        "after {position} tokens {count} of the model's {of} logits are not finite: its weights hold NaN or overflow \
         (`bitnet inspect` counts them in a model's files; with --dtype f16, try f32)"
    )]
    NotFinite {
        /// Tokens read.
        position: usize,
        /// Logits that are NaN or infinite.
        count: usize,
        /// All logits.
        of: usize,
    },
    /// The logits could not be read back.
    #[error("the logits could not be read from the device: {0}")]
    Read(String),
}

/// Where a generation ends, besides the callback.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Most tokens to write.
    pub max_new_tokens: usize,
    /// Tokens that end a text.
    pub end: &'a [u32],
    /// The ids that may be chosen, if not all: rows of an embedding may be more.
    pub vocabulary: Option<&'a Vocabulary>,
    /// Ends the generation when it becomes true, also between two pieces of a long prompt.
    pub interrupted: Option<&'a AtomicBool>,
}

impl Limits<'_> {
    /// A number of tokens, and nothing else.
    pub fn tokens(max_new_tokens: usize) -> Self {
        Self {
            max_new_tokens,
            end: &[],
            vocabulary: None,
            interrupted: None,
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// Continues `prompt` by up to `max_new_tokens`, which `on_token` sees one by one; it ends the text by returning false.
///
/// # Errors
/// If the prompt is empty, too long or holds unknown tokens, the logits are not finite, or the device fails.
pub fn generate(
    model: &mut dyn Runner,
    prompt: &[u32],
    max_new_tokens: usize,
    sampler: &mut Sampler,
    on_token: impl FnMut(u32) -> bool,
) -> Result<Generation, GenerateError> {
    check_prompt(model, prompt)?;
    let capacity = model
        .context()
        .min(prompt.len().saturating_add(max_new_tokens));
    let limits = Limits::tokens(max_new_tokens);
    PrefixCache::new(model, capacity)?.generate(prompt, limits, sampler, on_token)
}

/// A prompt that may be interrupted is read in pieces of so many tokens: a second or less each.
const PIECE: usize = 256;

/// A model and the tokens that it has read: a prompt that begins like them costs only the rest.
pub struct PrefixCache<'a> {
    model: &'a mut dyn Runner,
    /// What the model has read.
    read: Vec<u32>,
    capacity: usize,
}

impl<'a> PrefixCache<'a> {
    /// Nothing read, with room for texts of `capacity` tokens.
    ///
    /// # Errors
    /// If the model takes fewer.
    pub fn new(model: &'a mut dyn Runner, capacity: usize) -> Result<Self, GenerateError> {
        model.start(capacity)?;
        Ok(Self {
            model,
            read: Vec::new(),
            capacity,
        })
    }

    /// Most tokens of a text.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What the model has read.
    pub fn tokens(&self) -> &[u32] {
        &self.read
    }

    /// Continues `prompt`, whose tokens `on_token` sees one by one; it ends the text by returning false.
    ///
    /// # Errors
    /// If the prompt is empty, too long or holds unknown tokens, the logits are not finite, or the device fails.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        limits: Limits<'_>,
        sampler: &mut Sampler,
        mut on_token: impl FnMut(u32) -> bool,
    ) -> Result<Generation, GenerateError> {
        check_prompt(self.model, prompt)?;
        if prompt.len() > self.capacity {
            return Err(GenerateError::PromptTooLong {
                tokens: prompt.len(),
                context: self.capacity,
            });
        }
        let start = Instant::now();
        let reused = self.keep(prompt);
        let mut text = prompt.to_vec();
        let mut generation = Generation {
            tokens: Vec::new(),
            stop: Stop::Length,
            reused,
            time_to_first_token: Duration::ZERO,
            total: Duration::ZERO,
        };
        let mut first = None;
        while generation.tokens.len() < limits.max_new_tokens {
            if text.len() > self.capacity {
                generation.stop = Stop::ContextFull;
                break;
            }
            let Some(logits) = self.read(&text, limits)? else {
                generation.stop = Stop::Asked;
                break;
            };
            let token = sampler.sample(&logits, &text, prompt.len());
            first.get_or_insert_with(|| start.elapsed());
            if limits.end.contains(&token) {
                generation.stop = Stop::EndToken;
                break;
            }
            text.push(token);
            generation.tokens.push(token);
            if !on_token(token) || limits.is_interrupted() {
                generation.stop = Stop::Asked;
                break;
            }
        }
        generation.total = start.elapsed();
        generation.time_to_first_token = first.unwrap_or(generation.total);
        Ok(generation)
    }

    /// Forgets what a prompt does not begin with, and says how much is kept: never all, or there would be no logits.
    fn keep(&mut self, prompt: &[u32]) -> usize {
        let pairs = self.read.iter().zip(prompt);
        let shared = pairs.take_while(|(read, token)| read == token).count();
        let kept = shared.min(prompt.len() - 1);
        self.read.truncate(kept);
        self.model.truncate(kept);
        kept
    }

    /// Reads the rest of `text` and returns the logits after it; none if that was interrupted.
    fn read(
        &mut self,
        text: &[u32],
        limits: Limits<'_>,
    ) -> Result<Option<Cow<'_, [f32]>>, GenerateError> {
        let piece = match limits.interrupted {
            Some(_) => PIECE,
            None => usize::MAX,
        };
        while text.len() - self.read.len() > piece {
            if limits.is_interrupted() {
                return Ok(None);
            }
            let next = &text[self.read.len()..][..piece];
            self.model.read(next)?;
            self.read.extend_from_slice(next);
        }
        if limits.is_interrupted() {
            return Ok(None);
        }
        let next = &text[self.read.len()..];
        let logits = self.model.read(next)?;
        self.read.extend_from_slice(next);
        let logits = limits.vocabulary.map_or(logits, |some| some.cut(logits));
        let count = logits.iter().filter(|logit| !logit.is_finite()).count();
        match count {
            0 => Ok(Some(match limits.vocabulary {
                Some(vocabulary) => vocabulary.masked(logits),
                None => Cow::Borrowed(logits),
            })),
            _ => Err(GenerateError::NotFinite {
                position: self.read.len(),
                count,
                of: logits.len(),
            }),
        }
    }
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
