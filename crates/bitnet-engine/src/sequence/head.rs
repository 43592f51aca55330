//! Rows of the residual stream as scores of all tokens, or as the tokens that are likeliest to follow.

use std::ops::Range;

use bitnet_kernels::{
    DenseFormat, MAX_INT8_COLS,
    float::{Largest, inner_product, log_sum_exp},
};

use super::{TableWeights, embedding::head, threads};
use crate::{
    EngineError, Options,
    linear::{Inputs, Linear},
};

/// A token that may follow, and how likely it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub token: u32,
    /// `ln p`, nats.
    pub log_probability: f32,
}

/// The likeliest of all tokens by their logits; the buffers are reused.
#[derive(Clone, Debug, Default)]
pub struct Likeliest {
    largest: Largest,
    found: Vec<Candidate>,
}

/// Scores in float; those of a large vocabulary also as codes of 8 bits, which take a quarter of the time.
#[derive(Debug)]
pub(super) struct Head {
    whole: Linear,
    shortlist: Option<Shortlist>,
}

/// Tokens by codes, then the first of them by floats.
#[derive(Debug)]
struct Shortlist {
    codes: Linear,
    /// The float head, row by row.
    rows: Vec<f32>,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct Scores {
    inputs: Inputs,
    logits: Vec<f32>,
    likeliest: Likeliest,
}

/// Tokens of a vocabulary from which a shortlist pays: fewer are scored in float as fast as twice.
const LARGE: usize = 512;

/// Rows whose logits are made at once where only the largest are wanted: with a vocabulary of 8,192 they stay in the
/// level-two cache.
const ROWS: usize = 32;

/// Tokens on a shortlist beside twice those that are wanted.
const SPARE: usize = 6;

impl Likeliest {
    /// The `count` likeliest tokens, or all if there are fewer, by logits: the likeliest first, of equal ones the first.
    pub fn of(&mut self, logits: &[f32], count: usize) -> &[Candidate] {
        let normalizer = log_sum_exp(logits);
        let places = self.largest.of(logits, count).iter();
        self.found.clear();
        self.found.extend(places.map(|&token| Candidate {
            token,
            log_probability: logits[token as usize] - normalizer,
        }));
        &self.found
    }

    /// As [`of`](Self::of) for logits that are nearly those of `exact`, by which the first of them are then scored: only the
    /// share of the others in the sum of all probabilities is not exact.
    fn refined(
        &mut self,
        logits: &mut [f32],
        count: usize,
        exact: impl Fn(usize) -> f32,
    ) -> &[Candidate] {
        let places = self.largest.of(logits, 2 * count + SPARE).iter();
        self.found.clear();
        for &token in places {
            let logit = exact(token as usize);
            logits[token as usize] = logit;
            self.found.push(Candidate {
                token,
                log_probability: logit,
            });
        }
        let normalizer = log_sum_exp(logits);
        self.found.sort_unstable_by(|a, b| {
            let order = b.log_probability.total_cmp(&a.log_probability);
            order.then(a.token.cmp(&b.token))
        });
        self.found.truncate(count);
        for candidate in &mut self.found {
            candidate.log_probability -= normalizer;
        }
        &self.found
    }
}

impl Head {
    /// A head of `weights`, which `whole` holds for the kernel.
    ///
    /// # Errors
    ///
    /// If the weights do not have these rows and columns.
    pub(super) fn new(
        whole: Linear,
        weights: &TableWeights,
        dims: [usize; 2],
        options: &Options,
    ) -> Result<Head, EngineError> {
        let pays =
            options.head != DenseFormat::Int8 && dims[0] >= LARGE && dims[1] <= MAX_INT8_COLS;
        let shortlist = || -> Result<Shortlist, EngineError> {
            let options = Options {
                head: DenseFormat::Int8,
                ..*options
            };
            Ok(Shortlist {
                codes: head("lm_head", weights, dims, None, &options)?,
                rows: weights.values.clone(),
            })
        };
        Ok(Head {
            shortlist: pays.then(shortlist).transpose()?,
            whole,
        })
    }

    /// Hands out the logits of all tokens for each of `rows` of `x`: `each(row, logits)`.
    pub(super) fn each(
        &self,
        x: &[f32],
        rows: Range<usize>,
        Scores { inputs, logits, .. }: &mut Scores,
        mut each: impl FnMut(usize, &[f32]),
    ) {
        for rows in parts(rows, threads::ROWS) {
            product(&self.whole, x, &rows, inputs, logits);
            let vocab = logits.len() / rows.len();
            let logits = logits.chunks_exact(vocab);
            rows.zip(logits).for_each(|(row, logits)| each(row, logits));
        }
    }

    /// Hands out the `count` likeliest tokens after each of `rows` of `x`: `each(row, candidates)`, the likeliest first.
    pub(super) fn likeliest(
        &self,
        x: &[f32],
        rows: Range<usize>,
        count: usize,
        scores: &mut Scores,
        mut each: impl FnMut(usize, &[Candidate]),
    ) {
        let Scores {
            inputs,
            logits,
            likeliest,
        } = scores;
        let linear = self
            .shortlist
            .as_ref()
            .map_or(&self.whole, |short| &short.codes);
        for rows in parts(rows, ROWS) {
            product(linear, x, &rows, inputs, logits);
            let vocab = logits.len() / rows.len();
            for (row, logits) in rows.zip(logits.chunks_exact_mut(vocab)) {
                let candidates = match &self.shortlist {
                    None => likeliest.of(logits, count),
                    Some(Shortlist { rows, .. }) => {
                        let width = rows.len() / vocab;
                        let x = &x[row * width..][..width];
                        let exact =
                            |token: usize| inner_product(x, &rows[token * width..][..width]);
                        likeliest.refined(logits, count, exact)
                    }
                };
                each(row, candidates);
            }
        }
    }

    /// Bytes of the weights beside those of [`Head::new`]'s `whole`.
    pub(super) fn bytes(&self) -> usize {
        let shortlist = self.shortlist.as_ref();
        shortlist.map_or(0, |Shortlist { codes, rows }| {
            codes.bytes() + size_of_val(&rows[..])
        }) + self.whole.bytes()
    }
}

fn parts(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(most)
        .map(move |first| first..end.min(first + most))
}

/// `logits = W · x[rows]`.
fn product(
    linear: &Linear,
    x: &[f32],
    rows: &Range<usize>,
    inputs: &mut Inputs,
    logits: &mut Vec<f32>,
) {
    inputs.clear();
    inputs.each_of([linear], x, rows, (None, 0.0), |_, input| {
        linear.whole(input, rows.len(), logits);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..len).map(next).collect()
    }

    /// Rows whose scores are those of a trained model: a few tokens are far likelier than the others.
    #[test]
    fn a_shortlist_has_the_likeliest_tokens_with_their_probabilities() {
        let (vocab, width, rows, count) = (2000, 64, 70, 10);
        let weights = TableWeights {
            values: noise(vocab * width, 1),
            rows: vocab,
        };
        let mut x = noise(rows * width, 2);
        // Each row points to three tokens.
        for (row, x) in x.chunks_exact_mut(width).enumerate() {
            for near in 0..3 {
                let w = &weights.values[(row * 17 + near * 601) % vocab * width..][..width];
                x.iter_mut()
                    .zip(w)
                    .for_each(|(x, w)| *x = 0.5 * *x + (0.3 + 0.1 * near as f32) * w);
            }
        }
        let options = Options {
            head: DenseFormat::F32,
            ..Options::default()
        };
        let dims = [vocab, width];
        let whole = || head("head", &weights, dims, None, &options).unwrap();
        let short = Head::new(whole(), &weights, dims, &options).unwrap();
        assert!(short.shortlist.is_some());
        let plain = Head {
            whole: whole(),
            shortlist: None,
        };
        assert!(short.bytes() > plain.bytes() + vocab * width * 5);
        let found = |head: &Head, range: Range<usize>| {
            let (mut all, mut scores) = (vec![Vec::new(); rows], Scores::default());
            head.likeliest(&x, range, count, &mut scores, |row, candidates| {
                all[row] = candidates.to_vec();
            });
            all
        };
        let (exact, shortlisted) = (found(&plain, 0..rows), found(&short, 0..rows));
        for (row, (exact, short)) in exact.iter().zip(&shortlisted).enumerate() {
            assert_eq!((exact.len(), short.len()), (count, count));
            for (a, b) in exact.iter().zip(short) {
                assert_eq!(a.token, b.token, "row {row}");
                let error = (a.log_probability - b.log_probability).abs();
                assert!(error < 2e-3, "row {row}: {error}");
            }
            // The company of a row changes nothing.
            let alone = &found(&short_of(&weights, &options), row..row + 1)[row];
            assert_eq!(alone, short);
        }
        // The definition of what is exact.
        let mut scores = Scores::default();
        plain.each(&x, 0..rows, &mut scores, |row, logits| {
            let top = f64::from(logits[exact[row][0].token as usize]);
            let sum: f64 = logits.iter().map(|y| (f64::from(*y) - top).exp()).sum();
            assert!((f64::from(exact[row][0].log_probability) + sum.ln()).abs() < 1e-5);
            assert!(logits.iter().all(|y| f64::from(*y) <= top));
        });
    }

    fn short_of(weights: &TableWeights, options: &Options) -> Head {
        let dims = [weights.rows, weights.values.len() / weights.rows];
        let whole = head("head", weights, dims, None, options).unwrap();
        Head::new(whole, weights, dims, options).unwrap()
    }

    #[test]
    fn what_is_no_number_shows() {
        let mut likeliest = Likeliest::default();
        let found = likeliest.of(&[1.0, f32::NAN, 2.0], 2);
        assert!(found.len() == 2 && found.iter().all(|found| found.log_probability.is_nan()));
        assert!(likeliest.of(&[], 3).is_empty());
        let found = likeliest.of(&[0.0, f32::NEG_INFINITY], 3);
        assert_eq!(found.len(), 2);
        assert!(found[0].token == 0 && found[0].log_probability.abs() < 1e-6);
        assert!(found[1].log_probability < -80.0);
    }
}
