//! `bitnet data`: preparing, training from what was prepared, and what is refused; `bitnet board`'s page and event files.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use common::{DEBUG, Place};
use serde_json::{Value, json};

/// Documents as JSON lines.
fn lines(count: usize) -> String {
    (0..count)
        .map(|i| {
            json!({"body": format!("Document {i} has {} words.", i % 7), "id": i}).to_string()
                + "\n"
        })
        .collect()
}

#[test]
fn a_prepared_folder_is_trained_from_evaluated_and_gone_on_with() {
    let place = Place::new();
    place.write("docs.jsonl", lines(2000) + &lines(500));
    let args = [
        "data",
        "prepare",
        "docs.jsonl",
        "--out",
        "ready",
        "--field",
        "body",
        "--vocab-size",
        "320",
        "--deduplicate",
        "--shuffle",
        "7",
        "-o",
        "json",
    ];
    let manifest = place.run(&args).json();
    assert_eq!(manifest["documents"], 2000);
    assert_eq!(manifest["duplicates"], 500);
    place.fails(&args, &["ready", "exists", "another folder"]);
    let check = place.run(&["data", "check", "ready"]).ok();
    assert!(
        check.stdout.contains("every checksum is right"),
        "{}",
        check.stdout
    );

    let data = ["--set", "data.kind=text", "--set", "data.path=ready"];
    place.train("run", &data);
    let eval = place.run(&["eval", "run", "-o", "json"]).json();
    assert!(eval["loss"].as_f64().unwrap() < 6.0);
    let written = place.run(&[
        "generate",
        "run",
        "--prompt",
        "Document",
        "--max-new-tokens",
        "8",
    ]);
    assert!(written.ok().stdout.starts_with("Document"));
    let more = [
        "train",
        "run/config.toml",
        "--run-dir",
        "run",
        "--resume",
        "auto",
        "--set",
        "train.steps=24",
    ];
    place.run(&more).ok();

    // A flipped bit of a shard is noticed wherever it is used.
    let shard = place.path("ready/shard-00000.tokens");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[100] ^= 1;
    fs::write(&shard, bytes).unwrap();
    place.fails(
        &["data", "check", "ready"],
        &["shard-00000.tokens", "has changed"],
    );
    place.fails(&["eval", "run"], &["shard-00000.tokens", "has changed"]);
    // So is a folder that was not finished.
    fs::remove_file(place.path("ready/prepared.json")).unwrap();
    place.fails(&["eval", "run"], &["prepared.json", "not finished"]);
}

#[test]
fn folders_and_json_lines_are_trained_from_as_they_are() {
    let place = Place::new();
    fs::create_dir(place.path("texts")).unwrap();
    place.write(
        "texts/a.txt",
        "Once upon a time there was a text. ".repeat(200),
    );
    place.write("texts/b.jsonl", lines(300).replace("\"body\"", "\"text\""));
    place.train(
        "run",
        &["--set", "data.kind=text", "--set", "data.path=texts"],
    );
    let summary: Value = serde_json::from_str(&place.read("run/summary.json")).unwrap();
    assert!(summary["val_loss"].as_f64().unwrap() < 6.0);
    place.write("docs.jsonl", lines(300));
    let lines = [
        "train",
        DEBUG,
        "--set",
        "data.kind=text",
        "--set",
        "data.path=docs.jsonl",
    ];
    place.fails(
        &lines,
        &["docs.jsonl, line 1", "no field \"text\"", "body, id"],
    );
}

#[test]
fn what_cannot_be_prepared_is_said_and_leaves_nothing() {
    let place = Place::new();
    place.write("docs.jsonl", lines(10));
    let prepare = |args: &[&'static str]| [&["data", "prepare", "--out", "ready"], args].concat();
    place.fails(&prepare(&["nothing.txt"]), &["nothing.txt", "no file"]);
    place.fails(
        &prepare(&["docs.jsonl"]),
        &["docs.jsonl, line 1", "\"text\"", "body, id"],
    );
    place.fails(
        &prepare(&["docs.jsonl", "--field", "body", "--vocab-size", "200"]),
        &["200", "raise"],
    );
    place.fails(
        &prepare(&["docs.jsonl", "--field", "body", "--tokenizer", "x.json"]),
        &["x.json"],
    );
    assert!(!place.path("ready").exists() && !place.path("ready.partial").exists());
}

/// What the server answers to a request.
fn get(port: u16, path: &str, host: &str, tag: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn the_board_shows_runs_and_what_changes() {
    let place = Place::new();
    place.train("runs/one", &["--tensorboard"]);
    place.train("runs/two", &["--set", "train.learning_rate=1e-3"]);
    let events = fs::read_dir(place.path("runs/one")).unwrap().any(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.starts_with("events.out.tfevents.")
    });
    assert!(events);

    place.run(&["report", "runs", "--out", "page.html"]).ok();
    let page = place.read("page.html");
    for part in [
        "one",
        "two",
        "Validation loss",
        "train.learning_rate",
        "Samples",
        "finished",
    ] {
        assert!(page.contains(part), "{part}");
    }
    place.fails(&["report", "nowhere"], &["nowhere", "no run"]);

    let mut board = place
        .command(&["board", "runs", "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(board.stdout.as_mut().unwrap())
        .read_line(&mut address)
        .unwrap();
    let port: u16 = address
        .trim()
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let (head, body) = get(port, "/", "localhost", "");
    assert!(
        head.starts_with("HTTP/1.1 200") && body.contains("fetch("),
        "{head}"
    );
    assert!(head.to_lowercase().contains("content-security-policy"));
    let (head, body) = get(port, "/part", "127.0.0.1", "");
    assert!(
        head.starts_with("HTTP/1.1 200") && !body.contains("three"),
        "{head}"
    );
    let tag = head.lines().find_map(|line| {
        line.to_lowercase()
            .strip_prefix("etag: ")
            .map(str::to_owned)
    });
    let tag = tag.unwrap();
    assert!(
        get(port, "/part", "localhost", &tag)
            .0
            .starts_with("HTTP/1.1 304")
    );
    assert!(
        get(port, "/part", "evil.example", "")
            .0
            .starts_with("HTTP/1.1 403")
    );
    place.train("runs/three", &[]);
    assert!(get(port, "/part", "localhost", &tag).1.contains("three"));
    board.kill().unwrap();
    board.wait().unwrap();
}

#[test]
fn a_learning_rate_is_found_and_no_run_made() {
    let place = Place::new();
    let args = [
        "train",
        DEBUG,
        "--set",
        "model.linear=float",
        "--find-rate",
        "60",
    ];
    let found = place.run(&args).ok().stdout;
    assert!(
        found.contains("--set train.float.learning_rate="),
        "{found}"
    );
    assert!(!place.path("runs").exists());
}

#[test]
fn a_configuration_is_made_for_a_text() {
    let place = Place::new();
    place.write(
        "text.txt",
        "Once upon a time there was a text of few characters.\n".repeat(800),
    );
    let made = place
        .run(&["init", "text.txt", "--minutes", "0.05"])
        .ok()
        .stdout;
    assert!(
        made.contains("bitnet train bitnet.toml") && made.contains("memory"),
        "{made}"
    );
    let settings = [
        "train",
        "bitnet.toml",
        "--set",
        "train.steps=3",
        "-q",
        "-o",
        "json",
    ];
    assert_eq!(place.run(&settings).json()["steps"], 3);
    place.fails(&["init", "text.txt"], &["bitnet.toml", "exists"]);
    place.fails(&["init", "--out", "x.toml"], &["TEXT is missing"]);
    place.fails(
        &["init", "nowhere", "--out", "x.toml"],
        &["nowhere", "no file"],
    );
}
