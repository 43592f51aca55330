//! Token ids as rectangles: random windows to train on.
//!
//! Training batch `t` is a pure function of `(seed, t)`, not of the batches drawn before it. Two runs with one seed see
//! the same data even when their models differ, and a resumed run continues where it stopped without replaying.
//!
//! # Shapes
//!
//! Ids are row-major `[batch_size, context]`; `targets` are `inputs` shifted by one token.

use std::ops::Range;

use crate::rng::Rng;
use crate::{DataError, Tokens};

/// Inputs and the tokens to predict from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, row-major `[batch_size, context]`.
    pub inputs: Vec<i32>,
    /// The token after each input, row-major `[batch_size, context]`.
    pub targets: Vec<i32>,
    /// The number of rows.
    pub batch_size: usize,
    /// The number of columns.
    pub context: usize,
}

impl Batch {
    /// One row per start; every start must leave `context + 1` tokens.
    pub(crate) fn gather(
        tokens: &Tokens,
        starts: impl ExactSizeIterator<Item = usize>,
        context: usize,
    ) -> Self {
        let batch_size = starts.len();
        let mut inputs = Vec::with_capacity(batch_size * context);
        let mut targets = Vec::with_capacity(batch_size * context);
        for start in starts {
            tokens.append_to(start..start + context, &mut inputs);
            tokens.append_to(start + 1..start + context + 1, &mut targets);
        }
        Self {
            inputs,
            targets,
            batch_size,
            context,
        }
    }

    /// How many tokens the batch predicts.
    pub fn predictions(&self) -> usize {
        self.targets.len()
    }
}

/// Draws random windows, as nanoGPT's `get_batch` does.
#[derive(Debug, Clone, Copy)]
pub struct BatchSampler<'a> {
    tokens: &'a Tokens,
    batch_size: usize,
    context: usize,
    seed: u64,
}

impl<'a> BatchSampler<'a> {
    /// A sampler over one split, which must hold at least `context + 1` tokens.
    pub fn new(
        tokens: &'a Tokens,
        batch_size: usize,
        context: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        check_sizes(batch_size, context)?;
        if tokens.len() <= context {
            return Err(DataError::TooShort {
                corpus: "the text".to_owned(),
                split: "sampled",
                tokens: tokens.len(),
                needed: context.saturating_add(1),
                context,
            });
        }
        Ok(Self {
            tokens,
            batch_size,
            context,
            seed,
        })
    }

    /// The batch of one step. Starts are uniform in `0..=len - context - 1`, so every token but the first can be a
    /// target, and windows may overlap or repeat.
    pub fn batch(&self, step: u64) -> Batch {
        self.rows(step, 0..self.batch_size)
    }

    /// Some rows of the batch of one step.
    pub fn rows(&self, step: u64, rows: Range<usize>) -> Batch {
        let mut rng = Rng::new(self.seed, step);
        let starts: Vec<usize> = (0..rows.end)
            .map(|_| rng.below(self.tokens.len() - self.context))
            .collect();
        let chosen = starts.into_iter().skip(rows.start);
        Batch::gather(self.tokens, chosen, self.context)
    }
}

pub(crate) fn check_sizes(batch_size: usize, context: usize) -> Result<(), DataError> {
    match (batch_size, context) {
        (0, _) => Err(DataError::Zero { what: "batch size" }),
        (_, 0) => Err(DataError::Zero { what: "context" }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_up(length: usize) -> Tokens {
        (0..length as u32).collect::<Vec<u32>>().into()
    }

    #[test]
    fn a_batch_depends_on_seed_and_step_only() {
        let tokens = count_up(1000);
        let sampler = BatchSampler::new(&tokens, 4, 16, 7).unwrap();
        let forwards: Vec<Batch> = (0..20).map(|step| sampler.batch(step)).collect();
        let mut backwards: Vec<Batch> = (0..20).rev().map(|step| sampler.batch(step)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        assert!((1..20).all(|step| forwards[step] != forwards[step - 1]));
        let (first, last) = (sampler.rows(3, 0..1), sampler.rows(3, 1..4));
        assert_eq!([first.inputs, last.inputs].concat(), forwards[3].inputs);
        assert_ne!(
            BatchSampler::new(&tokens, 4, 16, 8).unwrap().batch(0),
            forwards[0]
        );
    }

    #[test]
    fn the_sequence_is_pinned() {
        let tokens = count_up(1_000_000);
        let sampler = BatchSampler::new(&tokens, 4, 1, 1337).unwrap();
        assert_eq!(sampler.batch(0).inputs, [878972, 298787, 481927, 584662]);
        assert_eq!(
            sampler.batch(u64::MAX).inputs,
            [843719, 668579, 611189, 258161]
        );
    }

    #[test]
    fn rows_are_windows_and_targets_follow_inputs() {
        let tokens = count_up(50);
        let batch = BatchSampler::new(&tokens, 3, 8, 0).unwrap().batch(5);
        assert_eq!(
            (batch.batch_size, batch.context, batch.predictions()),
            (3, 8, 24)
        );
        assert!(
            batch
                .inputs
                .chunks(8)
                .all(|row| row.windows(2).all(|pair| pair[1] == pair[0] + 1))
        );
        assert!(
            batch
                .inputs
                .iter()
                .zip(&batch.targets)
                .all(|(input, target)| *target == input + 1)
        );
    }

    #[test]
    fn every_start_is_drawn_and_the_last_token_is_reached() {
        let tokens = count_up(12);
        let sampler = BatchSampler::new(&tokens, 8, 8, 0).unwrap();
        let mut starts: Vec<i32> = (0..50)
            .flat_map(|step| sampler.batch(step).inputs)
            .step_by(8)
            .collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts, [0, 1, 2, 3]);
    }

    #[test]
    fn the_smallest_split_has_one_window() {
        let tokens = count_up(9);
        let sampler = BatchSampler::new(&tokens, 1, 8, 0).unwrap();
        assert_eq!(sampler.batch(3).targets, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(matches!(
            BatchSampler::new(&tokens, 1, 9, 0),
            Err(DataError::TooShort {
                tokens: 9,
                needed: 10,
                ..
            })
        ));
    }

    #[test]
    fn sizes_of_zero_are_refused() {
        let tokens = count_up(9);
        let message = BatchSampler::new(&tokens, 0, 4, 0).unwrap_err().to_string();
        assert!(message.contains("batch size is 0"), "{message}");
        let message = BatchSampler::new(&tokens, 1, 0, 0).unwrap_err().to_string();
        assert!(message.contains("context is 0"), "{message}");
    }
}
