//! What the tests share: a server in this process with tiny models, and a client that speaks raw HTTP.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bitnet_engine::{
    ActivationQuantizer, Engine, Gate, Granularity, Norms, Options, RandomWeights, Shape,
};
use bitnet_formats::ModelFile;
use bitnet_generate::{Batch, BatchOptions, Pooling};
use bitnet_serve::{LoadedModel, ModelSource, ServeError, Server, Settings, Stopper};
use bitnet_text::TextModel;
use serde_json::{Value, json};

pub mod validate;

/// A template as those of most models; `refuse` as a user's word makes it refuse.
pub const CHAT: &str = "{% for m in messages %}{% if m.content == 'refuse' %}{{ raise_exception('not this') }}{% endif %}\
    <|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>{{ speaker | default('assistant') }}\n{% endif %}";
/// Tokens that a text of `chat` may have.
pub const CONTEXT: usize = 512;
/// The id of `<|im_start|>` and `<|im_end|>`, which ends an answer.
pub const MARKS: [u32; 2] = [420, 421];
/// Time for what takes a moment.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A model with a template, an end token and byte-level BPE, of random weights.
pub fn chat_text() -> TextModel {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../bitnet-text/tests/goldens/cut/smollm.gguf"
    );
    let text = TextModel::from_model_file(&ModelFile::open(file).unwrap()).unwrap();
    text.with_template(Some(CHAT.into()))
}

/// A model of bytes without template or end, as `bitnet train` makes them.
pub fn bytes_text() -> TextModel {
    TextModel::from_run(bitnet_data::Tokenizer::Byte)
}

/// An engine of random weights.
pub fn engine(vocab_size: usize, context: usize, seed: u64) -> Engine {
    let shape = Shape {
        vocab_size,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: context,
        rope_theta: 1e4,
        rope_scaling: None,
        rms_norm_eps: 1e-5,
        gate: Gate::Silu,
        activations: ActivationQuantizer::Int8,
        norms: Norms::PRE,
        qk_norm: false,
        tie_word_embeddings: false,
    };
    let weights = RandomWeights {
        shape: shape.clone(),
        ternary: Some(Granularity::Tensor),
        seed,
    };
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    Engine::new(shape, &weights, options).unwrap()
}

/// The models `chat` and `bytes`.
pub fn models() -> Vec<ModelSource> {
    vec![
        source("chat", || (engine(425, CONTEXT, 1), chat_text())),
        source("bytes", || (engine(256, CONTEXT, 2), bytes_text())),
    ]
}

pub fn source(
    name: &str,
    make: impl FnOnce() -> (Engine, TextModel) + Send + 'static,
) -> ModelSource {
    pooled(name, Ok(Pooling::Last), make)
}

/// A model whose vectors are made so.
pub fn pooled(
    name: &str,
    pooling: Result<Pooling, String>,
    make: impl FnOnce() -> (Engine, TextModel) + Send + 'static,
) -> ModelSource {
    ModelSource {
        name: name.into(),
        load: Box::new(move || {
            let (engine, text) = make();
            let batch = Batch::new(engine, BatchOptions::default())?;
            Ok(LoadedModel {
                batch,
                text,
                pooling,
            })
        }),
    }
}

/// A server that runs until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub stopper: Stopper,
    /// Lines of its log.
    pub log: Arc<Mutex<Vec<Value>>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Running {
    /// With the models of [`models`], ready.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// The same with other settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(models(), change)
    }

    pub fn of(models: Vec<ModelSource>, change: impl FnOnce(&mut Settings)) -> Self {
        let (loaded, wait) = mpsc::channel();
        let running = Self::loading(models, change, move || loaded.send(()).unwrap());
        wait.recv_timeout(PATIENCE).unwrap();
        running
    }

    /// A server whose models are not there yet.
    pub fn loading(
        models: Vec<ModelSource>,
        change: impl FnOnce(&mut Settings),
        ready: impl FnOnce() + Send + 'static,
    ) -> Self {
        let mut settings = Settings::default();
        settings.address.set_port(0);
        change(&mut settings);
        let log: Arc<Mutex<Vec<Value>>> = Arc::default();
        let lines = log.clone();
        let sink = Box::new(move |line: &str| {
            lines
                .lock()
                .unwrap()
                .push(serde_json::from_str(line).unwrap());
        });
        let aliases = [("gpt-4o".to_owned(), models[0].name.clone())];
        let server = Server::bind(settings, models, &aliases, sink).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        let thread = Some(thread::spawn(move || server.run(ready)));
        Self {
            address,
            stopper,
            log,
            thread,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and reads until the server closes.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut stream = self.connect();
        // A server that refuses a request may close before all of it is sent.
        let _ = stream.write_all(bytes.as_ref());
        read_all(stream)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[], &body.to_string())
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        Answer::parse(&self.raw(request(method, path, headers, body)))
    }

    /// A chat of one message.
    pub fn chat(&self, content: &str, more: Value) -> Answer {
        self.post("/v1/chat/completions", &chat(content, more))
    }

    pub fn complete(&self, prompt: &str, more: Value) -> Answer {
        self.post("/v1/completions", &completion(prompt, more))
    }

    /// A sample of the metrics; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.filter_map(|line| line.strip_prefix(name)?.rsplit(' ').next());
        values.map(|value| value.parse::<f64>().unwrap()).sum()
    }

    /// Ends it and tells how that went.
    pub fn stop(mut self) -> Result<(), ServeError> {
        self.stopper.stop();
        self.thread.take().unwrap().join().unwrap()
    }

    /// Waits until it ends by itself.
    pub fn wait(mut self) -> Result<(), ServeError> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}

/// A greedy chat of one message; `more` adds to it.
pub fn chat(content: &str, more: Value) -> Value {
    let messages = json!([{"role": "user", "content": content}]);
    merged(
        json!({"model": "chat", "messages": messages, "temperature": 0, "max_tokens": 12}),
        more,
    )
}

/// A greedy completion by the model of bytes; `more` adds to it.
pub fn completion(prompt: &str, more: Value) -> Value {
    merged(
        json!({"model": "bytes", "prompt": prompt, "temperature": 0, "max_tokens": 12}),
        more,
    )
}

pub fn merged(mut value: Value, more: Value) -> Value {
    for (name, field) in more.as_object().unwrap() {
        value[name] = field.clone();
    }
    value
}

/// The bytes of a request after which the connection is closed.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        text += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    (text + "\r\n" + body).into_bytes()
}

pub fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return bytes,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
}

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let headers: BTreeMap<String, String> = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut body = bytes[end + 4..].to_vec();
        if headers
            .get("transfer-encoding")
            .is_some_and(|coding| coding == "chunked")
        {
            body = dechunk(&body);
        }
        Self {
            status,
            headers,
            body,
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// The body of a good answer.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// An error of OpenAI's shape with this status, whose `param` is this.
    #[track_caller]
    pub fn refused(&self, status: u16, param: Option<&str>) -> Value {
        let body = self.json();
        assert_eq!(self.status, status, "{body}");
        assert_eq!(body["error"]["param"].as_str(), param, "{body}");
        let keys: Vec<&String> = body["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{body}");
        body["error"].clone()
    }

    /// The chunks of a stream that ended well.
    #[track_caller]
    pub fn chunks(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.headers["content-type"], "text/event-stream");
        let text = self.text();
        let events = text.split("\n\n").filter(|event| !event.starts_with(':'));
        let mut data: Vec<&str> = events
            .filter_map(|event| event.strip_prefix("data: "))
            .collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{text}");
        data.into_iter()
            .map(|chunk| serde_json::from_str(chunk).unwrap())
            .collect()
    }

    /// The text of a choice of a stream, and why it ended.
    #[track_caller]
    pub fn streamed(&self, index: usize) -> (String, String) {
        let (mut text, mut finish) = (String::new(), None);
        for chunk in self.chunks() {
            for choice in chunk["choices"].as_array().unwrap() {
                if choice["index"] == index {
                    assert_eq!(finish, None, "{chunk} after the end");
                    let delta = choice["text"]
                        .as_str()
                        .or(choice["delta"]["content"].as_str());
                    text += delta.unwrap_or_default();
                    finish = choice["finish_reason"].as_str().map(String::from);
                }
            }
        }
        (text, finish.expect("no end"))
    }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let chunk = &bytes[end + 2..];
        if length == 0 {
            break;
        }
        out.extend_from_slice(&chunk[..length.min(chunk.len())]);
        bytes = chunk.get(length + 2..).unwrap_or_default();
    }
    out
}

/// The text of the first choice of an answer.
pub fn text_of(answer: &Value) -> &str {
    let choice = &answer["choices"][0];
    let text = choice["text"]
        .as_str()
        .or(choice["message"]["content"].as_str());
    text.unwrap_or_else(|| panic!("no text in {answer}"))
}

/// Waits until something holds.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what} does not come");
        thread::sleep(Duration::from_millis(5));
    }
}
