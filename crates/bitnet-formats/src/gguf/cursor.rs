//! Reads little-endian values one after the other, never past the end.

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{wanted} bytes are needed at offset {at}, the file has {left} left")]
    Short { wanted: u64, at: usize, left: usize },
    #[error("the text at offset {at} is not UTF-8")]
    Utf8 { at: usize },
    #[error("the flag at offset {at} is {found}, expected 0 or 1")]
    Bool { at: usize, found: u8 },
    #[error("value type {found} at offset {at} is unknown, expected 0 to 12")]
    ValueType { at: usize, found: u32 },
    #[error("arrays are nested deeper than {limit} at offset {at}")]
    Depth { at: usize, limit: usize },
}

/// A position in the bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at `at`, or at the end if that is nearer.
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        let at = at.min(bytes.len());
        Self { bytes, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Bytes from here to the end.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `wanted` bytes. The length is compared before it becomes an index, so any u64 is harmless.
    pub(crate) fn take(&mut self, wanted: u64) -> Result<&'a [u8], ReadError> {
        let rest = &self.bytes[self.at..];
        let taken = usize::try_from(wanted).ok().and_then(|n| rest.get(..n));
        let taken = taken.ok_or(ReadError::Short {
            wanted,
            at: self.at,
            left: rest.len(),
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (at, left) = (self.at, self.left());
        let found = self.bytes[at..].first_chunk::<N>();
        let found = *found.ok_or(ReadError::Short {
            wanted: N as u64,
            at,
            left,
        })?;
        self.at += N;
        Ok(found)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ReadError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ReadError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A string: its length in bytes as u64, then UTF-8.
    pub(crate) fn str(&mut self) -> Result<&'a str, ReadError> {
        let len = self.u64()?;
        let at = self.at;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| ReadError::Utf8 { at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_near_the_limits_of_u64_are_refused() {
        for wanted in [4, u64::MAX, 1 << 63, (1 << 63) - 1, usize::MAX as u64 - 2] {
            let mut cursor = Cursor::new(&[1, 2, 3, 4, 5], 2);
            let left = 3;
            assert_eq!(
                cursor.take(wanted),
                Err(ReadError::Short {
                    wanted,
                    at: 2,
                    left
                })
            );
            assert_eq!((cursor.at(), cursor.left()), (2, 3));
        }
        assert_eq!(Cursor::new(&[1], 9).left(), 0);
    }
}
