//! The endpoints' answers have OpenAI's shapes, and llama-server's where those are asked for.

mod common;

use common::{CONTEXT, Running, chat, completion, text_of};
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
