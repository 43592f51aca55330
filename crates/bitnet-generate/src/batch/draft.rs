//! Guessing tokens ahead, so that one pass over the weights makes several of them.
//!
//! A guess is read together with the token before it. The logits of each are then drawn from in turn, as they would have
//! been without guesses: as long as the drawn token is the guessed one, the next logits are those of the text. So the text
//! is the same bit for bit, at any temperature and with any constraint, and a draw stays the draw of its position.
//!
//! **Whether it pays** is measured. With a share `a` of guessed tokens that are right, `k` guesses make `1 + a + … + aᵏ`
//! tokens in a pass, which takes longer than one without them by what passes of as many rows have taken so far.

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

/// How long passes took, by their rows.
#[derive(Debug)]
pub(super) struct Payoff {
    seconds: [Option<f64>; ROWS + 1],
}

impl Default for Payoff {
    fn default() -> Payoff {
        Payoff {
            seconds: [None; ROWS + 1],
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

    /// How many tokens to guess, at most `most`, for each of `texts` that are being written.
    pub(super) fn best(&self, record: &mut Record, texts: usize, most: usize) -> usize {
        let Some(alone) = self.of(texts) else {
            return 0;
        };
        let (mut best, mut gain, mut tokens) = (0, 1.0, 1.0);
        for guesses in 1..=most.min((ROWS / texts.max(1)).saturating_sub(1)) {
            tokens += record.right.powi(guesses as i32);
            let slower = self.of(texts * (1 + guesses)).unwrap_or(alone) / alone;
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
        assert_eq!(payoff.best(&mut record, 1, 4), 0, "nothing is known");
        // A row more costs a tenth of a pass.
        for rows in 1..=8 {
            payoff.note(rows, 0.9 + 0.1 * rows as f64);
        }
        assert_eq!(payoff.best(&mut record, 1, 4), 4);
        for _ in 0..60 {
            record.note(4, 0);
        }
        let tries = (0..100).map(|_| payoff.best(&mut record, 1, 4));
        let tries: Vec<usize> = tries.filter(|tokens| *tokens > 0).collect();
        assert_eq!(tries, [2; 4]);
        for _ in 0..60 {
            record.note(4, 4);
        }
        assert_eq!(payoff.best(&mut record, 1, 4), 4);
        // If a row more costs a pass, nothing pays.
        let mut dear = Payoff::default();
        (1..=8).for_each(|rows| dear.note(rows, rows as f64));
        assert_eq!(dear.best(&mut record, 1, 4), 0);
    }
}
