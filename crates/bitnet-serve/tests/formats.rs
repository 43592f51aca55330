//! Answers that follow a schema or a grammar.

mod common;

use common::{Running, chat, completion, engine, source, text_of};
use serde_json::{Value, json};

fn schema(schema: Value) -> Value {
    json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}})
}

#[test]
fn an_answer_follows_a_json_schema() {
    let server = Running::new();
    let format = schema(json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 150},
            "kind": {"enum": ["cat", "dog"]},
        },
        "required": ["name", "age", "kind"],
        "additionalProperties": false,
    }));
    for seed in 0..10 {
        let more = json!({"max_tokens": 200, "temperature": 1, "seed": seed});
        let more = common::merged(more, format.clone());
        for (path, body) in [
            ("/v1/chat/completions", chat("Hi", more.clone())),
            ("/v1/completions", completion("Hi", more.clone())),
        ] {
            let answer = server.post(path, &body).ok();
            assert_eq!(answer["choices"][0]["finish_reason"], "stop", "{answer}");
            let value: Value = serde_json::from_str(text_of(&answer)).unwrap();
            let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["name", "age", "kind"]);
            assert!(value["name"].as_str().unwrap().chars().count() <= 8);
            assert!((0..=150).contains(&value["age"].as_i64().unwrap()));
            assert!(["cat", "dog"].contains(&value["kind"].as_str().unwrap()));
        }
    }
}

#[test]
fn an_answer_may_be_any_object() {
    let server = Running::new();
    let more =
        json!({"response_format": {"type": "json_object"}, "max_tokens": 400, "temperature": 0.5});
    let begun = server.chat("Hi", more).ok();
    assert!(text_of(&begun).starts_with('{'), "{begun}");
    let plain = server
        .chat("Hi", json!({"response_format": {"type": "text"}}))
        .ok();
    assert_eq!(text_of(&plain), text_of(&server.chat("Hi", json!({})).ok()));
}

#[test]
fn an_answer_follows_a_grammar_of_lark_or_gbnf() {
    let server = Running::new();
    for (grammar, fits) in [
        (
            "start: \"yes\" | \"no\"",
            (|text| ["yes", "no"].contains(&text)) as fn(&str) -> bool,
        ),
        ("root ::= \"yes\" | \"no\"", |text| {
            ["yes", "no"].contains(&text)
        }),
        (
            "root ::= digit{3} \"-\" digit{3}\ndigit ::= [0-9]",
            |text| {
                text.len() == 7
                    && text.bytes().enumerate().all(|(i, b)| {
                        if i == 3 {
                            b == b'-'
                        } else {
                            b.is_ascii_digit()
                        }
                    })
            },
        ),
        ("root ::= (\"é\" | \"漢🙂\")", |text| {
            ["é", "漢🙂"].contains(&text)
        }),
    ] {
        for seed in 0..5 {
            let more =
                json!({"grammar": grammar, "temperature": 1, "seed": seed, "max_tokens": 30});
            let answer = server.chat("Hi", more.clone()).ok();
            assert!(fits(text_of(&answer)), "{grammar}: {answer}");
            assert_eq!(answer["choices"][0]["finish_reason"], "stop");
            let streamed = common::merged(more, json!({"stream": true}));
            assert_eq!(server.chat("Hi", streamed).streamed(0).0, text_of(&answer));
        }
    }
}

#[test]
fn a_model_without_an_end_token_ends_with_the_first_text_of_the_grammar() {
    let server = Running::new();
    let answer = server
        .complete("x", json!({"grammar": "start: /[a-z]+/"}))
        .ok();
    assert_eq!(text_of(&answer).len(), 1);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    // With one it may go on.
    let lengths = (0..30).map(|seed| {
        let more = json!({"grammar": "start: /[a-z]+/", "temperature": 1, "seed": seed});
        text_of(&server.chat("x", more).ok()).len()
    });
    assert!(lengths.max() > Some(1));
}

#[test]
fn a_grammar_that_is_none_is_refused_by_its_name() {
    let server = Running::new();
    let refused = |more: Value, param: &str| server.chat("Hi", more).refused(400, Some(param));
    refused(json!({"grammar": "root ::= x"}), "grammar");
    refused(json!({"grammar": "start: ("}), "grammar");
    refused(json!({"grammar": ""}), "grammar");
    refused(json!({"grammar": 1}), "grammar");
    refused(schema(json!({"type": "nonsense"})), "response_format");
    refused(
        schema(json!({"type": "object", "propertyNames": {"minLength": -1}})),
        "response_format",
    );
    refused(schema(json!(7)), "response_format.json_schema.schema");
    refused(
        json!({"response_format": {"type": "xml"}}),
        "response_format.type",
    );
    refused(
        json!({"response_format": {"type": "text", "x": 1}}),
        "response_format.x",
    );
    refused(json!({"response_format": "text"}), "response_format");
    refused(
        json!({"response_format": {"type": "json_schema"}}),
        "response_format.json_schema",
    );
    let both = json!({"grammar": "start: \"a\"", "response_format": {"type": "json_object"}});
    refused(both, "grammar");
}

#[test]
fn a_model_that_cannot_write_the_grammar_says_so() {
    let kind = bitnet_data::TokenizerKind::Char;
    let letters = bitnet_data::Tokenizer::for_text(kind, "abc").unwrap();
    let text = bitnet_text::TextModel::from_run(letters);
    let vocabulary = text.tokenizer.vocab_size();
    let models = vec![source("abc", move || (engine(vocabulary, 64, 1), text))];
    let server = Running::of(models, |_| ());
    let ask = |grammar: &str| {
        let body = json!({"prompt": "a", "grammar": grammar});
        server.post("/v1/completions", &body)
    };
    assert_eq!(text_of(&ask("start: \"cab\"").ok()), "cab");
    ask("start: \"xyz\"").refused(400, Some("grammar"));
    // It finds out in the middle.
    assert_eq!(ask("start: \"cax\"").status, 500);
}
