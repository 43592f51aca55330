//! A lock on a folder, so that two processes never write into one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::TrainError;

/// Held while this or a clone of it lives. It ends with the process, however that ends.
#[derive(Clone, Debug)]
pub struct FolderLock {
    _file: Arc<File>,
}

impl FolderLock {
    /// Locks a folder by its file `lock`, which stays there.
    ///
    /// # Errors
    /// If another process holds it, or the file cannot be made.
    pub fn take(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join("lock");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(TrainError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TrainError::InUse(folder.to_owned())),
            // Some network file systems have no locks; a run is better than none.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(TrainError::io(path)(error)),
        }
        Ok(Self {
            _file: Arc::new(file),
        })
    }

    /// Waits until nobody holds a folder, at most for a while; one that is not there is free.
    ///
    /// # Errors
    /// As [`take`](Self::take), after that while.
    pub fn wait(folder: &Path, most: Duration) -> Result<(), TrainError> {
        let begun = Instant::now();
        loop {
            if !folder.join("lock").exists() {
                return Ok(());
            }
            match Self::take(folder) {
                Err(TrainError::InUse(_)) if begun.elapsed() < most => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                taken => return taken.map(drop),
            }
        }
    }

    /// Whether a process holds it at this moment, as far as the file system tells.
    pub fn is_held(folder: &Path) -> bool {
        // A shared lock, given back at once: it is in nobody's way but that of a start in the same instant.
        File::open(folder.join("lock"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}
