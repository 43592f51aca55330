//! Text generation at the level of token ids: prefill once, then one token at a time through the KV cache.

use std::time::{Duration, Instant};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::{KvCache, Sampler, Transformer};

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// There is nothing to continue.
    #[error("the prompt is empty; give at least one token")]
    EmptyPrompt,
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
    /// The logits could not be read back.
    #[error("the logits could not be read from the device: {0}")]
    Read(String),
}

/// Continues `prompt` by up to `max_new_tokens`, which `on_token` sees one by one; it ends the text by returning false.
///
/// # Errors
/// If the prompt is empty, too long or holds unknown tokens, or the device fails.
pub fn generate(
    model: &Transformer,
    prompt: &[u32],
    max_new_tokens: usize,
    sampler: &mut Sampler,
    device: &Device,
    mut on_token: impl FnMut(u32) -> bool,
) -> Result<Generation, GenerateError> {
    let context = model.config().max_position_embeddings;
    check_prompt(model, prompt)?;
    let start = Instant::now();
    let mut cache = KvCache::new(
        model.config(),
        1,
        context.min(prompt.len() + max_new_tokens),
        device,
    );
    let mut text = prompt.to_vec();
    let mut tokens = Vec::new();
    let mut first = None;
    let mut stop = Stop::Length;
    let mut next = prompt.to_vec();
    while tokens.len() < max_new_tokens {
        if text.len() > context {
            stop = Stop::ContextFull;
            break;
        }
        let logits = model.forward_cached(token_tensor(&next, device), &mut cache);
        let logits = read_logits(logits)?;
        let token = sampler.sample(&logits, &text);
        first.get_or_insert_with(|| start.elapsed());
        text.push(token);
        tokens.push(token);
        next = vec![token];
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
pub fn check_prompt(model: &Transformer, prompt: &[u32]) -> Result<(), GenerateError> {
    let config = model.config();
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    if prompt.len() > config.max_position_embeddings {
        return Err(GenerateError::PromptTooLong {
            tokens: prompt.len(),
            context: config.max_position_embeddings,
        });
    }
    match prompt.iter().find(|&&t| t as usize >= config.vocab_size) {
        Some(&token) => Err(GenerateError::UnknownToken {
            token,
            vocab_size: config.vocab_size,
        }),
        None => Ok(()),
    }
}

/// Token ids as a batch of one, `[1, t]`.
pub fn token_tensor(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = tokens.iter().map(|&t| t as i32).collect();
    Tensor::from_data(
        TensorData::new(ids, [1, tokens.len()]),
        (device, DType::I32),
    )
}

fn read_logits(logits: Tensor<2>) -> Result<Vec<f32>, GenerateError> {
    let data = logits
        .try_into_data()
        .map_err(|error| GenerateError::Read(error.to_string()))?;
    data.try_to_vec::<f32>()
        .map_err(|error| GenerateError::Read(error.to_string()))
}
