//! A step: what is read next, and what came of it.

use std::time::Instant;

use bitnet_engine::{Part, Session, Wanted};

use super::{
    Batch,
    text::{End, Text},
};
use crate::{Event, Finish, RequestId};

/// What a text reads in a step.
pub(super) struct Share {
    id: RequestId,
    /// Tokens read before.
    before: usize,
    /// What it reads; the last ones may be guessed.
    tokens: Vec<u32>,
    /// How many are guessed.
    guessed: usize,
    logits: Wanted,
}

impl Batch {
    /// What the texts read in this step: those that run, and those that can start. Each has room for its share.
    pub(super) fn plan(&mut self, tell: &mut dyn FnMut(RequestId, Event)) -> Vec<Share> {
        let mut shares = Vec::new();
        let mut guesses = self.guesses().into_iter();
        // The oldest first: the youngest makes room.
        let mut index = 0;
        while index < self.running.len() {
            let guess = guesses.next().unwrap_or_default();
            if self.running[index].is_written() {
                let Some(share) = self.share(index, 1, guess) else {
                    break;
                };
                shares.push(share);
            }
            index += 1;
        }
        let piece = self.options.prompt_piece;
        let mut room = if shares.is_empty() { 2 * piece } else { piece };
        let mut index = 0;
        while room > 0 {
            if index == self.running.len() {
                if !self.start() {
                    break;
                }
                let Text { id, usage, .. } = &self.running[index];
                if usage.cached > 0 && self.running[index].read_before == 0 {
                    let (read, of) = (usage.cached, usage.prompt);
                    let cached = read;
                    tell(*id, Event::Prompt { read, cached, of });
                }
            }
            if !self.running[index].is_written() {
                let count = room.min(self.running[index].unread());
                let Some(share) = self.share(index, count, Vec::new()) else {
                    break;
                };
                room -= count;
                shares.push(share);
            }
            index += 1;
        }
        // Who was put back to the queue after its share was made reads nothing.
        shares.retain(|share| self.running.iter().any(|text| text.id == share.id));
        shares
    }

    /// What the next `count` tokens of a text, and a guess after them, make it read; the youngest texts make room if they
    /// must. Nothing if that was the text itself.
    fn share(&mut self, index: usize, count: usize, guess: Vec<u32>) -> Option<Share> {
        let before = self.running[index].read();
        let with_guess = before + count + guess.len();
        let guess = match guess.is_empty() || self.grow(index, with_guess) {
            true => guess,
            false => Vec::new(),
        };
        while !self.grow(index, before + count) {
            self.preempt();
            if index >= self.running.len() {
                return None;
            }
        }
        let text = &self.running[index];
        let mut tokens = text.tokens[before..before + count].to_vec();
        tokens.extend_from_slice(&guess);
        let ends = before + count == text.tokens.len();
        let logits = if text.wants_prompt_logprobs() || !guess.is_empty() {
            Wanted::All
        } else if ends {
            Wanted::Last
        } else {
            Wanted::None
        };
        Some(Share {
            id: text.id,
            before,
            tokens,
            guessed: guess.len(),
            logits,
        })
    }

    /// Reads the shares in one pass, and tells.
    pub(super) fn read(&mut self, shares: Vec<Share>, tell: &mut dyn FnMut(RequestId, Event)) {
        let Batch {
            engine,
            running,
            context,
            counters,
            ..
        } = self;
        let mut texts: Vec<&mut Text> = Vec::with_capacity(shares.len());
        for text in running.iter_mut() {
            if shares.iter().any(|share| share.id == text.id) {
                texts.push(text);
            }
        }
        let share_of = |text: &Text| shares.iter().position(|share| share.id == text.id);
        texts.sort_by_key(|text| share_of(text));
        let sessions = texts.iter_mut().map(|text| text.session.take());
        let mut sessions: Vec<Session> = sessions.flatten().collect();
        let parts = sessions
            .iter_mut()
            .zip(&shares)
            .map(|(session, share)| Part {
                session,
                tokens: &share.tokens,
                logits: share.logits,
            });
        let mut parts: Vec<Part<'_>> = parts.collect();
        // Of each share, the tokens that turned out to be those of its text.
        let mut valid: Vec<usize> = shares.iter().map(|s| s.tokens.len() - s.guessed).collect();
        let start = Instant::now();
        let each = |part: usize, index: usize, logits: &[f32]| {
            let (text, share) = (&mut *texts[part], &shares[part]);
            if text.end.is_some() || index >= valid[part] {
                return;
            }
            text.take(share.before + index, logits, *context);
            let next = share.tokens.get(index + 1);
            let is_guess = index + 1 == valid[part] && next.is_some();
            if is_guess && text.end.is_none() && text.tokens.last() == next {
                valid[part] += 1;
            }
        };
        let result = engine.pass(&mut parts, each);
        let seconds = start.elapsed().as_secs_f64();
        counters.passes += 1;
        let rows = shares.iter().map(|share| share.tokens.len()).sum();
        let mut only_written = true;
        for (((text, share), mut session), valid) in
            texts.into_iter().zip(&shares).zip(sessions).zip(valid)
        {
            session.truncate(share.before + valid);
            text.session = Some(session);
            if let Err(error) = &result {
                text.end = Some(End::Failed(error.to_string()));
            }
            only_written &= share.before >= text.prompt;
            let right = valid - (share.tokens.len() - share.guessed);
            text.records.note(share.guessed, right);
            if let Some(draft) = &mut text.draft {
                draft.truncate(share.before + valid);
            }
            text.usage.accepted_drafts += right;
            counters.draft_tokens += share.guessed as u64;
            counters.accepted_drafts += right as u64;
            let (from, to) = (share.before, share.before + valid);
            let again = from.max(text.read_before).min(to) - from;
            counters.read_again += again as u64;
            let of_prompt = to.min(text.prompt).saturating_sub(from + again);
            counters.prompt_tokens += of_prompt as u64;
            let id = text.id;
            text.tell_prompt(share.before, |event| tell(id, event));
            for event in text.events.drain(..) {
                counters.written_tokens += 1;
                tell(id, event);
            }
        }
        if only_written {
            self.payoff.note(rows, seconds);
        }
        let ended = self.running.extract_if(.., |text| text.end.is_some());
        for text in ended.collect::<Vec<Text>>() {
            let id = text.id;
            if let Some(event) = self.end(text) {
                tell(id, event);
            }
        }
    }

    /// How a text ended, whose session is kept.
    pub(super) fn end(&mut self, text: Text) -> Option<Event> {
        let Text {
            tokens,
            session,
            usage,
            end,
            ..
        } = text;
        match end? {
            End::Failed(error) => {
                // What it has read may be what is broken.
                self.counters.failed += 1;
                Some(Event::Failed(error))
            }
            End::Finished(finish) => {
                match finish {
                    Finish::Cancelled => self.counters.cancelled += 1,
                    _ => self.counters.finished += 1,
                }
                if let Some(session) = session {
                    self.keep(tokens, session);
                }
                Some(Event::Finished { finish, usage })
            }
        }
    }
}
