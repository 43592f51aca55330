//! Encoders, and decoders that read one: classifiers of texts, and models that write a sequence from another.
//!
//! They are small and read many sequences, where a language model is large and reads one; so a thread takes some sequences
//! through the whole model, without padding, and waits for no other. Products, norms, attention and caches are those of the
//! language model.
//!
//! | file | concept |
//! |---|---|
//! | `shape`, `weights` | what goes in |
//! | `embedding` | tokens to rows, and the float heads |
//! | `head` | rows to the likeliest tokens |
//! | `common` | norms, and attention to the caches of heads |
//! | `block` | attention and feed-forward parts, in stacks |
//! | `outputs` | what a search has written |
//! | `classifier`, `decoder` | the two models |
//! | `threads` | sequences as jobs |
mod block;
mod classifier;
mod common;
mod decoder;
mod embedding;
mod head;
mod outputs;
mod shape;
pub(crate) mod threads;
mod weights;

pub use classifier::ClassifierEngine;
pub use decoder::{Extending, Memory, SequenceEngine, Worker, Writing, Written};
pub(crate) use embedding::head;
pub use head::{Candidate, Likeliest};
pub use outputs::Outputs;
pub use shape::{Activation, FeedForward, Placement, Positions, SequenceShape};
pub use weights::{
    AttentionWeights, BlockWeights, FeedForwardWeights, StackWeights, Sublayer, TableWeights,
};
