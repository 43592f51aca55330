//! Where files come from, and where they are kept.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
};

use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        Progress,
        sync::{Api, ApiBuilder, ApiError, ApiRepo},
    },
};

use crate::{
    HubError, Name,
    files::{self, INDEX, SINGLE, Wanted},
};

/// Hugging Face's server.
const SERVER: &str = "https://huggingface.co";

/// Times that a download which broke off is taken up again.
const TRIES: usize = 4;

/// Is told how a download goes.
pub trait Watch {
    /// A file of so many bytes begins.
    fn begin(&mut self, file: &str, bytes: u64);
    /// So many more of them are here.
    fn advance(&mut self, bytes: u64);
    /// The file is complete.
    fn end(&mut self);
}

/// Looks away.
impl Watch for () {
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
}

struct Watched<'a>(&'a mut dyn Watch);

impl Progress for Watched<'_> {
    fn init(&mut self, size: usize, filename: &str) {
        self.0.begin(filename, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.0.advance(size as u64);
    }

    fn finish(&mut self) {
        self.0.end();
    }
}

/// A server, and a folder where its files are kept.
#[derive(Clone, Debug)]
pub struct Hub {
    /// The server's address.
    pub server: String,
    /// The folder.
    pub cache: PathBuf,
    /// Who asks.
    pub token: Option<String>,
    /// Whether only what is kept is used.
    pub offline: bool,
}

impl Hub {
    /// What the environment says.
    ///
    /// # Errors
    ///
    /// If it says no folder, and there is no home directory.
    pub fn from_env() -> Result<Self, HubError> {
        let get = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match (get("HF_HUB_CACHE"), get("HF_HOME")) {
            (Some(cache), _) => cache.into(),
            (None, Some(home)) => Path::new(&home).join("hub"),
            (None, None) => {
                let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
                let home = home.ok_or(HubError::NoHome)?;
                home.join(".cache/huggingface/hub")
            }
        };
        // Relative links in it would point elsewhere.
        let cache = std::path::absolute(&cache).unwrap_or(cache);
        let is_on =
            |value: String| matches!(&value.to_uppercase()[..], "1" | "ON" | "YES" | "TRUE");
        let server = get("HF_ENDPOINT").unwrap_or_else(|| SERVER.into());
        Ok(Self {
            server: server.trim_end_matches('/').into(),
            token: get("HF_TOKEN").or_else(|| Cache::new(cache.clone()).token()),
            cache,
            offline: get("HF_HUB_OFFLINE").is_some_and(is_on),
        })
    }

    /// The file or folder of a model, downloaded where it is not kept already.
    ///
    /// # Errors
    ///
    /// If it cannot be had.
    pub fn model(&self, name: &Name, watch: &mut dyn Watch) -> Result<PathBuf, HubError> {
        if self.offline {
            return self.kept(name);
        }
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(self.server.clone())
            .with_token(self.token.clone())
            .with_user_agent("bitnet", env!("CARGO_PKG_VERSION"))
            .with_progress(false)
            .build()
            .map_err(|error| self.explain(name, error))?;
        let info = api.repo(repo(name, &name.revision)).info();
        let info = info.map_err(|error| self.explain(name, error))?;
        let all: Vec<String> = info.siblings.into_iter().map(|s| s.rfilename).collect();
        let wanted = files::choose(name, &all)?;
        // Of one revision, whatever happens to the branch meanwhile.
        let at = Fetch {
            hub: self,
            name,
            repo: api.repo(repo(name, &info.sha)),
            cache: Cache::new(self.cache.clone()).repo(repo(name, &info.sha)),
            api: &api,
        };
        let path = match wanted {
            Wanted::Gguf(file) => at.file(&file, watch)?,
            Wanted::Folder(files) => at.folder(&files, watch)?,
        };
        let branch = Cache::new(self.cache.clone()).repo(repo(name, &name.revision));
        let marked = branch.create_ref(&info.sha);
        marked.map_err(|error| self.unwritten(name, error))?;
        Ok(path)
    }

    /// What is kept of a model, if it is all of it.
    fn kept(&self, name: &Name) -> Result<PathBuf, HubError> {
        let missing = || HubError::Offline {
            name: name.to_string(),
            cache: self.cache.clone(),
        };
        let commit = self.folder(name).join("refs").join(&name.revision);
        let commit = fs::read_to_string(commit).unwrap_or_else(|_| name.revision.clone());
        let snapshot = self.folder(name).join("snapshots").join(commit.trim());
        let all = names(&snapshot, "");
        if all.is_empty() {
            return Err(missing());
        }
        let is_there = |file: &str| snapshot.join(file).is_file();
        match files::choose(name, &all).map_err(|_| missing())? {
            Wanted::Gguf(file) => Ok(snapshot.join(file)),
            Wanted::Folder(files) if files.iter().any(|file| file == INDEX) => {
                let index = fs::read(snapshot.join(INDEX)).unwrap_or_default();
                let shards = files::shards(&index).ok_or_else(missing)?;
                match shards.iter().all(|shard| is_there(shard)) {
                    true => Ok(snapshot),
                    false => Err(missing()),
                }
            }
            Wanted::Folder(_) if is_there(SINGLE) => Ok(snapshot),
            Wanted::Folder(_) => Err(missing()),
        }
    }

    /// Where the files of a repository are kept.
    fn folder(&self, name: &Name) -> PathBuf {
        self.cache.join(repo(name, &name.revision).folder_name())
    }

    fn unwritten(&self, name: &Name, source: io::Error) -> HubError {
        let cache = self.cache.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                HubError::DiskFull { cache }
            }
            _ => HubError::Cache {
                name: name.to_string(),
                cache,
                source,
            },
        }
    }

    fn answer(&self, name: &Name, problem: impl ToString) -> HubError {
        HubError::Answer {
            name: name.to_string(),
            server: self.server.clone(),
            problem: problem.to_string(),
        }
    }

    fn network(&self, name: &Name, problem: impl ToString) -> HubError {
        HubError::Network {
            name: name.to_string(),
            server: self.server.clone(),
            problem: problem.to_string(),
        }
    }

    fn explain(&self, name: &Name, error: ApiError) -> HubError {
        let (named, server) = (name.to_string(), self.server.clone());
        let error = match error {
            ApiError::RequestError(error) => *error,
            ApiError::TooManyRetries(error) => return self.explain(name, *error),
            ApiError::IoError(error) if is_of_the_network(&error) => {
                return self.network(name, error);
            }
            ApiError::IoError(error) => return self.unwritten(name, error),
            ApiError::LockAcquisition(lock) => return HubError::Locked { name: named, lock },
            other => return self.answer(name, other),
        };
        match error {
            ureq::Error::StatusCode(404) => HubError::NotFound {
                name: named,
                server,
            },
            ureq::Error::StatusCode(status @ (401 | 403)) => HubError::Refused {
                name: named,
                server,
                status,
            },
            ureq::Error::StatusCode(status) => HubError::Status {
                name: named,
                server,
                status,
            },
            ureq::Error::Json(error) => self.answer(name, error),
            error @ (ureq::Error::BadUri(_) | ureq::Error::Protocol(_)) => self.answer(name, error),
            error => self.network(name, error),
        }
    }
}

/// Errors of a connection come as those of files do.
fn is_of_the_network(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkDown, NetworkUnreachable, NotConnected, Other, TimedOut, UnexpectedEof, WouldBlock,
    };
    matches!(
        error.kind(),
        BrokenPipe
            | ConnectionAborted
            | ConnectionRefused
            | ConnectionReset
            | HostUnreachable
            | NetworkDown
            | NetworkUnreachable
            | NotConnected
            | Other
            | TimedOut
            | UnexpectedEof
            | WouldBlock
    )
}

fn repo(name: &Name, revision: &str) -> Repo {
    Repo::with_revision(name.repository.clone(), RepoType::Model, revision.into())
}

/// The files below a folder, by their paths in it.
fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => found.extend(names(&entry.path(), &format!("{name}/"))),
            false => found.extend([name]),
        }
    }
    found.into_iter().collect()
}

/// One revision of a repository.
struct Fetch<'a> {
    hub: &'a Hub,
    name: &'a Name,
    api: &'a Api,
    repo: ApiRepo,
    cache: hf_hub::CacheRepo,
}

impl Fetch<'_> {
    /// A folder of transformers.
    fn folder(&self, files: &[String], watch: &mut dyn Watch) -> Result<PathBuf, HubError> {
        let mut folder = PathBuf::new();
        for file in files {
            let path = self.file(file, watch)?;
            folder = path.parent().unwrap_or(Path::new("")).to_owned();
            if file == INDEX {
                let index = fs::read(&path).map_err(|e| self.hub.unwritten(self.name, e))?;
                let shards = files::shards(&index);
                let problem = "model.safetensors.index.json names no files of its folder";
                for shard in shards.ok_or_else(|| self.hub.answer(self.name, problem))? {
                    self.file(&shard, watch)?;
                }
            }
        }
        Ok(folder)
    }

    /// A file, as it is kept or downloaded.
    fn file(&self, file: &str, watch: &mut dyn Watch) -> Result<PathBuf, HubError> {
        if let Some(path) = self.cache.get(file) {
            return Ok(path);
        }
        let explain = |error| self.hub.explain(self.name, error);
        let metadata = self.api.metadata(&self.repo.url(file)).map_err(explain)?;
        let (etag, size) = (metadata.etag(), metadata.size() as u64);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if etag.is_empty() || !etag.chars().all(is_plain) {
            return Err(self.hub.answer(self.name, format!("the etag {etag:?}")));
        }
        let blob = self.cache.blob_path(etag);
        let part = blob.with_extension("part");
        for tries in 1.. {
            // What is longer than the file, or as long and was never given its name, is of another one.
            if part.metadata().is_ok_and(|part| part.len() >= size) {
                let _ = fs::remove_file(&part);
            }
            let got = self
                .repo
                .download_with_progress(file, Watched(&mut *watch))
                .map_err(explain);
            match got {
                Err(HubError::Network { .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
                Ok(path) => match fs::metadata(&path) {
                    Ok(found) if found.len() == size => return Ok(path),
                    // The server does not go on where it is asked to, or stopped without a word.
                    _ if tries < TRIES => {
                        let _ = fs::remove_file(&path);
                        let _ = fs::remove_file(&blob);
                    }
                    _ => {
                        let _ = fs::remove_file(&path);
                        let _ = fs::remove_file(&blob);
                        let problem = format!("{file} has another size than {size} bytes");
                        return Err(self.hub.answer(self.name, problem));
                    }
                },
            }
        }
        unreachable!("the last try returns")
    }
}
