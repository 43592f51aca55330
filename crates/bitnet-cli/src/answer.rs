//! A model's answer to a prompt, shown while it is written.

use std::sync::atomic::AtomicBool;

use bitnet_models::{Generation, Limits, PrefixCache, Sampler, Stop, Vocabulary};
use bitnet_text::{AnswerText, StopReason, TextModel};

/// What is asked of an answer.
pub struct Request<'a> {
    pub prompt: &'a [u32],
    pub max_new_tokens: usize,
    /// It ends before one of these.
    pub stop: &'a [String],
    /// Whether special tokens are shown, and end nothing but the answer's own end.
    pub show_special: bool,
    /// Ends the answer when it becomes true.
    pub interrupted: Option<&'a AtomicBool>,
}

/// An answer and how it came about.
pub struct Answer {
    pub text: String,
    pub generation: Generation,
    /// Why it ended; none if somebody interrupted it.
    pub stop: Option<StopReason>,
}

/// Writes an answer. `show` gets its text piece by piece, whole characters only.
pub fn write(
    cache: &mut PrefixCache<'_>,
    model: &TextModel,
    request: &Request<'_>,
    sampler: &mut Sampler,
    mut show: impl FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<Answer> {
    let mut text = AnswerText::new(model, request.stop.to_vec(), request.show_special);
    let mut failure = None;
    let vocabulary = Vocabulary::new(model.tokenizer.vocab_size(), model.tokenizer.holes());
    let limits = Limits {
        max_new_tokens: request.max_new_tokens,
        end: &model.eos,
        vocabulary: Some(&vocabulary),
        interrupted: request.interrupted,
    };
    let generation = cache.generate(request.prompt, limits, sampler, |token| {
        failure = show(&text.push(token)).err();
        failure.is_none() && !text.stopped()
    })?;
    let rest = text.finish();
    if let Some(error) = failure {
        return Err(error);
    }
    show(&rest)?;
    let stop = match generation.stop {
        _ if text.stopped() => Some(StopReason::Stop),
        Stop::EndToken => Some(StopReason::Eos),
        Stop::Length => Some(StopReason::Length),
        Stop::ContextFull => Some(StopReason::Context),
        Stop::Asked => None,
    };
    Ok(Answer {
        text: text.text().to_owned(),
        generation,
        stop,
    })
}
