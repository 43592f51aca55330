//! The endpoints' answers have OpenAI's shapes, and llama-server's where those are asked for.

mod common;

use bitnet_generate::Pooling;
use common::{CONTEXT, MARKS, Running, chat, chat_text, completion, engine, pooled, text_of};
use serde_json::{Value, json};

#[test]
fn a_chat_is_answered() {
    let server = Running::new();
    let answer = server.chat("Hello", json!({})).ok();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "chat");
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["logprobs"], Value::Null);
    assert_eq!(choice["finish_reason"], "length");
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], 12);
    let sum = usage["prompt_tokens"].as_u64().unwrap() + 12;
    assert_eq!(usage["total_tokens"], sum);
}

#[test]
fn a_chat_is_streamed_role_first_and_usage_last() {
    let server = Running::new();
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let whole = server.chat("Hello", json!({})).ok();
    let answer = server.chat("Hello", options);
    let chunks = answer.chunks();
    let (first, last) = (&chunks[0], &chunks[chunks.len() - 1]);
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(
        first["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(last["choices"], json!([]));
    for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(last["usage"][count], whole["usage"][count], "{count}");
    }
    for chunk in &chunks[..chunks.len() - 1] {
        assert_eq!(chunk["usage"], Value::Null);
        assert!(chunk.get("usage").is_some());
        assert_eq!(chunk["id"], first["id"]);
    }
    let reasons = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["finish_reason"].as_str());
    assert_eq!(reasons.collect::<Vec<_>>(), ["length"]);
    assert_eq!(
        answer.streamed(0),
        (text_of(&whole).to_owned(), "length".to_owned())
    );
    let plain = server.chat("Hello", json!({"stream": true})).chunks();
    assert!(plain.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn a_stream_says_how_far_a_long_prompt_is_read() {
    let server = Running::new();
    let answer = server.complete(&"x".repeat(500), json!({"stream": true, "max_tokens": 1}));
    let text = answer.text();
    let comments: Vec<&str> = text
        .split("\n\n")
        .filter(|event| event.starts_with(':'))
        .collect();
    assert!(!comments.is_empty(), "{text}");
    for comment in comments {
        assert!(
            comment.ends_with(" of 500 tokens of the prompt are read"),
            "{comment}"
        );
    }
    assert_eq!(answer.streamed(0).1, "length");
}

#[test]
fn a_conversation_may_have_parts_and_a_system_prompt() {
    let server = Running::new();
    let parts = json!([{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]);
    let asked = |messages: Value| {
        let body = chat("", json!({"messages": messages}));
        server.post("/v1/chat/completions", &body).ok()
    };
    let joined = asked(json!([{"role": "user", "content": "Hel\nlo"}]));
    let from_parts = asked(json!([{"role": "user", "content": parts}]));
    assert_eq!(text_of(&joined), text_of(&from_parts));
    let turns = |first: &str, content: Value| {
        asked(json!([
            {"role": first, "content": "Be brief."},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": "b"},
        ]))
    };
    let system = turns("system", json!(""));
    assert_eq!(text_of(&system), text_of(&turns("developer", json!(null))));
    assert_ne!(
        system["usage"],
        turns("system", json!("an answer"))["usage"]
    );
}

#[test]
fn log_probabilities_of_a_chat_are_told() {
    let server = Running::new();
    let answer = server
        .chat("Hi", json!({"logprobs": true, "top_logprobs": 3}))
        .ok();
    let tokens = answer["choices"][0]["logprobs"]["content"]
        .as_array()
        .unwrap();
    assert_eq!(tokens.len(), 12);
    let mut bytes = Vec::new();
    for token in tokens {
        let top = token["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        // Greedy takes the likeliest.
        assert_eq!(top[0]["token"], token["token"]);
        assert_eq!(top[0]["logprob"], token["logprob"]);
        assert!(top[0]["logprob"].as_f64() >= top[1]["logprob"].as_f64());
        assert!(token["logprob"].as_f64().unwrap() < 0.0);
        bytes.extend(
            token["bytes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|b| b.as_u64().unwrap() as u8),
        );
    }
    assert_eq!(String::from_utf8_lossy(&bytes), text_of(&answer));
    let streamed = server.chat(
        "Hi",
        json!({"logprobs": true, "top_logprobs": 3, "stream": true}),
    );
    let chunks = streamed.chunks();
    let parts = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["logprobs"]["content"].as_array());
    assert_eq!(&parts.flatten().cloned().collect::<Vec<_>>(), tokens);
    let none = server.chat("Hi", json!({"logprobs": true})).ok();
    assert_eq!(
        none["choices"][0]["logprobs"]["content"][0]["top_logprobs"],
        json!([])
    );
}

#[test]
fn an_answer_that_was_begun_is_continued() {
    let server = Running::new();
    let whole = server.chat("Hello", json!({})).ok();
    let first = server.chat("Hello", json!({"max_tokens": 8})).ok();
    let first = text_of(&first);
    let continued = |more: Value| {
        let messages = json!([
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": first},
        ]);
        let fields = json!({"messages": messages, "continue_final_message": true, "max_tokens": 4});
        server.chat("", common::merged(fields, more))
    };
    // What is said again is cut into tokens anew, perhaps otherwise than the model did.
    let rest = continued(json!({"add_generation_prompt": false})).ok();
    assert_eq!(rest["usage"]["completion_tokens"], 4);
    let read = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64();
    assert!(read(&rest) > read(&whole));
    let text = server.post(
        "/apply-template",
        &json!({"model": "chat", "continue_final_message": true, "messages": [
            {"role": "user", "content": "A"}, {"role": "assistant", "content": "<|im_end|>B"},
        ]}),
    );
    let expected = "<|im_start|>user\nA<|im_end|>\n<|im_start|>assistant\n<|im_end|>B";
    assert_eq!(text.ok()["prompt"], expected);
    let name = Some("continue_final_message");
    continued(json!({"add_generation_prompt": true})).refused(400, name);
    continued(json!({"messages": [{"role": "user", "content": "A"}]})).refused(400, name);
}

#[test]
fn a_text_is_continued() {
    let server = Running::new();
    let answer = server.complete("abc", json!({})).ok();
    assert_eq!(answer["object"], "text_completion");
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    let ids = server.post(
        "/v1/completions",
        &completion("", json!({"prompt": [97, 98, 99]})),
    );
    assert_eq!(text_of(&ids.ok()), text_of(&answer));
    let streamed = server.complete("abc", json!({"stream": true})).streamed(0);
    assert_eq!(streamed, (text_of(&answer).to_owned(), "length".to_owned()));
}

#[test]
fn several_prompts_and_choices_are_numbered() {
    let server = Running::new();
    let more = json!({"prompt": ["abc", "xyz"], "n": 2, "temperature": 1.5, "seed": 7});
    let answer = server.complete("", more.clone()).ok();
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
    }
    assert_ne!(choices[0]["text"], choices[1]["text"]);
    assert_eq!(answer["usage"]["prompt_tokens"], 6);
    assert_eq!(answer["usage"]["completion_tokens"], 48);
    let streamed = server.complete("", common::merged(more, json!({"stream": true})));
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(streamed.streamed(index).0, choice["text"], "{index}");
    }
    // Each choice is what its seed gives alone.
    let alone = json!({"temperature": 1.5, "seed": 8});
    assert_eq!(
        text_of(&server.complete("abc", alone).ok()),
        choices[1]["text"]
    );
}

#[test]
fn an_echo_begins_with_the_prompt() {
    let server = Running::new();
    let plain = server.complete("abé", json!({})).ok();
    let echoed = server
        .complete("abé", json!({"echo": true, "logprobs": 2}))
        .ok();
    assert_eq!(text_of(&echoed), format!("abé{}", text_of(&plain)));
    let told = &echoed["choices"][0]["logprobs"];
    for column in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(told[column].as_array().unwrap().len(), 4 + 12, "{column}");
    }
    assert_eq!(told["tokens"][1], "b");
    assert_eq!(told["tokens"][2], "bytes:\\xc3");
    assert_eq!(told["token_logprobs"][0], Value::Null);
    assert!(told["token_logprobs"][1].as_f64().unwrap() < 0.0);
    let offsets: Vec<u64> = told["text_offset"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o.as_u64().unwrap())
        .collect();
    // Half a character is at the place where the whole one will be.
    assert_eq!(offsets[..5], [0, 1, 2, 2, 3]);
    let more = json!({"echo": true, "logprobs": 2, "stream": true});
    let streamed = server.complete("abé", more);
    assert_eq!(streamed.streamed(0).0, text_of(&echoed));
    let chunks = streamed.chunks();
    let parts = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["logprobs"]["tokens"].as_array());
    let tokens: Vec<Value> = parts.flatten().cloned().collect();
    assert_eq!(Value::from(tokens), told["tokens"]);
    // The likelihood of a text, and nothing else.
    let scored = server
        .complete("abc", json!({"echo": true, "logprobs": 0, "max_tokens": 0}))
        .ok();
    assert_eq!(text_of(&scored), "abc");
    assert_eq!(
        scored["choices"][0]["logprobs"]["tokens"],
        json!(["a", "b", "c"])
    );
}

#[test]
fn texts_are_embedded() {
    let server = Running::new();
    let ask = |more: Value| {
        let body = common::merged(json!({"model": "chat"}), more);
        server.post("/v1/embeddings", &body)
    };
    let answer = ask(json!({"input": ["one", "another"]})).ok();
    assert_eq!(answer["object"], "list");
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data[1]["index"], 1);
    for entry in data {
        let vector = entry["embedding"].as_array().unwrap();
        assert_eq!(vector.len(), 32);
        let squares: f64 = vector.iter().map(|x| x.as_f64().unwrap().powi(2)).sum();
        assert!((squares - 1.0).abs() < 1e-5);
    }
    assert_ne!(data[0]["embedding"], data[1]["embedding"]);
    assert_eq!(
        answer["usage"]["prompt_tokens"],
        answer["usage"]["total_tokens"]
    );
    let one = ask(json!({"input": "one", "encoding_format": "float"})).ok();
    assert_eq!(one["data"][0]["embedding"], data[0]["embedding"]);
    let packed = ask(json!({"input": "one", "encoding_format": "base64"})).ok();
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 172); // 128 bytes
    // A text that is read in several pieces.
    let long = "x y ".repeat(100);
    assert_eq!(
        ask(json!({"input": long})).ok()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    ask(json!({"input": ""})).refused(400, Some("input"));
    ask(json!({"input": "x y ".repeat(400)})).refused(400, Some("input"));
    ask(json!({"input": "a", "dimensions": 8})).refused(400, Some("dimensions"));
    ask(json!({"input": "a", "dimensions": 32})).ok();
    ask(json!({"input": [1, 425]})).refused(400, Some("input"));
}

#[test]
fn each_model_pools_as_its_files_say() {
    let model = |name, pooling| pooled(name, pooling, || (engine(425, CONTEXT, 1), chat_text()));
    let models = vec![
        model("last", Ok(Pooling::Last)),
        model("mean", Ok(Pooling::Mean)),
        model("cls", Err("the first token is not done".into())),
    ];
    let server = Running::of(models, |_| ());
    let ask = |name: &str| {
        let body = json!({"model": name, "input": "some words"});
        server.post("/v1/embeddings", &body)
    };
    let vector = |name: &str| ask(name).ok()["data"][0]["embedding"].clone();
    assert_ne!(vector("last"), vector("mean"));
    ask("cls").refused(400, None);
}

#[test]
fn models_are_listed_with_what_they_are() {
    let server = Running::new();
    let list = server.get("/v1/models").ok();
    assert_eq!(list["object"], "list");
    let names: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["chat", "bytes"]);
    let chat = &list["data"][0];
    assert_eq!(chat["aliases"], json!(["gpt-4o"]));
    assert_eq!(chat["status"], "ready");
    // Two blocks of width 32, an embedding and a head for 425 tokens, and five norms.
    let linear = 2 * (2 * 32 * (32 + 16) + 3 * 32 * 48);
    assert_eq!(chat["meta"]["linear_weights"], linear);
    assert_eq!(chat["meta"]["parameters"], linear + 2 * 425 * 32 + 5 * 32);
    assert!(chat["meta"]["modelled_energy"]["picojoules_per_token"].as_f64() > Some(0.0));
    assert_eq!(chat["meta"]["context_length"], CONTEXT);
    assert_eq!(chat["meta"]["chat_template"], true);
    assert_eq!(list["data"][1]["meta"]["chat_template"], false);
    assert_eq!(&server.get("/v1/models/gpt-4o").ok(), chat);
    let error = server.get("/v1/models/none").refused(404, Some("model"));
    assert_eq!(error["code"], "model_not_found");
}

#[test]
fn a_model_is_found_by_its_name_or_alias() {
    let server = Running::new();
    let by_alias = server.chat("Hi", json!({"model": "gpt-4o"})).ok();
    assert_eq!(by_alias["model"], "chat");
    let error = server
        .chat("Hi", json!({"model": "other"}))
        .refused(404, Some("model"));
    assert!(
        error["message"].as_str().unwrap().contains("chat, bytes"),
        "{error}"
    );
    server
        .chat("Hi", json!({"model": null}))
        .refused(400, Some("model"));
    let one = vec![common::source("one", || {
        (common::engine(425, 64, 1), common::chat_text())
    })];
    let server = Running::of(one, |_| ());
    server.chat("Hi", json!({"model": null})).ok();
}

#[test]
fn text_becomes_tokens_and_text_again() {
    let server = Running::new();
    let ask = |path: &str, more: Value| {
        server.post(path, &common::merged(json!({"model": "chat"}), more))
    };
    let content = "Hé <|im_end|>";
    let tokens = ask("/tokenize", json!({"content": content})).ok()["tokens"].clone();
    assert_eq!(tokens.as_array().unwrap().last().unwrap(), MARKS[1]);
    let back = ask("/detokenize", json!({"tokens": tokens})).ok();
    assert_eq!(back["content"], content);
    let plain = ask(
        "/tokenize",
        json!({"content": content, "parse_special": false}),
    )
    .ok();
    assert!(plain["tokens"].as_array().unwrap().len() > tokens.as_array().unwrap().len());
    let pieces = json!({"model": "bytes", "content": "aé", "with_pieces": true});
    let expected = json!([
        {"id": 97, "piece": "a"}, {"id": 0xc3, "piece": [0xc3]}, {"id": 0xa9, "piece": [0xa9]},
    ]);
    assert_eq!(ask("/tokenize", pieces).ok()["tokens"], expected);
    assert_eq!(
        ask("/detokenize", json!({"tokens": []})).ok()["content"],
        ""
    );
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let prompt = ask("/apply-template", json!({"messages": messages})).ok();
    assert_eq!(
        prompt["prompt"],
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
    let told = json!({"messages": messages, "chat_template_kwargs": {"speaker": "bard"}});
    let prompt = ask("/apply-template", told).ok();
    assert!(
        prompt["prompt"]
            .as_str()
            .unwrap()
            .ends_with("<|im_start|>bard\n")
    );
    ask("/tokenize", json!({})).refused(400, Some("content"));
    ask("/detokenize", json!({"tokens": "a"})).refused(400, Some("tokens"));
    ask("/apply-template", json!({"messages": messages, "x": 1})).refused(400, Some("x"));
    ask(
        "/apply-template",
        json!({"messages": messages, "model": "bytes"}),
    )
    .refused(400, Some("messages"));
}

#[test]
fn what_is_not_there_is_an_error_of_the_same_shape() {
    let server = Running::new();
    server.get("/v1/nothing").refused(404, None);
    server.get("/v1/chat/completions").refused(405, None);
    server
        .ask("DELETE", "/v1/models", &[], "")
        .refused(405, None);
    server
        .post("/v1/completions", &json!([]))
        .refused(400, None);
}

#[test]
fn metrics_count_what_happened() {
    let server = Running::new();
    server.complete("abc", json!({})).ok();
    server
        .complete("abc", json!({"nonsense": 1}))
        .refused(400, Some("nonsense"));
    let answer = server.get("/metrics");
    assert_eq!(
        answer.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = answer.text();
    for line in [
        "bitnet_requests_total{path=\"/v1/completions\",status=\"200\"} 1",
        "bitnet_requests_total{path=\"/v1/completions\",status=\"400\"} 1",
        "bitnet_rejections_total{reason=\"unknown_parameter\"} 1",
        "bitnet_prompt_tokens_total{model=\"bytes\"} 3",
        "bitnet_generated_tokens_total{model=\"bytes\"} 12",
        "bitnet_time_to_first_token_seconds_count{model=\"bytes\"} 1",
        "bitnet_time_per_output_token_seconds_count{model=\"bytes\"} 11",
        "bitnet_requests_running{model=\"chat\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    // Every series has its type, and every sample a number.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
        let family = name.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|e| family.strip_suffix(e))
            .unwrap_or(family);
        assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
    }
}

#[test]
fn the_page_is_served_with_a_strict_policy() {
    let server = Running::new();
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = &page.headers["content-security-policy"];
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
}
