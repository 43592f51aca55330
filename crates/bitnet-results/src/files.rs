//! Files that are either the old version or the new one, never half of one; JSON whose missing numbers are NaN.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ResultError;

/// Writes `bytes` to `path` so that a reader sees the old content or the new, never a part.
///
/// The bytes go to a temporary file in the same folder (a rename is atomic only within a file system), are
/// flushed to the disk, and the file is renamed over `path`; then the folder is flushed too, so that a power cut does not
/// bring the old file back. On failure the temporary file is removed.
///
/// # Errors
///
/// Whatever the file system says; also when `path` has no file name.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("note.txt");
/// bitnet_results::write_atomic(&path, b"hello")?;
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_atomic(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new(""))));
    if written.is_err() {
        // The first error is the one worth reporting; a leftover file is harmless.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Waits until what was made, renamed or removed in a folder is on the disk; the empty path is the working directory.
///
/// # Errors
///
/// Whatever the file system says. Where folders cannot be opened as files (Windows), nothing is done.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    File::open(folder)?.sync_all()
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

/// Reads a JSON file.
///
/// # Errors
///
/// Names the file when it cannot be read or holds something else.
pub fn load_json<T: DeserializeOwned>(path: &Path) -> Result<T, ResultError> {
    let text = fs::read_to_string(path).map_err(ResultError::read(path))?;
    serde_json::from_str(&text).map_err(ResultError::parse(path))
}

/// Writes a JSON file, atomically. On one line: the curves of a hundred runs would take twice the bytes as a page.
///
/// # Errors
///
/// Names the file when it cannot be written.
pub fn save_json(value: &impl Serialize, path: &Path) -> Result<(), ResultError> {
    let json = serde_json::to_string(value).map_err(io::Error::from);
    json.and_then(|json| write_atomic(path, (json + "\n").as_bytes()))
        .map_err(ResultError::write(path))
}

/// JSON has no NaN; `null` stands for it.
pub(crate) fn nan_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// What stands for a number that the file does not have.
pub(crate) fn nan() -> f64 {
    f64::NAN
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
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary.json");
        let missing = load_json::<Vec<u8>>(&path).unwrap_err();
        assert!(
            matches!(missing, ResultError::Read { .. })
                && missing.to_string().contains("summary.json")
        );
        fs::write(&path, "{\"twins\": 3}").unwrap();
        let wrong = load_json::<Vec<u8>>(&path).unwrap_err();
        assert!(
            matches!(wrong, ResultError::Parse { .. })
                && wrong.to_string().contains("summary.json")
        );
        let nowhere = save_json(&1, &dir.path().join("missing/deep.json")).unwrap_err();
        assert!(
            matches!(nowhere, ResultError::Write { .. })
                && nowhere.to_string().contains("deep.json")
        );
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
