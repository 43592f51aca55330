//! Which documents are kept, and in which order, in memory that does not grow with their text.

use std::collections::HashSet;

use super::stage::Staged;
use crate::rng::Rng;

/// Documents of a bucket whose checksums are held in memory at a time, about.
const BUCKET: u64 = 1 << 20;

/// A bit for each document: whether an equal one comes before it.
pub(super) fn duplicates(staged: &Staged) -> Vec<u64> {
    mark_equal(staged.documents(), BUCKET, |document| {
        staged.record(document).hash
    })
}

fn mark_equal(documents: u64, bucket: u64, hash: impl Fn(u64) -> [u8; 16]) -> Vec<u64> {
    let mut marks = vec![0u64; documents.div_ceil(64) as usize];
    let buckets = documents.div_ceil(bucket).max(1);
    for bucket in 0..buckets {
        let mut seen = HashSet::new();
        for document in 0..documents {
            let hash = u128::from_le_bytes(hash(document));
            if (hash % u128::from(buckets)) as u64 == bucket && !seen.insert(hash) {
                marks[(document / 64) as usize] |= 1 << (document % 64);
            }
        }
    }
    marks
}

/// Whether a document is marked; without marks none is.
pub(super) fn marked(marks: &[u64], document: u64) -> bool {
    let word = marks.get((document / 64) as usize).unwrap_or(&0);
    word >> (document % 64) & 1 == 1
}

/// An order of the documents. A shuffled one is a cipher on their numbers (Feistel's network with eight rounds), applied
/// again while a number is none of a document: a permutation that is computed, not stored.
pub(super) struct Order {
    documents: u64,
    /// Half the bits of a number, and the keys of the rounds.
    cipher: Option<(u32, [u64; 8])>,
}

impl Order {
    /// That of the input, or one drawn from a seed.
    pub(super) fn new(documents: u64, seed: Option<u64>) -> Self {
        let half = (64 - documents.saturating_sub(1).leading_zeros())
            .div_ceil(2)
            .max(1);
        let cipher = seed.map(|seed| {
            let mut rng = Rng::new(seed, ORDER);
            (half, [(); 8].map(|()| rng.below(usize::MAX) as u64))
        });
        Self { documents, cipher }
    }

    /// The document at a place.
    pub(super) fn document(&self, place: u64) -> u64 {
        let Some((half, keys)) = &self.cipher else {
            return place;
        };
        let mask = (1 << half) - 1;
        let mut number = place;
        loop {
            let (mut left, mut right) = (number >> half, number & mask);
            for key in keys {
                (left, right) = (right, left ^ (mix(right ^ key) & mask));
            }
            number = left << half | right;
            if number < self.documents {
                return number;
            }
        }
    }
}

/// The finaliser of SplitMix64.
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// The stream of random numbers that draws the order.
const ORDER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_every_document_once() {
        for documents in [1, 2, 3, 4, 5, 16, 17, 1000, 65_537] {
            for seed in [None, Some(0), Some(1)] {
                let order = Order::new(documents, seed);
                let mut all: Vec<u64> = (0..documents).map(|at| order.document(at)).collect();
                let moved = all
                    .iter()
                    .zip(0..)
                    .filter(|(found, at)| *found != at)
                    .count();
                if documents == 65_537 {
                    assert_eq!(moved > 65_000, seed.is_some());
                }
                all.sort_unstable();
                assert!(all.into_iter().eq(0..documents), "{documents} {seed:?}");
            }
        }
        let draw = |seed| (0..100).map(move |at| Order::new(100, Some(seed)).document(at));
        assert!(draw(1).eq(draw(1)) && !draw(1).eq(draw(2)));
    }

    #[test]
    fn every_place_is_about_equally_likely() {
        let (documents, seeds) = (10, 20_000);
        let mut counts = [[0i32; 10]; 10];
        for seed in 0..seeds {
            let order = Order::new(documents, Some(seed));
            for place in 0..documents {
                counts[place as usize][order.document(place) as usize] += 1;
            }
        }
        // 2,000 each; five standard deviations are 5 · sqrt(20,000 · 0.1 · 0.9) = 212.
        let worst = counts
            .iter()
            .flatten()
            .map(|count| (count - 2000).abs())
            .max();
        assert!(worst < Some(212), "{counts:?}");
    }

    #[test]
    fn equal_documents_are_marked_but_the_first_in_buckets_of_any_size() {
        let kinds: Vec<u64> = (0..500).map(|i| i * i % 97).collect();
        let hash = |i: u64| *blake3::hash(&kinds[i as usize].to_le_bytes()).as_bytes();
        let half = |i: u64| {
            let mut half = [0; 16];
            half.copy_from_slice(&hash(i)[..16]);
            half
        };
        for bucket in [1, 7, 100, 1 << 20] {
            let marks = mark_equal(500, bucket, half);
            for document in 0..500u64 {
                let again = kinds[..document as usize].contains(&kinds[document as usize]);
                assert_eq!(marked(&marks, document), again, "{document} {bucket}");
            }
        }
        assert!(!marked(&[], 3));
    }
}
