//! Turns panics of GPU backends into errors.
//!
//! Burn has no error for a GPU that runs out of memory, refuses a kernel or is lost: its threads panic, and so may the
//! command. Here such a panic is kept silent, its message remembered, and the command ends as on any other error. On the
//! CPU a panic is a mistake of this program; it ends with the code of an error too. Set `RUST_BACKTRACE` to see the panics
//! as well.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::anyhow;
use bitnet_train::Backend;

use crate::commands::Outcome;

/// Runs a command that computes on `backend`.
pub fn run(
    backend: Backend,
    command: impl FnOnce() -> anyhow::Result<Outcome>,
) -> anyhow::Result<Outcome> {
    let on_cpu = matches!(backend, Backend::Flex | Backend::NdArray);
    let first: Arc<Mutex<Option<String>>> = Arc::default();
    let seen = Arc::clone(&first);
    let default = panic::take_hook();
    let loud = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0");
    panic::set_hook(Box::new(move |info| {
        let message = info.payload_as_str().unwrap_or("no message").to_owned();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get_or_insert(message);
        if loud {
            default(info);
        }
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(command));
    drop(panic::take_hook());
    let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (result, first) {
        (Ok(Ok(outcome)), _) => Ok(outcome),
        (Ok(Err(error)), _) if on_cpu => Err(error),
        (_, message) if on_cpu => Err(anyhow!(
            "the program failed where it should not have: {}; set RUST_BACKTRACE=1 to see where and report it",
            message.unwrap_or_default()
        )),
        (Ok(Err(error)), None) if remedy(&format!("{error:#}")).is_none() => Err(error),
        (Ok(Err(error)), None) => Err(failure(backend, &format!("{error:#}"))),
        (_, message) => Err(failure(backend, &message.unwrap_or_default())),
    }
}

fn failure(backend: Backend, message: &str) -> anyhow::Error {
    let remedy = remedy(message).unwrap_or(
        "run it with `--backend flex`, or set RUST_BACKTRACE=1 to see where and report it",
    );
    // One line, without the traces that CubeCL appends.
    let message = message.split("Backtrace:").next().unwrap_or_default();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    anyhow!("the {backend} device failed: {message}; {remedy}")
}

/// What to do about a failure that a user can do something about.
fn remedy(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["out of memory", "outofmemory", "not enough memory"]) {
        Some("the memory is full: take a smaller model, batch or context, or `--backend flex`")
    } else if says(&[
        "binding_size",
        "too big",
        "buffertoobig",
        "max_buffer_size",
        "buffer size",
    ]) {
        Some(
            "a tensor is larger than it binds at once (`bitnet doctor` tells how much): take a smaller model, batch or \
             context, another --device, or `--backend flex`",
        )
    } else if says(&["device lost", "device is lost", "parent device"]) {
        Some("its driver was reset or removed: try again, or take `--backend flex`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the hook is the process's.
    #[test]
    fn a_panic_of_a_device_is_an_error_with_a_remedy() {
        let fail = |message: &'static str| {
            let error = run(Backend::Wgpu, move || panic!("{message}"));
            error.expect_err("it panics").to_string()
        };
        let text = fail(
            "wgpu error: Validation Error\n  range 9 exceeds `max_*_buffer_binding_size` limit 8",
        );
        assert!(
            text.starts_with("the wgpu device failed: wgpu error:"),
            "{text}"
        );
        assert!(text.contains("doctor") && !text.contains('\n'), "{text}");
        let text = fail("Out of memory\nBacktrace:\nNo backtrace available");
        assert!(text.contains("memory is full"), "{text}");
        assert!(!text.contains("available"), "{text}");
        assert!(fail("something else").contains("RUST_BACKTRACE"));

        let mistake = run(Backend::Flex, || panic!("index out of bounds"));
        let text = mistake.expect_err("it panics").to_string();
        assert!(
            text.contains("index out of bounds") && text.contains("report"),
            "{text}"
        );
        let done = run(Backend::Wgpu, || Ok(Outcome::Done));
        assert!(matches!(done, Ok(Outcome::Done)));
        let refused = run(Backend::Wgpu, || Err(anyhow!("no such file")));
        assert_eq!(refused.map(|_| ()).unwrap_err().to_string(), "no such file");
    }
}
