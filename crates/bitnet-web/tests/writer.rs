//! The page's model, without the page.

use bitnet_text::Message;
use bitnet_web::{End, Request, WebError, Writer};

const MODEL: &[u8] = include_bytes!("../page/stories.gguf");
const PROMPT: &str = "One morning Tom found a red key by the well. ";

fn writer() -> Writer {
    Writer::load("stories.gguf", MODEL.to_vec(), 128).unwrap()
}

fn request(prompt: &str, max_tokens: usize) -> Request {
    Request {
        prompt: prompt.into(),
        messages: Vec::new(),
        max_tokens,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: 0,
    }
}

/// The tokens, the text, the tokens that were read, and why it ended.
fn write(writer: &mut Writer, request: Request) -> (Vec<u32>, String, usize, End) {
    writer.begin(request).unwrap();
    let (mut tokens, mut text, mut read) = (Vec::new(), String::new(), 0);
    loop {
        let step = writer.step().unwrap();
        tokens.extend(step.token);
        text.push_str(&step.text);
        read += step.read;
        if let Some(end) = step.end {
            return (tokens, text, read, end);
        }
    }
}

#[test]
fn a_known_beginning_is_not_read_again_and_changes_nothing() {
    let mut writer = writer();
    let (tokens, text, read, end) = write(&mut writer, request(PROMPT, 20));
    assert_eq!(
        (tokens.len(), text.chars().count(), end),
        (20, 20, End::Length)
    );
    // The prompt has a token a character; the last of those written is not read.
    assert_eq!(read, PROMPT.len() + 19);
    let (again, _, read, _) = write(&mut writer, request(PROMPT, 20));
    assert_eq!((&again, read), (&tokens, 20));
    let longer = format!("{PROMPT}{}", &text[..7]);
    let (rest, _, read, _) = write(&mut writer, request(&longer, 13));
    assert_eq!((&rest[..], read), (&tokens[7..], 13));
    // Another text, and back.
    write(&mut writer, request("7 + 5 =", 3));
    assert_eq!(write(&mut writer, request(PROMPT, 20)).0, tokens);
}

#[test]
fn a_context_has_an_end() {
    let (tokens, _, _, end) = write(&mut writer(), request(PROMPT, 1000));
    // The last token that is written need not fit.
    assert_eq!((tokens.len(), end), (128 - PROMPT.len() + 1, End::Context));
    let long = PROMPT.repeat(3);
    let error = writer().begin(request(&long, 1)).unwrap_err();
    assert!(matches!(error, WebError::Long { tokens, context: 128 } if tokens == long.len()));
}

#[test]
fn what_cannot_be_is_told() {
    let error = |name, bytes: &[u8]| Writer::load(name, bytes.to_vec(), 128).err().unwrap();
    let message = error("notes.txt", b"some text that is no model").to_string();
    assert!(
        message.contains("notes.txt") && message.contains("GGUF"),
        "{message}"
    );
    let message = error("cut.gguf", &MODEL[..MODEL.len() / 2]).to_string();
    assert!(message.contains("cut.gguf"), "{message}");
    let mut writer = writer();
    assert!(matches!(
        writer.begin(request("", 1)),
        Err(WebError::NoText)
    ));
    let chat = Request {
        messages: vec![Message::new("user", "Hello")],
        ..request("", 1)
    };
    assert!(matches!(writer.begin(chat), Err(WebError::NoTemplate)));
    let hot = Request {
        temperature: -1.0,
        ..request(PROMPT, 1)
    };
    assert!(
        writer
            .begin(hot)
            .unwrap_err()
            .to_string()
            .contains("temperature")
    );
    // None of them has broken it.
    assert_eq!(write(&mut writer, request(PROMPT, 5)).0.len(), 5);
}
