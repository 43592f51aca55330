//! Model files of others as models of the CPU engine: a GGUF file or a folder of transformers goes in, an
//! [`Engine`](bitnet_engine::Engine) comes out.
//!
//! | file | concept |
//! |---|---|
//! | `checkpoint` | a file that is open: what the engine runs of it, and why not |
//! | `weights` | its tensors, one at a time, as the engine takes them |
//! | `export` | the other way: a model of the engine as one that can be written |
//! | `error` | why a model was not loaded |
//!
//! A description is taken apart completely, so that a convention that `bitnet-formats` learns and nobody handles here does
//! not compile. Tensors are read in place and one by one, and their pages given back: the peak of memory is the model as
//! it runs, and one matrix.
//!
//! ```no_run
//! use bitnet_engine::Options;
//! use bitnet_load::Checkpoint;
//!
//! let model = Checkpoint::open("model.gguf")?;
//! let mut engine = model.engine(Options::default())?;
//! let mut session = engine.session(64)?;
//! let logits = engine.forward(&mut session, &[1, 2, 3])?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod checkpoint;
mod error;
mod export;
mod weights;

pub use checkpoint::{Activations, Checkpoint};
pub use error::LoadError;
pub use export::export;
