//! Why there is no model of a name.

use std::path::PathBuf;

/// Why there is no model of a name. Each message names it and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// It begins as a name does.
    #[error("{0}: expected hf://org/name, hf://org/name@revision, or hf://org/name/file.gguf")]
    Name(String),
    /// The server has nothing of that name, or does not say so to everybody.
    #[error(
        "{name}: {server} has no such model or revision; check the name, and if it is not for all set HF_TOKEN"
    )]
    NotFound {
        /// The model.
        name: String,
        /// Who was asked.
        server: String,
    },
    /// The model is not for whoever asked.
    #[error(
        "{name}: {server} refuses it ({status}); accept its terms there, and set HF_TOKEN to a token of yours"
    )]
    Refused {
        /// The model.
        name: String,
        /// Who was asked.
        server: String,
        /// 401 or 403.
        status: u16,
    },
    /// The server answers with an error of its own.
    #[error("{name}: {server} answers {status}; try again later")]
    Status {
        /// The model.
        name: String,
        /// Who was asked.
        server: String,
        /// Its code.
        status: u16,
    },
    /// The server cannot be reached, or stopped in the middle.
    #[error(
        "{name}: {server} cannot be reached ({problem}); try again, which goes on where it stopped, or use what is kept \
         already with HF_HUB_OFFLINE=1"
    )]
    Network {
        /// The model.
        name: String,
        /// Who was asked.
        server: String,
        /// What the connection says.
        problem: String,
    },
    /// The server's answer is none of a hub.
    #[error("{name}: {server} does not answer as a hub does ({problem}); check HF_ENDPOINT")]
    Answer {
        /// The model.
        name: String,
        /// Who was asked.
        server: String,
        /// What is wrong.
        problem: String,
    },
    /// Nothing is kept, and nobody may be asked.
    #[error("{name}: it is not kept in {} and HF_HUB_OFFLINE is set; unset that to download it", cache.display())]
    Offline {
        /// The model.
        name: String,
        /// Where was looked.
        cache: PathBuf,
    },
    /// The named file is not in the repository.
    #[error("{name}: the repository has no such file; of GGUF files it has {there}")]
    NoFile {
        /// The model.
        name: String,
        /// GGUF files.
        there: String,
    },
    /// The repository holds no model that is read.
    #[error(
        "{0}: the repository has neither config.json with safetensors nor a .gguf file; take another one"
    )]
    NoModel(String),
    /// The repository holds several models.
    #[error("{name}: the repository has {there}; name one of them, as in {name}/FILE.gguf")]
    Several {
        /// The model.
        name: String,
        /// GGUF files.
        there: String,
    },
    /// There is no room.
    #[error("{}: there is no space left; free some, or set HF_HOME to a folder of another disk", cache.display())]
    DiskFull {
        /// Where files are kept.
        cache: PathBuf,
    },
    /// A file cannot be kept.
    #[error("{name}: cannot write to {}; set HF_HOME to another folder", cache.display())]
    Cache {
        /// The model.
        name: String,
        /// Where files are kept.
        cache: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process downloads the same file.
    #[error("{name}: another process downloads it ({}); wait for it", lock.display())]
    Locked {
        /// The model.
        name: String,
        /// The file that is locked.
        lock: PathBuf,
    },
    /// Nothing says where to keep files.
    #[error("there is no home directory to keep models in; set HF_HOME to a folder")]
    NoHome,
}
