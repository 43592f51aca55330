//! From logits to tokens: how the next token is chosen, and many texts at once on the CPU engine.
//!
//! | file | concept |
//! |---|---|
//! | `sample` | temperature, top-k, top-p, min-p, penalties; seeded |
//! | `request` | what is asked of a batch, and what it tells |
//! | `embedding` | a text as one vector |
//!
//! Token ids go in and come out: no text, no network, no threads beside the engine's.

mod embedding;
mod request;
mod sample;

pub use embedding::{Embedding, Pooling};
pub use request::{Constraint, Event, Finish, Request, RequestId, Token, TokenLogprobs, Usage};
pub use sample::{Sampler, Sampling, SamplingError, argmax};
