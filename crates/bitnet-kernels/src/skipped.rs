//! What a test says that this processor cannot run.

use std::{collections::BTreeSet, fmt::Display, io::Write, sync::Mutex};

/// A line on the standard error, once: past the harness, which hides what a test that passes prints.
pub(crate) fn skipped(why: impl Display) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let why = why.to_string();
    let Ok(mut said) = SAID.lock() else { return };
    if said.insert(why.clone()) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    }
}
