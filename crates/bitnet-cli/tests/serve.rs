//! The server as a program: it starts, answers as `bitnet generate` does, and ends when it is told to.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::Place;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// Time for what takes a moment on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that is ready.
struct Serving {
    child: Child,
    address: String,
    /// What it says from then on.
    rest: thread::JoinHandle<String>,
}

impl Serving {
    fn new(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(&[&["serve", "--port", "0"], args].concat());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some(rest) = line.strip_prefix("ready at http://") {
                break rest.split(' ').next().unwrap().trim().to_owned();
            }
        };
        let rest = thread::spawn(move || {
            let mut rest = String::new();
            lines.read_to_string(&mut rest).unwrap();
            rest
        });
        Self {
            child,
            address,
            rest,
        }
    }

    /// Sends a request; its answer can be read.
    fn send(&self, path: &str, headers: &str, body: &Value) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        stream
    }

    fn ask(&self, path: &str, headers: &str, body: &Value) -> (u16, Value) {
        let mut said = String::new();
        self.send(path, headers, body)
            .read_to_string(&mut said)
            .unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        (
            head[9..12].parse().unwrap(),
            serde_json::from_str(body).unwrap(),
        )
    }

    /// Tells it to end and waits: its code, and what it said.
    fn terminate(mut self) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        let begin = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if begin.elapsed() > PATIENCE => panic!("it does not end"),
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        (status.code(), self.rest.join().unwrap())
    }
}

#[test]
fn an_answer_is_that_of_generate_and_sigterm_under_load_ends_with_0() {
    let place = Place::new();
    // Room for answers that take a while.
    place.train("run", &["--set", "model.max_position_embeddings=8192"]);
    let prompt = "One morning ";
    let args = [
        "generate",
        "run",
        "--prompt",
        prompt,
        "--temperature",
        "0",
        "--max-new-tokens",
        "24",
    ];
    let alone = place
        .run(&[&args[..], &["-o", "json", "-q"]].concat())
        .json();
    let server = Serving::new(&place, &["run", "--alias", "small=run"]);
    let body = json!({"model": "small", "prompt": prompt, "temperature": 0, "max_tokens": 24});
    let threads: Vec<_> = thread::scope(|scope| {
        let ask = || server.ask("/v1/completions", "", &body);
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for (status, answer) in threads {
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["choices"][0]["text"], alone["text"]);
        assert_eq!(answer["model"], "run");
    }
    // Answers that are being written come to their end.
    let long = json!({"prompt": prompt, "max_tokens": -1, "stream": true, "n": 4});
    let mut streams: Vec<TcpStream> = (0..4)
        .map(|_| server.send("/v1/completions", "", &long))
        .collect();
    let mut first = [0; 12];
    streams
        .iter_mut()
        .for_each(|stream| stream.read_exact(&mut first).unwrap());
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0), "{said}");
    for mut stream in streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("data: [DONE]"), "{rest}");
    }
    let log: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(log.len(), 12, "{said}");
    assert!(log.iter().all(|line| line["finish"] == "length"), "{said}");
    assert!(
        !said.contains(prompt) && !said.contains("panicked"),
        "{said}"
    );
}

#[test]
fn keys_come_from_a_file_and_the_environment() {
    let place = Place::new();
    place.train("run", &[]);
    place.write("keys", "one\n\n  two \n");
    let server = Serving::new(&place, &["name=run", "--api-key-file", "keys", "--quiet"]);
    let body = json!({"prompt": "a", "max_tokens": 1});
    for (headers, expected) in [
        ("", 401),
        ("Authorization: Bearer three\r\n", 401),
        ("Authorization: Bearer two\r\n", 200),
    ] {
        assert_eq!(
            server.ask("/v1/completions", headers, &body).0,
            expected,
            "{headers}"
        );
    }
    let (code, said) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(!said.contains("/v1/completions"), "{said}");
    place.write("keys", "\n");
    place.fails(
        &["serve", "run", "--port", "0", "--api-key-file", "keys"],
        &["keys", "no key"],
    );
    let mut empty = place.command(&["serve", "run", "--port", "0"]);
    empty.env("BITNET_API_KEY", " ");
    place.command_fails(&mut empty, &["BITNET_API_KEY", "unset it"]);
}

#[test]
fn what_cannot_be_served_is_told() {
    let place = Place::new();
    place.write("model.gguf", "no model");
    let fails = |args: &[&str], says: &[&str]| {
        place.fails(&[&["serve", "--port", "0"], args].concat(), says);
    };
    fails(&["absent"], &["absent"]);
    fails(&["model.gguf"], &["model", "GGUF"]);
    fails(&["a=model.gguf", "a=other"], &["\"a\"", "NAME=MODEL"]);
    fails(
        &["model.gguf", "--alias", "x"],
        &["--alias x", "NAME=MODEL"],
    );
    fails(&["model.gguf", "--alias", "x=y"], &["\"y\"", "model"]);
    fails(
        &["model.gguf", "--cors", "example.org"],
        &["example.org", "https://"],
    );
    fails(&["model.gguf", "--chat-template", "absent"], &["absent"]);
    fails(&["model.gguf", "--api-key-file", "absent"], &["absent"]);
    fails(
        &["model.gguf", "--host", "192.0.2.1"],
        &["192.0.2.1", "--host"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    place.fails(
        &["serve", "model.gguf", "--port", &port],
        &[&port, "--port"],
    );
}
