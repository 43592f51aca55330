//! The bytes of a file that is read in place: memory-mapped, so that only what is looked at is loaded.

use std::{
    fs::File,
    ops::Deref,
    path::{Path, PathBuf},
};

use memmap2::Mmap;

use crate::Error;

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
