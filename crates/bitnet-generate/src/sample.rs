//! Choosing the next token from its logits: greedy, temperature, top-k, top-p, min-p, repetition penalty; seeded.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

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
    /// Subtracted from the logits of tokens already in the text; 0 is off.
    pub presence_penalty: f32,
    /// Subtracted from the logits of tokens already in the text, as many times as they are there; 0 is off.
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
            ..
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
        Ok(Self {
            sampling,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
        })
    }

    /// The next token, given its logits and the tokens so far. Logits that are NaN are never chosen (unless all are).
    pub fn sample(&mut self, logits: &[f32], context: &[u32]) -> u32 {
        if self.sampling.temperature == 0.0 && self.sampling.repetition_penalty == 1.0 {
            return argmax(logits);
        }
        let mut logits = logits.to_vec();
        self.penalise(&mut logits, context);
        if self.sampling.temperature == 0.0 {
            return argmax(&logits);
        }
        // From the likeliest to the least likely; equal ones by id, so that a seed gives the same text everywhere.
        let mut ids: Vec<u32> = (0..logits.len() as u32)
            .filter(|&id| !logits[id as usize].is_nan())
            .collect();
        ids.sort_by(|&a, &b| {
            logits[b as usize]
                .total_cmp(&logits[a as usize])
                .then(a.cmp(&b))
        });
        if self.sampling.top_k > 0 {
            ids.truncate(self.sampling.top_k);
        }
        let Some(&first) = ids.first() else {
            return 0;
        };
        let top = logits[first as usize];
        if !top.is_finite() {
            return first;
        }
        let mut weights: Vec<f64> = ids
            .iter()
            .map(|&id| {
                (f64::from(logits[id as usize] - top) / f64::from(self.sampling.temperature)).exp()
            })
            .collect();
        let kept = self.kept(&weights);
        weights.truncate(kept);
        let total: f64 = weights.iter().sum();
        let mut left = self.rng.random::<f64>() * total;
        for (&id, weight) in ids.iter().zip(&weights) {
            left -= weight;
            if left < 0.0 {
                return id;
            }
        }
        ids[kept - 1]
    }

    /// How many of the likeliest tokens top-p and min-p leave; at least one. Weights are relative to the first, which is 1.
    fn kept(&self, weights: &[f64]) -> usize {
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let nucleus = weights
            .iter()
            .position(|weight| {
                sum += weight;
                sum >= f64::from(self.sampling.top_p) * total
            })
            .map_or(weights.len(), |i| i + 1);
        let likely = weights.partition_point(|&weight| weight >= f64::from(self.sampling.min_p));
        nucleus.min(likely).max(1)
    }

    fn penalise(&self, logits: &mut [f32], context: &[u32]) {
        let penalty = self.sampling.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        let mut seen = context.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
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
            counts[sampler.sample(logits, &[]) as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_highest_and_the_lowest_id_among_equals() {
        let mut greedy = sampler(Sampling::default());
        assert_eq!(greedy.sample(&[0.0, 3.0, 3.0, -1.0], &[]), 1);
        assert_eq!(greedy.sample(&[f32::NAN, -3.0, -2.0], &[]), 2);
        assert_eq!(
            greedy.sample(&[f32::NEG_INFINITY, f32::NEG_INFINITY], &[]),
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
                .map(|_| s.sample(&[0.0; 10], &[]))
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
        assert_eq!(sampler(sampling).sample(&[3.0, 2.0], &[0]), 1);
        assert_eq!(sampler(sampling).sample(&[-2.0, -3.0], &[0, 0]), 1);
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
