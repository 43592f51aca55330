//! Many texts at once on the CPU engine: continuous batching.
//!
//! A [`Batch`] owns an engine and does its work in steps. A step is one pass over the weights for all texts that run: one
//! token for each that is being written, and pieces of prompts, in the order in which they were asked for. Texts join and
//! leave between steps. What a text reads does not depend on the others, bit for bit, and each draws from a stream of its
//! own, so it is the same text whoever else is there, in whatever pieces its prompt is read, with drafts or without.
//!
//! **Memory.** Keys and values of all texts stay within [`BatchOptions::kv_bytes`]. A text takes room as it grows. When
//! there is none, those kept for later go first, the least recently used before others; then the youngest text that runs
//! is put back to the front of the queue and read anew when there is room again. The oldest always goes on, because no text
//! may become longer than what the limit holds ([`Batch::context`]).
//!
//! **Prefixes.** What was read stays until its room is needed. A new text takes the longest prefix that it shares with one
//! of them, or with one that runs: moved if little else would be lost, copied otherwise. A text that shares more with a
//! prompt that is being read than with anything else waits for it: their turn would not come earlier anyway.
//!
//! | file | concept |
//! |---|---|
//! | `mod` | what is asked and told |
//! | `step` | what is read next, and what came of it |
//! | `room` | memory: who may start, grow, must go; prefixes |
//! | `text` | one text: the next token from its logits |
//! | `draft` | guessing tokens ahead |

mod draft;
mod room;
mod step;
mod text;

use std::collections::VecDeque;

use bitnet_engine::Engine;

use crate::{Event, Finish, Request, RequestId, SamplingError};
use draft::Payoff;
use room::Kept;
use text::{End, Text};

/// How a batch works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Texts that run at once, at most; others wait in order.
    pub max_texts: usize,
    /// Bytes of keys and values, at most: of texts that run, and of those kept for their prefixes.
    pub kv_bytes: usize,
    /// Tokens of prompts that a step reads beside texts that are being written: they wait that long for their next token.
    /// Twice as many where nobody waits.
    pub prompt_piece: usize,
    /// Tokens guessed ahead for a text in one step, at most; 0 never guesses. A guess is what followed when the text's last
    /// tokens occurred in it before, or what a draft model writes ([`Batch::with_draft`]). It is checked in the same pass
    /// that makes the next token, so it costs little and changes nothing but the time; where it does not pay, it stops.
    pub draft_tokens: usize,
    /// Guesses are made while at most so many texts run: with more the processor has enough to do.
    pub draft_texts: usize,
}

impl Default for BatchOptions {
    fn default() -> BatchOptions {
        BatchOptions {
            max_texts: 32,
            kv_bytes: 2 << 30,
            prompt_piece: 128,
            draft_tokens: 6,
            draft_texts: 2,
        }
    }
}

/// A batch that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// An option that must be positive is 0.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// The limit holds no text at all.
    #[error("{kv_bytes} bytes of keys and values hold no text: {tokens} tokens take {needed}")]
    NoRoom {
        /// The limit.
        kv_bytes: usize,
        /// Tokens of the shortest session.
        tokens: usize,
        /// Bytes that it takes.
        needed: usize,
    },
    /// A draft model must write the model's tokens.
    #[error("the draft model has a vocabulary of {of_draft} tokens, the model {tokens}")]
    Draft {
        /// Of the model.
        tokens: usize,
        /// Of the draft model.
        of_draft: usize,
    },
}

/// A request that no batch could fulfil.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// There is nothing to continue.
    #[error("the prompt is empty; give at least one token")]
    EmptyPrompt,
    /// The prompt does not fit: [`Batch::context`].
    #[error("the prompt has {tokens} tokens, the context holds {context}; shorten the prompt")]
    ContextLength {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens that fit.
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
    /// No token may be chosen.
    #[error("a vocabulary of 0 tokens leaves nothing to write")]
    NoVocabulary,
    /// A sampling setting outside its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
}

/// What a batch has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests taken.
    pub submitted: u64,
    /// Texts that ended, for any reason but the next two.
    pub finished: u64,
    /// Texts that somebody cancelled.
    pub cancelled: u64,
    /// Texts that could not go on.
    pub failed: u64,
    /// Tokens of prompts that were read.
    pub prompt_tokens: u64,
    /// Tokens of prompts that were found in the cache.
    pub cached_tokens: u64,
    /// Tokens written, end tokens not counted.
    pub written_tokens: u64,
    /// Tokens that were guessed.
    pub draft_tokens: u64,
    /// Of them, those that were right.
    pub accepted_drafts: u64,
    /// Texts put back to the queue for want of memory.
    pub preempted: u64,
    /// Tokens that were read again after that.
    pub read_again: u64,
    /// Passes over the weights.
    pub passes: u64,
}

/// An engine with the texts that it reads and writes.
///
/// ```
/// use bitnet_engine::{ActivationQuantizer, Engine, Gate, Granularity, Norms, Options, RandomWeights, Shape};
/// use bitnet_generate::{Batch, BatchOptions, Event, Request};
///
/// let shape = Shape {
///     vocab_size: 50, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 4,
///     num_key_value_heads: 2, head_dim: 8, max_position_embeddings: 64, rope_theta: 1e4, rope_scaling: None,
///     rms_norm_eps: 1e-5, gate: Gate::Silu, activations: ActivationQuantizer::Int8, norms: Norms::PRE, qk_norm: false,
///     tie_word_embeddings: false,
/// };
/// let weights = RandomWeights { shape: shape.clone(), ternary: Some(Granularity::Tensor), seed: 1 };
/// let engine = Engine::new(shape, &weights, Options::default())?;
/// let mut batch = Batch::new(engine, BatchOptions::default())?;
/// let (a, b) = (batch.submit(Request::new(vec![3, 1, 4], 5))?, batch.submit(Request::new(vec![1, 5], 8))?);
/// let mut written = (0, 0);
/// while batch.step(&mut |id, event| match event {
///     Event::Token(_) if id == a => written.0 += 1,
///     Event::Token(_) if id == b => written.1 += 1,
///     _ => {}
/// }) {}
/// assert_eq!(written, (5, 8));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Batch {
    engine: Engine,
    /// A model that guesses what this one writes.
    draft: Option<Engine>,
    options: BatchOptions,
    /// Most tokens of a text.
    context: usize,
    /// In the order of their ids.
    queue: VecDeque<Text>,
    /// In the order in which they started.
    running: Vec<Text>,
    kept: Vec<Kept>,
    /// Ends of texts that were cancelled, to be told.
    cancelled: Vec<(RequestId, Event)>,
    payoff: Payoff,
    counters: Counters,
    next_id: u64,
    /// Counts starts and ends of texts, by which what was used least recently is found.
    clock: u64,
}

impl Batch {
    /// Without texts.
    ///
    /// # Errors
    ///
    /// If an option is 0 that must not be, or the memory limit holds no text.
    pub fn new(engine: Engine, options: BatchOptions) -> Result<Batch, BatchError> {
        for (name, value) in [
            ("max_texts", options.max_texts),
            ("prompt_piece", options.prompt_piece),
        ] {
            if value == 0 {
                return Err(BatchError::Zero(name));
            }
        }
        let context = room::context(&engine, options.kv_bytes)?;
        Ok(Batch {
            engine,
            draft: None,
            options,
            context,
            queue: VecDeque::new(),
            running: Vec::new(),
            kept: Vec::new(),
            cancelled: Vec::new(),
            payoff: Payoff::default(),
            counters: Counters::default(),
            next_id: 0,
            clock: 0,
        })
    }

    /// As [`Batch::new`], with a smaller model that writes ahead what this one then checks. What it has read of texts counts
    /// as keys and values, and goes first when their room is needed.
    ///
    /// # Errors
    ///
    /// As [`Batch::new`], and if the models do not have the same number of tokens.
    pub fn with_draft(
        engine: Engine,
        draft: Engine,
        options: BatchOptions,
    ) -> Result<Batch, BatchError> {
        let [tokens, of_draft] = [&engine, &draft].map(|engine| engine.shape().vocab_size);
        if tokens != of_draft {
            return Err(BatchError::Draft { tokens, of_draft });
        }
        let mut batch = Batch::new(engine, options)?;
        batch.draft = Some(draft);
        Ok(batch)
    }

    /// Takes a request; it is read in its turn.
    ///
    /// # Errors
    ///
    /// If its prompt is empty, longer than [`Batch::context`] or holds unknown tokens, or its sampling is out of range.
    pub fn submit(&mut self, request: Request) -> Result<RequestId, SubmitError> {
        let vocab_size = self.engine.shape().vocab_size;
        let (tokens, context) = (request.prompt.len(), self.context);
        if tokens == 0 {
            return Err(SubmitError::EmptyPrompt);
        }
        if tokens > context {
            return Err(SubmitError::ContextLength { tokens, context });
        }
        let unknown = |token: &&u32| **token as usize >= vocab_size;
        if let Some(&token) = request.prompt.iter().find(unknown) {
            return Err(SubmitError::UnknownToken { token, vocab_size });
        }
        if request.vocabulary.is_empty() {
            return Err(SubmitError::NoVocabulary);
        }
        let id = RequestId(self.next_id);
        let text = Text::new(id, request)?;
        self.next_id += 1;
        self.counters.submitted += 1;
        self.queue.push_back(text);
        Ok(id)
    }

    /// Ends a text at once, read, written or waiting; the next step tells it as [`Finish::Cancelled`]. Returns whether
    /// there is such a text.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        let waits = self.queue.iter().position(|text| text.id == id);
        let runs = self.running.iter().position(|text| text.id == id);
        let text = match (waits, runs) {
            (Some(at), _) => self.queue.remove(at),
            (None, Some(at)) => Some(self.running.remove(at)),
            (None, None) => None,
        };
        let Some(mut text) = text else {
            return false;
        };
        text.end = Some(End::Finished(Finish::Cancelled));
        if let Some(event) = self.end(text) {
            self.cancelled.push((id, event));
        }
        true
    }

    /// One pass over the weights for all texts that run, and those that can start; `tell` hears what came of it. Returns
    /// whether there is work left.
    pub fn step(&mut self, tell: &mut dyn FnMut(RequestId, Event)) -> bool {
        for (id, event) in std::mem::take(&mut self.cancelled) {
            tell(id, event);
        }
        let shares = self.plan(tell);
        if !shares.is_empty() {
            self.read(shares, tell);
        }
        !(self.queue.is_empty() && self.running.is_empty())
    }

    /// Forgets what is kept for later texts.
    pub fn forget(&mut self) {
        self.kept.clear();
    }

    /// Texts that wait for their turn.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Texts that are read or written.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Bytes of keys and values, those kept for later texts included.
    pub fn kv_bytes_used(&self) -> usize {
        self.bytes_running() + self.bytes_kept()
    }

    /// Most tokens of a text: the model's context, or less where the memory limit holds less.
    pub fn context(&self) -> usize {
        self.context
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How it works.
    pub fn options(&self) -> BatchOptions {
        self.options
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, to be used between steps.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("options", &self.options)
            .field("queued", &self.queue.len())
            .field("running", &self.running.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
