//! What a test says that this processor cannot run.

use std::{collections::BTreeSet, fmt::Display, io::Write, sync::Mutex};

/// Runs on a pool of so many threads; where the target has none on the calling one, which is told.
pub(crate) fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    if cfg!(target_family = "wasm") {
        if threads > 1 {
            skipped("threads: this target has none");
        }
        return run();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("threads").install(run)
}

/// A line on the standard error, once: past the harness, which hides what a test that passes prints.
pub(crate) fn skipped(why: impl Display) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let why = why.to_string();
    let Ok(mut said) = SAID.lock() else { return };
    if said.insert(why.clone()) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    }
}
