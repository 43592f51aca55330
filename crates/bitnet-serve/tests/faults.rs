//! Clients that do wrong: nothing but a clear error comes of it, and everybody else is served.

mod common;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use common::{
    Answer, PATIENCE, Running, bytes_text, chat, completion, engine, eventually, merged, read_all,
    request, source, text_of,
};
use serde_json::{Value, json};

/// The answer that an honest client gets, whoever else is there.
fn honest(server: &Running) -> String {
    let answer = server.complete("honest", json!({"max_tokens": 20})).ok();
    text_of(&answer).to_owned()
}

fn short(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Whether the server closed the connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(short(10))).unwrap();
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}

#[test]
fn what_is_not_http_is_answered_and_closed() {
    let server = Running::new();
    let expected = honest(&server);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let said = server.raw(garbage);
        let status = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || status.starts_with("HTTP/1.1 4"), "{garbage:?}: {status}");
    }
    assert_eq!(honest(&server), expected);
}

#[test]
fn what_is_not_json_is_a_clear_error() {
    let server = Running::new();
    let ask = |body: &str| {
        server
            .ask("POST", "/v1/completions", &[], body)
            .refused(400, None)
    };
    for body in [
        "",
        "{",
        "[]",
        "nul",
        "{\"prompt\": \"a\",}",
        r#"{"prompt": "\ud800"}"#,
        r#"{"prompt": "\udc00 \ud83d"}"#,
        "{\"prompt\": \"a\u{0}\"}",
        &"[".repeat(10_000),
        &"{\"a\":".repeat(10_000),
        &format!("{{\"seed\": {}}}", "9".repeat(10_000)),
    ] {
        let error = ask(body);
        assert!(error["message"].as_str().unwrap().len() < 300, "{error}");
    }
    // Bytes that are no UTF-8.
    let mut bytes = request("POST", "/v1/completions", &[], r#"{"prompt": "xx"}"#);
    let at = bytes.len() - 3;
    bytes[at] = 0xff;
    Answer::parse(&server.raw(bytes)).refused(400, None);
    // A whole pair of surrogates is a character, and NUL is one too.
    let answer = server.ask(
        "POST",
        "/v1/completions",
        &[],
        r#"{"model": "bytes", "prompt": "\ud83d\ude42\u0000", "max_tokens": 1}"#,
    );
    assert_eq!(answer.ok()["usage"]["prompt_tokens"], 5);
}

#[test]
fn a_message_of_a_megabyte_is_read_and_too_long() {
    let server = Running::new();
    let expected = honest(&server);
    let long = "word ".repeat(1 << 20 >> 2);
    let error = server.chat(&long, json!({})).refused(400, Some("messages"));
    assert_eq!(error["code"], "context_length_exceeded");
    let error = server
        .complete(&"🙂".repeat(1 << 18), json!({}))
        .refused(400, Some("prompt"));
    assert_eq!(error["code"], "context_length_exceeded");
    assert_eq!(honest(&server), expected);
}

#[test]
fn a_body_has_a_limit_announced_or_not() {
    let server = Running::with(|settings| settings.limits.body_bytes = 1000);
    let fits = completion(&"x".repeat(100), json!({}));
    server.post("/v1/completions", &fits).ok();
    let long = completion(&"x".repeat(1000), json!({}));
    let error = server.post("/v1/completions", &long).refused(413, None);
    assert_eq!(error["code"], "body_too_large");
    assert!(
        error["message"].as_str().unwrap().contains("1000"),
        "{error}"
    );
    // In chunks without end: the answer comes while it is still sent.
    let mut stream = server.connect();
    let head =
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let begin = Instant::now();
    let sender = thread::spawn(move || {
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while writer.write_all(chunk.as_bytes()).is_ok() {
            assert!(begin.elapsed() < PATIENCE, "the body is read for ever");
            thread::sleep(short(1));
        }
    });
    Answer::parse(&read_all(stream)).refused(413, None);
    sender.join().unwrap();
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Running::with(|settings| settings.limits.body_time = short(300));
    let mut stream = server.connect();
    let whole = request(
        "POST",
        "/v1/completions",
        &[],
        &completion("x", json!({})).to_string(),
    );
    stream.write_all(&whole[..whole.len() - 5]).unwrap();
    let error = Answer::parse(&read_all(stream)).refused(408, None);
    assert_eq!(error["code"], "body_timeout");
    // One that breaks off.
    let mut stream = server.connect();
    stream.write_all(&whole[..whole.len() - 5]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    read_all(stream);
    honest(&server);
}

#[test]
fn all_bodies_together_have_a_limit() {
    let server = Running::with(|settings| {
        settings.limits.body_bytes = 100 << 10;
        settings.limits.bodies_bytes = 200 << 10;
    });
    let half = |kilobytes: usize| {
        let mut stream = server.connect();
        let head =
            "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 102400\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; kilobytes << 10]).unwrap();
        stream
    };
    // Two of them fit.
    let held = [half(90), half(90), half(90)];
    eventually("a refusal", || {
        server.metric("bitnet_rejections_total") >= 1.0
    });
    let body = completion("x", json!({"stop": "y".repeat(900)})).to_string();
    let padded = body + &" ".repeat(60 << 10);
    let answer = server.ask("POST", "/v1/completions", &[], &padded);
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    assert_eq!(answer.refused(503, None)["code"], "overloaded");
    drop(held);
    eventually("room", || {
        server.ask("POST", "/v1/completions", &[], &padded).status == 200
    });
}

#[test]
fn a_head_has_a_limit_in_bytes_and_in_time() {
    let server = Running::with(|settings| {
        settings.limits.head_time = short(300);
        settings.limits.head_bytes = 8 << 10;
    });
    let long = "x".repeat(20 << 10);
    let answer = server.ask("GET", "/health", &[("X-Long", &long)], "");
    assert_eq!(answer.status, 431);
    // Half a head, and one byte now and then.
    let mut half = server.connect();
    half.write_all(b"GET /health HTTP/1.1\r\nHost: loc")
        .unwrap();
    let mut idle = server.connect();
    let mut slow = server.connect();
    let begin = Instant::now();
    while !is_closed(&mut slow) {
        assert!(begin.elapsed() < PATIENCE);
        // It fails when the server has closed it.
        let _ = slow.write_all(b"G");
        thread::sleep(short(20));
    }
    assert!(begin.elapsed() > short(200));
    eventually("the end", || is_closed(&mut half) && is_closed(&mut idle));
}

#[test]
fn connections_make_room_for_new_ones_and_those_that_are_answered_stay() {
    let models = vec![source("long", || (engine(256, 1 << 16, 3), bytes_text()))];
    let server = Running::of(models, |settings| {
        settings.limits.connections = 8;
        settings.limits.answer_tokens = 1 << 16;
    });
    let body = json!({"prompt": "x", "max_tokens": -1, "stream": true}).to_string();
    let mut writing = server.connect();
    writing
        .write_all(&request("POST", "/v1/completions", &[], &body))
        .unwrap();
    let mut first = [0; 12];
    writing.read_exact(&mut first).unwrap();
    let idle: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    // Every honest client is served at once, and the answer goes on.
    for _ in 0..20 {
        assert_eq!(server.get("/health").status, 200);
    }
    assert!(server.metric("bitnet_connections_evicted_total") >= 90.0);
    assert!(server.metric("bitnet_connections ") <= 8.0);
    assert!(!is_closed(&mut writing));
    let mut closed = idle;
    assert!(
        closed
            .iter_mut()
            .filter_map(|s| is_closed(s).then_some(()))
            .count()
            >= 92
    );
    // When all are answered, one more is told so.
    let more: Vec<TcpStream> = (0..7)
        .map(|_| {
            let mut stream = server.connect();
            stream
                .write_all(&request("POST", "/v1/completions", &[], &body))
                .unwrap();
            stream.read_exact(&mut first).unwrap();
            stream
        })
        .collect();
    let refused = Answer::parse(&server.raw(request("GET", "/health", &[], "")));
    assert_eq!(refused.status, 503);
    drop(more);
    eventually("room", || {
        let said = server.raw(request("GET", "/health", &[], ""));
        Answer::parse(&said).status == 200
    });
}

#[test]
fn the_queue_has_a_limit() {
    let models = vec![source("long", || (engine(256, 1 << 16, 3), bytes_text()))];
    let server = Running::of(models, |settings| {
        settings.limits.queue = 20;
        settings.limits.answer_tokens = 1 << 16;
    });
    let body = json!({"prompt": "x", "max_tokens": -1, "n": 20, "stream": true}).to_string();
    let mut full = server.connect();
    full.write_all(&request("POST", "/v1/completions", &[], &body))
        .unwrap();
    eventually("work", || server.metric("bitnet_requests_running") > 0.0);
    let answer = server.post("/v1/completions", &json!({"prompt": "x"}));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.refused(503, None)["code"], "overloaded");
    server
        .post("/v1/embeddings", &json!({"input": "x"}))
        .refused(503, None);
    assert!(server.metric("bitnet_rejections_total") >= 2.0);
    drop(full);
    let ask = || server.post("/v1/completions", &json!({"prompt": "x", "max_tokens": 2}));
    eventually("room", || ask().status == 200);
    let many = json!({"prompt": "x", "n": 21});
    let error = server.post("/v1/completions", &many).refused(400, None);
    assert_eq!(error["code"], "too_many_texts");
    let server = Running::with(|settings| settings.limits.choices = 4);
    server
        .complete("x", json!({"n": 5}))
        .refused(400, Some("n"));
    server
        .complete("x", json!({"prompt": ["a", "b", "c"], "n": 2}))
        .refused(400, Some("n"));
    server
        .complete("x", json!({"prompt": ["a", "b", "c", "d", "e"]}))
        .refused(400, Some("prompt"));
    let texts = json!({"model": "bytes", "input": ["a", "b", "c", "d", "e"]});
    server
        .post("/v1/embeddings", &texts)
        .refused(400, Some("input"));
}

#[test]
fn a_client_that_does_not_read_loses_its_answer_and_nobody_else_waits() {
    let models = vec![source("long", || (engine(256, 1 << 16, 3), bytes_text()))];
    let server = Running::of(models, |settings| {
        settings.limits.buffered_events = 16;
        settings.limits.answer_tokens = 1 << 16;
        settings.limits.write_time = short(500);
    });
    let body = json!({"prompt": "x", "max_tokens": -1, "stream": true, "logprobs": 20}).to_string();
    let mut stuck = server.connect();
    stuck
        .write_all(&request("POST", "/v1/completions", &[], &body))
        .unwrap();
    let ask = || {
        server.post(
            "/v1/completions",
            &json!({"prompt": "abc", "max_tokens": 9, "temperature": 0}),
        )
    };
    let expected = text_of(&ask().ok()).to_owned();
    eventually("the end of the slow one", || {
        assert_eq!(text_of(&ask().ok()), expected);
        server.metric("bitnet_slow_readers_total") >= 1.0
    });
    eventually("no text", || {
        server.metric("bitnet_requests_running") == 0.0
    });
    // The connection that takes nothing is closed too.
    eventually("no connection", || {
        server.metric("bitnet_connections ") <= 1.0
    });
    drop(stuck);
}

#[test]
fn an_answer_has_a_time() {
    let models = || vec![source("long", || (engine(256, 1 << 16, 3), bytes_text()))];
    let server = Running::of(models(), |settings| {
        settings.limits.request_time = short(200);
        settings.limits.answer_tokens = 1 << 16;
    });
    let whole = server.post("/v1/completions", &json!({"prompt": "x", "max_tokens": -1}));
    assert_eq!(whole.refused(504, None)["code"], "request_timeout");
    let stream = json!({"prompt": "x", "max_tokens": -1, "stream": true});
    let text = server.post("/v1/completions", &stream).text();
    // The error is an event of the stream that has begun.
    let events: Vec<&str> = text.trim_end().split("\n\n").collect();
    let [.., error, done] = events[..] else {
        panic!("{text}");
    };
    assert_eq!(done, "data: [DONE]");
    let error: Value = serde_json::from_str(error.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "request_timeout");
    eventually("no text", || {
        server.metric("bitnet_requests_running") == 0.0
    });
}

#[test]
fn hostile_clients_disturb_nobody() {
    let server = Running::with(|settings| settings.limits.head_time = Duration::from_secs(2));
    let expected = honest(&server);
    let streaming = chat("mid answer", json!({"stream": true, "max_tokens": 200})).to_string();
    thread::scope(|scope| {
        let server = &server;
        let until = Instant::now() + Duration::from_secs(2);
        for _ in 0..100 {
            // Half a request, held.
            let mut half = server.connect();
            half.write_all(b"POST /v1/completions HTTP/1.1\r\nHost: lo")
                .unwrap();
            scope.spawn(move || {
                thread::sleep(Duration::from_secs(2));
                drop(half);
            });
        }
        for number in 0..4 {
            let streaming = &streaming;
            scope.spawn(move || {
                while Instant::now() < until {
                    let mut client = server.connect();
                    match number % 2 {
                        // Garbage.
                        0 => drop(server.raw(
                            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n\
                            Connection: close\r\nContent-Length: 9\r\n\r\n{\"a\":\x00\xff}}",
                        )),
                        // Somebody who leaves.
                        _ => {
                            let bytes = request("POST", "/v1/chat/completions", &[], streaming);
                            client.write_all(&bytes).unwrap();
                            let mut some = [0; 400];
                            let _ = client.read(&mut some);
                        }
                    }
                }
            });
        }
        for _ in 0..4 {
            let expected = &expected;
            scope.spawn(move || {
                while Instant::now() < until {
                    assert_eq!(&honest(server), expected);
                }
            });
        }
    });
    eventually("rest", || server.metric("bitnet_requests_running") == 0.0);
}

#[test]
fn a_request_may_come_in_pieces() {
    let server = Running::new();
    let body = completion("abc", merged(json!({}), json!({}))).to_string();
    let whole = text_of(&server.complete("abc", json!({})).ok()).to_owned();
    let mut stream = server.connect();
    for piece in request("POST", "/v1/completions", &[], &body).chunks(7) {
        stream.write_all(piece).unwrap();
        thread::sleep(short(1));
    }
    assert_eq!(text_of(&Answer::parse(&read_all(stream)).ok()), whole);
}
