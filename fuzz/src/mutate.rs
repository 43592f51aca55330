//! Changes of bytes.

/// Numbers that are the same every time.
pub struct Rng(pub u64);

impl Rng {
    /// A number below `end`; 0 below 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end.max(1)
    }

    /// One change: of a bit, a byte, a stretch; more or fewer bytes.
    pub fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        if bytes.is_empty() {
            return vec![self.below(256) as u8];
        }
        let (at, length) = (self.below(bytes.len()), 1 + self.below(40));
        let end = (at + length).min(bytes.len());
        match self.below(8) {
            0..3 => changed[at] ^= 1 << self.below(8),
            3 => changed[at] = self.below(256) as u8,
            4 => changed[at..end]
                .iter_mut()
                .for_each(|byte| *byte = self.below(256) as u8),
            5 => drop(changed.drain(at..end)),
            6 => {
                let (from, again) = (self.below(bytes.len()), changed[at..end].to_vec());
                changed.splice(from..from, again);
            }
            _ => changed.truncate(at),
        }
        changed
    }

    /// A few changes of one of the inputs, now and then with the end of another one.
    pub fn breed(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        if self.below(8) == 0 {
            let other = &inputs[self.below(inputs.len())];
            input.truncate(self.below(input.len()));
            input.extend_from_slice(&other[self.below(other.len())..]);
        }
        for _ in 0..=self.below(4) {
            input = self.mutate(&input);
        }
        input
    }
}
