//! Reading a text file, with one clear error for each way in which it is not one.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::DataError;

/// The content of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    match open(path)?.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(failed(path, source)),
    }
}

/// A file, open.
pub(crate) fn open(path: &Path) -> Result<File, DataError> {
    if path.is_dir() {
        return Err(DataError::Directory {
            path: path.to_owned(),
        });
    }
    File::open(path).map_err(|source| failed(path, source))
}

/// What the operating system said of a file that cannot be read.
pub(crate) fn failed(path: &Path, source: std::io::Error) -> DataError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound => DataError::Missing { path },
        _ => DataError::Read { path, source },
    }
}

/// The text of a file, without a byte order mark.
///
/// # Errors
/// If it cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = read(path)?;
    let name = path.display().to_string();
    utf8(&name, without_mark(&bytes)).map(String::from)
}

/// Bytes without the byte order mark that some editors begin a UTF-8 file with.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

/// Bytes as text; `name` is the file they came from.
pub(crate) fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, DataError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        let line = 1 + bytes[..offset]
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        DataError::NotUtf8 {
            corpus: name.to_owned(),
            line,
            offset,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{TextFiles, TokenizerKind};

    #[test]
    fn each_unusable_file_has_its_own_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.txt");
        let message = |path: &Path, kind| {
            let read = TextFiles::at(path).read(TokenizerKind::into(kind), 0.9);
            read.unwrap_err().to_string()
        };
        let named = |message: &str| message.contains(&path.display().to_string());

        let missing = message(&path, TokenizerKind::Byte);
        assert!(named(&missing) && missing.contains("no file"), "{missing}");

        let directory = message(folder.path(), TokenizerKind::Byte);
        assert!(
            directory.contains("has no file that ends in"),
            "{directory}"
        );

        fs::write(&path, "").unwrap();
        for kind in [TokenizerKind::Byte, TokenizerKind::Char] {
            let empty = message(&path, kind);
            assert!(named(&empty) && empty.contains("is empty"), "{empty}");
        }

        fs::write(&path, b"one\ntwo\nthr\xffee\n").unwrap();
        let binary = message(&path, TokenizerKind::Char);
        assert!(
            named(&binary) && binary.contains("line 3, byte offset 11"),
            "{binary}"
        );
    }
}
