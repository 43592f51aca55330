//! A `tokenizer.json`, a zero byte, and a text: cut with and without special tokens, and joined again.

#![no_main]

use bitnet_formats::model::SpecialTokens;
use bitnet_text::{Encode, Tokenizer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let json = parts.next().unwrap_or_default();
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let Ok(tokenizer) = Tokenizer::from_json(json, &SpecialTokens::default()) else { return };
    for parse_special in [false, true] {
        let how = Encode { parse_special, add_special: parse_special };
        let Ok(ids) = tokenizer.encode(&text, how) else { continue };
        let mut decoder = tokenizer.decoder(true);
        let mut pieces: String = ids.iter().map(|id| decoder.push(*id)).collect();
        pieces.push_str(&decoder.finish());
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.piece(*id).unwrap_or("\u{fffd}".as_bytes()).to_vec()).collect();
        assert_eq!(pieces, String::from_utf8_lossy(&bytes));
    }
});
