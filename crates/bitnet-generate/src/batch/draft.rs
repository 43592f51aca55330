//! Guessing tokens ahead, so that one pass over the weights makes several of them.
//!
//! A guess is read together with the token before it. The logits of each are then drawn from in turn, as they would have
//! been without guesses: as long as the drawn token is the guessed one, the next logits are those of the text. So the text
//! is the same bit for bit, at any temperature and with any constraint, and a draw stays the draw of its position.
//!
//! Guesses come from the text itself (what followed when its last tokens occurred in it before) or from a draft model, a
//! smaller one with the same vocabulary that writes ahead greedily.
//!
//! **Whether it pays** is measured. With a share `a` of guessed tokens that are right, `k` guesses make `1 + a + … + aᵏ`
//! tokens in a pass, which takes longer than one without them by what passes of as many rows have taken so far, and by what
//! the draft model takes.

use std::time::Instant;

use bitnet_engine::{Engine, EngineError, Session};

use super::{Batch, text::Text};
use crate::{Vocabulary, argmax};

/// Tokens whose earlier occurrence makes a guess: the longest first.
const LONGEST: usize = 4;
const SHORTEST: usize = 2;

/// Rows of a pass whose time is known by themselves.
const ROWS: usize = 32;

/// Weight of the newest pass in a mean of times.
const NEWEST: f64 = 0.2;

/// Weight of the newest guess in the share that is right.
const NEWEST_GUESS: f64 = 0.1;

/// Chances to guess after which guesses that did not pay are tried again.
const AGAIN: usize = 24;

/// What followed when the last tokens of a text occurred in it before, most recently: at most `most` tokens, none if they
/// did not.
pub(super) fn lookup(text: &[u32], most: usize) -> &[u32] {
    for len in (SHORTEST..=LONGEST).rev() {
        let Some(begun) = text.len().checked_sub(len) else {
            continue;
        };
        let (last, before) = (&text[begun..], &text[..text.len() - 1]);
        let found = before.windows(len).rposition(|tokens| tokens == last);
        if let Some(at) = found {
            let follows = &text[at + len..];
            return &follows[..most.min(follows.len())];
        }
    }
    &[]
}

/// How guesses for one text did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Share of guessed tokens that were right, of those whose predecessors were.
    right: f64,
    /// Chances not taken since the last guess.
    passed: usize,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            right: 0.7,
            passed: 0,
        }
    }
}

impl Record {
    /// Takes note that the first `right` of `guessed` tokens were right.
    pub(super) fn note(&mut self, guessed: usize, right: usize) {
        for index in 0..guessed.min(right + 1) {
            let hit = f64::from(u8::from(index < right));
            self.right += NEWEST_GUESS * (hit - self.right);
        }
    }
}

/// How well guesses of each kind did.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// From the text itself.
    lookup: Record,
    /// By the draft model.
    model: Record,
    /// Whether the last ones were the draft model's.
    by_model: bool,
}

impl Records {
    /// Takes note that the first `right` of `guessed` tokens were right.
    pub(super) fn note(&mut self, guessed: usize, right: usize) {
        match self.by_model {
            true => self.model.note(guessed, right),
            false => self.lookup.note(guessed, right),
        }
    }
}

/// How long passes took, by their rows.
#[derive(Debug)]
pub(super) struct Payoff {
    seconds: [Option<f64>; ROWS + 1],
    /// A guess of the draft model; 0 before the first.
    by_model: f64,
}

impl Default for Payoff {
    fn default() -> Payoff {
        Payoff {
            seconds: [None; ROWS + 1],
            by_model: 0.0,
        }
    }
}

impl Payoff {
    /// Takes note of a pass of texts that are being written.
    pub(super) fn note(&mut self, rows: usize, seconds: f64) {
        if let Some(mean) = self.seconds.get_mut(rows) {
            let before = mean.unwrap_or(seconds);
            *mean = Some(before + NEWEST * (seconds - before));
        }
    }

    /// How long a pass takes: that of the next fewer rows known, so that what is unknown is tried.
    fn of(&self, rows: usize) -> Option<f64> {
        let known = &self.seconds[..=rows.min(ROWS)];
        known.iter().rev().find_map(|seconds| *seconds)
    }

    /// How many tokens to guess, at most `most`, for each of `texts` that are being written, where a guess takes so many
    /// seconds.
    fn best(&self, record: &mut Record, texts: usize, most: usize, each: f64) -> usize {
        let Some(alone) = self.of(texts) else {
            return 0;
        };
        let (mut best, mut gain, mut tokens) = (0, 1.0, 1.0);
        for guesses in 1..=most.min((ROWS / texts.max(1)).saturating_sub(1)) {
            tokens += record.right.powi(guesses as i32);
            let pass = self.of(texts * (1 + guesses)).unwrap_or(alone);
            let slower = (pass + each * (texts * guesses) as f64) / alone;
            if tokens / slower > gain {
                (best, gain) = (guesses, tokens / slower);
            }
        }
        record.passed = if best > 0 { 0 } else { record.passed + 1 };
        if record.passed >= AGAIN {
            record.passed = 0;
            return most.min(2);
        }
        best
    }
}

impl Batch {
    /// Tokens that may follow each text that runs: none while many run, or a prompt is read.
    pub(super) fn guesses(&mut self) -> Vec<Vec<u32>> {
        let texts = self.running.len();
        let mut guesses = vec![Vec::new(); texts];
        if self.options.draft_tokens == 0
            || texts > self.options.draft_texts
            || !self.running.iter().all(Text::is_written)
        {
            return guesses;
        }
        for (index, guess) in guesses.iter_mut().enumerate() {
            let text = &mut self.running[index];
            // The last token is written after the last guess is read.
            let room = self.context - text.tokens.len();
            let most = room.min(text.left().saturating_sub(1));
            let most = most.min(self.options.draft_tokens);
            let found = lookup(&text.tokens, most);
            if !found.is_empty() {
                let lookup = &mut text.records.lookup;
                let count = self.payoff.best(lookup, texts, found.len(), 0.0);
                *guess = found[..count].to_vec();
            }
            text.records.by_model = guess.is_empty();
            if guess.is_empty() && self.draft.is_some() {
                let (model, each) = (&mut text.records.model, self.payoff.by_model);
                let count = self.payoff.best(model, texts, most, each);
                if count > 0 {
                    *guess = self.guess_by_model(index, count);
                }
            }
        }
        guesses
    }

    /// What the draft model writes after a text; nothing while it still reads it, or has no room for it.
    fn guess_by_model(&mut self, index: usize, count: usize) -> Vec<u32> {
        let most = self.options.prompt_piece;
        if !self.grow_draft(index, self.running[index].tokens.len() + count) {
            return Vec::new();
        }
        let text = &mut self.running[index];
        let (Some(draft), Some(session)) = (&mut self.draft, &mut text.draft) else {
            return Vec::new();
        };
        let next = &text.tokens[session.len()..];
        // It catches up in pieces, too.
        let piece = next.len() > most;
        let (next, count) = if piece {
            (&next[..most], 1)
        } else {
            (next, count)
        };
        let start = Instant::now();
        match write_ahead(draft, session, next, count, &text.vocabulary) {
            Ok(_) if piece => Vec::new(),
            Ok(guess) => {
                let each = start.elapsed().as_secs_f64() / count as f64;
                let before = self.payoff.by_model;
                let before = if before > 0.0 { before } else { each };
                self.payoff.by_model = before + NEWEST * (each - before);
                guess
            }
            // A guess that cannot be made is none.
            Err(_) => {
                text.draft = None;
                Vec::new()
            }
        }
    }
}

/// The `count` likeliest tokens one after the other, after `next`.
fn write_ahead(
    draft: &mut Engine,
    session: &mut Session,
    next: &[u32],
    count: usize,
    vocabulary: &Vocabulary,
) -> Result<Vec<u32>, EngineError> {
    let likeliest = |logits: &[f32]| argmax(&vocabulary.masked(logits));
    let mut guess = vec![likeliest(draft.forward(session, next)?)];
    while guess.len() < count {
        let last = [guess[guess.len() - 1]];
        guess.push(likeliest(draft.forward(session, &last)?));
    }
    Ok(guess)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_and_latest_occurrence_is_what_follows() {
        assert_eq!(lookup(&[1, 2, 3, 4, 1, 2], 3), [3, 4, 1]);
        assert_eq!(lookup(&[1, 2, 3, 4, 1, 2], 1), [3]);
        assert_eq!(lookup(&[1, 2, 3, 1, 2, 4, 1, 2], 9), [4, 1, 2]);
        // Three tokens say more than two, though they occurred longer ago.
        assert_eq!(lookup(&[9, 1, 2, 3, 7, 1, 2, 4, 9, 1, 2], 1), [3]);
        assert_eq!(lookup(&[5, 5, 5], 4), [5]);
        assert_eq!(lookup(&[1, 2, 3], 4), []);
        assert_eq!(lookup(&[1], 4), []);
        assert_eq!(lookup(&[], 4), []);
    }

    #[test]
    fn guesses_stop_where_they_do_not_pay_and_are_tried_again() {
        let mut payoff = Payoff::default();
        let mut record = Record::default();
        assert_eq!(payoff.best(&mut record, 1, 4, 0.0), 0, "nothing is known");
        // A row more costs a tenth of a pass.
        for rows in 1..=8 {
            payoff.note(rows, 0.9 + 0.1 * rows as f64);
        }
        assert_eq!(payoff.best(&mut record, 1, 4, 0.0), 4);
        for _ in 0..60 {
            record.note(4, 0);
        }
        let tries = (0..100).map(|_| payoff.best(&mut record, 1, 4, 0.0));
        let tries: Vec<usize> = tries.filter(|tokens| *tokens > 0).collect();
        assert_eq!(tries, [2; 4]);
        for _ in 0..60 {
            record.note(4, 4);
        }
        assert_eq!(payoff.best(&mut record, 1, 4, 0.0), 4);
        // Neither does a draft model that takes as long as the model.
        assert_eq!(payoff.best(&mut record, 1, 4, 1.0), 0);
        assert_eq!(payoff.best(&mut record, 1, 4, 0.01), 4);
        // If a row more costs a pass, nothing pays.
        let mut dear = Payoff::default();
        (1..=8).for_each(|rows| dear.note(rows, rows as f64));
        assert_eq!(dear.best(&mut record, 1, 4, 0.0), 0);
    }
}
