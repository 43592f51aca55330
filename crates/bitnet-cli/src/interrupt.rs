//! Ctrl-C: the first asks the run to save and end, the second ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for Ctrl-C from now on, and says so when it comes.
///
/// # Errors
/// If the handler cannot be installed.
pub fn watch() -> anyhow::Result<&'static AtomicBool> {
    watch_and(|| eprintln!("\ninterrupted: saving; press Ctrl-C again to stop at once"))
}

/// Watches for Ctrl-C from now on, in a process whose children are told too and speak for themselves.
///
/// # Errors
/// As [`watch`].
pub fn watch_quietly() -> anyhow::Result<&'static AtomicBool> {
    watch_and(|| ())
}

/// Watches for Ctrl-C from now on, where it ends an answer and not the process. Whoever begins another answer lowers the
/// flag; while it is up, Ctrl-C ends the process.
///
/// # Errors
/// As [`watch`].
pub fn watch_answers() -> anyhow::Result<&'static AtomicBool> {
    watch_and(|| ())
}

fn watch_and(say: impl Fn() + Send + 'static) -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(move || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say();
    })?;
    Ok(&INTERRUPTED)
}
