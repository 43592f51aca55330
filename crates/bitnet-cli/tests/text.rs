//! Text in and out: prompts from files and with escapes, why a text ends, tokens, and chats through a pipe.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use common::{Place, Ran, has_keys, number};
use serde_json::{Value, json};

/// Runs with something on stdin.
fn fed(place: &Place, args: &[&str], input: &[u8]) -> Ran {
    let mut child = place
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever refuses its flags reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap().into()
}

fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bitnet-text/tests/goldens/cut");
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_prompt_comes_from_a_flag_a_file_or_stdin() {
    let place = Place::new();
    place.train("run", &["--set", "train.steps=2"]);
    let base = ["generate", "run", "--max-new-tokens", "8", "-o", "json"];
    fn join<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [base, more].concat()
    }
    let with = |more: &[&'static str]| join(&base, more);
    let expected = place.run(&with(&["--prompt", "One\nday"])).json();
    has_keys(
        &expected,
        &[
            "prompt_tokens",
            "tokens",
            "text",
            "stop",
            "ttft_ms",
            "tpot_ms",
        ],
    );
    assert_eq!(expected["stop"], "length");
    assert_eq!(number(&expected, "prompt_tokens"), 7.0);
    place.write("prompt.txt", "One\nday\r\n");
    place.write("escaped.txt", "One\\nday\n");
    for found in [
        place.run(&with(&["--prompt-file", "prompt.txt"])),
        fed(&place, &with(&["--prompt-file", "-"]), b"One\nday\n"),
        place.run(&with(&["--prompt", "One\\nd\\u{61}y", "--escape"])),
        place.run(&with(&["--prompt-file", "escaped.txt", "--escape"])),
    ] {
        assert_eq!(found.json()["text"], expected["text"]);
    }
    place.write("bytes.txt", b"One \xff");
    for (more, says) in [
        (
            &["--prompt", "a", "--prompt-file", "b"][..],
            "cannot be used with",
        ),
        (&[], "required arguments were not provided"),
        (&["--prompt-file", "none.txt"], "none.txt"),
        (
            &["--prompt-file", "bytes.txt"],
            "bytes.txt: not UTF-8 at byte 4",
        ),
        (
            &["--prompt", "a\\q", "--escape"],
            "--escape: a backslash before 'q'",
        ),
        (&["--prompt", "a", "--chat"], "no chat template"),
        (
            &["--prompt", "a", "--system", "b"],
            "required arguments were not provided",
        ),
    ] {
        place.fails(&with(more), &[says]);
    }
}

#[test]
fn a_text_says_why_it_ended() {
    let place = Place::new();
    place.train("run", &["--set", "train.steps=2"]);
    let generate = |more: &[&str]| {
        let base = ["generate", "run", "--prompt", "One", "--temperature", "0"];
        place.run(&[&base, more].concat()).ok()
    };
    let json = |more: &[&str]| -> Value {
        serde_json::from_str(&generate(&[more, &["-o", "json"]].concat()).stdout).unwrap()
    };
    assert_eq!(json(&["--max-new-tokens", "0"])["stop"], "length");
    let whole = json(&[]);
    assert_eq!(whole["stop"], "context");
    let first: String = whole["text"].as_str().unwrap().chars().take(1).collect();
    assert_eq!(json(&["--stop", &first])["stop"], "stop");
    let streamed = generate(&["--max-new-tokens", "5"]);
    assert_eq!(
        streamed.stderr,
        "stopped at the limit of new tokens after 5 tokens\n"
    );
    assert_eq!(generate(&["--max-new-tokens", "5", "-q"]).stderr, "");
}

#[test]
fn a_text_is_cut_into_its_tokens() {
    let place = Place::new();
    place.train("run", &["--set", "train.steps=2"]);
    let found = place.run(&["tokenize", "run", "Tom"]).ok();
    let lines: Vec<&str> = found.stdout.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].ends_with("  \"o\""), "{}", lines[1]);

    let model = golden("llama-bpe.gguf");
    let tokenize = |more: &[&str]| {
        let args = [&["tokenize", &model, "-", "-o", "json"], more].concat();
        fed(&place, &args, "Hello<|im_end|> 😀\n".as_bytes()).json()
    };
    let ids = |found: &Value| -> Vec<u64> { serde_json::from_value(found["ids"].clone()).unwrap() };
    let (plain, special) = (tokenize(&[]), tokenize(&["--special"]));
    assert_eq!((ids(&plain)[0], ids(&special)[0]), (420, 420));
    assert!(!ids(&plain)[1..].contains(&421) && ids(&special).contains(&421));
    assert_eq!(ids(&tokenize(&["--bare"])), ids(&plain)[1..]);
    let pieces: Vec<String> = serde_json::from_value(special["pieces"].clone()).unwrap();
    assert!(pieces.contains(&"<|im_end|>".to_owned()), "{pieces:?}");
    let text = place.run(&["tokenize", &model, "😀", "--bare"]).ok();
    assert!(
        text.stdout.contains(r#""\xf0"#) || text.stdout.contains("😀"),
        "{text:?}"
    );

    place.fails(&["tokenize", "run", "Zürich"], &["'ü'", "byte tokenizer"]);
    place.fails(&["tokenize", "nowhere", "a"], &["nowhere"]);
    place.fails(&["tokenize", &model, "a", "-o", "csv"], &["text or json"]);
}

#[test]
fn lines_of_a_pipe_are_turns() {
    let place = Place::new();
    place.train("run", &["--set", "train.steps=2"]);
    let chat = |more: &[&str], input: &str| {
        let base = ["chat", "run", "--max-new-tokens", "4", "--temperature", "0"];
        fed(&place, &[&base, more].concat(), input.as_bytes())
    };
    let generate = |prompt: &str| {
        let args = [
            "generate",
            "run",
            "--max-new-tokens",
            "4",
            "--temperature",
            "0",
            "-o",
            "json",
        ];
        let found = place
            .run(&[&args[..], &["--prompt", prompt]].concat())
            .json();
        found["text"].as_str().unwrap().to_owned()
    };
    // Without a template the texts of both go on as one.
    let first = generate("One");
    let second = generate(&format!("One{first} day"));
    let talked = chat(&[], "One\n\n day\n/save saved.json\n/stats\n").ok();
    assert_eq!(talked.stdout, format!("{first}\n{second}\n"));
    for part in [
        "no chat template",
        "4 tokens",
        "0 of 3 prompt tokens kept",
        "6 of 11 prompt tokens kept",
        "stopped at the limit of new tokens",
        "2 answers; 14 of 64 tokens of context in use",
    ] {
        assert!(talked.stderr.contains(part), "{part}: {}", talked.stderr);
    }
    let saved: Value = serde_json::from_str(&place.read("saved.json")).unwrap();
    let expected = json!({"messages": [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": " day"},
        {"role": "assistant", "content": second},
    ]});
    assert_eq!(saved, expected);
    let third = generate(&format!("One{first} day{second} and"));
    let loaded = chat(&["-q"], "/load saved.json\n and\n/reset\nOne\n/quit\nOne\n").ok();
    assert_eq!(loaded.stdout, format!("{third}\n{first}\n"));
    // A line that goes on, and one that is no command.
    assert_eq!(
        chat(&["-q"], "One\\\nday").ok().stdout,
        generate("One\nday") + "\n"
    );
    // Two slashes say one to the model, which has no such character.
    let slash = chat(&["-q"], "//One");
    assert!(slash.stderr.contains("'/' at position 0"), "{slash:#?}");
}

#[test]
fn a_template_of_ones_own_makes_the_prompt() {
    let place = Place::new();
    place.train("run", &["--set", "train.steps=2"]);
    let template =
        "{% for m in messages %}{{ m.role[0] }} {{ m.content }}{{ ending }}\n{% endfor %}a ";
    place.write("chat.jinja", template);
    let args = [
        "chat",
        "run",
        "-q",
        "--max-new-tokens",
        "4",
        "--temperature",
        "0",
        "--chat-template",
        "chat.jinja",
        "--system",
        "be",
        "--template-var",
        "ending=.",
    ];
    let found = fed(&place, &args, b"One").ok();
    let prompt = "s be.\nu One.\na ";
    let expected = [
        "generate",
        "run",
        "--max-new-tokens",
        "4",
        "--temperature",
        "0",
        "-o",
        "json",
        "--prompt",
        prompt,
    ];
    let expected = place.run(&expected).json();
    assert_eq!(
        found.stdout,
        format!("{}\n", expected["text"].as_str().unwrap())
    );

    place.write(
        "endless.jinja",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
    );
    place.write("broken.jinja", "{% if %}");
    place.write("refusing.jinja", "{{ raise_exception('not like this') }}");
    for (template, says) in [
        ("endless.jinja", "looped for ever"),
        ("broken.jinja", "line 1: syntax error"),
        ("refusing.jinja", "refuses this conversation: not like this"),
        ("none.jinja", "none.jinja"),
    ] {
        let found = fed(
            &place,
            &["chat", "run", "--chat-template", template],
            b"One",
        );
        assert_eq!(found.code, Some(2), "{found:#?}");
        assert!(found.stderr.contains(says), "{template}: {found:#?}");
    }
}

#[test]
fn a_chat_that_goes_wrong_says_so() {
    let place = Place::new();
    place.train("run", &["--set", "train.steps=2"]);
    place.write("other.json", "{\"messages\": 1}");
    fs::create_dir(place.path("folder")).unwrap();
    let long = "a".repeat(65);
    for (more, input, says) in [
        (
            &[][..],
            long.as_str(),
            "the conversation has 65 tokens: the context of 64 tokens is full; /reset",
        ),
        (
            &["--context", "8"],
            "One morning",
            "the context of 8 tokens is full",
        ),
        (
            &["--context", "65"],
            "a",
            "--context 65 is out of range: the model takes up to 64",
        ),
        (&["--top-p", "2"], "a", "top_p = 2"),
        (&["--template-var", "x"], "a", "expected NAME=VALUE"),
        (&[], "/nonsense", "\"/nonsense\" is no command"),
        (&[], "/load other.json", "other.json: not a conversation"),
        (&[], "/load none.json", "none.json"),
        (&[], "/save folder", "cannot write folder"),
        (&[], "/save", "the name of a file"),
        (&[], "Zürich", "'ü'"),
    ] {
        let found = fed(
            &place,
            &[&["chat", "run", "-q"], more].concat(),
            input.as_bytes(),
        );
        assert_eq!(found.code, Some(2), "{input}: {found:#?}");
        let last = found.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: ") && last.contains(says),
            "{input}: {found:#?}"
        );
    }
    let found = fed(&place, &["chat", "run"], b"One \xff");
    assert!(
        found.stderr.contains("not UTF-8") && found.code == Some(2),
        "{found:#?}"
    );
    // The context ends an answer, and the next turn says what to do.
    let full = fed(&place, &["chat", "run", "--context", "8"], b"One").ok();
    assert!(
        full.stderr.contains("stopped at the end of the context"),
        "{full:#?}"
    );
    assert!(full.stderr.contains("/reset begins anew"), "{full:#?}");
}

#[test]
fn a_text_is_validated_on_a_file_of_its_own() {
    let place = Place::new();
    place.write("train.txt", "the cat sat on the mat. ".repeat(40));
    place.write("other.txt", "the mat sat on the cat. ".repeat(10));
    let sets = [
        "data.kind=text",
        "data.path=train.txt",
        "data.validation_path=other.txt",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    let summary = place.train("run", &sets);
    let own = place.run(&["eval", "run", "-o", "json"]).json();
    assert_eq!(number(&own, "tokens"), 239.0);
    let file = place
        .run(&["eval", "run", "--data", "other.txt", "-o", "json"])
        .json();
    assert_eq!(own, file);
    assert_eq!(number(&summary, "val_loss"), number(&own, "loss"));
    let both = [
        &["train", common::DEBUG],
        &sets[..],
        &["--set", "data.train_fraction=0.5"],
    ]
    .concat();
    place.fails(
        &both,
        &["data.train_fraction = 0.5", "data.validation_path"],
    );
}
