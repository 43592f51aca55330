//! Beam search: the likeliest whole outputs, not the likeliest next tokens. A beam of 1 is greedy decoding.
//!
//! Every sentence of a batch keeps `beam` unfinished outputs. In each step all their continuations compete; those that
//! end go to the finished ones, the `beam` best of the others go on. Finished outputs are ranked by `log p / length^α`
//! with the end counted in the length (Wu et al. 2016 without the constant 5); a sentence is done when `beam` of its
//! outputs are finished, or no unfinished one can still win: log-probabilities only fall, so its best possible rank is
//! that of now at the greatest length.

use bitnet_engine::{
    EngineError,
    sequence::{Memory, Worker, Writing, Written},
};

/// A beam search that keeps or writes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the beam and the length of an output must be at least 1")]
pub struct EmptyBeam;

/// What ends a search on the CPU engine.
#[derive(Debug, thiserror::Error)]
pub enum BeamError {
    /// The search.
    #[error(transparent)]
    Empty(#[from] EmptyBeam),
    /// The sources.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct BeamSearch {
    /// Unfinished outputs kept for each sentence; 1 is greedy.
    pub beam: usize,
    /// Most tokens of an output, its end included.
    pub max_length: usize,
    /// Exponent α of the length by which log-probabilities are divided; 0 prefers short outputs.
    pub length_penalty: f32,
    /// The token that begins every output.
    pub begin: u32,
    /// The token that ends an output.
    pub end: u32,
}

/// An output, and how likely it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hypothesis {
    /// Its tokens, without begin and end.
    pub tokens: Vec<u32>,
    /// `ln p` of all its tokens and its end, nats.
    pub log_probability: f32,
    /// Whether it ended by itself, not at `max_length`.
    pub finished: bool,
}

impl Hypothesis {
    fn rank(&self, penalty: f32) -> f32 {
        self.log_probability / ((self.tokens.len() + 1) as f32).powf(penalty)
    }
}

/// The outputs of one sentence.
#[derive(Clone, Default)]
struct Sentence {
    alive: Vec<Hypothesis>,
    finished: Vec<Hypothesis>,
}

impl BeamSearch {
    /// The best output for each of `sentences` sources, of any model: `step(rows, last)` returns the logits `[rows, vocab]`
    /// after one more token `last` of every unfinished output. `rows`, if given, are those of the step before that go on, in
    /// their new order; one may be repeated.
    ///
    /// # Errors
    ///
    /// If `beam` or `max_length` is 0, or as `step`.
    pub fn search<E: From<EmptyBeam>>(
        &self,
        sentences: usize,
        mut step: impl FnMut(Option<&[usize]>, &[u32]) -> Result<Vec<f32>, E>,
    ) -> Result<Vec<Hypothesis>, E> {
        if self.beam == 0 || self.max_length == 0 {
            return Err(EmptyBeam.into());
        }
        let mut sentences = vec![
            Sentence {
                alive: vec![Hypothesis::default()],
                finished: Vec::new(),
            };
            sentences
        ];
        let (mut last, mut rows) = (vec![self.begin; sentences.len()], None);
        for written in 1..=self.max_length {
            if last.is_empty() {
                break;
            }
            let logits = step(rows.as_deref(), &last)?;
            let (count, mut next, mut row) = (last.len(), Vec::new(), 0);
            let vocab = logits.len() / count;
            last.clear();
            for sentence in &mut sentences {
                let alive = sentence.alive.len();
                let logits = &logits[row * vocab..][..alive * vocab];
                for (parent, token) in self.advance(sentence, logits, written) {
                    next.push(row + parent);
                    last.push(token);
                }
                row += alive;
            }
            let same = next.iter().copied().eq(0..count);
            rows = (!same).then_some(next);
        }
        let sentences = sentences.into_iter();
        Ok(sentences.map(|sentence| self.best(sentence)).collect())
    }

    /// The best output for each source, on a thread of the CPU engine.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search), or if the model cannot read a source or write as much.
    pub fn write(
        &self,
        worker: &mut Worker<'_>,
        sources: &[&[u32]],
    ) -> Result<Vec<Hypothesis>, BeamError> {
        let memories = worker.read(sources)?;
        let beginning = |memory| (memory, worker.begin());
        // Of each unfinished output: what it reads, and what it wrote.
        let mut outputs: Vec<(&Memory, Written)> = memories.iter().map(beginning).collect();
        self.search(sources.len(), |rows, last| {
            if let Some(rows) = rows {
                outputs = chosen(std::mem::take(&mut outputs), rows);
            }
            let mut targets: Vec<Writing<'_>> = (outputs.iter_mut().zip(last))
                .map(|((memory, written), token)| Writing {
                    memory,
                    written,
                    tokens: std::slice::from_ref(token),
                })
                .collect();
            let mut all = Vec::new();
            worker.write(&mut targets, |_, _, logits| all.extend_from_slice(logits))?;
            Ok(all)
        })
    }

    /// Extends the unfinished outputs of a sentence; returns those that go on, as parent and new token.
    fn advance(
        &self,
        sentence: &mut Sentence,
        logits: &[f32],
        written: usize,
    ) -> Vec<(usize, u32)> {
        if sentence.alive.is_empty() {
            return Vec::new();
        }
        let vocab = logits.len() / sentence.alive.len();
        // Twice the beam holds `beam` continuations that go on, even if each parent also ends.
        let mut candidates: Vec<(f32, usize, u32)> = Vec::new();
        for (parent, (output, logits)) in
            sentence.alive.iter().zip(logits.chunks(vocab)).enumerate()
        {
            let normalizer = log_sum_exp(logits);
            for token in largest(logits, 2 * self.beam) {
                let log_p = output.log_probability + logits[token] - normalizer;
                candidates.push((log_p, parent, token as u32));
            }
        }
        candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        let (mut alive, mut next) = (Vec::new(), Vec::new());
        for (rank, (log_probability, parent, token)) in candidates.into_iter().enumerate() {
            let ends = token == self.end;
            if alive.len() == self.beam || (ends && rank >= self.beam) {
                continue;
            }
            let mut output = sentence.alive[parent].clone();
            output.log_probability = log_probability;
            if ends {
                output.finished = true;
                sentence.finished.push(output);
            } else {
                output.tokens.push(token);
                alive.push(output);
                next.push((parent, token));
            }
        }
        sentence.alive = alive;
        if written == self.max_length || self.is_done(sentence) {
            next.clear();
            if !sentence.finished.is_empty() {
                sentence.alive.clear();
            }
        }
        next
    }

    fn is_done(&self, sentence: &Sentence) -> bool {
        let rank = |output: &Hypothesis| output.rank(self.length_penalty);
        let best = sentence.finished.iter().map(rank).reduce(f32::max);
        let longest = ((self.max_length + 1) as f32).powf(self.length_penalty);
        let hope = sentence.alive.iter().map(|output| output.log_probability);
        match (best, hope.reduce(f32::max)) {
            (Some(best), Some(hope)) => {
                sentence.finished.len() >= self.beam || hope / longest <= best
            }
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn best(&self, sentence: Sentence) -> Hypothesis {
        let rank = |output: &Hypothesis| output.rank(self.length_penalty);
        let pool = match sentence.finished.is_empty() {
            true => sentence.alive,
            false => sentence.finished,
        };
        let better = |a: Hypothesis, b: Hypothesis| if rank(&b) > rank(&a) { b } else { a };
        pool.into_iter().reduce(better).unwrap_or_default()
    }
}

/// The given ones of some outputs, in that order; only those that go on more than once are copied.
fn chosen<T: Clone>(outputs: Vec<T>, rows: &[usize]) -> Vec<T> {
    let mut times = vec![0; outputs.len()];
    rows.iter().for_each(|row| times[*row] += 1);
    let mut outputs: Vec<Option<T>> = outputs.into_iter().map(Some).collect();
    let next = rows.iter().filter_map(|row| {
        times[*row] -= 1;
        match times[*row] {
            0 => outputs[*row].take(),
            _ => outputs[*row].clone(),
        }
    });
    next.collect()
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|y| f64::from(y - top).exp()).sum();
    top + sum.ln() as f32
}

/// The places of the `count` largest values, in no order; of equal ones, the first.
fn largest(values: &[f32], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..values.len()).collect();
    if count < places.len() {
        places.select_nth_unstable_by(count, |a, b| {
            values[*b].total_cmp(&values[*a]).then(a.cmp(b))
        });
        places.truncate(count);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_in_order_and_may_repeat() {
        assert_eq!(
            chosen(vec!['a', 'b', 'c'], &[2, 0, 2, 2]),
            ['c', 'a', 'c', 'c']
        );
        assert!(chosen(vec!['a'], &[]).is_empty());
    }
}
