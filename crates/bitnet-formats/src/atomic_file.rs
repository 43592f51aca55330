//! A file that appears whole or not at all: written under a temporary name beside its place, then renamed.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::Error;

/// A file that is being written. Dropped before [`AtomicFile::finish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct AtomicFile {
    path: PathBuf,
    out: BufWriter<NamedTempFile>,
    written: u64,
}

impl AtomicFile {
    pub(crate) fn create(path: PathBuf) -> Result<Self, Error> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        #[cfg_attr(not(unix), expect(unused_mut))]
        let mut builder = tempfile::Builder::new();
        // A temporary is private by default; the umask decides here, as for any file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder).map_err(Error::write(&path))?;
        Ok(Self {
            path,
            out: BufWriter::new(file),
            written: 0,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(Error::write(&self.path))
    }

    /// Writes zeros up to a multiple of `alignment` bytes.
    pub(crate) fn pad(&mut self, alignment: u64) -> Result<(), Error> {
        let padding = self.written.next_multiple_of(alignment) - self.written;
        self.write(&vec![0; padding as usize])
    }

    /// Flushes to the disk and renames.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let Self { path, out, .. } = self;
        let file = out
            .into_inner()
            .map_err(|error| Error::write(&path)(error.into_error()))?;
        file.as_file().sync_all().map_err(Error::write(&path))?;
        let renamed = file.persist(&path);
        renamed.map_err(|error| Error::write(&path)(error.error))?;
        Ok(())
    }
}
