//! A chat template, a zero byte, and what somebody says.

use std::collections::BTreeMap;

use crate::{Target, files, goldens};
use bitnet_text::{ChatTemplate, Message, Render};

/// The target.
pub const TARGET: Target = Target {
    name: "template",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let templates = files(&goldens("bitnet-text"), ".jinja");
    let said = "\0Hello </think> there".as_bytes();
    templates
        .into_iter()
        .map(|template| [&template, said].concat())
        .collect()
}

fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (source, said) = text.split_once('\0').unwrap_or((&text, "hello"));
    let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    let Ok(template) = ChatTemplate::new(source, special) else {
        return;
    };
    let messages = [
        Message::new("system", "Be brief."),
        Message::new("user", said),
        Message::new("assistant", ""),
    ];
    let how = Render {
        add_generation_prompt: true,
        ..Render::default()
    };
    if let Err(error) = template.render(&messages, &how) {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
