//! Ctrl-C, SIGTERM and SIGHUP (a closed terminal): the first asks the run to save and end, one a second later or more ends
//! the process at once. Children have process groups of their own, so that a signal reaches each of them once: from here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[cfg(unix)]
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::{output, process, tui};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Signals within this count as one: a scheduler signals every process of a task, and then a parent tells its children.
const ONE: Duration = Duration::from_secs(1);
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Watches for the signals from now on, and says so when one comes.
///
/// # Errors
/// If the handler cannot be installed.
pub fn watch() -> anyhow::Result<&'static AtomicBool> {
    watch_and(|| {
        if !tui::owns_the_terminal() {
            output::say("\ninterrupted: saving; once more to stop at once");
        }
    })
}

/// Watches for the signals from now on, in a process whose children are told too and speak for themselves.
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
    let flag = watch_and(|| ());
    // Who is told to end is not in the middle of anything.
    #[cfg(unix)]
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        set(signal, SigHandler::SigDfl)?;
    }
    flag
}

/// Watches for the signals from now on, in a server: `stop` is called when the first comes.
///
/// # Errors
/// As [`watch`].
pub fn watch_server(stop: impl Fn() + Send + 'static) -> anyhow::Result<()> {
    watch_and(stop).map(drop)
}

/// Whether a signal came.
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Asks the process to save and end, as the first signal does; one that does not watch for signals ends at once.
pub fn request() {
    if !WATCHED.load(Ordering::Relaxed) {
        std::process::exit(130);
    }
    INTERRUPTED.store(true, Ordering::Relaxed);
}

fn watch_and(say: impl Fn() + Send + 'static) -> anyhow::Result<&'static AtomicBool> {
    #[cfg(unix)]
    let ignores_hangup = matches!(set(Signal::SIGHUP, SigHandler::SigIgn)?, SigHandler::SigIgn);
    let mut first: Option<Instant> = None;
    // SIGTERM and SIGHUP come here too, by the crate's feature `termination`.
    ctrlc::set_handler(move || {
        let again = INTERRUPTED.swap(true, Ordering::Relaxed);
        process::interrupt_children();
        let begun = match again {
            true => *first.get_or_insert_with(Instant::now),
            false => *first.insert(Instant::now()),
        };
        if again && begun.elapsed() > ONE {
            tui::give_back();
            std::process::exit(130);
        }
        if !again {
            say();
        }
    })?;
    #[cfg(unix)]
    if ignores_hangup {
        // `nohup` has it ignored, and is to be heeded.
        set(Signal::SIGHUP, SigHandler::SigIgn)?;
    }
    WATCHED.store(true, Ordering::Relaxed);
    Ok(&INTERRUPTED)
}

/// Has a signal ignored or do what it does by default, and tells what was done with it before.
#[cfg(unix)]
fn set(of: Signal, to: SigHandler) -> nix::Result<SigHandler> {
    // SAFETY: no code of ours runs for a signal that is ignored or that ends the process.
    unsafe { signal(of, to) }
}
