//! The `tokenizer.json` of a run, a zero byte, and a text: ids that are below the vocabulary's size and stand for bytes.

#![no_main]

use bitnet_data::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let json = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let Ok(tokenizer) = Tokenizer::from_json(&json) else { return };
    let Ok(ids) = tokenizer.encode(&text) else { return };
    assert!(ids.iter().all(|id| (*id as usize) < tokenizer.vocab_size()));
    let mut decoder = tokenizer.decoder();
    let mut pieces: String = ids.iter().map(|id| decoder.push(*id)).collect();
    pieces.push_str(&decoder.finish());
    assert_eq!(pieces, tokenizer.decode(&ids));
    assert_eq!(Tokenizer::from_json(&tokenizer.to_json()).unwrap().vocab_size(), tokenizer.vocab_size());
});
