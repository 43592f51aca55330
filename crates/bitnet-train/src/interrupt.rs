//! Being asked to end in the middle of something long.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::TrainError;

/// What a loop asks between two batches: whether it is to end there.
#[derive(Clone, Copy, Debug)]
pub struct Interrupt<'a>(Option<&'a AtomicBool>);

impl<'a> Interrupt<'a> {
    /// Of what nobody interrupts, or what a signal ends with its process.
    pub const NEVER: Self = Self(None);

    /// When this becomes true.
    pub fn when(flag: &'a AtomicBool) -> Self {
        Self(Some(flag))
    }

    /// Whether it is to end.
    pub fn is_asked(self) -> bool {
        self.0.is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// Goes on unless it is to end.
    ///
    /// # Errors
    /// [`TrainError::Interrupted`] if it is.
    pub fn check(self) -> Result<(), TrainError> {
        match self.is_asked() {
            true => Err(TrainError::Interrupted),
            false => Ok(()),
        }
    }

    /// For what watches the flag itself.
    pub(crate) fn flag(self) -> Option<&'a AtomicBool> {
        self.0
    }
}
