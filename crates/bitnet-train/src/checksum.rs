//! Checksums of data in memory: BLAKE3 of every value and of how many there are.

use std::hash::{Hash, Hasher};

/// A checksum in the making.
#[derive(Default)]
pub(crate) struct Checksum(blake3::Hasher);

impl Checksum {
    /// Adds whatever can be hashed: lengths go in with the values, so that what is cut elsewhere is another.
    pub fn add(mut self, value: &(impl Hash + ?Sized)) -> Self {
        value.hash(&mut self);
        self
    }

    /// Adds a part of a file.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// Adds floats, by their bits.
    pub fn floats(mut self, values: &[f32]) -> Self {
        self.0.update(&(values.len() as u64).to_le_bytes());
        for value in values {
            self.0.update(&value.to_bits().to_le_bytes());
        }
        self
    }

    /// As hexadecimal digits.
    pub fn text(self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

impl Hasher for Checksum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not used: a checksum is longer.
    fn finish(&self) -> u64 {
        0
    }
}
