//! Reproducible integer randomness, shared by the batch sampler and the story generator.
//!
//! The numbers must never change: a resumed run, a twin run and the golden texts all rely on them.
//! So this file uses only what is fixed by the ChaCha specification: a 256-bit key, a 64-bit stream number and the
//! 64-bit words that follow. Bounding an integer is done here as well, because libraries are free to change how they
//! do it between versions.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A source of bounded integers that depends on `(seed, stream)` only, on every platform.
pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    /// Streams of one seed are independent sequences; opening stream one million costs the same as opening stream 0.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Self(rng)
    }

    /// An integer in `0..bound`, by the high half of a 64 × 64 bit product.
    ///
    /// The bias of any outcome is below `bound / 2^64`, which is not measurable for a bound that indexes memory.
    /// A bound of 0 gives 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.0.next_u64()) * bound as u128;
        (product >> 64) as usize
    }

    /// The numbers `0..length` in an order where each is equally likely (Fisher–Yates).
    pub(crate) fn permutation(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for last in (1..length).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }

    /// A number from the standard normal distribution (Box–Muller, the cosine branch). Unlike the integers its last bit may
    /// differ between platforms, whose logarithms and cosines round differently.
    pub(crate) fn normal(&mut self) -> f64 {
        // 53 bits each; the first is above 0.
        let mut uniform = || (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let (radius, angle) = (1.0 - uniform(), uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// True once in `n` throws on average.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One item of a table, uniformly.
    pub(crate) fn pick<T: Copy, const N: usize>(&mut self, table: &[T; N]) -> T {
        const { assert!(N > 0, "a table to pick from has at least one entry") };
        table[self.below(N)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_and_seeds_give_different_sequences_and_repeat_exactly() {
        let draw = |seed, stream| {
            let mut rng = Rng::new(seed, stream);
            [(); 8].map(|()| rng.below(1_000_000))
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn every_face_turns_up_about_equally_often() {
        let mut rng = Rng::new(0, 0);
        let mut counts = [0_i32; 6];
        for _ in 0..6000 {
            counts[rng.below(6)] += 1;
        }
        // Five standard deviations of a binomial with n = 6000 and p = 1/6: 5 * sqrt(6000 * 5 / 36) = 144.
        assert!(counts.iter().all(|c| (c - 1000).abs() < 144), "{counts:?}");
    }
}
