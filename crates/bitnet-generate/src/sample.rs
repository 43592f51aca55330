//! Choosing the next token from its logits: greedy, temperature, top-k, top-p, min-p, penalties; seeded.
//!
//! ```text
//! l[i] ← l[i] / r if l[i] > 0, else l[i] · r     tokens of the prompt and of what was written, r the repetition penalty
//! l[i] ← l[i] − f · n[i] − p · [n[i] > 0]        n[i] times written, f the frequency and p the presence penalty
//! P(i) ∝ exp(l[i] / T)                           of the tokens that top-k, top-p and min-p leave
//! ```

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::ranked::Ranked;

/// How the next token is chosen. The default is greedy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 is greedy: the highest logit, the lowest id among equals.
    pub temperature: f32,
    /// Only the `k` likeliest tokens; 0 is off.
    pub top_k: usize,
    /// Only the likeliest tokens whose probabilities first reach `p` together; 1 is off.
    pub top_p: f32,
    /// Only tokens at least `p` times as likely as the likeliest; 0 is off.
    pub min_p: f32,
    /// Logits of tokens already in the text are divided by it if positive, multiplied if negative; 1 is off.
    pub repetition_penalty: f32,
    /// Taken off the logit of each token that was written, once; 0 is off. Tokens of the prompt do not count.
    pub presence_penalty: f32,
    /// Taken off the logit of each token that was written, for each time; 0 is off.
    pub frequency_penalty: f32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
        }
    }
}

/// A sampling setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} = {value} is out of range: {expected}")]
pub struct SamplingError {
    name: &'static str,
    value: f32,
    expected: &'static str,
}

/// Draws tokens as [`Sampling`] says.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// A sampler at the start of its seed's stream.
    ///
    /// # Errors
    /// If a setting is out of its range.
    pub fn new(sampling: Sampling) -> Result<Self, SamplingError> {
        let check = |name, value: f32, ok: bool, expected| {
            if ok {
                Ok(())
            } else {
                Err(SamplingError {
                    name,
                    value,
                    expected,
                })
            }
        };
        let Sampling {
            temperature,
            top_p,
            min_p,
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            top_k: _,
            seed: _,
        } = sampling;
        check(
            "temperature",
            temperature,
            temperature >= 0.0 && temperature.is_finite(),
            "0 (greedy) or above",
        )?;
        check(
            "top_p",
            top_p,
            top_p > 0.0 && top_p <= 1.0,
            "above 0, at most 1",
        )?;
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "0 to 1")?;
        check(
            "repetition_penalty",
            repetition_penalty,
            repetition_penalty > 0.0 && repetition_penalty.is_finite(),
            "above 0; 1 is off",
        )?;
        let finite = |name, value: f32| check(name, value, value.is_finite(), "a finite number");
        finite("presence_penalty", presence_penalty)?;
        finite("frequency_penalty", frequency_penalty)?;
        Ok(Self {
            sampling,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
        })
    }

    /// The next token, given its logits and the text so far, of which the first `prompt` tokens were given and the others
    /// written. Logits that are NaN are never chosen (unless all are). What is not greedy takes one draw for each token.
    pub fn sample(&mut self, logits: &[f32], text: &[u32], prompt: usize) -> u32 {
        let greedy = self.sampling.temperature == 0.0;
        if greedy && !self.penalises() {
            return argmax(logits);
        }
        let mut logits = logits.to_vec();
        self.penalise(&mut logits, text, prompt);
        if greedy {
            return argmax(&logits);
        }
        let drawn = self.rng.random::<f64>();
        let mut ranked = Ranked::new(&logits, self.sampling.temperature);
        if self.sampling.top_k > 0 {
            ranked.truncate(self.sampling.top_k);
        }
        let Some((first, top)) = ranked.likeliest() else {
            return 0;
        };
        if !top.is_finite() {
            return first;
        }
        let kept = self.kept(&mut ranked);
        let total = match kept {
            Some(kept) => ranked.sum(kept),
            None => ranked.total(),
        };
        let kept = kept.unwrap_or(ranked.len());
        let (mut left, mut last) = (drawn * total, first);
        for rank in 0..kept {
            let (id, weight) = ranked.at(rank);
            left -= weight;
            if left < 0.0 {
                return id;
            }
            // The sum may round up; what has no chance is not chosen for that.
            if weight > 0.0 {
                last = id;
            }
        }
        last
    }

    /// How many of the likeliest tokens top-p and min-p leave, at least one; `None` if they are off.
    fn kept(&self, ranked: &mut Ranked<'_>) -> Option<usize> {
        let Sampling { top_p, min_p, .. } = self.sampling;
        if top_p == 1.0 && min_p == 0.0 {
            return None;
        }
        let (wanted, mut sum) = match top_p {
            1.0 => (f64::INFINITY, 0.0),
            _ => (f64::from(top_p) * ranked.total(), 0.0),
        };
        let likely = f64::from(min_p);
        for rank in 0..ranked.len() {
            let weight = ranked.at(rank).1;
            if weight < likely {
                return Some(rank.max(1));
            }
            sum += weight;
            if sum >= wanted {
                return Some(rank + 1);
            }
        }
        Some(ranked.len())
    }

    fn penalises(&self) -> bool {
        let Sampling {
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            ..
        } = self.sampling;
        repetition_penalty != 1.0 || presence_penalty != 0.0 || frequency_penalty != 0.0
    }

    fn penalise(&self, logits: &mut [f32], text: &[u32], prompt: usize) {
        if !self.penalises() {
            return;
        }
        let Sampling {
            repetition_penalty: repetition,
            presence_penalty: presence,
            frequency_penalty: frequency,
            ..
        } = self.sampling;
        // Token by token: how often it was written, and that it is there at all.
        let mut seen = text.to_vec();
        let (given, written) = seen.split_at_mut(prompt.min(text.len()));
        given.sort_unstable();
        written.sort_unstable();
        let runs = written.chunk_by(|a, b| a == b);
        let mut written: Vec<(u32, usize)> = runs.map(|run| (run[0], run.len())).collect();
        let counts = written.len();
        for run in given.chunk_by(|a, b| a == b) {
            let id = run[0];
            if written[..counts]
                .binary_search_by_key(&id, |(id, _)| *id)
                .is_err()
            {
                written.push((id, 0));
            }
        }
        for (id, count) in written {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = match *logit > 0.0 {
                    true => *logit / repetition,
                    false => *logit * repetition,
                };
                if count > 0 {
                    *logit -= frequency * count as f32 + presence;
                }
            }
        }
    }
}

/// The token with the highest logit, the first of several; token 0 if all are NaN.
pub fn argmax(logits: &[f32]) -> u32 {
    // In lanes, so that the compiler vectorises the pass over a large vocabulary; finding the place is cheap then.
    let mut tops = [f32::NEG_INFINITY; 16];
    let (blocks, tail) = logits.as_chunks::<16>();
    for block in blocks {
        for (top, logit) in tops.iter_mut().zip(block) {
            *top = if *logit > *top { *logit } else { *top };
        }
    }
    let top = tops
        .iter()
        .chain(tail)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|logit| *logit == top).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(sampling: Sampling) -> Sampler {
        Sampler::new(sampling).unwrap()
    }

    fn counts(sampling: Sampling, logits: &[f32]) -> Vec<usize> {
        let mut sampler = sampler(sampling);
        let mut counts = vec![0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.sample(logits, &[], 0) as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_highest_and_the_lowest_id_among_equals() {
        let mut greedy = sampler(Sampling::default());
        assert_eq!(greedy.sample(&[0.0, 3.0, 3.0, -1.0], &[], 0), 1);
        assert_eq!(greedy.sample(&[f32::NAN, -3.0, -2.0], &[], 0), 2);
        assert_eq!(
            greedy.sample(&[f32::NEG_INFINITY, f32::NEG_INFINITY], &[], 0),
            0
        );
    }

    #[test]
    fn draws_follow_the_softmax() {
        let warm = Sampling {
            temperature: 2.0,
            ..Default::default()
        };
        let counts = counts(warm, &[2.0 * 3f32.ln(), 0.0]);
        // exp(ln 3) : exp(0) = 3 : 1; the standard deviation of 20,000 draws at p = ¾ is 61.
        assert!((counts[0] as i64 - 15_000).abs() < 5 * 61, "{counts:?}");
    }

    #[test]
    fn top_k_top_p_and_min_p_cut_the_tail() {
        let logits = [3f32.ln(), 2f32.ln(), 0.0, f32::NEG_INFINITY]; // 3 : 2 : 1 : 0
        let with = |change: fn(&mut Sampling)| {
            let mut sampling = Sampling {
                temperature: 1.0,
                ..Default::default()
            };
            change(&mut sampling);
            counts(sampling, &logits)
                .iter()
                .map(|&c| c > 0)
                .collect::<Vec<_>>()
        };
        assert_eq!(with(|_| ()), [true, true, true, false]);
        assert_eq!(with(|s| s.top_k = 2), [true, true, false, false]);
        assert_eq!(with(|s| s.top_p = 0.49), [true, false, false, false]);
        assert_eq!(with(|s| s.top_p = 0.6), [true, true, false, false]);
        assert_eq!(with(|s| s.min_p = 0.5), [true, true, false, false]);
        assert_eq!(with(|s| s.min_p = 1.0), [true, false, false, false]);
    }

    #[test]
    fn a_seed_gives_the_same_draws() {
        let draw = |seed| {
            let mut s = sampler(Sampling {
                temperature: 1.0,
                seed,
                ..Default::default()
            });
            (0..50)
                .map(|_| s.sample(&[0.0; 10], &[], 0))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn repeated_tokens_are_penalised_in_both_signs() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Default::default()
        };
        assert_eq!(sampler(sampling).sample(&[3.0, 2.0], &[0], 1), 1);
        assert_eq!(sampler(sampling).sample(&[-2.0, -3.0], &[0, 0], 1), 1);
    }

    #[test]
    fn what_was_written_is_penalised_once_and_each_time() {
        let logits = [3.0, 2.0, 1.0];
        let next = |presence_penalty, frequency_penalty, text: &[u32], prompt| {
            let sampling = Sampling {
                presence_penalty,
                frequency_penalty,
                ..Default::default()
            };
            sampler(sampling).sample(&logits, text, prompt)
        };
        // The prompt's tokens are free.
        assert_eq!(next(9.0, 9.0, &[0, 0, 0], 3), 0);
        assert_eq!(next(0.9, 0.0, &[0, 0, 0], 0), 0);
        assert_eq!(next(1.1, 0.0, &[0, 0, 0], 0), 1);
        assert_eq!(next(0.0, 0.4, &[0, 0, 0], 0), 1);
        assert_eq!(next(0.0, 0.4, &[0, 0, 0], 1), 0);
        assert_eq!(next(0.7, 0.4, &[0, 7, 1], 1), 0);
        assert_eq!(next(0.7, 0.4, &[7, 0], 1), 1);
        assert_eq!(next(-3.5, 0.0, &[7, 2], 1), 2);
    }

    /// Ordering as far as needed draws what ordering everything draws.
    #[test]
    fn draws_are_those_of_a_full_sort() {
        let logits: Vec<f32> = (0..3000u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32 / 512.0)
            .collect();
        for (top_k, top_p, min_p) in [
            (0, 1.0, 0.0),
            (700, 1.0, 0.0),
            (0, 0.9, 0.0),
            (300, 0.8, 0.01),
        ] {
            let sampling = Sampling {
                temperature: 1.5,
                top_k,
                top_p,
                min_p,
                ..Default::default()
            };
            let mut ids: Vec<usize> = (0..logits.len()).collect();
            ids.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
            ids.truncate(if top_k > 0 { top_k } else { logits.len() });
            let weight = |id: &usize| (f64::from(logits[*id] - logits[ids[0]]) / 1.5).exp();
            let weights: Vec<f64> = ids.iter().map(weight).collect();
            let total: f64 = weights.iter().sum();
            let mut sum = 0.0;
            let nucleus = weights.iter().position(|weight| {
                sum += weight;
                sum >= f64::from(top_p) * total
            });
            let likely = weights.partition_point(|weight| *weight >= f64::from(min_p));
            let kept = likely.min(nucleus.map_or(ids.len(), |at| at + 1));
            let total: f64 = weights[..kept].iter().sum();
            let (mut ours, mut rng) = (sampler(sampling), ChaCha8Rng::seed_from_u64(0));
            for _ in 0..500 {
                let mut left = rng.random::<f64>() * total;
                let at = weights[..kept].iter().position(|weight| {
                    left -= weight;
                    left < 0.0
                });
                let expected = ids[at.unwrap_or(kept - 1)] as u32;
                assert_eq!(
                    ours.sample(&logits, &[], 0),
                    expected,
                    "{top_k} {top_p} {min_p}"
                );
            }
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let error = Sampler::new(Sampling {
            top_p: 0.0,
            ..Default::default()
        })
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "top_p = 0 is out of range: above 0, at most 1"
        );
        assert!(
            Sampler::new(Sampling {
                temperature: f32::NAN,
                ..Default::default()
            })
            .is_err()
        );
    }
}
