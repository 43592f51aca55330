//! Against a server on this machine that answers as the hub does: an API, small files as they are, large ones by a redirect
//! to another address, ranges, etags and commits in headers.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use bitnet_hub::{Hub, HubError, Name, Watch};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has, and what it was asked.
#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    /// Files that come from elsewhere.
    large: Vec<String>,
    /// Paths and ranges, in their order.
    asked: Vec<(String, String)>,
    tokens: Vec<String>,
    /// Bytes after which a connection breaks, each used once.
    breaks: Vec<usize>,
    /// Whether only who has a token is answered.
    gated: bool,
    /// Whether ranges are not heeded.
    ignores_ranges: bool,
}

struct Server {
    address: String,
    state: Arc<Mutex<State>>,
    cache: tempfile::TempDir,
}

impl Server {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files = files
            .iter()
            .map(|(name, bytes)| (name.to_string(), bytes.to_vec()));
        let state = Arc::new(Mutex::new(State {
            files: files.collect(),
            ..State::default()
        }));
        let (shared, own) = (Arc::clone(&state), address.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, own) = (Arc::clone(&shared), own.clone());
                thread::spawn(move || {
                    let _ = serve(stream, &shared, &own);
                });
            }
        });
        Self {
            address,
            state,
            cache: tempfile::tempdir().unwrap(),
        }
    }

    fn with(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.state.lock().unwrap());
        self
    }

    fn hub(&self) -> Hub {
        Hub {
            server: self.address.clone(),
            cache: self.cache.path().to_owned(),
            token: None,
            offline: false,
        }
    }

    fn asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, address: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_string();
        let (mut range, mut token) = (String::new(), String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim_end();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(": ").unwrap_or_default();
            match &name.to_lowercase()[..] {
                "range" => range = value.to_string(),
                "authorization" => token = value.to_string(),
                _ => {}
            }
        }
        let mut state = state.lock().unwrap();
        state.asked.push((path.clone(), range.clone()));
        state.tokens.push(token.clone());
        if state.gated && token != "Bearer secret" {
            out.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        if path.starts_with("/api/models/org/name/revision/") {
            let known = path.ends_with("/main") || path.ends_with("/v1");
            let mut names: Vec<&String> = state.files.keys().collect();
            names.sort();
            let siblings: Vec<String> = names
                .iter()
                .map(|name| format!("{{\"rfilename\": \"{name}\"}}"))
                .collect();
            let body = format!(
                "{{\"sha\": \"{COMMIT}\", \"siblings\": [{}]}}",
                siblings.join(", ")
            );
            let answer = match known {
                true => format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ),
                false => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(),
            };
            out.write_all(answer.as_bytes())?;
            continue;
        }
        let resolve = format!("/org/name/resolve/{COMMIT}/");
        let name = path.strip_prefix(&resolve).or(path.strip_prefix("/cdn/"));
        let Some(bytes) = name.and_then(|name| state.files.get(name)).cloned() else {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let name = name.unwrap_or_default().to_string();
        let etag = format!("etag-{}", name.replace(['.', '/'], "-"));
        if path.starts_with("/org/") && state.large.contains(&name) {
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: {address}/cdn/{name}\r\nX-Repo-Commit: {COMMIT}\r\n\
                 X-Linked-Etag: \"{etag}\"\r\nContent-Length: 0\r\n\r\n"
            );
            out.write_all(answer.as_bytes())?;
            continue;
        }
        let bounds = range.strip_prefix("bytes=").and_then(|r| r.split_once('-'));
        let heeds = !state.ignores_ranges || range == "bytes=0-0";
        let (start, end) = match bounds.filter(|_| heeds) {
            Some((start, end)) => (
                start.parse().unwrap_or(0),
                end.parse().map_or(bytes.len(), |end: usize| end + 1),
            ),
            None => (0, bytes.len()),
        };
        let part = &bytes[start.min(bytes.len())..end.min(bytes.len())];
        let head = format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\
             X-Repo-Commit: {COMMIT}\r\nEtag: \"{etag}\"\r\n\r\n",
            part.len(),
            end.saturating_sub(1),
            bytes.len()
        );
        out.write_all(head.as_bytes())?;
        let breaks = match part.len() > 1 {
            true => state.breaks.pop(),
            false => None,
        };
        if let Some(at) = breaks {
            out.write_all(&part[..at])?;
            out.flush()?;
            // Gone in the middle of a file.
            return Ok(());
        }
        out.write_all(part)?;
    }
}

fn name(text: &str) -> Name {
    Name::parse(Path::new(text)).unwrap().unwrap()
}

/// A folder whose weights come by a redirect.
fn folder() -> Server {
    let server = Server::new(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{\"model\": {}}"),
        ("model.safetensors", &[7; 5000]),
        ("pytorch_model.bin", b"never"),
        ("README.md", b"never"),
    ]);
    server.with(|state| state.large.push("model.safetensors".into()))
}

/// Counts what it is told.
#[derive(Default)]
struct Count {
    files: Vec<(String, u64)>,
    bytes: u64,
    ended: usize,
}

impl Watch for Count {
    fn begin(&mut self, file: &str, bytes: u64) {
        self.files.push((file.into(), bytes));
        self.bytes = 0;
    }

    fn advance(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    fn end(&mut self) {
        self.ended += 1;
    }
}

#[test]
fn a_model_is_downloaded_once_and_only_its_files() {
    let server = folder();
    let mut watch = Count::default();
    let path = server
        .hub()
        .model(&name("hf://org/name"), &mut watch)
        .unwrap();
    assert_eq!(fs::read(path.join("model.safetensors")).unwrap(), [7; 5000]);
    assert_eq!(
        fs::read(path.join("tokenizer.json")).unwrap(),
        b"{\"model\": {}}"
    );
    assert_eq!(fs::read_dir(&path).unwrap().count(), 3);
    assert!(path.ends_with(format!("models--org--name/snapshots/{COMMIT}")));
    assert_eq!(
        watch.files.last().unwrap(),
        &("model.safetensors".into(), 5000)
    );
    assert_eq!((watch.bytes, watch.ended), (5000, 3));
    let asked = server.asked();
    assert!(
        !asked
            .iter()
            .any(|(path, _)| path.contains("never") || path.contains("README"))
    );
    assert!(
        asked
            .iter()
            .any(|(path, _)| path == "/cdn/model.safetensors")
    );

    // A second time the branch is looked up, and nothing else.
    let again = server.hub().model(&name("hf://org/name"), &mut ()).unwrap();
    assert_eq!(again, path);
    let asked = server.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");

    // Offline nobody is asked, by branch or by commit.
    let offline = Hub {
        offline: true,
        ..server.hub()
    };
    for text in [
        "hf://org/name".to_string(),
        format!("hf://org/name@{COMMIT}"),
    ] {
        assert_eq!(offline.model(&name(&text), &mut ()).unwrap(), path);
    }
    assert!(server.asked().is_empty());
    let error = offline
        .model(&name("hf://org/name@v1"), &mut ())
        .unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    // A folder without its weights is none.
    fs::remove_file(path.join("model.safetensors")).unwrap();
    let error = offline.model(&name("hf://org/name"), &mut ()).unwrap_err();
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
}

#[test]
fn a_revision_is_asked_for_by_its_name() {
    let server = folder();
    let path = server
        .hub()
        .model(&name("hf://org/name@v1"), &mut ())
        .unwrap();
    assert!(path.ends_with(COMMIT));
    assert_eq!(server.asked()[0].0, "/api/models/org/name/revision/v1");
    let error = server
        .hub()
        .model(&name("hf://org/name@v2"), &mut ())
        .unwrap_err();
    assert!(matches!(error, HubError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("hf://org/name@v2"), "{error}");
}

#[test]
fn what_breaks_off_goes_on_where_it_stopped() {
    let bytes: Vec<u8> = (0..5000_u32).map(|i| (i * 7) as u8).collect();
    let server = Server::new(&[("a.gguf", &bytes)]).with(|state| {
        state.large.push("a.gguf".into());
        state.breaks = vec![500, 1200];
    });
    let path = server.hub().model(&name("hf://org/name"), &mut ()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let asked = server.asked();
    let of_file = asked
        .iter()
        .filter(|(path, range)| path == "/cdn/a.gguf" && range != "bytes=0-0");
    let ranges: Vec<&str> = of_file.map(|(_, range)| &range[..]).collect();
    assert_eq!(ranges, ["bytes=0-", "bytes=1200-", "bytes=1700-"]);
}

/// A connection that stays away for longer: the next call goes on.
#[test]
fn a_later_call_goes_on_too() {
    let bytes: Vec<u8> = (0..3000_u32).map(|i| (i * 11) as u8).collect();
    let server = Server::new(&[("a.gguf", &bytes)]).with(|state| state.breaks = vec![100; 4]);
    let error = server
        .hub()
        .model(&name("hf://org/name"), &mut ())
        .unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert!(
        error.to_string().contains("goes on where it stopped"),
        "{error}"
    );
    server.asked();
    let path = server.hub().model(&name("hf://org/name"), &mut ()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let asked = server.asked();
    assert!(
        asked.iter().any(|(_, range)| range == "bytes=400-"),
        "{asked:?}"
    );
}

#[test]
fn a_server_that_starts_anew_is_not_believed_twice() {
    let bytes: Vec<u8> = (0..3000_u32).map(|i| (i * 13) as u8).collect();
    let server = Server::new(&[("a.gguf", &bytes)]).with(|state| {
        state.breaks = vec![100];
        state.ignores_ranges = true;
    });
    let path = server.hub().model(&name("hf://org/name"), &mut ()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn shards_are_those_of_the_index() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let server = Server::new(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
        ("model-3.safetensors", b"of nobody"),
    ]);
    let path = server.hub().model(&name("hf://org/name"), &mut ()).unwrap();
    assert_eq!(fs::read(path.join("model-2.safetensors")).unwrap(), b"two");
    assert!(!path.join("model-3.safetensors").exists());

    let escaping = br#"{"weight_map": {"a": "../../model-1.safetensors"}}"#;
    let server = Server::new(&[
        ("config.json", b"{}"),
        ("model.safetensors.index.json", escaping),
    ]);
    let error = server
        .hub()
        .model(&name("hf://org/name"), &mut ())
        .unwrap_err();
    assert!(matches!(error, HubError::Answer { .. }), "{error}");
}

#[test]
fn of_several_files_one_is_named() {
    let server = Server::new(&[("a.gguf", b"a"), ("b/c.gguf", b"c")]);
    let error = server
        .hub()
        .model(&name("hf://org/name"), &mut ())
        .unwrap_err();
    assert!(error.to_string().contains("a.gguf, b/c.gguf"), "{error}");
    let path = server
        .hub()
        .model(&name("hf://org/name/b/c.gguf"), &mut ())
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), b"c");
}

#[test]
fn a_token_opens_what_is_not_for_all() {
    let server = folder().with(|state| state.gated = true);
    let error = server
        .hub()
        .model(&name("hf://org/name"), &mut ())
        .unwrap_err();
    assert!(
        matches!(error, HubError::Refused { status: 401, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    let hub = Hub {
        token: Some("secret".into()),
        ..server.hub()
    };
    hub.model(&name("hf://org/name"), &mut ()).unwrap();
}

#[test]
fn no_server_and_no_room_are_said() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub {
        server: nobody,
        cache: cache.path().to_owned(),
        token: None,
        offline: false,
    };
    let error = hub.model(&name("hf://org/name"), &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert!(error.to_string().contains("HF_HUB_OFFLINE=1"), "{error}");

    // A file stands where the folder is to be.
    let server = folder();
    let taken: PathBuf = cache.path().join("file");
    fs::write(&taken, "").unwrap();
    let hub = Hub {
        cache: taken.join("hub"),
        ..server.hub()
    };
    let error = hub.model(&name("hf://org/name"), &mut ()).unwrap_err();
    assert!(matches!(error, HubError::Cache { .. }), "{error}");
}
