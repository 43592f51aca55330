//! Beam search: the likeliest whole outputs, not the likeliest next tokens. A beam of 1 is greedy decoding.
//!
//! Every sentence of a batch keeps `beam` unfinished outputs. In each step all their continuations compete; those that
//! end go to the finished ones, the `beam` best of the others go on. Finished outputs are ranked by `log p / length^α`
//! with the end counted in the length (Wu et al. 2016 without the constant 5); a sentence is done when `beam` of its
//! outputs are finished, or no unfinished one can still win: log-probabilities only fall, so its best possible rank is
//! that of now at the greatest length.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::EncoderDecoder;
use crate::GenerateError;
use crate::encoder::Sequences;

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
    /// The best output for each source.
    ///
    /// # Errors
    /// If `beam` or `max_length` is 0, or the device fails.
    ///
    /// # Panics
    /// If a sequence or `max_length` exceeds the model's `max_position_embeddings`.
    pub fn run(
        &self,
        model: &EncoderDecoder,
        source: &Sequences,
        device: &Device,
    ) -> Result<Vec<Hypothesis>, GenerateError> {
        if self.beam == 0 || self.max_length == 0 {
            return Err(GenerateError::EmptyBeam);
        }
        let mut sentences = vec![
            Sentence {
                alive: vec![Hypothesis::default()],
                finished: Vec::new(),
            };
            source.dims()[0]
        ];
        let mut decoding = model.start(source);
        let mut last = vec![self.begin; sentences.len()];
        for written in 1..=self.max_length {
            let logits = model.step(column(&last, device), &mut decoding);
            let vocab = logits.dims()[1];
            let logits = read(logits)?;
            let mut rows = Vec::new();
            last.clear();
            let mut row = 0;
            for sentence in &mut sentences {
                let count = sentence.alive.len();
                let logits = &logits[row * vocab..][..count * vocab];
                for (parent, token) in self.advance(sentence, logits, written) {
                    rows.push((row + parent) as i32);
                    last.push(token);
                }
                row += count;
            }
            if rows.is_empty() {
                break;
            }
            if rows.len() != row || !rows.iter().copied().eq(0..row as i32) {
                let count = rows.len();
                let rows = TensorData::new(rows, [count]);
                decoding = decoding.select(&Tensor::from_data(rows, (device, DType::I32)));
            }
        }
        Ok(sentences
            .into_iter()
            .map(|sentence| self.best(sentence))
            .collect())
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

fn column(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
    Tensor::from_data(
        TensorData::new(ids, [tokens.len(), 1]),
        (device, DType::I32),
    )
}

fn read(logits: Tensor<2>) -> Result<Vec<f32>, GenerateError> {
    let failed = |error: &dyn std::fmt::Display| GenerateError::Read(error.to_string());
    let data = logits.try_into_data().map_err(|error| failed(&error))?;
    data.try_to_vec::<f32>().map_err(|error| failed(&error))
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
