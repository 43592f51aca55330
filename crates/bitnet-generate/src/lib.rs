//! From logits to tokens: how the next token is chosen, and many texts at once on the CPU engine.
//!
//! | file | concept |
//! |---|---|
//! | `sample` | temperature, top-k, top-p, min-p, penalties; seeded |
//! | `ranked` | tokens by their logits, in order as far as needed |
//! | `vocabulary` | which ids may be chosen: those that have a token |
//! | `request` | what is asked of a batch, and what it tells |
//! | `batch` | many texts at once: scheduling, memory, prefixes, drafts |
//! | `beam` | the likeliest whole outputs of an encoder–decoder |
//! | `embedding` | a text as one vector |
//!
//! Token ids go in and come out: no text, no network, no threads beside the engine's.

mod batch;
mod beam;
mod embedding;
mod ranked;
mod request;
mod sample;
mod vocabulary;

pub use batch::{Batch, BatchError, BatchOptions, Counters, SubmitError};
pub use beam::{BeamError, BeamSearch, EmptyBeam, Hypothesis};
pub use embedding::{Embedding, Pooling};
pub use request::{Constraint, Event, Finish, Request, RequestId, Token, TokenLogprobs, Usage};
pub use sample::{Sampler, Sampling, SamplingError, argmax};
pub use vocabulary::Vocabulary;
