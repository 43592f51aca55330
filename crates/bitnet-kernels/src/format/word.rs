//! The packed word: sixteen ternary weights of a row in 32 bits. What stands for what in it is said here and nowhere else.
//!
//! Element `k` of a row sits in word `k / 16` at bits `2·(k % 16)` and up, as `w + 1`: 0 for -1, 1 for 0, 2 for +1; 3 is
//! illegal. Padding past the last column is the weight 0.
//!
//! ```text
//! bits of word 0:  1:0   3:2   5:4   ...  31:30
//! element k:         0     1     2   ...     15
//! ```

/// Sixteen ternary weights. Matrices are slices of `u32` (tensors and files have no other type); this is how one is read.
///
/// ```
/// use bitnet_kernels::TernaryWord;
/// let word = TernaryWord::pack([1, -1, 0, 1]);
/// assert_eq!(word.0 & 0xff, 0b10_01_00_10);
/// assert_eq!((word.code(1), word.code(15), word.zeros()), (-1, 0, 13));
/// assert_eq!(word.flips(TernaryWord::ZERO), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct TernaryWord(pub u32);

/// The low bit of each element.
const LOW: u32 = 0x5555_5555;

impl TernaryWord {
    /// Weights in a word.
    pub const WEIGHTS: usize = 16;

    /// Sixteen weights 0: what padding holds.
    pub const ZERO: TernaryWord = TernaryWord(LOW);

    /// Up to sixteen codes -1, 0 or 1, padded with weight 0.
    #[inline]
    pub fn pack(codes: impl IntoIterator<Item = i8>) -> TernaryWord {
        let mut word = LOW;
        for (k, code) in codes.into_iter().take(Self::WEIGHTS).enumerate() {
            debug_assert!((-1..=1).contains(&code), "{code} is not ternary");
            word ^= (((code + 1) as u32) ^ 1) << (2 * k);
        }
        TernaryWord(word)
    }

    /// Random weights from 64 random bits: half of them 0, the rest evenly -1 and 1.
    #[inline]
    pub fn random(bits: u64) -> TernaryWord {
        // Two random bits added are 0, 1, 2 with the odds 1 : 2 : 1, and never the illegal 3.
        TernaryWord((bits as u32 & LOW) + ((bits >> 32) as u32 & LOW))
    }

    /// The first `used` weights, and weight 0 after them.
    #[inline]
    pub fn padded(self, used: usize) -> TernaryWord {
        let padding = Self::padding(used);
        TernaryWord(self.0 & !padding | LOW & padding)
    }

    /// The code of element `k < 16`, as stored less 1: the illegal `0b11` reads 2.
    #[inline]
    pub fn code(self, k: usize) -> i8 {
        self.stored(k) as i8 - 1
    }

    /// The two bits of element `k < 16`.
    #[inline]
    pub fn stored(self, k: usize) -> u32 {
        (self.0 >> (2 * k)) & 3
    }

    /// How many weights are 0, padding included.
    #[inline]
    pub fn zeros(self) -> usize {
        (self.0 & !(self.0 >> 1) & LOW).count_ones() as usize
    }

    /// How many weights differ.
    #[inline]
    pub fn flips(self, other: TernaryWord) -> usize {
        let different = self.0 ^ other.0;
        ((different | (different >> 1)) & LOW).count_ones() as usize
    }

    /// The first of the first `used` elements that stores `0b11`.
    #[inline]
    pub fn illegal(self, used: usize) -> Option<usize> {
        first(self.0 & (self.0 >> 1) & LOW & !Self::padding(used))
    }

    /// The first element past `used` that is not weight 0.
    #[inline]
    pub fn unpadded(self, used: usize) -> Option<usize> {
        first((self.0 ^ LOW) & Self::padding(used))
    }

    /// The bits past the first `used` elements.
    #[inline]
    fn padding(used: usize) -> u32 {
        u32::MAX.checked_shl(2 * used as u32).unwrap_or(0)
    }
}

/// The element of the lowest bit that is set.
#[inline]
fn first(bits: u32) -> Option<usize> {
    (bits != 0).then(|| bits.trailing_zeros() as usize / 2)
}

/// Words of one packed row: `⌈cols / 16⌉`.
pub const fn words_per_row(cols: usize) -> usize {
    cols.div_ceil(TernaryWord::WEIGHTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_flips_count_weights() {
        let word = |bits| TernaryWord(bits);
        assert_eq!(TernaryWord::ZERO.zeros(), 16);
        // Stored 2, 1, 0, and 13 times 0: only the second is a weight of 0.
        assert_eq!(word(0b00_01_10).zeros(), 1);
        assert_eq!(word(0b00_01_10).flips(word(0b00_01_10)), 0);
        assert_eq!(word(0b10_01_10).flips(word(0b00_01_01)), 2);
        assert_eq!(word(0).flips(word(u32::MAX)), 16);
    }

    #[test]
    fn padding_is_weight_zero_and_found_where_it_is_not() {
        for used in 0..=16 {
            let word = TernaryWord(0xaaaa_aaaa).padded(used);
            assert_eq!((word.zeros(), word.unpadded(used)), (16 - used, None));
            assert_eq!(word.unpadded(used.saturating_sub(1)), used.checked_sub(1));
            assert_eq!(TernaryWord(u32::MAX).illegal(used), (used > 0).then_some(0));
        }
        assert_eq!(TernaryWord(0b11 << 30).illegal(16), Some(15));
        assert_eq!(TernaryWord(0b11 << 30).illegal(15), None);
    }

    #[test]
    fn random_words_are_legal_and_half_zero() {
        let bits = |i: u64| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words: Vec<_> = (0..64).map(|i| TernaryWord::random(bits(i))).collect();
        assert!(words.iter().all(|word| word.illegal(16).is_none()));
        let share = |code| {
            let count = |word: &TernaryWord| (0..16).filter(|k| word.code(*k) == code).count();
            words.iter().map(count).sum::<usize>() as f64 / 1024.0
        };
        assert!((share(0) - 0.5).abs() < 0.1 && (share(1) - 0.25).abs() < 0.1);
    }
}
