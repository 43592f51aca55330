//! An OpenAI-compatible HTTP server over the CPU engine, with a chat page.
//!
//! | file | concept |
//! |---|---|
//! | `server`, `connection` | listening, loading, ending; how many connections, and which makes room |
//! | `settings` | limits and their defaults |
//! | `app`, `guard` | what requests share; what is checked and noted of each |
//! | `model`, `worker`, `turns` | a served model; the thread that runs its batch; models share the processor in turns |
//! | `fields`, `asked` | the fields of a request, none of them ignored |
//! | `answer` | events of the batch become text |
//! | `grammar`, `gbnf` | answers that follow a schema or a grammar |
//! | `api` | the endpoints |
//! | `page` | the files of the chat page |
//! | `about` | what is told of a model: its size, its modelled energy |
//! | `error`, `log`, `metrics` | what is told when something is wrong; one line a request; Prometheus |
//!
//! Requests are answered on a few threads of tokio; each model runs on one of its own, which lets its batch go on step by
//! step and hears between two steps what is new and who has left.

mod about;
mod answer;
mod api;
mod app;
mod asked;
mod connection;
mod error;
mod fields;
mod gbnf;
mod grammar;
mod guard;
mod log;
mod metrics;
mod model;
pub mod page;
mod server;
mod settings;
mod turns;
mod worker;

pub use error::ServeError;
pub use log::Sink;
pub use model::{LoadError, LoadedModel, ModelSource};
pub use server::{Server, Stopper};
pub use settings::{Limits, Settings};
