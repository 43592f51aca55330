//! A thousand random valid requests, whose answers have OpenAI's shapes; and a thousand random invalid ones, which are
//! refused by the name of what is wrong.

mod common;

use common::{
    CONTEXT, Running,
    validate::{check_stream, check_whole},
};
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
