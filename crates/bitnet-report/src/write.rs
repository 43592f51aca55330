//! Files that are either the old version or the new one, never half of one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path` so that a reader sees the old content or the new, never a part.
///
/// The bytes go to a temporary file in the same folder (a rename is atomic only within a file system), are
/// flushed to the disk, and the file is renamed over `path`. On failure the temporary file is removed.
///
/// # Errors
///
/// Whatever the file system says; also when `path` has no file name.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("note.txt");
/// bitnet_report::write_atomic(&path, b"hello")?;
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one worth reporting; a leftover file is harmless.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A name no other call in this process, and no other process, is using.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} names no file", path.display()),
        )
    })?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(
        ".{}-{}.tmp",
        std::process::id(),
        SERIAL.fetch_add(1, Ordering::Relaxed)
    ));
    Ok(path.with_file_name(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_behind() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("a.txt");
        write_atomic(&path, b"one")?;
        write_atomic(&path, b"two")?;
        assert_eq!(fs::read(&path)?, b"two");
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_failed_write_removes_its_temporary_file() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let taken = dir.path().join("folder");
        fs::create_dir(&taken)?;
        fs::write(taken.join("inside"), b"")?;
        assert!(write_atomic(&taken, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path())?.count(), 1);
        assert!(write_atomic(Path::new("/"), b"x").is_err());
        assert!(write_atomic(&dir.path().join("missing/deep.txt"), b"x").is_err());
        Ok(())
    }
}
