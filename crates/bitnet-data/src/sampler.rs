//! Which examples a step sees: epochs of all examples, in batches of similar length.
//!
//! As the windows of a text, the batch of a step is a function of `(seed, step)`. An epoch is a permutation; each stretch of
//! [`POOL`] batches of it is sorted by length before it is cut, so that little of a batch is padding, and the batches are
//! shuffled again, so that a step's lengths tell nothing about the next step's.

use std::sync::{Mutex, PoisonError};

use crate::DataError;
use crate::rng::Rng;

/// Batches that are sorted together.
const POOL: usize = 50;

/// Batches of all examples, epoch after epoch.
#[derive(Debug)]
pub struct EpochSampler {
    lengths: Vec<usize>,
    batch_size: usize,
    seed: u64,
    /// The epoch last asked for, and its batches.
    current: Mutex<Option<(u64, Vec<Vec<usize>>)>>,
}

impl EpochSampler {
    /// A sampler of as many examples as there are lengths.
    pub fn new(lengths: Vec<usize>, batch_size: usize, seed: u64) -> Result<Self, DataError> {
        match (lengths.len(), batch_size) {
            (0, _) => Err(DataError::Zero {
                what: "number of examples",
            }),
            (_, 0) => Err(DataError::Zero { what: "batch size" }),
            _ => Ok(Self {
                lengths,
                batch_size,
                seed,
                current: Mutex::new(None),
            }),
        }
    }

    /// Batches of an epoch; the last may be smaller.
    pub fn steps_per_epoch(&self) -> usize {
        self.lengths.len().div_ceil(self.batch_size)
    }

    /// The examples of a step.
    pub fn batch(&self, step: u64) -> Vec<usize> {
        let steps = self.steps_per_epoch() as u64;
        let (epoch, place) = (step / steps, (step % steps) as usize);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = match &mut *current {
            Some((at, batches)) if *at == epoch => batches,
            stale => &mut stale.insert((epoch, self.epoch(epoch))).1,
        };
        batches[place].clone()
    }

    fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut rng = Rng::new(self.seed, epoch);
        let mut order = rng.permutation(self.lengths.len());
        for pool in order.chunks_mut(POOL.saturating_mul(self.batch_size)) {
            pool.sort_by_key(|example| self.lengths[*example]);
        }
        let batches: Vec<Vec<usize>> = order
            .chunks(self.batch_size)
            .map(<[usize]>::to_vec)
            .collect();
        let shuffled = rng.permutation(batches.len());
        shuffled.into_iter().map(|i| batches[i].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sampler(examples: usize, batch_size: usize) -> EpochSampler {
        EpochSampler::new((0..examples).map(|i| i % 17).collect(), batch_size, 5).unwrap()
    }

    #[test]
    fn an_epoch_holds_each_example_once() {
        let sampler = sampler(103, 10);
        assert_eq!(sampler.steps_per_epoch(), 11);
        for epoch in 0..3 {
            let mut seen: Vec<usize> = (0..11)
                .flat_map(|step| sampler.batch(11 * epoch + step))
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..103).collect::<Vec<_>>());
        }
        assert_ne!(sampler.batch(0), sampler.batch(11));
    }

    #[test]
    fn a_step_does_not_depend_on_those_before_it() {
        let (one, other) = (sampler(103, 10), sampler(103, 10));
        let late = one.batch(25);
        (0..25).for_each(|step| drop(other.batch(step)));
        assert_eq!(other.batch(25), late);
    }

    #[test]
    fn a_batch_holds_similar_lengths() {
        let sampler = sampler(1000, 10);
        let spread = |batch: &[usize]| {
            let lengths = || batch.iter().map(|i| i % 17);
            lengths().max().unwrap() - lengths().min().unwrap()
        };
        assert!((0..100).all(|step| spread(&sampler.batch(step)) <= 2));
    }

    #[test]
    fn nothing_to_sample_is_an_error() {
        assert!(EpochSampler::new(Vec::new(), 4, 0).is_err());
        assert!(EpochSampler::new(vec![1], 0, 0).is_err());
    }

    proptest! {
        #[test]
        fn each_example_comes_once_an_epoch(lengths in prop::collection::vec(0_usize..9, 1..300), batch_size in 1_usize..20, epoch in 0_u64..1000) {
            let examples = lengths.len();
            let sampler = EpochSampler::new(lengths, batch_size, 1).unwrap();
            let steps = sampler.steps_per_epoch() as u64;
            let mut seen: Vec<usize> = (0..steps).flat_map(|step| sampler.batch(epoch * steps + step)).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..examples).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_batch_may_be_larger_than_the_data() {
        let sampler = EpochSampler::new(vec![3, 1, 2], usize::MAX, 0).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 1);
        assert_eq!(sampler.batch(7), [1, 2, 0]);
    }
}
