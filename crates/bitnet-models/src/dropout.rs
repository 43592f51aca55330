//! Dropout (Srivastava et al. 2014): in training each activation is zero with probability `p`, the others are divided by
//! `1 − p`.
//!
//! It is active on an autodiff device and absent on a plain one. The masks are drawn on the host, as initial weights and
//! batches are: the same run drops the same activations on every backend, and a resumed run those that it would have dropped
//! (a backend's own generator is one for the whole process, and another on every backend). All dropouts of a model draw from
//! one [`DropoutState`], which the training loop seeds with every step.
//!
//! The bits are those of a counter through the finaliser of SplitMix64 (Steele et al. 2014): independent enough for a mask,
//! and as fast as memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

/// What the dropouts of a model share: where in the random sequence they are.
#[derive(Clone, Debug, Default)]
pub struct DropoutState(Arc<AtomicU64>);

impl DropoutState {
    /// Goes to the beginning of the sequence of a seed.
    pub fn seed(&self, seed: u64) {
        self.0.store(mix(seed), Ordering::Relaxed);
    }

    /// Where in the sequence it is, to come back to.
    pub fn place(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Goes back to a place.
    pub fn return_to(&self, place: u64) {
        self.0.store(place, Ordering::Relaxed);
    }

    /// The seed of the next mask.
    fn next(&self) -> u64 {
        mix(self.0.fetch_add(GOLDEN, Ordering::Relaxed))
    }
}

/// 2⁶⁴ divided by the golden ratio, odd: SplitMix64's step.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's finaliser.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Dropout with a fixed rate.
#[derive(Module, Debug)]
pub struct Dropout {
    rate: f64,
    #[module(skip)]
    state: DropoutState,
}

impl Dropout {
    /// Drops this share of the activations, at least 0 and below 1.
    pub fn new(rate: f64, state: &DropoutState) -> Self {
        Self {
            rate,
            state: state.clone(),
        }
    }

    /// Where its masks are drawn from.
    pub fn state(&self) -> &DropoutState {
        &self.state
    }

    /// `[...]` → `[...]`.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if self.rate == 0.0 || !x.device().is_autodiff() {
            return x;
        }
        let mask = mask(x.shape().num_elements(), self.rate, self.state.next());
        let mask = Tensor::from_data(TensorData::new(mask, x.dims()), &x.device());
        x * mask
    }
}

/// `1 / (1 − rate)` with probability `1 − rate`, else 0; each 64-bit word decides two.
fn mask(len: usize, rate: f64, seed: u64) -> Vec<f32> {
    let threshold = (rate * 2f64.powi(32)) as u32;
    let kept = (1.0 / (1.0 - rate)) as f32;
    let value = |bits: u32| if bits < threshold { 0.0 } else { kept };
    let mut mask = vec![0.0; len];
    for (index, pair) in mask.chunks_mut(2).enumerate() {
        let bits = mix(seed.wrapping_add((index as u64).wrapping_mul(GOLDEN)));
        for (slot, bits) in pair.iter_mut().zip([bits as u32, (bits >> 32) as u32]) {
            *slot = value(bits);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_is_dropped_is_the_rate_and_the_mean_stays() {
        let n = 100_001;
        let mask = mask(n, 0.1, 7);
        let dropped = mask.iter().filter(|m| **m == 0.0).count() as f64;
        // Five standard deviations of a binomial: 5 · √(n p (1 − p)).
        assert!((dropped - 0.1 * n as f64).abs() < 5.0 * (n as f64 * 0.09).sqrt());
        assert!(
            mask.iter()
                .all(|m| *m == 0.0 || (*m - 1.0 / 0.9).abs() < 1e-6)
        );
        assert_eq!(super::mask(n, 0.1, 7), mask);
        assert_ne!(super::mask(n, 0.1, 8), mask);
    }

    #[test]
    fn a_seed_begins_the_same_sequence_for_all_who_share_it() {
        let state = DropoutState::default();
        let draw = || {
            state.seed(3);
            [state.next(), state.clone().next(), state.next()]
        };
        let first = draw();
        assert_eq!(draw(), first);
        state.seed(3);
        state.next();
        let place = state.place();
        assert_eq!([state.next(), state.next()], first[1..]);
        state.return_to(place);
        assert_eq!(state.next(), first[1]);
        assert!(first[0] != first[1] && first[1] != first[2]);
    }
}
