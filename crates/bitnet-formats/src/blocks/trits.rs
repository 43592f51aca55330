//! Five trits in a byte: a fraction of 243 scaled to 256, so that multiplying by three shifts the next trit out on top.
//!
//! `byte = ceil(256 · v / 243)` with `v = Σ tₙ · 3^(4-n)`; trit `n` is `((byte · 3ⁿ mod 256) · 3) >> 8`.

/// Packs up to five trits 0, 1, 2; missing ones are 0.
pub(super) fn pack(trits: impl ExactSizeIterator<Item = u8>) -> u8 {
    let missing = 5 - trits.len();
    let mut v = trits.fold(0_u16, |v, trit| 3 * v + u16::from(trit));
    for _ in 0..missing {
        v *= 3;
    }
    (v * 256).div_ceil(243) as u8
}

/// Trit `n` < 5 of a byte.
pub(super) fn get(byte: u8, n: usize) -> u8 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    ((u16::from(byte.wrapping_mul(POWERS[n])) * 3) >> 8) as u8
}

/// A run of bytes that hold a run of weights: weight `first + bytes·n + m` is trit `n` of byte `at + m`.
pub(super) struct Part {
    /// The first byte, counted from the start of the block.
    pub(super) at: usize,
    /// The first weight.
    pub(super) first: usize,
    /// Bytes of the part.
    pub(super) bytes: usize,
    /// Trits of each byte, 4 or 5.
    pub(super) trits: usize,
}

impl Part {
    pub(super) fn unpack(&self, block: &[u8], stored: &mut [u8]) {
        for n in 0..self.trits {
            for m in 0..self.bytes {
                stored[self.first + self.bytes * n + m] = get(block[self.at + m], n);
            }
        }
    }

    pub(super) fn pack(&self, stored: &[u8], block: &mut [u8]) {
        for m in 0..self.bytes {
            let weights = (0..self.trits).map(|n| stored[self.first + self.bytes * n + m]);
            block[self.at + m] = pack(weights);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_five_trits_come_back() {
        for v in 0..243_u32 {
            let trits = [81, 27, 9, 3, 1].map(|power| (v / power % 3) as u8);
            let byte = super::pack(trits.into_iter());
            assert_eq!([0, 1, 2, 3, 4].map(|n| super::get(byte, n)), trits, "{v}");
            let byte = super::pack(trits[..4].iter().copied());
            assert_eq!([0, 1, 2, 3].map(|n| super::get(byte, n)), trits[..4], "{v}");
        }
    }
}
