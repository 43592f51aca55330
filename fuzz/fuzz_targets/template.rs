//! A chat template, a zero byte, and what somebody says.

#![no_main]

use std::collections::BTreeMap;

use bitnet_text::{ChatTemplate, Message, Render};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (source, said) = text.split_once('\0').unwrap_or((&text, "hello"));
    let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    let Ok(template) = ChatTemplate::new(source, special) else { return };
    let messages = [Message::new("system", "Be brief."), Message::new("user", said), Message::new("assistant", "")];
    let how = Render { add_generation_prompt: true, ..Render::default() };
    if let Err(error) = template.render(&messages, &how) {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
});
