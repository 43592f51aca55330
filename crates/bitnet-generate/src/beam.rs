//! Beam search: the likeliest whole outputs, not the likeliest next tokens. A beam of 1 is greedy decoding.
//!
//! Every sentence of a batch keeps `beam` unfinished outputs. In each step all their continuations compete; those that
//! end go to the finished ones, the `beam` best of the others go on. Finished outputs are ranked by `log p / length^α`
//! with the end counted in the length (Wu et al. 2016 without the constant 5); a sentence is done when `beam` of its
//! outputs are finished, or no unfinished one can still win: log-probabilities only fall, so its best possible rank is
//! that of now at the greatest length.

use bitnet_engine::{
    EngineError,
    sequence::{Candidate, Extending, Likeliest, Memory, Outputs, Worker},
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
        let mut likeliest = Likeliest::default();
        self.search_likeliest(sentences, |rows, last| {
            let logits = step(rows, last)?;
            let vocab = (logits.len() / last.len()).max(1);
            let mut found = Vec::with_capacity(last.len() * self.continuations());
            for logits in logits.chunks(vocab) {
                found.extend_from_slice(likeliest.of(logits, self.continuations()));
            }
            Ok(found)
        })
    }

    /// Continuations of an output that compete: of twice the beam as many as the beam go on, even if each parent also ends.
    fn continuations(&self) -> usize {
        2 * self.beam
    }

    /// As [`search`](Self::search), with the likeliest continuations of each output instead of all logits.
    fn search_likeliest<E: From<EmptyBeam>>(
        &self,
        sentences: usize,
        mut step: impl FnMut(Option<&[usize]>, &[u32]) -> Result<Vec<Candidate>, E>,
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
            let likeliest = step(rows.as_deref(), &last)?;
            let (count, mut next, mut row) = (last.len(), Vec::new(), 0);
            let each = likeliest.len() / count;
            last.clear();
            for sentence in &mut sentences {
                let alive = sentence.alive.len();
                let likeliest = &likeliest[row * each..][..alive * each];
                for (parent, token) in self.advance(sentence, likeliest, written) {
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
        // Of each sequence that goes on: what it reads, and its unfinished outputs.
        let mut all: Vec<(&Memory, Outputs)> = memories
            .iter()
            .map(|memory| (memory, worker.begin_search()))
            .collect();
        self.search_likeliest(sources.len(), |rows, last| {
            if let Some(rows) = rows {
                choose(&mut all, rows);
            }
            let mut rest = last;
            let mut targets = Vec::with_capacity(all.len());
            for (memory, outputs) in &mut all {
                let (tokens, others) = rest.split_at(outputs.count());
                rest = others;
                targets.push(Extending {
                    memory,
                    outputs,
                    tokens,
                });
            }
            let mut found = Vec::with_capacity(last.len() * self.continuations());
            worker.extend(&mut targets, self.continuations(), |_, candidates| {
                found.extend_from_slice(candidates);
            })?;
            Ok(found)
        })
    }

    /// Extends the unfinished outputs of a sentence; returns those that go on, as parent and new token.
    fn advance(
        &self,
        sentence: &mut Sentence,
        likeliest: &[Candidate],
        written: usize,
    ) -> Vec<(usize, u32)> {
        if sentence.alive.is_empty() {
            return Vec::new();
        }
        let each = (likeliest.len() / sentence.alive.len()).max(1);
        let mut candidates: Vec<(f32, usize, u32)> = Vec::with_capacity(likeliest.len());
        let outputs = sentence.alive.iter().zip(likeliest.chunks(each));
        for (parent, (output, likeliest)) in outputs.enumerate() {
            candidates.extend(likeliest.iter().map(|next| {
                let log_p = output.log_probability + next.log_probability;
                (log_p, parent, next.token)
            }));
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

/// Goes on with the given rows, which are those of all outputs and in the order of the sequences; sequences without any end.
fn choose(all: &mut Vec<(&Memory, Outputs)>, rows: &[usize]) {
    let (mut rest, mut first) = (rows, 0);
    all.retain_mut(|(_, outputs)| {
        let end = first + outputs.count();
        let (own, others) = rest.split_at(rest.partition_point(|row| *row < end));
        let own: Vec<usize> = own.iter().map(|row| row - first).collect();
        (rest, first) = (others, end);
        outputs.choose(&own);
        !own.is_empty()
    });
}
