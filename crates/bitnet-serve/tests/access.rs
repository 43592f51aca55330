//! Who may ask: keys, hosts, origins; what is logged; how a server begins and ends.

mod common;

use std::{io::Write, net::SocketAddr, thread, time::Duration};

use bitnet_serve::{ServeError, Server, Settings};
use common::{
    Answer, Running, bytes_text, chat, chat_text, completion, engine, eventually, models, read_all,
    request, source, text_of,
};
use serde_json::{Value, json};

#[test]
fn it_listens_on_loopback_by_default() {
    assert!(Settings::default().address.ip().is_loopback());
    assert!(Running::new().address.ip().is_loopback());
}

#[test]
fn with_keys_a_request_gives_one_of_them() {
    let server = Running::with(|settings| {
        settings.api_keys = vec!["first".into(), "second key".into()];
    });
    let body = chat("Hi", json!({})).to_string();
    let ask = |key: Option<&str>| {
        let headers: Vec<(&str, &str)> = key.iter().map(|key| ("Authorization", *key)).collect();
        server.ask("POST", "/v1/chat/completions", &headers, &body)
    };
    for key in ["Bearer first", "bearer second key"] {
        ask(Some(key)).ok();
    }
    for key in [None, Some("Bearer firs"), Some("first"), Some("Bearer")] {
        let answer = ask(key);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        answer.refused(401, None);
    }
    for path in ["/v1/models", "/metrics", "/v1/nothing"] {
        server.get(path).refused(401, None);
    }
    for path in ["/health", "/"] {
        assert_eq!(server.get(path).status, 200);
    }
}

#[test]
fn on_loopback_a_name_that_is_not_its_own_is_refused() {
    let server = Running::with(|settings| settings.allowed_hosts = vec!["ai.example.org".into()]);
    let ask = |host: &str| server.ask("GET", "/v1/models", &[("Host", host)], "");
    for host in [
        "localhost",
        "LocalHost:80",
        "127.0.0.1:8080",
        "[::1]:1",
        "ai.example.org",
    ] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    for host in [
        "evil.example.org",
        "evil.example.org:80",
        "192.168.0.1",
        "localhost.evil.org",
        "",
    ] {
        let error = ask(host).refused(403, None);
        assert_eq!(error["code"], "host_not_allowed");
    }
    let without = server.raw("GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n");
    Answer::parse(&without).refused(400, None);
    let old = server.raw("GET /v1/models HTTP/1.0\r\n\r\n");
    assert!(String::from_utf8_lossy(&old).starts_with("HTTP/1.0 200"));
}

#[test]
fn pages_of_others_may_ask_only_if_they_were_allowed() {
    let body = completion("x", json!({})).to_string();
    let ask = |server: &Running, origin: &str, host: &str| {
        let headers = [("Origin", origin), ("Host", host)];
        server.ask("POST", "/v1/completions", &headers, &body)
    };
    let preflight = |server: &Running, origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "authorization,content-type",
            ),
        ];
        server.ask("OPTIONS", "/v1/chat/completions", &headers, "")
    };
    let closed = Running::new();
    ask(&closed, "http://localhost:8080", "localhost:8080").ok();
    for origin in ["https://example.org", "null", "http://localhost:8081"] {
        let error = ask(&closed, origin, "localhost:8080").refused(403, None);
        assert_eq!(error["code"], "origin_not_allowed");
    }
    let answer = preflight(&closed, "https://example.org");
    assert!(
        !answer.headers.contains_key("access-control-allow-origin"),
        "{answer:?}"
    );
    let open = Running::with(|settings| {
        settings.cors = vec!["https://example.org".into()];
        settings.api_keys = vec!["key".into()];
    });
    // A preflight has no key.
    let answer = preflight(&open, "https://example.org");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://example.org"
    );
    assert!(answer.headers["access-control-allow-headers"].contains("authorization"));
    let headers = [
        ("Origin", "https://example.org"),
        ("Authorization", "Bearer key"),
    ];
    let answer = open.ask("POST", "/v1/completions", &headers, &body);
    answer.ok();
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://example.org"
    );
    // A page may read why it was refused.
    let answer = open.ask("POST", "/v1/completions", &headers[..1], &body);
    answer.refused(401, None);
    assert_eq!(
        answer.headers["access-control-allow-origin"],
        "https://example.org"
    );
    ask(&open, "https://other.org", "localhost").refused(403, None);
    let all = Running::with(|settings| settings.cors = vec!["*".into()]);
    let answer = ask(&all, "https://other.org", "localhost");
    answer.ok();
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}

#[test]
fn a_wrong_setting_is_told_before_anything_runs() {
    let bind = |settings: Settings, aliases: &[(String, String)]| {
        Server::bind(settings, models(), aliases, Box::new(|_| ()))
            .err()
            .unwrap()
    };
    let free = || Settings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..Settings::default()
    };
    let alias = |name: &str, model: &str| [(name.to_owned(), model.to_owned())];
    let error = bind(free(), &alias("x", "nothing"));
    assert!(error.to_string().contains("chat, bytes"), "{error}");
    let error = bind(free(), &alias("bytes", "chat"));
    assert!(matches!(error, ServeError::Name(_)), "{error}");
    let wrong = Settings {
        cors: vec!["example.org".into()],
        ..free()
    };
    assert!(matches!(bind(wrong, &[]), ServeError::Origin(_)));
    let server = Running::new();
    let taken = Settings {
        address: server.address,
        ..Settings::default()
    };
    let error = bind(taken, &[]);
    assert!(error.to_string().contains("--port"), "{error}");
}

/// A server in the middle of an answer that takes long, which it has begun to stream.
fn writing(shutdown: Duration, tokens: usize) -> (Running, std::net::TcpStream) {
    let models = vec![source("long", || (engine(256, 1 << 16, 3), bytes_text()))];
    let server = Running::of(models, |settings| {
        settings.limits.answer_tokens = 1 << 16;
        settings.limits.shutdown_time = shutdown;
    });
    let body = json!({"prompt": "x", "max_tokens": tokens, "stream": true}).to_string();
    let mut stream = server.connect();
    stream
        .write_all(&request("POST", "/v1/completions", &[], &body))
        .unwrap();
    eventually("work", || server.metric("bitnet_requests_running") > 0.0);
    (server, stream)
}

#[test]
fn a_server_that_ends_finishes_its_answers_and_takes_nothing_new() {
    let (server, stream) = writing(Duration::from_secs(60), 6000);
    let mut idle = server.connect();
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut some = [0; 15];
    std::io::Read::read_exact(&mut idle, &mut some).unwrap();
    let reader = thread::spawn(move || read_all(stream));
    server.stopper.stop();
    let address = server.address;
    eventually("no new connection", || {
        std::net::TcpStream::connect(address).is_err()
    });
    // A connection that idled is closed at once.
    read_all(idle);
    server.stop().unwrap();
    let answer = Answer::parse(&reader.join().unwrap());
    let (_, finish) = answer.streamed(0);
    assert_eq!(finish, "length");
}

#[test]
fn a_server_that_ends_does_not_wait_for_ever() {
    let (server, stream) = writing(Duration::from_millis(300), 1 << 16);
    let body = json!({"prompt": "x", "max_tokens": 1 << 16}).to_string();
    let mut whole = server.connect();
    whole
        .write_all(&request("POST", "/v1/completions", &[], &body))
        .unwrap();
    eventually("two", || server.metric("bitnet_requests_running") > 1.0);
    let reader = thread::spawn(move || read_all(stream));
    let whole = thread::spawn(move || read_all(whole));
    let begin = std::time::Instant::now();
    server.stop().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10));
    let text = reader.join().unwrap();
    let answer = Answer::parse(&text);
    let text = answer.text();
    // Whoever reads a stream is told that it ends unfinished, and so is who waits for the whole.
    let events: Vec<&str> = text.trim_end().split("\n\n").collect();
    let [.., error, done] = events[..] else {
        panic!("{text}");
    };
    assert_eq!((answer.status, done), (200, "data: [DONE]"));
    let error: Value = serde_json::from_str(error.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "shutting_down");
    let whole = Answer::parse(&whole.join().unwrap());
    assert_eq!(whole.refused(503, None)["code"], "shutting_down");
}

#[test]
fn who_waits_for_vectors_is_told_that_a_server_ends() {
    let models = vec![source("long", || (engine(256, 1 << 16, 3), bytes_text()))];
    let server = Running::of(models, |settings| {
        settings.limits.shutdown_time = Duration::from_millis(300);
        settings.limits.queue = 1;
    });
    let body = json!({"input": "x".repeat(1 << 16)}).to_string();
    let asked = request("POST", "/v1/embeddings", &[], &body);
    let mut stream = server.connect();
    stream.write_all(&asked).unwrap();
    // It has the only place, which somebody who asks for that may have had when it came.
    let other = json!({"prompt": "x", "max_tokens": 1});
    eventually("work", || {
        stream.set_nonblocking(true).unwrap();
        if stream.peek(&mut [0]).is_ok() {
            stream = server.connect();
            stream.write_all(&asked).unwrap();
        }
        stream.set_nonblocking(false).unwrap();
        server.post("/v1/completions", &other).status == 503
    });
    let reader = thread::spawn(move || read_all(stream));
    server.stop().unwrap();
    let answer = Answer::parse(&reader.join().unwrap());
    assert_eq!(answer.refused(503, None)["code"], "shutting_down");
}

#[test]
fn a_model_that_is_being_loaded_is_not_there_yet() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let slow = source("slow", move || {
        wait.recv().unwrap();
        (engine(425, 128, 1), chat_text())
    });
    let server = Running::loading(vec![slow], |_| (), || ());
    let health = server.get("/health");
    assert_eq!(
        (health.status, health.json()),
        (503, json!({"status": "loading"}))
    );
    assert!(health.headers.contains_key("retry-after"));
    let refused = server.chat("Hi", json!({"model": "slow"}));
    assert_eq!(refused.refused(503, None)["code"], "loading");
    assert_eq!(
        server.get("/v1/models").ok()["data"][0]["status"],
        "loading"
    );
    go.send(()).unwrap();
    eventually("health", || server.get("/health").status == 200);
    server.chat("Hi", json!({"model": "slow"})).ok();
}

#[test]
fn a_model_that_cannot_be_loaded_ends_the_server() {
    let broken = bitnet_serve::ModelSource {
        name: "broken".into(),
        load: Box::new(|| Err("no weights".into())),
    };
    let server = Running::loading(vec![broken], |_| (), || ());
    let error = server.wait().unwrap_err();
    assert_eq!(error.to_string(), "broken: no weights");
}

#[test]
fn the_log_has_no_text_unless_asked() {
    for log_text in [false, true] {
        let server = Running::with(|settings| settings.log_text = log_text);
        let answer = server.chat("a secret", json!({})).ok();
        eventually("a line", || !server.log.lock().unwrap().is_empty());
        let line = server.log.lock().unwrap()[0].clone();
        assert_eq!(line["path"], "/v1/chat/completions");
        assert_eq!(
            (&line["status"], &line["model"]),
            (&json!(200), &json!("chat"))
        );
        assert_eq!(line["completion_tokens"], 12);
        assert_eq!(line["finish"], "length");
        assert_eq!(line.to_string().contains("a secret"), log_text);
        let answer_is_there = line["answer"].as_str() == Some(text_of(&answer));
        assert_eq!(answer_is_there, log_text);
    }
}

/// Reads an answer from a connection that stays open.
fn keep_alive(stream: &mut std::net::TcpStream) -> Answer {
    use std::io::Read;
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let length = Answer::parse(&bytes).headers["content-length"]
        .parse()
        .unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    bytes.extend(body);
    Answer::parse(&bytes)
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let server = Running::new();
    let mut stream = server.connect();
    for _ in 0..3 {
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        assert_eq!(keep_alive(&mut stream).status, 200);
    }
}
