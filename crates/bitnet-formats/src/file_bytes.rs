//! The bytes of a file that is read in place: memory-mapped, so that only what is looked at is loaded.

use std::{
    fs::File,
    ops::Deref,
    path::{Path, PathBuf},
};

use memmap2::Mmap;

use crate::Error;

/// A multiple of the size of a page: 64 KiB is that of the largest pages that Linux is built with.
#[cfg(unix)]
const PAGE: usize = 1 << 16;

/// The bytes of one file and its path, which every error names.
#[derive(Debug)]
pub struct FileBytes {
    path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Maps a file. It must not be changed or cut while it is mapped; replacing it by a rename is harmless.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or mapped.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let file = File::open(&path).map_err(Error::read(&path))?;
        let is_file = file.metadata().map_err(Error::read(&path))?.is_file();
        if !is_file {
            let source = std::io::Error::other("it is not a file");
            return Err(Error::Read { path, source });
        }
        // SAFETY: the mapping is read-only, and its bytes do not change as long as nobody writes to the file or cuts it:
        // the documented condition of this function, which no program can enforce. Beyond that, no index is kept that
        // a changed byte could push out of bounds.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::read(&path))?;
        Ok(Self {
            path,
            bytes: Bytes::Mapped(map),
        })
    }

    /// Takes bytes that are in memory; `path` is only their name in errors.
    pub fn from_vec(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            bytes: Bytes::Owned(bytes),
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives back the pages that lie wholly within `part`, a slice of these bytes; they are read again when they are
    /// looked at again.
    pub(crate) fn release(&self, part: &[u8]) {
        #[cfg(unix)]
        if let Bytes::Mapped(map) = &self.bytes {
            let start = part.as_ptr() as usize;
            let Some(offset) = start.checked_sub(map.as_ptr() as usize) else {
                return;
            };
            // The first whole page and the last.
            let first = offset.next_multiple_of(PAGE);
            let end = (offset + part.len()).min(map.len()) / PAGE * PAGE;
            if first < end {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                // SAFETY: the mapping is of a file and read-only: its pages hold what the file holds, and are read from
                // it again. The call may fail, which changes nothing.
                let _ = unsafe { map.unchecked_advise_range(advice, first, end - first) };
            }
        }
        let _ = part;
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
