//! A thousand random valid requests, whose answers have OpenAI's shapes; and a thousand random invalid ones, which are
//! refused by the name of what is wrong.

mod common;

use common::{CONTEXT, Running};
use serde_json::{Map, Value, json};

/// Steps of Weyl's sequence through a good mixer (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn float(&mut self, low: f64, high: f64) -> Value {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        json!(low + share * (high - low))
    }

    fn text(&mut self) -> String {
        let words = [
            "a",
            "hello ",
            "é",
            "漢字",
            "🙂",
            "\n",
            "<|im_end|>",
            "\u{0}",
            "\"",
            "\\",
            "e\u{301}",
        ];
        (0..1 + self.below(6)).map(|_| self.one(&words)).collect()
    }
}

/// A valid request, of a chat or not.
fn valid(dice: &mut Dice, chat: bool) -> Map<String, Value> {
    let mut body = Map::new();
    let model = if chat {
        dice.one(&["chat", "gpt-4o"])
    } else {
        dice.one(&["chat", "bytes"])
    };
    body.insert("model".into(), model.into());
    if chat {
        let roles = ["system", "developer", "user", "assistant"];
        let messages: Vec<Value> = (0..1 + dice.below(4))
            .map(|_| {
                let content = match dice.below(3) {
                    0 => json!([{"type": "text", "text": dice.text()}, {"type": "text", "text": "x"}]),
                    _ => json!(dice.text()),
                };
                json!({"role": dice.one(&roles), "content": content})
            })
            .collect();
        body.insert("messages".into(), messages.into());
    } else {
        let prompt = match dice.below(5) {
            0 => json!([dice.text(), dice.text()]),
            1 => json!([1, 2, 3]),
            2 => json!([[7, 8], [9]]),
            _ => json!(dice.text()),
        };
        body.insert("prompt".into(), prompt);
    }
    type Make = fn(&mut Dice) -> Value;
    let fields: [(&str, Make); 18] = [
        ("max_tokens", |d| json!(d.below(12))),
        ("temperature", |d| d.float(0.0, 2.0)),
        ("top_p", |d| d.float(0.01, 1.0)),
        ("top_k", |d| json!(d.below(50))),
        ("min_p", |d| d.float(0.0, 1.0)),
        ("repetition_penalty", |d| d.float(0.5, 2.0)),
        ("presence_penalty", |d| d.float(-2.0, 2.0)),
        ("frequency_penalty", |d| d.float(-2.0, 2.0)),
        ("seed", |d| json!(d.next() as i64)),
        ("stop", |d| {
            d.one(&[json!("a"), json!(["b", "cd"]), json!([]), json!(null)])
        }),
        ("n", |d| json!(1 + d.below(3))),
        ("stream", |d| {
            d.one(&[json!(true), json!(false), json!(null)])
        }),
        ("user", |_| json!("somebody")),
        ("response_format", |_| json!({"type": "text"})),
        ("logit_bias", |d| d.one(&[json!({}), json!(null)])),
        ("grammar", |d| {
            d.one(&[json!("root ::= \"a\" | \"bc\""), json!("start: /[a-c]{3}/")])
        }),
        ("tools", |_| json!(null)),
        ("suffix", |_| json!(null)),
    ];
    for (name, make) in fields {
        let fits = match name {
            "tools" => chat,
            "suffix" => !chat,
            _ => true,
        };
        if fits && dice.below(3) == 0 {
            let value = make(dice);
            body.insert(name.into(), value);
        }
    }
    body.entry("max_tokens").or_insert(json!(5));
    if dice.below(3) == 0 {
        match chat {
            true => {
                body.insert("logprobs".into(), json!(true));
                body.insert("top_logprobs".into(), json!(dice.below(5)));
            }
            false => {
                body.insert("logprobs".into(), json!(dice.below(5)));
                body.insert("echo".into(), json!(dice.below(2) == 0));
            }
        }
    }
    if body.get("stream") == Some(&json!(true)) && dice.below(2) == 0 {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    body
}

/// Checks that an object has these fields and no others, and gives them.
#[track_caller]
fn fields<'a>(value: &'a Value, names: &[&str]) -> &'a Map<String, Value> {
    let map = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    let mut found: Vec<&str> = map.keys().map(String::as_str).collect();
    let mut expected = names.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected, "{value}");
    map
}

fn check_usage(usage: &Value) {
    let names = [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
    ];
    let map = fields(usage, &names);
    let number = |name: &str| map[name].as_u64().unwrap();
    assert_eq!(
        number("total_tokens"),
        number("prompt_tokens") + number("completion_tokens")
    );
    let details = fields(&map["prompt_tokens_details"], &["cached_tokens"]);
    assert!(details["cached_tokens"].as_u64().unwrap() <= number("prompt_tokens"));
}

fn check_head(answer: &Value, object: &str, body: &Map<String, Value>, more: &[&str]) {
    let names = [
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "choices",
    ];
    let map = fields(answer, &[&names, more].concat());
    assert_eq!(map["object"], object);
    assert!(map["id"].as_str().unwrap().len() > 20 && map["created"].is_u64());
    let model = if body["model"] == "bytes" {
        "bytes"
    } else {
        "chat"
    };
    assert_eq!(map["model"], model);
}

fn check_token(entry: &Value, more: &[&str]) {
    let map = fields(entry, &[&["token", "logprob", "bytes"], more].concat());
    assert!(map["token"].is_string() && map["logprob"].as_f64().unwrap() <= 0.0);
    assert!(
        map["bytes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|byte| byte.as_u64().unwrap() < 256)
    );
}

fn check_logprobs(logprobs: &Value, chat: bool, body: &Map<String, Value>) {
    if body.get("logprobs").is_none() {
        assert_eq!(logprobs, &Value::Null);
    } else if logprobs.is_null() {
        // A chunk without a token.
        assert_eq!(body.get("stream"), Some(&json!(true)));
    } else if chat {
        let map = fields(logprobs, &["content", "refusal"]);
        for entry in map["content"].as_array().unwrap() {
            check_token(entry, &["top_logprobs"]);
            let top = entry["top_logprobs"].as_array().unwrap();
            assert_eq!(top.len(), body["top_logprobs"].as_u64().unwrap() as usize);
            top.iter().for_each(|entry| check_token(entry, &[]));
        }
    } else {
        let names = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];
        let map = fields(logprobs, &names);
        let count = map["tokens"].as_array().unwrap().len();
        for name in names {
            assert_eq!(map[name].as_array().unwrap().len(), count);
        }
        let offsets = map["text_offset"].as_array().unwrap();
        assert!(offsets.is_sorted_by_key(|offset| offset.as_u64()));
    }
}

fn choices(body: &Map<String, Value>) -> usize {
    let prompts = match body.get("prompt") {
        Some(Value::Array(items)) if !items[0].is_number() => items.len(),
        _ => 1,
    };
    prompts * body.get("n").and_then(Value::as_u64).unwrap_or(1) as usize
}

fn check_whole(answer: &Value, chat: bool, body: &Map<String, Value>) {
    let object = if chat {
        "chat.completion"
    } else {
        "text_completion"
    };
    check_head(answer, object, body, &["usage"]);
    check_usage(&answer["usage"]);
    let all = answer["choices"].as_array().unwrap();
    assert_eq!(all.len(), choices(body));
    for (index, choice) in all.iter().enumerate() {
        let text = if chat { "message" } else { "text" };
        let map = fields(choice, &["index", text, "logprobs", "finish_reason"]);
        assert_eq!(map["index"], index);
        assert!(["stop", "length"].contains(&map["finish_reason"].as_str().unwrap()));
        match chat {
            true => {
                let message = fields(&map["message"], &["role", "content", "refusal"]);
                assert_eq!(message["role"], "assistant");
                assert!(message["content"].is_string());
            }
            false => assert!(map["text"].is_string()),
        }
        check_logprobs(&map["logprobs"], chat, body);
    }
}

fn check_stream(chunks: &[Value], chat: bool, body: &Map<String, Value>) {
    let with_usage = body.contains_key("stream_options");
    let more: &[&str] = if with_usage { &["usage"] } else { &[] };
    let object = if chat {
        "chat.completion.chunk"
    } else {
        "text_completion"
    };
    let mut ended = vec![false; choices(body)];
    let mut begun = vec![false; choices(body)];
    for (place, chunk) in chunks.iter().enumerate() {
        check_head(chunk, object, body, more);
        assert_eq!(chunk["id"], chunks[0]["id"]);
        let all = chunk["choices"].as_array().unwrap();
        if with_usage && place + 1 == chunks.len() {
            assert!(all.is_empty() && ended.iter().all(|ended| *ended));
            check_usage(&chunk["usage"]);
            continue;
        }
        assert_eq!(all.len(), 1);
        let text = if chat { "delta" } else { "text" };
        let map = fields(&all[0], &["index", text, "logprobs", "finish_reason"]);
        let index = map["index"].as_u64().unwrap() as usize;
        assert!(!ended[index], "{chunk} after the end");
        ended[index] = map["finish_reason"].is_string();
        if chat {
            let delta = map["delta"].as_object().unwrap();
            assert_eq!(delta.contains_key("role"), !begun[index], "{chunk}");
            assert_eq!(delta.is_empty(), ended[index], "{chunk}");
        }
        begun[index] = true;
        check_logprobs(&map["logprobs"], chat, body);
    }
    assert!(ended.iter().all(|ended| *ended));
}

#[test]
fn a_thousand_random_valid_requests_are_answered_in_shape() {
    let server = Running::new();
    let mut dice = Dice(1);
    for number in 0..1000 {
        let chat = number % 2 == 0;
        let body = valid(&mut dice, chat);
        let path = if chat {
            "/v1/chat/completions"
        } else {
            "/v1/completions"
        };
        let answer = server.post(path, &body.clone().into());
        assert_eq!(
            answer.status,
            200,
            "{}: {}",
            Value::from(body),
            answer.text()
        );
        match body.get("stream") {
            Some(Value::Bool(true)) => check_stream(&answer.chunks(), chat, &body),
            _ => check_whole(&answer.json(), chat, &body),
        }
    }
}

/// What makes a request invalid: the field, a value that it must not have, and the name in the error.
fn spoil(dice: &mut Dice, chat: bool, body: &mut Map<String, Value>) -> String {
    let long = "x ".repeat(2 * CONTEXT);
    let both: Vec<(&str, Vec<Value>, &str)> = vec![
        ("model", vec![json!(1), json!([]), json!("absent")], "model"),
        (
            "max_tokens",
            vec![json!("1"), json!(1.5), json!(-2), json!(1e300)],
            "max_tokens",
        ),
        (
            "max_completion_tokens",
            vec![json!(-5), json!({}), json!(true)],
            "max_completion_tokens",
        ),
        (
            "temperature",
            vec![json!(-0.1), json!(2.1), json!("0"), json!([0])],
            "temperature",
        ),
        (
            "top_p",
            vec![json!(0), json!(1.01), json!("1"), json!(-1)],
            "top_p",
        ),
        ("top_k", vec![json!(-1), json!(0.5), json!("3")], "top_k"),
        ("min_p", vec![json!(-0.1), json!(2), json!({})], "min_p"),
        (
            "repetition_penalty",
            vec![json!(0), json!(-1), json!(11), json!("1")],
            "repetition_penalty",
        ),
        (
            "presence_penalty",
            vec![json!(2.1), json!(-3), json!("0")],
            "presence_penalty",
        ),
        (
            "frequency_penalty",
            vec![json!(2.1), json!(-3), json!([])],
            "frequency_penalty",
        ),
        ("seed", vec![json!(0.5), json!("7"), json!(1e30)], "seed"),
        (
            "stop",
            vec![
                json!(1),
                json!([1]),
                json!([""]),
                json!(["a", "b", "c", "d", "e"]),
            ],
            "stop",
        ),
        (
            "n",
            vec![json!(0), json!(-1), json!(1.5), json!(129), json!("2")],
            "n",
        ),
        ("stream", vec![json!("true"), json!(1), json!([])], "stream"),
        ("user", vec![json!(1), json!({})], "user"),
        ("logit_bias", vec![json!({"1": 2}), json!(3)], "logit_bias"),
        (
            "response_format",
            vec![json!("text"), json!([])],
            "response_format",
        ),
        (
            "grammar",
            vec![json!(1), json!("root ::= nowhere"), json!("start: (")],
            "grammar",
        ),
        ("store", vec![json!(true)], "store"),
        ("metadata", vec![json!({"a": "b"})], "metadata"),
        ("service_tier", vec![json!("priority")], "service_tier"),
        ("n_predict", vec![json!(3), json!(null)], "n_predict"),
        ("max_token", vec![json!(3)], "max_token"),
        ("", vec![json!(3)], ""),
    ];
    let of_chats: Vec<(&str, Vec<Value>, &str)> = vec![
        (
            "messages",
            vec![json!("hi"), json!([]), json!({}), json!(null)],
            "messages",
        ),
        ("messages", vec![json!(["hi"])], "messages[0]"),
        (
            "messages",
            vec![json!([{"content": "hi"}])],
            "messages[0].role",
        ),
        (
            "messages",
            vec![json!([{"role": "tool", "content": "hi"}])],
            "messages[0].role",
        ),
        (
            "messages",
            vec![
                json!([{"role": "user"}]),
                json!([{"role": "user", "content": 1}]),
            ],
            "messages[0].content",
        ),
        (
            "messages",
            vec![json!([{"role": "user", "content": "a", "name": "b"}])],
            "messages[0].name",
        ),
        (
            "messages",
            vec![json!([{"role": "user", "content": "a", "x": null}])],
            "messages[0].x",
        ),
        (
            "messages",
            vec![
                json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
            ],
            "messages[0].content[0].type",
        ),
        (
            "messages",
            vec![json!([{"role": "user", "content": [{"type": "text"}]}])],
            "messages[0].content[0].text",
        ),
        (
            "messages",
            vec![json!([{"role": "assistant", "tool_calls": [{"id": "1"}]}])],
            "messages[0].tool_calls",
        ),
        (
            "messages",
            vec![json!([{"role": "user", "content": long}])],
            "messages",
        ),
        ("tools", vec![json!([{"type": "function"}])], "tools"),
        (
            "tool_choice",
            vec![json!("auto"), json!({"type": "function"})],
            "tool_choice",
        ),
        ("functions", vec![json!([{}])], "functions"),
        ("modalities", vec![json!(["text", "audio"])], "modalities"),
        ("audio", vec![json!({"voice": "x"})], "audio"),
        ("reasoning_effort", vec![json!("high")], "reasoning_effort"),
        ("logprobs", vec![json!(1), json!("true")], "logprobs"),
        (
            "top_logprobs",
            vec![json!(21), json!(-1), json!("2")],
            "top_logprobs",
        ),
        ("prompt", vec![json!("hi")], "prompt"),
        (
            "chat_template_kwargs",
            vec![json!([])],
            "chat_template_kwargs",
        ),
        (
            "chat_template_kwargs",
            vec![json!({"messages": []})],
            "chat_template_kwargs.messages",
        ),
    ];
    let of_texts: Vec<(&str, Vec<Value>, &str)> = vec![
        (
            "prompt",
            vec![
                json!(null),
                json!(1),
                json!({}),
                json!([]),
                json!([-1]),
                json!([4000]),
            ],
            "prompt",
        ),
        ("prompt", vec![json!(["a", 1])], "prompt[1]"),
        ("prompt", vec![json!([[1], "a"])], "prompt[1]"),
        ("prompt", vec![json!([[1], []])], "prompt[1]"),
        ("prompt", vec![json!(long), json!([long])], "prompt"),
        (
            "logprobs",
            vec![json!(21), json!(true), json!(-1)],
            "logprobs",
        ),
        ("echo", vec![json!(1), json!("yes")], "echo"),
        ("suffix", vec![json!("end"), json!(1)], "suffix"),
        ("best_of", vec![json!(100), json!(0), json!("1")], "best_of"),
        ("messages", vec![json!([])], "messages"),
    ];
    let own = if chat { of_chats } else { of_texts };
    let (field, values, name) = match dice.below(2) {
        0 => dice.one(&both),
        _ => dice.one(&own),
    };
    if field == "max_completion_tokens" {
        body.remove("max_tokens");
    }
    if field == "response_format" || field == "grammar" {
        body.remove("grammar");
        body.remove("response_format");
    }
    let value = dice.one(&values);
    body.insert(field.into(), value);
    name.into()
}

#[test]
fn a_thousand_random_invalid_requests_are_refused_by_name() {
    let server = Running::new();
    let mut dice = Dice(2);
    for number in 0..1000 {
        let chat = number % 2 == 0;
        let mut body = valid(&mut dice, chat);
        let name = spoil(&mut dice, chat, &mut body);
        let path = if chat {
            "/v1/chat/completions"
        } else {
            "/v1/completions"
        };
        let body = Value::from(body);
        let answer = server.post(path, &body);
        assert!(
            (400..500).contains(&answer.status),
            "{name}: {body}: {}",
            answer.text()
        );
        let error = &answer.json()["error"];
        assert_eq!(
            error["param"].as_str(),
            Some(name.as_str()),
            "{body}: {error}"
        );
        assert!(
            error["message"].as_str().unwrap().contains(&name) || name == "model",
            "{error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
    }
    // None of them did any harm.
    server.chat("Hi", json!({})).ok();
}
