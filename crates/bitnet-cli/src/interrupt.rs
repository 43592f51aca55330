//! Ctrl-C: the first asks the run to save and end, the second ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Watches for Ctrl-C from now on.
///
/// # Errors
/// If the handler cannot be installed.
pub fn watch() -> anyhow::Result<&'static AtomicBool> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\ninterrupted: saving; press Ctrl-C again to stop at once");
    })?;
    Ok(&INTERRUPTED)
}
