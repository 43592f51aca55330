//! The choices of an answer while the model writes them: events become text, with its log-probabilities and its end.

use std::{collections::VecDeque, time::Instant};

use axum::http::StatusCode;
use bitnet_generate::{Event, Finish, TokenLogprobs};
use bitnet_text::{AnswerText, Extent};
use tokio::sync::watch;

use crate::{error::ApiError, model::Job};

/// What happens to an answer.
#[derive(Debug)]
pub(crate) enum Step {
    /// So many of a prompt's tokens have been read.
    Reading { read: usize, of: usize },
    /// Log-probabilities of a prompt's tokens from the second on.
    Prompt {
        choice: usize,
        tokens: Vec<TokenLogprobs>,
    },
    /// A choice goes on, or ends for a reason.
    Text(Piece),
}

/// A piece of a choice.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) choice: usize,
    pub(crate) text: String,
    /// The tokens whose text it is, or that have none.
    pub(crate) tokens: Vec<Told>,
    /// `stop` or `length`, in the last one.
    pub(crate) finish: Option<&'static str>,
}

/// A token that was written.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) logprobs: Option<TokenLogprobs>,
    /// The choice's text before and after it.
    pub(crate) start: Extent,
    end: Extent,
}

/// An answer of several choices.
pub(crate) struct Answering {
    job: Job,
    choices: Vec<Choice>,
    deadline: Instant,
    closing: watch::Receiver<bool>,
}

struct Choice {
    text: AnswerText,
    /// Tokens whose text is not certain yet.
    held: VecDeque<Told>,
    ended: bool,
    written: usize,
    cached: usize,
}

impl Answering {
    /// An answer that is to be whole by the deadline, and when the server closes.
    pub(crate) fn new(
        job: Job,
        texts: Vec<AnswerText>,
        deadline: Instant,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let choice = |text| Choice {
            text,
            held: VecDeque::new(),
            ended: false,
            written: 0,
            cached: 0,
        };
        Self {
            job,
            choices: texts.into_iter().map(choice).collect(),
            deadline,
            closing,
        }
    }

    /// Tokens written so far.
    pub(crate) fn written(&self) -> usize {
        self.choices.iter().map(|choice| choice.written).sum()
    }

    /// Tokens of the prompts that were found in the cache; of a prompt's first choice.
    pub(crate) fn cached(&self, choices_per_prompt: usize) -> usize {
        let firsts = self.choices.iter().step_by(choices_per_prompt.max(1));
        firsts.map(|choice| choice.cached).sum()
    }

    /// Whether all choices have ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.choices.iter().all(|choice| choice.ended)
    }

    /// What happens next; none when all choices have ended. Nothing is lost if the caller stops waiting.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>, ApiError> {
        while !self.has_ended() {
            let event = tokio::time::timeout_at(self.deadline.into(), self.job.events.recv());
            let event = tokio::select! {
                event = event => event,
                Ok(_) = self.closing.wait_for(|closing| *closing) => return Err(ApiError::ending()),
            };
            let Ok(event) = event else {
                let message = "the answer takes longer than the server allows; ask for less";
                let error = ApiError::status(StatusCode::GATEWAY_TIMEOUT, message);
                return Err(error.code("request_timeout"));
            };
            let Some((index, event)) = event else {
                return Err(self.job.failure());
            };
            let choice = &mut self.choices[index];
            if choice.ended {
                continue;
            }
            if let Some(step) = choice.take(index, event)? {
                if choice.ended && choice.text.stopped() {
                    self.job.cancel(index);
                }
                return Ok(Some(step));
            }
        }
        Ok(None)
    }
}

impl Choice {
    fn take(&mut self, index: usize, event: Event) -> Result<Option<Step>, ApiError> {
        let (text, finish) = match event {
            Event::Prompt { read, cached, of } => {
                self.cached = cached;
                return Ok(Some(Step::Reading { read, of }));
            }
            Event::PromptLogprobs(tokens) => {
                let choice = index;
                return Ok(Some(Step::Prompt { choice, tokens }));
            }
            Event::Failed(problem) => {
                let error = ApiError::status(StatusCode::INTERNAL_SERVER_ERROR, problem);
                return Err(error.code("generation_failed"));
            }
            Event::Token(token) => {
                self.written += 1;
                let start = self.text.decoded();
                let text = self.text.push(token.id);
                self.held.push_back(Told {
                    logprobs: token.logprobs,
                    start,
                    end: self.text.decoded(),
                });
                (text, self.text.stopped().then_some("stop"))
            }
            Event::Finished { finish, usage } => {
                self.cached = usage.cached;
                let text = self.text.finish();
                let reason = match finish {
                    _ if self.text.stopped() => "stop",
                    Finish::EndToken | Finish::Complete => "stop",
                    Finish::Length | Finish::ContextFull | Finish::Cancelled => "length",
                };
                (text, Some(reason))
            }
        };
        self.ended = finish.is_some();
        let tokens = self.released();
        let has_logprobs = tokens.iter().any(|token| token.logprobs.is_some());
        let is_step = self.ended || has_logprobs || !text.is_empty();
        Ok(is_step.then_some(Step::Text(Piece {
            choice: index,
            text,
            tokens,
            finish,
        })))
    }

    /// The tokens whose text has been shown. At the end, all but those after a stop string.
    fn released(&mut self) -> Vec<Told> {
        let shown = self.text.text().len();
        let (ended, stopped) = (self.ended, self.text.stopped());
        let is_shown = |token: &Told| match ended {
            true => !stopped || token.start.bytes < shown,
            false => token.end.bytes <= shown,
        };
        let count = self.held.iter().take_while(|token| is_shown(token)).count();
        self.held.drain(..count).collect()
    }
}
