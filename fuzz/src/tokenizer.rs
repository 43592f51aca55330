//! A `tokenizer.json`, a zero byte, and a text: cut with and without special tokens, and joined again.

use crate::{Target, files, goldens, parts};
use bitnet_formats::model::SpecialTokens;
use bitnet_text::{Encode, Tokenizer};

/// The target.
pub const TARGET: Target = Target {
    name: "tokenizer",
    run,
    seeds,
};

fn seeds() -> Vec<Vec<u8>> {
    let jsons = files(&goldens("bitnet-text").join("cut"), ".json");
    let text = "\0Hello <|im_end|>\n 12 ä😀<tool>".as_bytes();
    jsons
        .into_iter()
        .map(|json| [&json, text].concat())
        .collect()
}

fn run(data: &[u8]) {
    let (json, text) = parts(data);
    let text = String::from_utf8_lossy(text);
    let Ok(tokenizer) = Tokenizer::from_json(json, &SpecialTokens::default()) else {
        return;
    };
    for parse_special in [false, true] {
        let how = Encode {
            parse_special,
            add_special: parse_special,
        };
        let Ok(ids) = tokenizer.encode(&text, how) else {
            continue;
        };
        let mut decoder = tokenizer.decoder(true);
        let mut pieces: String = ids.iter().map(|id| decoder.push(*id)).collect();
        pieces.push_str(&decoder.finish());
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| {
                tokenizer
                    .piece(*id)
                    .unwrap_or("\u{fffd}".as_bytes())
                    .to_vec()
            })
            .collect();
        assert_eq!(pieces, String::from_utf8_lossy(&bytes));
    }
}
