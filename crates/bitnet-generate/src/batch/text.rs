//! One text of a batch: what it has, and the next token from its logits.

use std::sync::Arc;

use bitnet_engine::Session;

use super::draft::Records;
use crate::{
    Constraint, Event, Finish, Request, RequestId, Sampler, SamplingError, Token, TokenLogprobs,
    Usage, Vocabulary,
};

/// A text that waits or runs.
pub(super) struct Text {
    pub id: RequestId,
    /// The prompt and what was written.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Keys and values of what was read, while it runs.
    pub session: Option<Session>,
    pub usage: Usage,
    /// What the draft model has read of it.
    pub draft: Option<Session>,
    /// How well guesses did.
    pub records: Records,
    /// Why it ended, from then on.
    pub end: Option<End>,
    /// What came of the last pass, to be told.
    pub events: Vec<Event>,
    /// Tokens read before it was put back to the queue.
    pub read_before: usize,
    max_tokens: usize,
    sampler: Sampler,
    end_tokens: Arc<[u32]>,
    /// The ids that may be chosen.
    pub vocabulary: Vocabulary,
    logprobs: Option<usize>,
    prompt_logprobs: Option<Vec<TokenLogprobs>>,
    constraint: Option<Box<dyn Constraint>>,
}

/// How a text ended.
pub(super) enum End {
    Finished(Finish),
    Failed(String),
}

impl Text {
    pub(super) fn new(id: RequestId, request: Request) -> Result<Text, SamplingError> {
        let Request {
            prompt,
            max_tokens,
            sampling,
            end_tokens,
            vocabulary,
            logprobs,
            prompt_logprobs,
            constraint,
        } = request;
        Ok(Text {
            id,
            prompt: prompt.len(),
            usage: Usage {
                prompt: prompt.len(),
                ..Usage::default()
            },
            tokens: prompt,
            session: None,
            draft: None,
            records: Records::default(),
            end: None,
            events: Vec::new(),
            read_before: 0,
            max_tokens,
            sampler: Sampler::new(sampling)?,
            end_tokens,
            vocabulary,
            logprobs,
            prompt_logprobs: prompt_logprobs.then(Vec::new),
            constraint,
        })
    }

    /// Tokens read.
    pub(super) fn read(&self) -> usize {
        self.session.as_ref().map_or(0, Session::len)
    }

    /// Tokens to be read.
    pub(super) fn unread(&self) -> usize {
        self.tokens.len() - self.read()
    }

    /// Whether a step reads one token of it to write the next.
    pub(super) fn is_written(&self) -> bool {
        self.unread() == 1 && self.read() > 0
    }

    /// Tokens that it may still write.
    pub(super) fn left(&self) -> usize {
        self.max_tokens - (self.tokens.len() - self.prompt)
    }

    /// Whether logits of every token of the prompt are wanted.
    pub(super) fn wants_prompt_logprobs(&self) -> bool {
        self.prompt_logprobs.is_some() && self.read() < self.prompt
    }

    /// Takes the logits after the token at `position`: of the last one the next token is made. Afterwards the text may
    /// have ended.
    pub(super) fn take(&mut self, position: usize, logits: &[f32], context: usize) {
        let logits = self.vocabulary.cut(logits);
        let broken = logits.iter().filter(|logit| !logit.is_finite()).count();
        if broken > 0 {
            self.end = Some(End::Failed(format!(
                "after {} tokens {broken} of the model's {} logits are not finite: its weights hold NaN or overflow",
                position + 1,
                logits.len()
            )));
            return;
        }
        let logits = &*self.vocabulary.masked(logits);
        let next = position + 1;
        if let Some(told) = &mut self.prompt_logprobs
            && next < self.prompt
            && told.len() == position
        {
            let top = self.logprobs.unwrap_or(0);
            told.push(logprobs(logits, self.tokens[next], top));
        }
        if next == self.tokens.len() && self.max_tokens > 0 {
            self.end = self.write(logits, context);
        }
    }

    /// Writes the next token.
    fn write(&mut self, logits: &[f32], context: usize) -> Option<End> {
        let chosen = match &mut self.constraint {
            None => self.sampler.sample(logits, &self.tokens, self.prompt),
            Some(constraint) => {
                let mut allowed = logits.to_vec();
                if let Err(error) = constraint.mask(&mut allowed) {
                    return Some(End::Failed(error));
                }
                let chosen = self.sampler.sample(&allowed, &self.tokens, self.prompt);
                if allowed[chosen as usize] == f32::NEG_INFINITY {
                    let message = "the constraint allows no token of the vocabulary";
                    return Some(End::Failed(message.to_owned()));
                }
                chosen
            }
        };
        if self.end_tokens.contains(&chosen) {
            return Some(End::Finished(Finish::EndToken));
        }
        let complete = match &mut self.constraint {
            None => false,
            Some(constraint) => match constraint.accept(chosen) {
                Ok(complete) => complete,
                Err(error) => return Some(End::Failed(error)),
            },
        };
        let logprobs = self.logprobs.map(|top| logprobs(logits, chosen, top));
        self.tokens.push(chosen);
        self.usage.completion += 1;
        self.events.push(Event::Token(Token {
            id: chosen,
            logprobs,
        }));
        let finish = if complete {
            Finish::Complete
        } else if self.left() == 0 {
            Finish::Length
        } else if self.tokens.len() > context {
            Finish::ContextFull
        } else {
            return None;
        };
        Some(End::Finished(finish))
    }

    /// What is told of the prompt after a pass that read from `before` on.
    pub(super) fn tell_prompt(&mut self, before: usize, mut tell: impl FnMut(Event)) {
        let (read, of) = (self.read().min(self.prompt), self.prompt);
        if before >= of {
            return;
        }
        if read > self.read_before {
            let cached = self.usage.cached;
            tell(Event::Prompt { read, cached, of });
        }
        if read == of && matches!(self.end, None | Some(End::Finished(_))) {
            if let Some(logprobs) = self.prompt_logprobs.take() {
                tell(Event::PromptLogprobs(logprobs));
            }
            if self.max_tokens == 0 {
                self.end = Some(End::Finished(Finish::Length));
            }
        }
    }
}

/// The log-probability of a token and of the likeliest, of all logits.
fn logprobs(logits: &[f32], id: u32, top: usize) -> TokenLogprobs {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|l| f64::from(l - highest).exp()).sum();
    let total = f64::from(highest) + sum.ln();
    let logprob = |id: u32| (f64::from(logits[id as usize]) - total) as f32;
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let by_rank = |a: &u32, b: &u32| {
        let (a, b) = (*a, *b);
        logits[b as usize]
            .total_cmp(&logits[a as usize])
            .then(a.cmp(&b))
    };
    let top = top.min(ids.len());
    if top < ids.len() {
        ids.select_nth_unstable_by(top, by_rank);
        ids.truncate(top);
    }
    ids.sort_unstable_by(by_rank);
    TokenLogprobs {
        id,
        logprob: logprob(id),
        top: ids.into_iter().map(|id| (id, logprob(id))).collect(),
    }
}
