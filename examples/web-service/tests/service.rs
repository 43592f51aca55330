//! The service with the model of the web page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

const MODEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../crates/bitnet-web/page/stories.gguf"
);

struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_web-service"))
            .args([MODEL, "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (_, rest) = line.split_once("http://").unwrap();
        let address = rest.split('/').next().unwrap().to_owned();
        Self { child, address }
    }

    /// Status and body of an answer.
    fn ask(&self, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "POST /continue HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap();
        (status.to_owned(), body.to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_answers_and_says_what_it_cannot() {
    let service = Service::start();
    let asked = r#"{"prompt": "One morning ", "tokens": 20, "seed": 3}"#;
    let (status, text) = service.ask(asked);
    assert_eq!(status, "200", "{text}");
    assert!(text.len() > r#"{"text":""}"#.len() + 5, "{text}");
    assert_eq!(service.ask(asked), (status, text));
    let long = format!(r#"{{"prompt": "{}"}}"#, "One morning ".repeat(1000));
    for (body, problem) in [
        (r#"{"prompt": ""}"#, "prompt"),
        (r#"{"prompt": "One ", "temperature": -1}"#, "temperature"),
        (long.as_str(), "tokens"),
        (r#"{"promt": "One "}"#, "promt"),
    ] {
        let (status, text) = service.ask(body);
        assert!(status.starts_with('4'), "{status} {text}");
        assert!(text.contains(problem), "{text}");
    }
    assert_eq!(service.ask(asked).0, "200");
}

#[test]
fn what_cannot_be_served_is_told_in_a_line() {
    for (args, says) in [
        (&["nowhere.gguf", "127.0.0.1:0"][..], "nowhere.gguf"),
        (&[MODEL, "nonsense"], "socket address"),
        (&[MODEL], "usage: web-service MODEL ADDRESS"),
    ] {
        let ran = Command::new(env!("CARGO_BIN_EXE_web-service"))
            .args(args)
            .output()
            .unwrap();
        let told = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(2), "{told}");
        assert!(told.starts_with("error: ") && told.contains(says), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}
