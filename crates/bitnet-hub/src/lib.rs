//! Models by name: `hf://org/name`, `hf://org/name@revision`, and of several GGUF files one, `hf://org/name/file.gguf`.
//!
//! | file | concept |
//! |---|---|
//! | `name` | a name, taken apart |
//! | `files` | which files of a repository a model is |
//! | `hub` | where they come from, and where they are kept |
//! | `error` | why there is no model |
//!
//! Files are kept where Hugging Face's own programs keep them, and shared with these. The environment says where and from
//! whom, in their words:
//!
//! | variable | means |
//! |---|---|
//! | `HF_HOME`, `HF_HUB_CACHE` | where files are kept; default: `~/.cache/huggingface`, in it `hub` |
//! | `HF_TOKEN` | who asks, for models that are not for all; default: what `hf auth login` left |
//! | `HF_ENDPOINT` | another server |
//! | `HF_HUB_OFFLINE` | only what is kept already |
//!
//! Only the files that make a model are downloaded: safetensors by their index, the configurations, the tokenizer and the
//! chat template, or the one GGUF file. What was interrupted goes on where it stopped.

mod error;
mod files;
mod hub;
mod name;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

pub use error::HubError;
pub use hub::{Hub, Watch};
pub use name::Name;

/// The path of a model: where the files of a name are kept, and any other path as it is. A name is looked up once a process,
/// so that all parts of a program see one revision.
///
/// # Errors
///
/// If a name is none, or its files cannot be had.
pub fn local(path: &Path, watch: &mut dyn Watch) -> Result<PathBuf, HubError> {
    static KNOWN: OnceLock<Mutex<HashMap<PathBuf, PathBuf>>> = OnceLock::new();
    let Some(name) = Name::parse(path)? else {
        return Ok(path.to_owned());
    };
    let known = || {
        let known = KNOWN.get_or_init(Mutex::default);
        known.lock().unwrap_or_else(PoisonError::into_inner)
    };
    if let Some(found) = known().get(path) {
        return Ok(found.clone());
    }
    let found = Hub::from_env()?.model(&name, watch)?;
    known().insert(path.to_owned(), found.clone());
    Ok(found)
}
