//! The `tokenizer.json` of a run, a zero byte, and a text: ids that are below the vocabulary's size and stand for bytes.

use crate::{Target, parts};
use bitnet_data::{Tokenizer, TokenizerKind};

/// The target.
pub const TARGET: Target = Target {
    name: "run_tokenizer",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let text = "one two, one three; two ones é";
    let kinds = [
        TokenizerKind::Byte,
        TokenizerKind::Char,
        TokenizerKind::Bpe { vocab_size: 270 },
    ];
    let inputs = kinds.map(|kind| {
        let tokenizer = Tokenizer::for_text(kind, text).expect("a tokenizer");
        format!("{}\0{text}", tokenizer.to_json()).into_bytes()
    });
    inputs.into()
}

fn run(data: &[u8]) {
    let (json, text) = parts(data);
    let json = String::from_utf8_lossy(json);
    let text = String::from_utf8_lossy(text);
    let Ok(tokenizer) = Tokenizer::from_json(&json) else {
        return;
    };
    let Ok(ids) = tokenizer.encode(&text) else {
        return;
    };
    assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
    let bytes = tokenizer.decode_bytes(&ids);
    assert_eq!(tokenizer.decode(&ids), String::from_utf8_lossy(&bytes));
    // What ends a text is no part of it.
    if !ids.iter().any(|id| Some(*id) == tokenizer.end_of_text()) {
        assert_eq!(tokenizer.byte_length(&ids), bytes.len());
    }
    assert_eq!(
        Tokenizer::from_json(&tokenizer.to_json())
            .unwrap()
            .vocab_size(),
        tokenizer.vocab_size()
    );
}
