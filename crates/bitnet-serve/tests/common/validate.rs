//! OpenAI's shapes of answers, to the last field.

use serde_json::{Map, Value, json};

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

/// Checks a whole answer.
pub fn check_whole(answer: &Value, chat: bool, body: &Map<String, Value>) {
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

/// Checks the chunks of a stream.
pub fn check_stream(chunks: &[Value], chat: bool, body: &Map<String, Value>) {
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
