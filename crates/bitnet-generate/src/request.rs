//! What is asked of a batch, and what it tells.

use std::{fmt, sync::Arc};

use crate::{Sampling, Vocabulary};

/// A text to continue.
pub struct Request {
    /// The tokens to read; at least one.
    pub prompt: Vec<u32>,
    /// Most tokens to write; 0 reads the prompt alone.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens that end the text; they are not told as part of it.
    pub end_tokens: Arc<[u32]>,
    /// The ids that may be chosen.
    pub vocabulary: Vocabulary,
    /// How many of the likeliest tokens are told beside each, with log-probabilities; `None` tells none.
    pub logprobs: Option<usize>,
    /// Whether log-probabilities of the prompt's tokens are told as well.
    pub prompt_logprobs: bool,
    /// What may be written, beside the sampling: a grammar.
    pub constraint: Option<Box<dyn Constraint>>,
}

impl Request {
    /// Continues a prompt greedily by up to `max_tokens`, with nothing else asked for.
    pub fn new(prompt: Vec<u32>, max_tokens: usize) -> Request {
        Request {
            prompt,
            max_tokens,
            sampling: Sampling::default(),
            end_tokens: Arc::new([]),
            vocabulary: Vocabulary::all(),
            logprobs: None,
            prompt_logprobs: false,
            constraint: None,
        }
    }
}

/// A rule for what may be written next.
pub trait Constraint: Send {
    /// Sets the logits of tokens that may not come next to negative infinity.
    ///
    /// # Errors
    ///
    /// If nothing may come next, in words for the one who asked.
    fn mask(&mut self, logits: &mut [f32]) -> Result<(), String>;

    /// Takes note of the token that was chosen, unless it ends the text. Returns whether the text is complete.
    ///
    /// # Errors
    ///
    /// If the token was not allowed.
    fn accept(&mut self, token: u32) -> Result<bool, String>;
}

/// Names a request in a batch; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What a batch tells of a request, in this order: `Prompt` as it is read, then tokens, then one of the last two.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// So many of the prompt's tokens have been read, those in the cache included.
    Prompt {
        /// Tokens read so far.
        read: usize,
        /// Of them, found in the cache.
        cached: usize,
        /// Tokens of the prompt.
        of: usize,
    },
    /// Log-probabilities of the prompt's tokens from the second on, where asked for.
    PromptLogprobs(Vec<TokenLogprobs>),
    /// A token was written.
    Token(Token),
    /// The text ended.
    Finished {
        /// Why.
        finish: Finish,
        /// What it took.
        usage: Usage,
    },
    /// The text cannot go on; the others do.
    Failed(String),
}

/// A token that was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Where asked for.
    pub logprobs: Option<TokenLogprobs>,
}

/// Natural logarithms of probabilities, of the model's own distribution: before temperature, penalties and filters.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// The token.
    pub id: u32,
    /// Its log-probability.
    pub logprob: f32,
    /// The likeliest, in order, as many as asked for.
    pub top: Vec<(u32, f32)>,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model wrote an end token.
    EndToken,
    /// The constraint is fulfilled.
    Complete,
    /// As many tokens as were asked for.
    Length,
    /// The context is full.
    ContextFull,
    /// Somebody cancelled it.
    Cancelled,
}

/// What a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Of them, found in the cache.
    pub cached: usize,
    /// Tokens written, an end token not counted.
    pub completion: usize,
    /// Of them, guessed by a draft and found right.
    pub accepted_drafts: usize,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("prompt", &self.prompt.len())
            .field("max_tokens", &self.max_tokens)
            .field("sampling", &self.sampling)
            .finish_non_exhaustive()
    }
}
