//! `bitnet tokenize MODEL TEXT`

use std::path::Path;

use anyhow::bail;
use bitnet_text::Tokenizer;
use serde::Serialize;

use super::Outcome;
use crate::args::{Format, TokenizeArgs};
use crate::{model, output, prompt};

#[derive(Serialize)]
struct Tokenized {
    ids: Vec<u32>,
    /// What each id stands for; where that is no whole character, with U+FFFD.
    pieces: Vec<String>,
}

pub fn run(args: TokenizeArgs) -> anyhow::Result<Outcome> {
    if matches!(args.output.output, Format::Md | Format::Csv) {
        bail!("`bitnet tokenize` writes text or json");
    }
    let text = match args.text.as_str() {
        "-" => prompt::read_file(Path::new("-"))?,
        text => text.to_owned(),
    };
    let model = model::open_text(&args.model)?;
    let tokenizer = &model.tokenizer;
    let ids = match args.bare {
        true => tokenizer.encode(
            &text,
            bitnet_text::Encode {
                parse_special: args.special,
                add_special: false,
            },
        )?,
        false => model.encode_prompt(&text, args.special)?,
    };
    match args.output.output {
        Format::Json => {
            let piece = |id: &u32| {
                let bytes = tokenizer.piece(*id).unwrap_or_default();
                String::from_utf8_lossy(bytes).into_owned()
            };
            let pieces = ids.iter().map(piece).collect();
            output::json(&Tokenized { ids, pieces })?;
        }
        _ => {
            let lines: Vec<String> = ids.iter().map(|id| line(tokenizer, *id)).collect();
            if !lines.is_empty() {
                output::line(&lines.join("\n"))?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// An id and its piece between quotes, with escapes; bytes that are no whole character as `\xe2`.
fn line(tokenizer: &Tokenizer, id: u32) -> String {
    let bytes = tokenizer.piece(id).unwrap_or_default();
    let piece = match str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => format!("\"{}\"", bytes.escape_ascii()),
    };
    format!("{id:>8}  {piece}")
}
