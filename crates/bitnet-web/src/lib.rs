//! The CPU engine in a web page.
//!
//! [`Writer`] is a GGUF file in memory that continues texts and answers in conversations, a step at a time: the worker of
//! the page in `page/` calls it between two messages, so that a reader can stop it at any token. It is the crates of the
//! command line on one thread, so it writes the same tokens.
//!
//! | file | concept |
//! |---|---|
//! | `writer` | a model and the text that it writes |
//! | `bindings` | the same for JavaScript |
//!
//! `cargo xtask web` builds the page (docs/browser.md).

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod bindings;
mod writer;

pub use writer::{About, Defaults, End, Request, Step, WebError, Writer};
